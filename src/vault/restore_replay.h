/* What is done to a restored vault before anybody may use it. Shared by restore.c and restore_replay.c. */
#ifndef TR_VAULT_RESTORE_REPLAY_H
#define TR_VAULT_RESTORE_REPLAY_H

#include "vault/restore.h"

/* Apply the ledger, delete persons without a key, end the sessions, enter it in the log, and count. */
tr_status tr_restore_replay(tr_store *store, tr_restore_result *result, tr_error *err);
/* Complete the erasures, as `tresor serve` would. */
tr_status tr_restore_finish(tr_vault *vault, tr_restore_result *result, tr_error *err);

#endif
