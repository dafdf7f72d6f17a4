/* The versions of the master key: listed, rotated, retired; and after a rotation the data keys wrapped again.
 *
 * A rotation makes a new version current at once: it is durable in the keyring before anybody is told. The
 * data keys follow in batches (vault/rewrap.c, on the sweep's thread), each unwrapped and wrapped outside the
 * writer and written by one job. Every batch stands for itself: after a crash what is stale is found again,
 * and both versions open what they wrapped.
 *
 * A version that is not current never gets a new key: each job that stores a wrapped key sees to that on the
 * writer's thread (tr_datakey_insert, rewrap.c). So a version that a job found unused stays unused, and can
 * be destroyed after that job.
 */
#ifndef TR_VAULT_KEYS_H
#define TR_VAULT_KEYS_H

#include "vault/audit.h"
#include "vault/vault.h"

typedef struct tr_master_use {
    uint32_t version;
    int64_t created_ms;
    bool current;
    int64_t data_keys; /* of subjects, and the vault's own in keys.db */
} tr_master_use;

/* All versions, oldest first; the caller frees *items. `db` NULL: the data keys are not counted. */
tr_status tr_keys_list(tr_vault *vault, tr_db *db, tr_master_use **items, size_t *count, tr_error *err);
/* The name of the index-th database whose key this version wraps in the keyring; NULL: there are no more. */
const char *tr_keys_database(tr_vault *vault, uint32_t version, size_t index);
const char *tr_keys_provider(tr_vault *vault);
/* Is some key not (or not known to be) wrapped by the current version? */
bool tr_keys_rewrapping(tr_vault *vault);

/* Rotations and retirements happen one at a time: hold this from before one until its entry in the audit log
 * is durable. Not to be asked for twice by one thread. */
void tr_keys_lock(tr_vault *vault);
void tr_keys_unlock(tr_vault *vault);

/* Locked: a new version becomes current. One that was made before but never came into the audit log (a crash,
 * or a commit that failed) is taken instead: whoever asks again gets that one. */
tr_status tr_keys_rotate(tr_vault *vault, uint32_t *version, tr_error *err);
/* Locked, in the job that appends the rotation's audit entry: the log knows this version. */
tr_status tr_keys_note(tr_db *tx, uint32_t version, tr_error *err);
/* After that job: begin to wrap the data keys again. */
void tr_keys_begin_rewrap(tr_vault *vault);

/* Locked: destroy a version. `event` is its audit entry, durable before the key is gone. TR_E_NOT_FOUND;
 * TR_E_CONFLICT while it is current or wraps anything. */
tr_status tr_keys_retire(tr_vault *vault, uint32_t version, const tr_event *event, tr_error *err);

/* Wrap up to `batch` stale keys again: one job. *done: none is left, and the log says so. For one thread. */
tr_status tr_keys_rewrap_some(tr_vault *vault, int batch, bool *done, tr_error *err);
/* What the sweep does: take an unlogged rotation into the log, rotate when it is time, wrap data keys again
 * for a while. *more: call again at once. */
tr_status tr_keys_tend(tr_vault *vault, bool *more, tr_error *err);

#endif
