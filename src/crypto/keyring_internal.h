/* Shared by the keyring_*.c files only. */
#ifndef TR_CRYPTO_KEYRING_INTERNAL_H
#define TR_CRYPTO_KEYRING_INTERNAL_H

#include <pthread.h>

#include "crypto/hpke.h"
#include "crypto/keyring_provider.h"

#define TR_KEYRING_FORMAT "tresor-keyring-1"
#define TR_NAMED_KEYS_MAX 16
#define TR_KEY_NAME_MAX   64
#define TR_KEYRING_MAX    ((size_t)1024 * 1024) /* bytes of a keyring's or a recovery file */

typedef struct tr_ring_master {
    uint32_t version;
    int64_t created_ms;
    bool retiring; /* being destroyed outside the document: nobody's key any more */
} tr_ring_master;

typedef struct tr_ring_key {
    char name[TR_KEY_NAME_MAX + 1];
    uint32_t master;
    uint8_t wrapped[TR_WRAPPED_MAX];
    size_t wrapped_len;
} tr_ring_key;

/* What the document says, but for the provider's members. */
typedef struct tr_ring_state {
    uint32_t current;
    tr_ring_master masters[TR_MASTERS_MAX]; /* ascending versions */
    size_t master_count;
    tr_ring_key keys[TR_NAMED_KEYS_MAX];
    size_t key_count;
    bool has_recovery;
    uint8_t recovery[TR_HPKE_KEY_LEN];
} tr_ring_state;

struct tr_keyring {
    char *path;
    const tr_keyring_provider *provider;
    void *self; /* the provider's */
    /* Changes are made one at a time, on a draft of the state, without hindering who uses the ring. `lock` is
     * held for writing only while a draft becomes the state, and while the provider makes or destroys a key.
     */
    pthread_mutex_t change;
    pthread_rwlock_t lock;
    tr_ring_state *state;
};

static inline tr_status tr_ring_no_memory(tr_error *err) {
    return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
}

/* ---- keyring.c ---- */

/* A ring with this provider's state, which it owns from now on (also on failure), and an empty state. */
tr_status tr_ring_new(const char *path, const tr_keyring_provider *provider, void *self, tr_keyring **out,
                      tr_error *err);
/* As tr_keyring_close, for a ring that was never saved. */
void tr_ring_discard(tr_keyring *ring);
tr_status tr_ring_find_provider(const char *name, const char *path, const tr_keyring_provider **out,
                                tr_error *err);
/* TR_E_EXISTS if there is something at the path. */
tr_status tr_ring_check_free(const char *path, tr_error *err);
/* Read the document at the path, without opening it, and find its provider. */
tr_status tr_ring_read_file(const char *path, cJSON **document, const tr_keyring_provider **provider,
                            tr_error *err);

/* ---- keyring_change.c ---- */

/* The first save of a new ring. */
tr_status tr_ring_save_new(tr_keyring *ring, tr_error *err);

/* ---- keyring_document.c ---- */

/* The document's text for this state, sealed: sorted compact JSON and a newline. */
tr_status tr_ring_write(const tr_keyring *ring, const tr_ring_state *state, tr_buf *text, tr_error *err);
/* Read the text into a tree. TR_E_CORRUPT unless it is, byte for byte, what tr_document_print once made;
 * TR_E_CONFIG when it is of another format. Needs no key: an accident is found here, before a passphrase is
 * held against it. */
tr_status tr_document_read(tr_bytes text, const char *format, cJSON **document, tr_error *err);
/* Add the checksum and print. */
tr_status tr_document_print(cJSON *document, tr_buf *text, tr_error *err);
/* Add "current", "masters", "keys" and "recovery"; a master's entry with what its provider says when it is
 * given. */
tr_status tr_document_add_state(cJSON *document, const tr_ring_state *state, const tr_keyring *describe,
                                tr_error *err);
/* Take versions and named keys from the document. */
tr_status tr_document_load_state(tr_ring_state *state, const cJSON *document, tr_error *err);
/* Does the document's seal fit what the provider makes of it? */
tr_status tr_ring_check_seal(const tr_keyring *ring, const cJSON *document, bool *fits, tr_error *err);

/* ---- keyring_recovery.c ---- */

/* Write `path`.recovery for this state, when it has a recovery key. */
tr_status tr_ring_save_recovery(const tr_keyring *ring, const tr_ring_state *state, tr_error *err);

/* ---- keyring_io.c ---- */

/* Read a whole file that only its owner may touch. TR_E_CONFIG: missing, or not private. */
tr_status tr_private_read(const char *path, size_t most, tr_buf *out, tr_error *err);
/* Write a file, 0600, so that the old or the new one is there, never half. Not `replace`: TR_E_EXISTS when it
 * is there. *published says whether the new one is in place, which can be so even after a failure: when only
 * the folder could not be flushed. */
tr_status tr_private_write(const char *path, tr_bytes content, bool replace, bool *published, tr_error *err);
/* Remove what a write that was cut off left beside the file. */
void tr_private_sweep(const char *path);

#endif
