/* Snapshots: the vault's copies in the backup target (setting backup_dir or backup_s3_url), taken while
 * writes go on.
 *
 * What lies in the target:
 *   snapshots/ID.tresor  the pages of vault.db and audit.db of one committed moment (vault/snapshot_format.h)
 *                        or, incremental, those of its pages that differ from the snapshot before it
 *   log/ID/N.tresor      with the setting backup_log: the pages that changed since, cut about every second
 *   keys.tresor          the pages of keys.db, with the erasure ledger: only ever the newest copy, so that no
 *                        snapshot, however old, opens the data of a person who was erased since
 *   keys-changes.tresor  the pages of keys.db that changed since that copy: goes when that is renewed
 *   keyring, keyring.recovery  as they lie in the data folder: sealed
 * Each file is written under another name, flushed and renamed: what is listed is whole. The copy of the keys
 * is always of the snapshot's moment or of a later one, and the keyring's is there before it.
 *
 * One snapshot, verification or drill (vault/drill.h) runs at a time, on a thread of its own. What it came to
 * is kept for listings and /metrics, and is in the audit log (snapshot.made, snapshot.checked,
 * snapshot.drill).
 */
#ifndef TR_VAULT_SNAPSHOTS_H
#define TR_VAULT_SNAPSHOTS_H

#include "vault/snapshot_format.h"
#include "vault/vault.h"

/* ---- the copy of the keys ---- */

/* Write the newest copy of keys.db, which holds the ledger, and of the keyring to the target. When it returns
 * TR_OK the target has no older copy any more, and what was committed before the call is in the new one.
 * TR_E_IO: it cannot be reached, or is another folder than the one that has the copy (a disk is not mounted).
 * Callers that come while one is being written share the next one. TR_OK at once when no target is set. */
tr_status tr_snapshots_renew_keys(tr_vault *vault, tr_error *err);

/* Is the target there, and this vault's, with its copy of the keys? Reads only. TR_OK when none is set.
 * TR_E_CONFLICT: it is another vault's; TR_E_IO. */
tr_status tr_snapshots_check_target(tr_vault *vault, tr_error *err);

/* ---- snapshots ---- */

typedef struct tr_snapshot_item {
    tr_snapshot_head head;
    int64_t bytes;
    bool spooled; /* it waits for the store: not good yet */
} tr_snapshot_item;

/* Those in the target, oldest first; the caller frees *items. What is no whole snapshot of this vault is left
 * out. While a store is away: those in the spool alone, and tr_snapshots_spool says so. TR_E_CONFLICT when no
 * target is set; TR_E_IO: it cannot be read. */
tr_status tr_snapshots_list(tr_vault *vault, tr_snapshot_item **items, size_t *count, tr_error *err);
tr_status tr_snapshots_get(tr_vault *vault, const tr_uuid *id, tr_snapshot_item *item, tr_error *err);
/* TR_E_CONFLICT: another one is put upon it; which one is said. */
tr_status tr_snapshots_may_remove(tr_vault *vault, const tr_uuid *id, tr_error *err);
/* TR_E_NOT_FOUND; TR_E_CONFLICT likewise. */
tr_status tr_snapshots_remove(tr_vault *vault, const tr_uuid *id, tr_error *err);

typedef struct tr_spool_state {
    int64_t files, bytes; /* that wait */
    bool away;            /* the store cannot be reached or refuses; `why` says what */
    tr_error why;
} tr_spool_state;
/* False: the target is no store, and has no spool. */
bool tr_snapshots_spool(tr_vault *vault, tr_spool_state *state);

/* ---- work ---- */

typedef enum tr_snapshot_task {
    TR_SNAPSHOT_MAKE,
    TR_SNAPSHOT_VERIFY,
    TR_SNAPSHOT_DRILL,
    TR_SNAPSHOT_TASKS
} tr_snapshot_task;

