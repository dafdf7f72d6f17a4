/* The databases' keys, which the keyring keeps by name, and opening the store with them. Not for other
 * layers.
 *
 * While a database is rekeyed its key has a successor in the keyring (tr_keyring_named_next), and after a
 * crash either of the two may be the one that opens it. Who holds the lock settles that: the one that opens
 * it is the key from then on.
 */
#ifndef TR_VAULT_DATABASES_H
#define TR_VAULT_DATABASES_H

#include "base/config.h"
#include "crypto/keyring.h"
#include "store/store.h"

#define TR_DATABASES 3
extern const char *const tr_database_names[TR_DATABASES];

/* Make the databases and their keys. The caller holds the folder's lock. */
tr_status tr_databases_create(const tr_config *config, tr_keyring *ring, tr_store **out, tr_error *err);
/* The caller holds the folder's lock. */
tr_status tr_databases_open(const tr_config *config, tr_keyring *ring, tr_store **out, tr_error *err);

/* Where a crash left it open: let the successor take the place of the key, when it is the one that opens the
 * database. The caller holds the folder's lock. */
tr_status tr_database_settle(const tr_config *config, tr_keyring *ring, const char *name, tr_error *err);
/* The key that opens the database now, without settling anything: for who only reads. */
tr_status tr_database_key(const tr_config *config, tr_keyring *ring, const char *name, tr_secret *key,
                          tr_error *err);

#endif
