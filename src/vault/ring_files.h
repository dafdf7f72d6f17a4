/* The keyring's files in the data folder. Not for other layers. The caller holds the folder's lock. */
#ifndef TR_VAULT_RING_FILES_H
#define TR_VAULT_RING_FILES_H

#include "vault/vault.h"

/* Remove a ring that nothing needs, its recovery file and what writes of either that were cut off left. */
tr_status tr_ring_remove(const tr_config *config, const char *name, tr_error *err);
/* Remove what was left by commands that were cut off and that nobody completes: a ring that was being
 * recovered, copies that were being written. No migration is under way. */
tr_status tr_ring_sweep(const tr_config *config, tr_error *err);
/* The ring of this name takes the name `keyring`, and its recovery file that of the old ring's (which goes
 * without one: it would open nothing). Cut off, it is to be called again. */
tr_status tr_ring_replace(const tr_config *config, const char *name, tr_error *err);

#endif
