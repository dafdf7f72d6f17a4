/* What a vault that cannot be written has seen: a database that its key does not open, an audit log that is
 * not intact. It is kept in a small file beside the databases, one for each cause, and becomes an event, and
 * by rule an incident, at the next good start, or at the next sweep of a server that runs.
 */
#ifndef TR_VAULT_INCIDENT_NOTES_H
#define TR_VAULT_INCIDENT_NOTES_H

#include "vault/vault.h"

/* Keep it, or count it where it is kept already, if it is a fault of this kind: TR_E_WRONG_KEY of a database,
 * TR_E_CORRUPT of audit.db. As good as it goes: a failure is logged. */
void tr_incident_note(const tr_config *config, tr_status fault, const char *where);
/* Turn what was kept into events. */
tr_status tr_incident_notes_take(tr_vault *vault, bool *more, tr_error *err);

#endif
