/* Shared by drill.c and drill_result.c only. */
#ifndef TR_VAULT_DRILL_INTERNAL_H
#define TR_VAULT_DRILL_INTERNAL_H

#include "vault/audit.h"
#include "vault/drill.h"

/* Keep a result, and enter it in the audit log. */
tr_status tr_drill_keep(tr_vault *vault, const tr_drill *drill, tr_status outcome, tr_error *err);

#endif
