/* What a request with an Idempotency-Key answered, sealed: under the data key of the subject it concerns, so
 * that it goes when the subject goes, else under a key of the vault's own.
 */
#ifndef TR_VAULT_OUTCOMES_H
#define TR_VAULT_OUTCOMES_H

#include "vault/vault.h"

/* Seal `plain` for the row, whose principal, key, request and subject are set; they are bound to it. */
tr_status tr_outcome_seal(tr_vault *vault, tr_db *db, const tr_outcome *row, tr_bytes plain, tr_buf *sealed,
                          tr_error *err);
/* TR_E_CORRUPT when it does not verify. */
tr_status tr_outcome_open(tr_vault *vault, tr_db *db, const tr_outcome *row, tr_buf *plain, tr_error *err);

#endif
