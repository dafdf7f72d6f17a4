/* The offline recovery key: an X25519 key pair whose private half lies in a safe. */
#ifndef TR_VAULT_RECOVERY_H
#define TR_VAULT_RECOVERY_H

#include "vault/vault.h"

/* From now on DIR/keyring.recovery holds the keyring's content, encrypted to this public key, and follows its
 * changes. TR_E_CONFIG where the keys cannot leave an HSM. */
tr_status tr_vault_set_recovery(const tr_config *config, const tr_secret *passphrase,
                                const uint8_t public_key[32], tr_error *err);

typedef struct tr_recovery {
    const tr_secret *private_key;
    const tr_keyring_spec *spec; /* of the ring to be made */
    /* The ring is made, and opens the databases, but is not in place yet: split's shares are to be handed out
     * now. */
    tr_status (*made)(void *context, tr_error *err);
    void *context;
} tr_recovery;

/* Make DIR/keyring anew from DIR/keyring.recovery, whether it is lost or its passphrase forgotten. A keyring
 * that is there is replaced only when the new one has been seen to open the databases and to know every
 * master key they need: TR_E_WRONG_KEY or TR_E_CORRUPT where not, and nothing is changed. *master is the
 * current master key's version. */
tr_status tr_vault_recover(const tr_config *config, const tr_recovery *recovery, uint32_t *master,
                           tr_error *err);

#endif
