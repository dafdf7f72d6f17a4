/* New keys for the databases themselves (vault.db, keys.db, audit.db), offline: every page is written anew
 * under another key, which readers on connections of their own would see happen under their hands. */
#ifndef TR_VAULT_REKEY_H
#define TR_VAULT_REKEY_H

#include "vault/vault.h"

/* Each database in turn. The new key is in the keyring before its database is touched and takes the old one's
 * place after, so the vault opens whenever this is cut off (vault/databases.h); what was not reached keeps
 * its key. `done` (may be NULL) is told each database that has its new key. TR_E_LOCKED beside a running
 * server. */
tr_status tr_vault_rekey(const tr_config *config, const tr_secret *passphrase,
                         void (*done)(void *context, const char *database), void *context, tr_error *err);

#endif
