/* What a request with an Idempotency-Key answered, sealed: under the data key of the subject it concerns, so
 * that it goes when the subject goes, else under a key of the vault's own.
 */
#ifndef TR_VAULT_OUTCOMES_H
#define TR_VAULT_OUTCOMES_H

#include "crypto/aead.h"
#include "vault/vault.h"

/* Seal `plain` for the row, whose principal, key, request and subject are set; they are bound to it. */
tr_status tr_outcome_seal(tr_vault *vault, tr_db *db, const tr_outcome *row, tr_bytes plain, tr_buf *sealed,
                          tr_error *err);
/* TR_E_CORRUPT when it does not verify. */
tr_status tr_outcome_open(tr_vault *vault, tr_db *db, const tr_outcome *row, tr_buf *plain, tr_error *err);

/* A cursor that says nothing to whoever holds it: an id, sealed, bound to the principal that it was made for.
 */
#define TR_SEALED_CURSOR_LEN (16 + TR_AEAD_OVERHEAD)
tr_status tr_cursor_seal(tr_vault *vault, const tr_uuid *principal, const tr_uuid *id,
                         uint8_t out[TR_SEALED_CURSOR_LEN], tr_error *err);
tr_status tr_cursor_open(tr_vault *vault, const tr_uuid *principal,
                         const uint8_t sealed[TR_SEALED_CURSOR_LEN], tr_uuid *id, tr_error *err);

#endif
