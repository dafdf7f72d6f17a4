/* Master keys in the process's own memory, wrapped in the document by one key-encryption key: what the file
 * and the split provider have in common; they differ in where that key comes from. Shared by the
 * keyring_*.c files only.
 *
 * A provider's state begins with a tr_masters, so that the functions here serve in its table.
 */
#ifndef TR_CRYPTO_KEYRING_MASTERS_H
#define TR_CRYPTO_KEYRING_MASTERS_H

#include "crypto/keyring_provider.h"

typedef struct tr_masters {
    tr_secret kek;  /* wraps the master keys */
    tr_secret seal; /* from the kek; seals the document */
    struct {
        uint32_t version;
        tr_secret key;
    } list[TR_MASTERS_MAX];
    size_t count;
} tr_masters;

/* The seal key from the kek, which is there. */
tr_status tr_masters_derive_seal(tr_masters *m, tr_error *err);
void tr_masters_clear(tr_masters *m);

/* As in tr_keyring_provider. */
tr_status tr_masters_new(void *self, uint32_t version, tr_error *err);
tr_status tr_masters_load(void *self, uint32_t version, const cJSON *entry, tr_error *err);
tr_status tr_masters_destroy(void *self, uint32_t version, tr_error *err);
tr_status tr_masters_export(void *self, uint32_t version, tr_secret *key, tr_error *err);
tr_status tr_masters_import(void *self, uint32_t version, const tr_secret *key, tr_error *err);
tr_status tr_masters_describe(void *self, uint32_t version, cJSON *entry, tr_error *err);
tr_status tr_masters_wrap(void *self, uint32_t version, const tr_secret *key, tr_buf *wrapped, tr_error *err);
tr_status tr_masters_unwrap(void *self, uint32_t version, tr_bytes wrapped, tr_secret *key, tr_error *err);
tr_status tr_masters_seal(void *self, tr_bytes text, uint8_t seal[TR_SHA256_LEN], tr_error *err);

#endif
