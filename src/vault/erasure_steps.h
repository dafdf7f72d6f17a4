/* The steps of one erasure (vault/erasure.h). Shared by erasure.c and erasure_steps.c only. */
#ifndef TR_VAULT_ERASURE_STEPS_H
#define TR_VAULT_ERASURE_STEPS_H

#include "vault/vault.h"

/* Has whoever runs the steps to leave off? */
typedef bool (*tr_erasure_late_fn)(void *context);

/* Steps 2 and 3. *ready: they are done; else it was late. TR_E_NOT_FOUND: there is no such erasure (any
 * more). */
tr_status tr_erasure_prepare(tr_vault *vault, const tr_uuid *subject, tr_erasure_late_fn late, void *context,
                             bool *ready, tr_error *err);
/* Step 4, for all erasures that are ready. TR_E_BUSY: readers hold on to an old view; again in a moment. */
tr_status tr_erasure_clean(tr_vault *vault, tr_error *err);
/* Step 5. Nothing to do when it was done before. */
tr_status tr_erasure_complete(tr_vault *vault, const tr_uuid *subject, tr_error *err);

#endif
