/* The vault: what is stored, who may see it, and the proof of it. Everything in vault/ works on a tr_vault;
 * it is opened once and used by many threads at once.
 */
#ifndef TR_VAULT_VAULT_H
#define TR_VAULT_VAULT_H

#include "base/config.h"
#include "base/secret.h"
#include "store/store.h"

typedef struct tr_vault tr_vault;

typedef struct tr_first_credentials {
    struct {
        const char *role; /* "operator", "officer", "auditor" */
        char uid[32];
        char password[32];
    } items[3];
} tr_first_credentials;

/* Make DIR (0700) with a keyring sealed by `passphrase`, the three databases and the first principals.
 * TR_E_EXISTS when DIR holds a vault already; whatever a failed try left is removed. The caller wipes *first.
 */
tr_status tr_vault_init(const tr_config *config, const tr_secret *passphrase, tr_first_credentials *first,
                        tr_error *err);

/* Open the keyring and the store. `config` must outlive the vault. */
tr_status tr_vault_open(const tr_config *config, const tr_secret *passphrase, tr_vault **out, tr_error *err);
void tr_vault_close(tr_vault *vault);

tr_store *tr_vault_store(tr_vault *vault);
const tr_config *tr_vault_config(const tr_vault *vault);

/* Sweep what has expired (sessions, outcomes, import batches), in bounded batches. Called every minute by
 * `serve`. */
tr_status tr_vault_sweep(tr_vault *vault, tr_error *err);

/* For `tresor audit verify`: beside a running server, or without one. */
tr_status tr_vault_verify_audit(const tr_config *config, const tr_secret *passphrase,
                                tr_audit_verdict *verdict, tr_error *err);

#endif
