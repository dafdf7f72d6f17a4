/* Moving the keys to another provider, offline and resumable. */
#ifndef TR_VAULT_MIGRATE_H
#define TR_VAULT_MIGRATE_H

#include "vault/vault.h"

typedef struct tr_migration {
    const tr_secret *old_passphrase; /* what opens the keyring now */
    const tr_keyring_spec *spec;     /* of the new ring */
    /* What opens a new ring that an earlier run made, where keys are in it already; NULL: the spec's
     * passphrase does. It is asked for only then. */
    tr_status (*new_passphrase)(void *context, const char *ring_path, tr_secret *passphrase, tr_error *err);
    /* The new ring is made and no key is in it yet: split's shares are to be handed out now. A failure ends
     * the migration. */
    tr_status (*made)(void *context, tr_error *err);
    void *context;
} tr_migration;

/* A second ring, DIR/keyring.new, is made by the spec, with a master key whose version is above all of the
 * old ring's. Every key in keys.db is wrapped again by it, in batches, each of which stands for itself; the
 * databases' keys are copied; and when the old ring is not needed by anything, the new one takes the name
 * `keyring`. Cut off at any point, it goes on when it is called again; a new ring that holds nothing yet is
 * made anew. No key is ever on disk but wrapped by one ring or the other. *version is the new master key's,
 * *moved how many keys this run wrapped again. */
tr_status tr_vault_migrate(const tr_config *config, const tr_migration *migration, uint32_t *version,
                           int64_t *moved, tr_error *err);

#endif
