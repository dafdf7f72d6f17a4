/* From a store to a folder: what a restore needs, each object once. Not for other layers. */
#ifndef TR_VAULT_RESTORE_FETCH_H
#define TR_VAULT_RESTORE_FETCH_H

#include "vault/snapshot_chain.h"

/* The store or folder that the settings name, to read. Free *store (NULL for a folder) after the target. */
tr_status tr_backup_open(const tr_config *config, tr_s3 **store, tr_target **out, tr_error *err);

/* The folder is made anew and looks as a backup folder does. `snapshot` and `at` as of tr_restore. Nothing is
 * verified yet. What is left after a failure is the caller's to remove. */
tr_status tr_backup_fetch(tr_target *store, const tr_uuid *snapshot, int64_t at, const char *folder,
                          tr_error *err);
/* Remove it. A missing one is fine. */
tr_status tr_fetched_remove(const char *folder, tr_error *err);
/* One object into a file of the folder, by its name there. TR_E_NOT_FOUND. */
tr_status tr_backup_fetch_one(tr_target *store, const char *name, tr_target *folder, tr_error *err);

/* The newest snapshot with the log up to `at` (INT64_MAX: all of it, 0: none), or this snapshot alone. */
tr_status tr_backup_choose(tr_target *target, const tr_uuid *vault, const tr_uuid *snapshot, int64_t at,
                           tr_chain *chain, tr_error *err);

#endif
