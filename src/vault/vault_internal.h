/* What the modules of vault/ share. Not for other layers. */
#ifndef TR_VAULT_INTERNAL_H
#define TR_VAULT_INTERNAL_H

#include "crypto/keyring.h"
#include "vault/vault.h"

typedef struct tr_session_table tr_session_table;
typedef struct tr_throttle tr_throttle;
typedef struct tr_datakey_cache tr_datakey_cache;
typedef struct tr_type_cache tr_type_cache;
typedef struct tr_key_work tr_key_work;

struct tr_vault {
    const tr_config *config;
    int lock; /* of the data folder */
    tr_keyring *ring;
    tr_store *store;
    tr_secret index_key;   /* HMAC key of the blind index */
    tr_secret outcome_key; /* seals stored outcomes that concern no subject */
    tr_secret token_key;   /* MAC by which this vault's own older tokens are recognised */
    tr_session_table *sessions;
    tr_throttle *throttle;
    tr_datakey_cache *datakeys;
    tr_type_cache *types;
    tr_key_work *key_work;
};

/* Constructors and destructors of the parts; each destructor takes NULL. */
tr_status tr_session_table_new(tr_session_table **out, tr_error *err);
void tr_session_table_free(tr_session_table *table);
tr_status tr_throttle_new(int64_t free_tries, tr_throttle **out, tr_error *err);
void tr_throttle_free(tr_throttle *throttle);
tr_status tr_datakey_cache_new(tr_datakey_cache **out, tr_error *err);
void tr_datakey_cache_free(tr_datakey_cache *cache);
tr_status tr_type_cache_new(tr_type_cache **out, tr_error *err);
void tr_type_cache_free(tr_type_cache *cache);
tr_status tr_key_work_new(tr_key_work **out, tr_error *err);
void tr_key_work_free(tr_key_work *work);

#endif
