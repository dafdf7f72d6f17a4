/* What holds the master keys. The ring (keyring.c) knows versions, the named keys and the file; a provider
 * knows the keys themselves, or handles of keys that stay inside an HSM. Private to src/crypto and its tests.
 *
 * A provider's functions may be called by several threads at once, but never while one of create, open,
 * close, discard, new_master, load_master, import_master or destroy_master runs: the ring's lock sees to
 * that. A wrapped key must be what RFC 5649 makes of it under the master key, so that a ring can be recovered
 * into another provider, and has at most TR_WRAPPED_MAX bytes.
 */
#ifndef TR_CRYPTO_KEYRING_PROVIDER_H
#define TR_CRYPTO_KEYRING_PROVIDER_H

#include <cjson/cJSON.h>

#include "crypto/keyring.h"

#define TR_MASTERS_MAX 1024 /* versions in one ring */
#define TR_WRAPPED_MAX 128
#define TR_MASTER_LEN  32

typedef struct tr_keyring_provider {
    const char *name;     /* as in the document's "provider" */
    const char *unlocker; /* what opens it, for messages: "passphrase", "PIN", "shares" */
    bool external;        /* the keys are kept outside the document, so that destroying one can fail */

    /* A fresh state without master keys, as the spec says. TR_E_CONFIG when the spec lacks something. */
    tr_status (*create)(const tr_keyring_spec *spec, void **self, tr_error *err);
    /* Take the provider's own members of the document; TR_E_CORRUPT when they make no sense, TR_E_CONFIG
     * when `passphrase` is NULL or empty, TR_E_WRONG_KEY when it can be told here already that it does not
     * fit, TR_E_HSM. It must not write anywhere: opening changes nothing. */
    tr_status (*open)(const cJSON *document, const tr_secret *passphrase, void **self, tr_error *err);
    /* Free the state; the keys stay where they are kept. */
    void (*close)(void *self);
    /* NULL, or: as close, but the ring of this state (from create) was never saved, so also take back
     * whatever was made outside the document, master keys included. */
    void (*discard)(void *self);
    /* Fill in the provider's members of `need`, without opening anything; TR_E_CORRUPT. NULL: there are none.
     */
    tr_status (*need)(const cJSON *document, tr_keyring_need *need, tr_error *err);

    /* Make a key. An HSM's object must have an identity of its own, not only the version's number: a ring
     * that was restored from an older copy may use a number again. */
    tr_status (*new_master)(void *self, uint32_t version, tr_error *err);
    /* TR_E_WRONG_KEY when the passphrase does not open this master key; TR_E_CORRUPT when the entry makes no
     * sense; TR_E_HSM when the token lacks the key. */
    tr_status (*load_master)(void *self, uint32_t version, const cJSON *entry, tr_error *err);
    /* Forget the key, and destroy it wherever it is kept outside the document. Called after a document was
     * saved that does not name it or has it marked as "retiring", or because it could not be saved with it.
     * TR_OK when the key is gone already; when it fails, the state is as it was. */
    tr_status (*destroy_master)(void *self, uint32_t version, tr_error *err);
    /* The key itself, for recovery, and taking one over. NULL where keys never leave or enter. */
    tr_status (*export_master)(void *self, uint32_t version, tr_secret *key, tr_error *err);
    tr_status (*import_master)(void *self, uint32_t version, const tr_secret *key, tr_error *err);

    /* Add the provider's own members to the document, and to the entry of a master key. Member names that the
     * ring has itself: format, provider, current, masters, keys, recovery, seal, checksum; in an entry:
     * version, created, retiring. */
    tr_status (*describe)(void *self, cJSON *document, tr_error *err);
    tr_status (*describe_master)(void *self, uint32_t version, cJSON *entry, tr_error *err);

    /* TR_E_NOT_FOUND without such a version; unwrap gives TR_E_CORRUPT when it does not verify. wrap appends.
     */
    tr_status (*wrap)(void *self, uint32_t version, const tr_secret *key, tr_buf *wrapped, tr_error *err);
    tr_status (*unwrap)(void *self, uint32_t version, tr_bytes wrapped, tr_secret *key, tr_error *err);
    /* A MAC over the document, with a key that only who opened the ring has. */
    tr_status (*seal)(void *self, tr_bytes text, uint8_t seal[TR_SHA256_LEN], tr_error *err);
} tr_keyring_provider;

extern const tr_keyring_provider tr_keyring_file_provider;
extern const tr_keyring_provider tr_keyring_split_provider;
extern const tr_keyring_provider tr_keyring_pkcs11_provider;

/* A fresh state of the file provider. `ln`: tr_kdf_cost's, but in unit tests. */
tr_status tr_keyring_file_new(const tr_secret *passphrase, unsigned ln, void **self, tr_error *err);
/* tr_keyring_create_file with another scrypt cost: for unit tests only. */
tr_status tr_keyring_create_file_ln(const char *path, const tr_secret *passphrase, unsigned ln,
                                    tr_keyring **out, tr_error *err);
/* A ring by a provider that need not be in the table: for unit tests of failures. */
tr_status tr_keyring_create_with(const tr_keyring_provider *provider, const char *path,
                                 const tr_keyring_spec *spec, uint32_t first, tr_keyring **out,
                                 tr_error *err);

#endif
