/* What holds the master keys. The ring (keyring.c) knows versions, the named keys and the file; a provider
 * knows the keys themselves, or handles of keys that stay inside an HSM. Private to src/crypto and its tests.
 *
 * A provider's functions may be called by several threads at once, but never while one of open, close,
 * new_master or load_master runs: the ring's lock sees to that.
 */
#ifndef TR_CRYPTO_KEYRING_PROVIDER_H
#define TR_CRYPTO_KEYRING_PROVIDER_H

#include <cjson/cJSON.h>

#include "crypto/keyring.h"

#define TR_MASTERS_MAX 1024 /* versions in one ring */

typedef struct tr_keyring_provider {
    const char *name; /* as in the document's "provider" */
    /* Take the provider's own members of the document; TR_E_CORRUPT when they make no sense. */
    tr_status (*open)(const cJSON *document, const tr_secret *passphrase, void **self, tr_error *err);
    void (*close)(void *self);
    tr_status (*new_master)(void *self, uint32_t version, tr_error *err);
    /* TR_E_WRONG_KEY when the passphrase does not open this master key. */
    tr_status (*load_master)(void *self, uint32_t version, const cJSON *entry, tr_error *err);
    /* Add the provider's own members to the document, and to the entry of a master key. */
    tr_status (*describe)(void *self, cJSON *document, tr_error *err);
    tr_status (*describe_master)(void *self, uint32_t version, cJSON *entry, tr_error *err);
    /* TR_E_NOT_FOUND without such a version; unwrap gives TR_E_CORRUPT when it does not verify. */
    tr_status (*wrap)(void *self, uint32_t version, const tr_secret *key, tr_buf *wrapped, tr_error *err);
    tr_status (*unwrap)(void *self, uint32_t version, tr_bytes wrapped, tr_secret *key, tr_error *err);
    /* A MAC over the document, with a key that only who opened the ring has. */
    tr_status (*seal)(void *self, tr_bytes text, uint8_t seal[TR_SHA256_LEN], tr_error *err);
} tr_keyring_provider;

extern const tr_keyring_provider tr_keyring_file_provider;

#define TR_KEYRING_FILE_LN 17 /* scrypt with N = 2^17, r = 8: 128 MiB, about 0.4 s */

/* A fresh state of the file provider, without master keys. `ln` is below TR_KEYRING_FILE_LN in unit tests
 * only. */
tr_status tr_keyring_file_new(const tr_secret *passphrase, unsigned ln, void **self, tr_error *err);
/* tr_keyring_create_file with another scrypt cost: for unit tests only. */
tr_status tr_keyring_create_file_ln(const char *path, const tr_secret *passphrase, unsigned ln,
                                    tr_keyring **out, tr_error *err);

#endif