/* Which kind is to be made. Incremental: a full one all the same where nothing fits to put it upon. */
typedef enum tr_snapshot_want { TR_WANT_FULL, TR_WANT_INCREMENTAL, TR_WANT_AS_SET } tr_snapshot_want;

typedef struct tr_snapshot_work {
    tr_snapshot_task task;
    tr_snapshot_want want; /* of one that is to be made */
    tr_uuid id;            /* of the snapshot; a drill's own */
    int64_t begun_at;
    int64_t ended_at; /* 0: it runs */
    int64_t bytes, pages;
    tr_error err; /* status TR_OK: it went well */
} tr_snapshot_work;

/* Would one begin now? Errors as of tr_snapshots_begin. */
tr_status tr_snapshots_may_begin(tr_vault *vault, tr_error *err);
/* Begin; `id` names the snapshot to make or to verify. TR_E_CONFLICT: another task runs, or no target is set.
 */
tr_status tr_snapshots_begin(tr_vault *vault, tr_snapshot_task task, tr_snapshot_want want, const tr_uuid *id,
                             tr_error *err);
/* Wait up to so long for this snapshot's task to end. False: it has not, or was never begun. */
bool tr_snapshots_wait(tr_vault *vault, tr_snapshot_task task, const tr_uuid *id, int64_t wait_ms,
                       tr_snapshot_work *work);
/* The newest of this kind since the start, running or ended. False: there was none. */
bool tr_snapshots_last(tr_vault *vault, tr_snapshot_task task, tr_snapshot_work *work);
/* What the last verification of this snapshot came to, among those since the start that are remembered. */
bool tr_snapshots_verified(tr_vault *vault, const tr_uuid *id, tr_snapshot_work *work);

/* Make one now, in this thread, and drop the snapshots that are not to be kept any more (settings
 * backup_keep_*). For commands that have the vault for themselves. */
tr_status tr_snapshots_make(tr_vault *vault, tr_snapshot_want want, const tr_uuid *id, tr_error *err);

/* A drill now, in this thread: likewise. */
tr_status tr_snapshots_drill(tr_vault *vault, tr_error *err);

/* Begin to ship the log, when the settings say so, and to upload what waits in the spool: for `tresor serve`.
 * It ends with tr_snapshots_join. */
tr_status tr_snapshots_ship(tr_vault *vault, tr_error *err);

typedef struct tr_log_state {
    tr_uuid id;        /* the snapshot from which it goes on */
    int64_t number;    /* the newest segment, 0: none yet */
    int64_t at;        /* the moment that can be reached */
    int64_t behind_ms; /* how old the oldest change is that is not shipped yet */
} tr_log_state;
/* False: none goes on now. */
bool tr_snapshots_log(tr_vault *vault, tr_log_state *state);

/* While the vault is being opened: remove the scratch folders that a crash left. */
tr_status tr_snapshots_sweep(const tr_config *config, tr_error *err);
/* For the sweep: begin the scheduled snapshot or drill when it is due (settings backup_every_s,
 * backup_drill_every_s), and renew the copy of
 * the keys after a rotation of the master key. Quick; leaves *more alone. */
tr_status tr_snapshots_tend(tr_vault *vault, bool *more, tr_error *err);
/* The newest good snapshot in the target, as far as is known without looking there. False: none is known. */
bool tr_snapshots_newest(tr_vault *vault, tr_snapshot_item *item, size_t *count);
/* Does a snapshot need this version of the master key, which wraps no data key any more? Which one is said:
 * TR_E_CONFLICT. The copy of the keys is renewed first. TR_E_IO when the target cannot be reached. */
tr_status tr_snapshots_need_master(tr_vault *vault, uint32_t version, tr_error *err);
/* What runs comes to its end soon, and nothing begins any more: the process is to stop. */
void tr_snapshots_end(tr_vault *vault);
/* The same, and wait for that end: before the vault is closed. */
void tr_snapshots_join(tr_vault *vault);

#endif
