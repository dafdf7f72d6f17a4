/* Shared by keys.c and rewrap.c only. */
#ifndef TR_VAULT_KEYS_INTERNAL_H
#define TR_VAULT_KEYS_INTERNAL_H

#include <pthread.h>

#include "vault/keys.h"
#include "vault/vault_internal.h"

struct tr_key_work {
    pthread_mutex_t changing; /* tr_keys_lock */
    _Atomic uint32_t clean;   /* the version that wraps all keys, as a job has seen; 0: not known */
    void (*wake)(void *);     /* the sweep's thread; set before there are other threads */
    void *wake_context;
    /* the sweep's own: where it is in the table of keys */
    bool in_pass;
    tr_uuid after;
    int64_t pass_written, pass_failed;
    /* its pauses end when the vault is to stop */
    pthread_mutex_t mutex;
    pthread_cond_t stopped;
    bool stop;
};

/* All versions of the ring; the caller frees *out. */
tr_status tr_masters_get(tr_keyring *ring, tr_master_info **out, size_t *count, tr_error *err);
/* A version kept in vault.db; 1 when there is none. */
tr_status tr_version_get(tr_db *db, const char *name, uint32_t *version, tr_error *err);
tr_status tr_version_put(tr_db *tx, const char *name, uint32_t version, tr_error *err);
/* Is the current version one whose rotation did not come into the audit log? */
tr_status tr_keys_unlogged(tr_vault *vault, uint32_t *version, bool *is, tr_error *err);

#endif
