/* Restriction of processing and objection (Art. 18, 21 GDPR; Art. 30(2)(b), 32(2)(a) FADP).
 *
 * A restricted subject's data stay stored, and no service reads or changes them, whatever its grants. The
 * subject itself may, and an officer within a request of that subject; retention leaves them alone.
 */
#ifndef TR_VAULT_RESTRICTION_H
#define TR_VAULT_RESTRICTION_H

#include "vault/recipients.h"

/* TR_E_RESTRICTED when it is, TR_OK when it is not. */
tr_status tr_restriction_judge(const tr_subject_row *row, tr_error *err);
/* The same of the subject; TR_OK too when it does not exist. */
tr_status tr_restriction_check(tr_db *db, const tr_uuid *subject, tr_error *err);
tr_status tr_restriction_is(tr_db *db, const tr_uuid *subject, bool *restricted, tr_error *err);

/* Inside a job: restrict, or lift it, and tell the recipients (tr_recipients_load, before the job). When it
 * is so already nothing is changed and nobody told; *notices are then the recipients that were told so before
 * because of the request, each once. *changed and *notices may be NULL. TR_E_NOT_FOUND: no such subject;
 * TR_E_PRECONDITION: load the recipients anew. */
tr_status tr_restriction_set(tr_db *tx, const tr_uuid *subject, bool restricted, const tr_uuid *request,
                             tr_recipients *recipients, int64_t at, bool *changed, int64_t *notices,
                             tr_error *err);

/* Inside a job: withdraw the subject's live grants for these activities, and tell each grantee once.
 * *withdrawn and *notices may be NULL. */
tr_status tr_objection_apply(tr_db *tx, const tr_uuid *subject, const tr_uuid *activities, size_t count,
                             const tr_uuid *request, int64_t at, int64_t *withdrawn, int64_t *notices,
                             tr_error *err);

#endif
