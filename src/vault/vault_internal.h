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
typedef struct tr_retention tr_retention;
typedef struct tr_erasures tr_erasures;
typedef struct tr_snapshots tr_snapshots;
typedef struct tr_outbox tr_outbox;

struct tr_vault {
    const tr_config *config;
    int lock; /* of the data folder */
    tr_keyring *ring;
    tr_store *store;
    tr_secret index_key;    /* HMAC key of the blind index */
    tr_secret outcome_key;  /* seals stored outcomes that concern no subject */
    tr_secret token_key;    /* MAC by which this vault's own older tokens are recognised */
    tr_secret incident_key; /* seals what is written of incidents */
    tr_secret sign_key;     /* Ed25519 seed: vault/proof.h */
    char sign_x[44];        /* its public half, base64url */
    char sign_kid[44];      /* and that one's thumbprint */
    tr_uuid id;
    tr_session_table *sessions;
    tr_throttle *throttle;
    tr_datakey_cache *datakeys;
    tr_type_cache *types;
    tr_key_work *key_work;
    tr_retention *retention;
    tr_erasures *erasures;
    tr_snapshots *snapshots;
    tr_outbox *outbox;
};

#define TR_INCIDENT_KEY_NAME "incident"
/* Read the incidents' key; a vault from before them gets it. While it is being opened. */
tr_status tr_incidents_open(tr_vault *vault, tr_error *err);

#define TR_SIGN_KEY_NAME "sign"
/* Read the signing key and the vault's id; a vault from before them gets them. While it is being opened. */
tr_status tr_proof_open(tr_vault *vault, tr_error *err);
/* After sign_key: the key's public half and its thumbprint. */
tr_status tr_proof_name_key(tr_vault *vault, tr_error *err);
/* In the job that makes the vault. */
tr_status tr_proof_name_vault(tr_db *tx, const tr_uuid *id, tr_error *err);

/* vault/principal_seal.c: has the uid the form of a sealed one? */
bool tr_principal_uid_sealed(const char *uid);
/* Seal the principals of data subjects in a vault from before they were. While it is being opened. */
tr_status tr_principals_convert(tr_vault *vault, tr_error *err);
/* In the job that makes the vault: there are none to convert. */
tr_status tr_principals_converted(tr_db *tx, tr_error *err);

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
tr_status tr_retention_new(tr_retention **out, tr_error *err);
void tr_retention_free(tr_retention *work);
tr_status tr_erasures_new(tr_erasures **out, tr_error *err);
void tr_erasures_free(tr_erasures *work);
tr_status tr_snapshots_new(const tr_config *config, tr_snapshots **out, tr_error *err);
void tr_snapshots_free(tr_snapshots *work);
tr_status tr_outbox_new(const tr_config *config, tr_outbox **out, tr_error *err);
void tr_outbox_free(tr_outbox *outbox);
/* End its thread and wait for it; before the store closes. */
void tr_outbox_join(tr_vault *vault);

#endif
