/* Retention: records that have been kept for as long as they may are erased, by themselves.
 *
 * Two rules say how long, both counted from a record's created_at; whichever is due first, counts.
 * - type: its type's x-retention: due at created_at + that duration.
 * - activity: its type is in the "record_types" of activities, and all of those that name it have ended, or
 * will by their "expires". Due at the end + retention_after_end (P0D when absent), the latest of them. A
 * record that was created after the last of those ends was not collected for them, and the rule does not
 * touch it. A legal hold and a restriction keep all of a subject's records until they are lifted.
 */
#ifndef TR_VAULT_RETENTION_H
#define TR_VAULT_RETENTION_H

#include "vault/vault.h"

/* Erase what is due, in batches of at most 100 records, each a job with one audit entry "retention.erase" a
 * subject that names them. Some seconds of work at most: *more says that there is more. After erasing, the
 * WALs are emptied as soon as no reader holds on to them. One thread at a time (tr_vault_sweep). */
tr_status tr_retention_sweep(tr_vault *vault, bool *more, tr_error *err);

/* A sweep that runs, and any later one, comes to its end soon. Any thread. */
void tr_retention_end(tr_vault *vault);

/* What of a subject's records is due when: one a type and rule, the earliest first. */
typedef struct tr_retention_due {
    const char *type;
    int64_t due_at;  /* of the oldest of them */
    int64_t records; /* that the rule is about */
    bool by_activity;
} tr_retention_due;
typedef tr_status (*tr_retention_fn)(void *context, const tr_retention_due *due, tr_error *err);
tr_status tr_retention_list(tr_vault *vault, tr_db *db, const tr_uuid *subject, tr_retention_fn fn,
                            void *context, tr_error *err);
/* One of these as JSON: {"type","due_at","records","rule":"type"|"activity"}. */
void tr_retention_json(tr_buf *out, const tr_retention_due *due);
/* All of them: a JSON array, appended. */
tr_status tr_retention_of(tr_vault *vault, tr_db *db, const tr_uuid *subject, tr_buf *json, tr_error *err);

#endif
