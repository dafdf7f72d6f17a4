/* Legal holds: while one stands, nothing of its subject is erased: not the subject, not a record, neither by
 * request nor by retention (Art. 17(3) GDPR; Art. 30 to 31 FADP: an overriding duty to keep).
 */
#ifndef TR_VAULT_HOLDS_H
#define TR_VAULT_HOLDS_H

#include "store/store.h"

#define TR_HOLDS_MAX 100 /* standing ones of one subject */

/* TR_E_HOLD when one stands now, with its title and id in the text; else TR_OK. To be asked inside the job
 * that erases, where it cannot change any more. */
tr_status tr_hold_check(tr_db *db, const tr_uuid *subject, int64_t now, tr_error *err);
/* The same as a question, for those who pass such a subject over. */
tr_status tr_hold_stands(tr_db *db, const tr_uuid *subject, int64_t now, bool *stands, tr_error *err);
bool tr_hold_is_standing(const tr_hold *row, int64_t now);

/* Inside a job. TR_E_NOT_FOUND: no such subject; TR_E_CONFLICT: it has TR_HOLDS_MAX standing ones. */
tr_status tr_hold_place(tr_db *tx, const tr_hold *row, tr_error *err);

#endif
