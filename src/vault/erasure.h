/* Erasure: a job in steps that goes on after a crash at any point, until the person's data, its keys and
 * what could bring it back are gone, and the receipt is there (Art. 32(2)(c) FADP, Art. 17 GDPR).
 *
 * 1. One commit, with the request's: no hold stands, the data key is destroyed and the ledger knows it, the
 *    request is `fulfilling`; the subject is there for nobody from then on.
 * 2. Batches delete the records, then the subject's row and what hangs on it. Its requests keep their dates,
 *    and lose their texts; those still open are closed, with result {"erased_by": request}.
 * 3. Notices to those who had got the data (Art. 19 GDPR).
 * 4. The write-ahead logs are emptied, and the backup's copy of the keys is renewed.
 * 5. One commit: receipt, request `fulfilled`, audit entry `subject.erased`.
 */
#ifndef TR_VAULT_ERASURE_H
#define TR_VAULT_ERASURE_H

#include "vault/vault.h"

/* Step 1, inside a job of the caller, who appends the audit entry of what asked for it. The request must be
 * stored: of this subject, kind erasure, verified or extended; its state becomes fulfilling (version + 1,
 * updated_at = at). TR_E_HOLD: a legal hold forbids it, and which one is said; TR_E_CONFLICT: the request is
 * in another state; TR_E_NOT_FOUND: no such request, or no such subject (it may be being erased already). */
tr_status tr_erasure_file(tr_db *tx, const tr_uuid *subject, const tr_uuid *request, int64_t at,
                          tr_error *err);
/* Right after that commit: what memory knows of the subject is forgotten. */
void tr_erasure_filed(tr_vault *vault, const tr_uuid *subject);
/* Steps 2 to 5, in this thread, or wait for the thread that is at it. *done: the request is fulfilled and has
 * its receipt (also when it was done before). After wait_ms without an end: TR_OK and not done; the sweep
 * goes on with it. A failure is not the end either: the sweep tries again. */
tr_status tr_erasure_finish(tr_vault *vault, const tr_uuid *subject, int64_t wait_ms, bool *done,
                            tr_error *err);
/* For start-up and tr_vault_sweep: go on with erasures that nobody is at, for some seconds at most. *more:
 * there is more to do at once. Those that fail are left for the next call. */
tr_status tr_erasures_resume(tr_vault *vault, bool *more, tr_error *err);
/* Whoever is in one of these calls comes to its end soon: the process is to stop. */
void tr_erasures_end(tr_vault *vault);

#endif
