/* Which subjects an incident touched, from the audit log, exactly: those that an entry with outcome "ok"
 * names and that the scope takes in. Refused tries touched nobody.
 *
 * The log is read once from its first entry to its newest (or between the marks), in batches, each with a
 * view of its own, so that nobody is held up: some seconds for a million entries. The times in it need not
 * ascend, so a time window spares nothing. Of the subjects a page is kept, and, to count them all, their ids:
 * 16 to 32 bytes each.
 */
#ifndef TR_VAULT_INCIDENT_SCOPE_H
#define TR_VAULT_INCIDENT_SCOPE_H

#include <cjson/cJSON.h>

#include "vault/tokens.h"
#include "vault/vault.h"

#define TR_SCOPE_MAX    (TR_EVIDENCE_FIRST + TR_EVIDENCE_LAST) /* an officer may write a third of that */
#define TR_ADDRESS_TEXT 46

/* What is given must all hold; of a list, one. */
typedef struct tr_scope {
    tr_uuid principals[TR_SCOPE_MAX];
    char sessions[TR_SCOPE_MAX][TR_SESSION_REF + 1]; /* with the lanes made from them */
    char addresses[TR_SCOPE_MAX][TR_ADDRESS_TEXT];
    size_t principal_count, session_count, address_count;
    int64_t from, to; /* both included; 0: no bound */
} tr_scope;

bool tr_scope_is_empty(const tr_scope *scope);
/* A JSON object {"principals","sessions","addresses","from","to"}, each absent, null or as its schema says.
 * TR_E_VALIDATION at `pointer`/member. */
tr_status tr_scope_read(const cJSON *object, const char *pointer, tr_scope *out, tr_error *err);
/* Append one unless it is there; false when there is no room, or it is too long. */
bool tr_scope_add_session(tr_scope *scope, const char *session);
bool tr_scope_add_address(tr_scope *scope, const char *address);
/* The object again; name as in base/json_write.h. */
void tr_scope_json(tr_buf *out, const char *name, const tr_scope *scope);

typedef struct tr_touched {
    tr_uuid subject;
    int64_t first_at, last_at, count;
    uint64_t actions; /* bits of tr_affected.actions */
} tr_touched;

#define TR_AFFECTED_ACTIONS 64
typedef struct tr_affected {
    tr_touched *rows; /* by subject, ascending */
    size_t count, room;
    bool more;           /* there are subjects behind these */
    int64_t total;       /* distinct subjects, when they were counted; else -1 */
    int64_t first, last; /* the first and last entry that counts, of any subject; 0: there is none */
    char actions[TR_AFFECTED_ACTIONS][40];
    int action_count;
} tr_affected;

/* Which part of the log, and which subjects. */
typedef struct tr_affected_part {
    const tr_uuid *after; /* NULL: from the first subject */
    int64_t first, upto;  /* entries first to upto count */
    size_t limit;         /* subjects, at most */
    bool count_all;
} tr_affected_part;

/* The caller clears *out, also when it fails. */
tr_status tr_affected_find(tr_db *db, const tr_scope *scope, const tr_affected_part *part, tr_affected *out,
                           tr_error *err);
void tr_affected_clear(tr_affected *affected);

#endif
