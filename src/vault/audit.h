/* The audit log's entries (Art. 4 DPO): who did what to whose data, for which purpose, with which outcome. No
 * payload.
 *
 * One entry is one JSON object with these members, absent where they do not apply:
 * time, action, principal, role, session, origin, purpose, subject, type, records, outcome, request, address,
 * detail. `session` names the session (the first 16 hex digits of SHA-256 of its client) without being of use
 * to sign in; of a lane, `origin` names the one it was made from.
 *
 * Some events open an incident: vault/incident_rules.h.
 */
#ifndef TR_VAULT_AUDIT_H
#define TR_VAULT_AUDIT_H

#include <cjson/cJSON.h>

#include "store/store.h"
#include "vault/tokens.h"

typedef struct tr_event {
    int64_t at;
    const char *action;     /* "record.read", "auth.sign_in", ...; static text */
    const tr_caller *who;   /* NULL: nobody signed in, or the vault itself */
    const char *session;    /* NULL: that of `who` */
    const tr_uuid *subject; /* NULL: none */
    const char *type;       /* a record type's name, or NULL */
    const tr_uuid *records;
    size_t record_count;
    const tr_uuid *purpose;
    tr_status outcome;
    const tr_uuid *request;
    const char *address;
    const char *detail; /* static text, or NULL */
} tr_event;

/* What names a session in the log. */
tr_status tr_session_ref(const char *client, char ref[TR_SESSION_REF + 1], tr_error *err);

/* Append the entry to the group that `tx` belongs to: durable before the group's answers. */
tr_status tr_event_append(tr_db *tx, const tr_event *event, tr_error *err);

/* One entry in a job of its own, for what has no other write. */
tr_status tr_event_write(tr_store *store, const tr_event *event, tr_error *err);

/* The members of an entry as its subject sees it, among those who accessed its data. The names of the
 * principal and the purpose, or NULL. */
void tr_access_members(tr_buf *out, int64_t seq, const cJSON *entry, const char *name,
                       const char *purpose_name);

#endif
