/* The spool: a folder on this machine in which snapshots and segments of the log wait until they are in the
 * store. It looks as the store does (snapshots/ID.tresor, log/LOG/N.tresor); what is whole in it is durable,
 * and goes when the store has it. It never holds a copy of the keys. Not for other layers.
 *
 * Nothing is uploaded before the store has a copy of the keys that is as new: so what is in the store can be
 * restored, and erasures wait for the store and never for the spool.
 */
#ifndef TR_VAULT_SNAPSHOT_SPOOL_H
#define TR_VAULT_SNAPSHOT_SPOOL_H

#include "vault/snapshot_target.h"
#include "vault/vault.h"

/* Make sure of the folder, and remove what was cut off in it. Its files may have `limit` bytes. */
tr_status tr_spool_new(const char *folder, int64_t limit, tr_spool **out, tr_error *err);
void tr_spool_free(tr_spool *spool); /* NULL is fine */
tr_target *tr_spool_target(const tr_spool *spool);

/* So many bytes more. TR_E_DISK_FULL: that is above the limit. */
tr_status tr_spool_take(tr_spool *spool, int64_t bytes, tr_error *err);
/* So many less. */
void tr_spool_give(tr_spool *spool, int64_t bytes);
/* One file more, or one less (-1). */
void tr_spool_count(tr_spool *spool, int more);
/* May an upload of a copy of the keys have been cut off? Of whoever writes the copy. */
_Atomic bool *tr_spool_keys_left(tr_spool *spool);
void tr_spool_now(const tr_spool *spool, int64_t *files, int64_t *bytes);

typedef enum tr_spool_lane { TR_LANE_SNAPSHOTS, TR_LANE_LOG, TR_LANES } tr_spool_lane;

/* Upload what waits, in order; a failure ends it, and the next call goes on. Any thread: each lane is one
 * thread's at a time. TR_OK at once without a spool. */
tr_status tr_spool_flush(tr_vault *vault, tr_spool_lane lane, tr_error *err);
/* A thread that goes on with it, from now until tr_snapshots_end: for `tresor serve`. */
tr_status tr_spool_begin(tr_vault *vault, tr_error *err);
void tr_spool_join(tr_vault *vault);
/* A file goes into the spool that needs a copy of the keys newer than the one in the store. */
void tr_spool_owe_keys(tr_vault *vault);

#endif
