/* Who has got a subject's data, and what they are told of it: rectification, erasure and restriction are
 * communicated to each recipient to whom the data were disclosed (Art. 19 GDPR; Art. 32 FADP).
 *
 * The audit log says who they are. Notices go into the outbox (store.h) in the commit of their cause.
 */
#ifndef TR_VAULT_RECIPIENTS_H
#define TR_VAULT_RECIPIENTS_H

#include "vault/vault.h"

/* Distinct service principals, disabled or removed ones too, in no order. Begin with TR_RECIPIENTS_INIT. */
typedef struct tr_recipients {
    tr_uuid *ids; /* `room` places; the nil UUID in those that are free */
    size_t count, room;
    int64_t seq; /* the newest audit entry that was looked at */
} tr_recipients;
#define TR_RECIPIENTS_INIT ((tr_recipients){0})

/* The services that the log says were shown data of this subject: a read, a list or versions with a record in
 * it, a look-up that found it, a patch (its answer shows the whole record), an export. In batches, each with
 * a view of its own, so that a long log holds nobody up; memory grows with the services only. Outside of
 * jobs. It sets *out anew (what it held is freed); the caller clears it. */
tr_status tr_recipients_load(tr_vault *vault, tr_db *db, const tr_uuid *subject, tr_recipients *out,
                             tr_error *err);
/* Inside a job: what the log has got since. TR_E_PRECONDITION when that is too much for a job: load anew. */
tr_status tr_recipients_renew(tr_db *tx, const tr_uuid *subject, tr_recipients *recipients, tr_error *err);
/* Add one unless it is there. */
tr_status tr_recipients_add(tr_recipients *recipients, const tr_uuid *principal, tr_error *err);
void tr_recipients_clear(tr_recipients *recipients);

/* Inside a job: a notice for each, due at once. `request` NULL: none caused it. `kind` is "rectification",
 * "restriction", "restriction-lifted", "erasure", "objection"; `doc` is a JSON object without personal data,
 * or NULL for {}. *count (may be NULL): how many were added. */
tr_status tr_notices_add(tr_db *tx, const tr_recipients *recipients, const tr_uuid *subject,
                         const tr_uuid *request, const char *kind, const char *doc, int64_t *count,
                         tr_error *err);

#endif
