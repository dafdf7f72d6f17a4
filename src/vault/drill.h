/* Restore drills: the newest snapshot, with the log behind it and the newest copy of the keys, is restored
 * from the backup into a scratch folder under keys that nobody knows, looked through, and removed.
 *
 * What is looked at, step by step: the copy of the keyring, every file of the chain, each database's
 * structure (integrity_check, cipher_integrity_check, foreign keys), the audit log to the head that the
 * newest file names, the erasure ledger (nobody in it is there afterwards, everybody else has a key),
 * payloads of a sample of persons (they open), and the counts. The first step that fails is named. What opens
 * the keyring is not in the backup, so that it is known to somebody remains the operator's to try.
 *
 * The newest result is kept in vault.db. It is in the audit log as snapshot.drill, and one that failed as
 * security.drill_failed too.
 */
#ifndef TR_VAULT_DRILL_H
#define TR_VAULT_DRILL_H

#include "base/json_write.h"
#include "vault/snapshots.h"

typedef struct tr_drill {
    bool ok;
    int64_t begun_at, ended_at;
    tr_uuid snapshot; /* nil: none was found */
    /* As far as it came; 0 else. */
    int64_t segments;            /* of the log */
    int64_t reached_at, keys_at; /* the moments of the data and of the keys */
    bool counted;
    tr_store_counts counts; /* as that moment had them */
    int64_t erased;         /* persons in the snapshot that the ledger names */
    int64_t opened;         /* payloads */
    /* When it failed: what, a status's slug, why and where. */
    char step[16], problem[32], reason[240], where[160];
} tr_drill;

/* One drill; a tr_snapshot_task's. Its failure is a failed drill's: the result is kept all the same, unless
 * the vault is shutting down. */
tr_status tr_drill_run(tr_vault *vault, tr_snapshot_work *work, tr_error *err);

/* The newest result. False: there was none, or it cannot be read. */
bool tr_drill_last(tr_vault *vault, tr_drill *out);
/* One JSON object: {"state","snapshot","begun_at","ended_at",...}. */
void tr_drill_json(tr_buf *out, const char *name, const tr_drill *drill);

#endif
