/* The vault: what is stored, who may see it, and the proof of it. Everything in vault/ works on a tr_vault;
 * it is opened once and used by many threads at once.
 */
#ifndef TR_VAULT_VAULT_H
#define TR_VAULT_VAULT_H

#include "base/config.h"
#include "base/secret.h"
#include "crypto/keyring.h"
#include "store/store.h"

typedef struct tr_vault tr_vault;

typedef struct tr_first_credentials {
    struct {
        const char *role; /* "operator", "officer", "auditor" */
        char uid[32];
        char password[32];
    } items[3];
} tr_first_credentials;

/* Files in the data folder. */
#define TR_RING          "keyring"
#define TR_RING_NEW      "keyring.new"      /* while the keys move to another provider */
#define TR_RING_RESTORED "keyring.restored" /* while a ring is recovered */
#define TR_RING_RECOVERY ".recovery" /* ending of what is encrypted to the recovery key, beside a ring */

/* What opens the vault's keyring. */
tr_status tr_vault_ring_need(const tr_config *config, tr_keyring_need *need, tr_error *err);
/* Open it, beside a vault or without one. */
tr_status tr_vault_ring(const tr_config *config, const tr_secret *passphrase, tr_keyring **ring,
                        tr_error *err);

/* Make DIR (0700) with a keyring as `spec` says, the three databases and the first principals. TR_E_EXISTS
 * when DIR holds a vault already; whatever a failed try left is removed. The caller wipes *first. */
tr_status tr_vault_init(const tr_config *config, const tr_keyring_spec *spec, tr_first_credentials *first,
                        tr_error *err);

/* Hold the data folder: TR_E_LOCKED when another process does. Whoever means to write takes this before
 * looking at the keyring, which the holder may change. */
tr_status tr_vault_lock(const tr_config *config, int *lock, tr_error *err);
void tr_vault_unlock(int lock); /* -1: nothing */

/* TR_E_CONFIG when a migration was begun and is not completed: until then some keys open with one ring and
 * some with the other. Opening checks it too. */
tr_status tr_vault_check_moved(const tr_config *config, tr_error *err);

/* Take the lock, open the keyring and the store. `config` must outlive the vault. TR_E_CONFIG in the middle
 * of a migration. */
tr_status tr_vault_open(const tr_config *config, const tr_secret *passphrase, tr_vault **out, tr_error *err);
/* The same with the lock, which the vault keeps until it is closed; given back when this fails. */
tr_status tr_vault_open_locked(const tr_config *config, int lock, const tr_secret *passphrase, tr_vault **out,
                               tr_error *err);
void tr_vault_close(tr_vault *vault);

tr_store *tr_vault_store(tr_vault *vault);
const tr_config *tr_vault_config(const tr_vault *vault);

/* Sweep what has expired (sessions, outcomes, import batches), in bounded batches; rotate the master key when
 * it is time, and wrap data keys again (vault/keys.h). `serve` calls it every minute, and at once when *more.
 */
tr_status tr_vault_sweep(tr_vault *vault, bool *more, tr_error *err);
/* What is to be called when there is work before the minute is over. Set it before other threads use the
 * vault. */
void tr_vault_set_wake(tr_vault *vault, void (*wake)(void *), void *context);
void tr_vault_wake(tr_vault *vault); /* call it */
/* A sweep that runs, and any later one, comes to its end soon: the process is to stop. */
void tr_vault_end_sweep(tr_vault *vault);

/* For `tresor audit verify`: beside a running server, or without one. */
tr_status tr_vault_verify_audit(const tr_config *config, const tr_secret *passphrase,
                                tr_audit_verdict *verdict, tr_error *err);

#endif
