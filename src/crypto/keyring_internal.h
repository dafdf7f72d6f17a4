/* Shared by the keyring_*.c files only. */
#ifndef TR_CRYPTO_KEYRING_INTERNAL_H
#define TR_CRYPTO_KEYRING_INTERNAL_H

#include <pthread.h>

#include "crypto/keyring_provider.h"

#define TR_NAMED_KEYS_MAX 16
#define TR_KEY_NAME_MAX   64
#define TR_WRAPPED_MAX    128

typedef struct tr_ring_master {
    uint32_t version;
    int64_t created_ms;
} tr_ring_master;

typedef struct tr_ring_key {
    char name[TR_KEY_NAME_MAX + 1];
    uint32_t master;
    uint8_t wrapped[TR_WRAPPED_MAX];
    size_t wrapped_len;
} tr_ring_key;

struct tr_keyring {
    pthread_rwlock_t lock;
    char *path;
    const tr_keyring_provider *provider;
    void *self; /* the provider's */
    uint32_t current;
    tr_ring_master masters[TR_MASTERS_MAX]; /* ascending versions */
    size_t master_count;
    tr_ring_key keys[TR_NAMED_KEYS_MAX];
    size_t key_count;
};

/* The document's text, sealed: sorted compact JSON and a newline. */
tr_status tr_ring_write(const tr_keyring *ring, tr_buf *text, tr_error *err);
/* Read the text into a tree. TR_E_CORRUPT unless it is, byte for byte, what tr_ring_write once made. Needs no
 * key: an accident is found here, before a passphrase is held against it. */
tr_status tr_ring_read(tr_bytes text, cJSON **document, tr_error *err);
/* Take versions and named keys from the document. */
tr_status tr_ring_load(tr_keyring *ring, const cJSON *document, tr_error *err);
/* Does the document's seal fit what the provider makes of it? */
tr_status tr_ring_check_seal(const tr_keyring *ring, const cJSON *document, bool *fits, tr_error *err);

/* Read a whole file that only its owner may touch. TR_E_CONFIG: missing, or not private. */
tr_status tr_private_read(const char *path, size_t most, tr_buf *out, tr_error *err);
/* Write a file, 0600, so that the old or the new one is there, never half. Not `replace`: TR_E_EXISTS when it
 * is there. */
tr_status tr_private_write(const char *path, tr_bytes content, bool replace, tr_error *err);
/* Remove what a write that was cut off left beside the file. */
void tr_private_sweep(const char *path);

#endif
