#include "vault/datakeys.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/aead.h"
#include "vault/vault_internal.h"

#define SLOTS      2048 /* 64 KiB of locked memory; a subject has one place, the newest user has it */
#define READ_TRIES 3

typedef struct slot {
    tr_uuid subject;
    tr_secret key; /* no data: empty */
} slot;

struct tr_datakey_cache {
    pthread_mutex_t mutex;
    uint64_t forgotten; /* how often something was forgotten: a key read before that is not put in after it */
    slot slots[SLOTS];
};

tr_status tr_datakey_cache_new(tr_datakey_cache **out, tr_error *err) {
    *out = calloc(1, sizeof **out);
    if (!*out)
        return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    pthread_mutex_init(&(*out)->mutex, NULL);
    return TR_OK;
}

void tr_datakey_cache_free(tr_datakey_cache *cache) {
    if (!cache)
        return;
    for (size_t i = 0; i < SLOTS; i++)
        tr_secret_clear(&cache->slots[i].key);
    pthread_mutex_destroy(&cache->mutex);
    free(cache);
}

/* The last bytes of a UUIDv7 are random. */
static slot *slot_of(tr_datakey_cache *cache, const tr_uuid *subject) {
    return &cache->slots[((size_t)subject->bytes[14] << 8 | subject->bytes[15]) % SLOTS];
}

struct unwrap {
    tr_keyring *ring;
    tr_secret *key;
    bool retired; /* the version that wraps the key is gone */
};

static tr_status unwrap_key(void *context, uint32_t master, tr_bytes wrapped, tr_error *err) {
    struct unwrap *u = context;
    tr_status st = tr_keyring_unwrap(u->ring, master, wrapped, u->key, err);
    u->retired = st == TR_E_NOT_FOUND;
    return st;
}

/* Between the reading of the row and the unwrapping the key may have been wrapped again and the old version
 * retired: then the row has another version now. */
static tr_status read_key(tr_vault *vault, tr_db *db, const tr_uuid *subject, tr_secret *key, tr_error *err) {
    struct unwrap u = {.ring = vault->ring, .key = key};
    tr_status st = TR_E_NOT_FOUND;
    for (int i = 0; i < READ_TRIES && st == TR_E_NOT_FOUND; i++) {
        u.retired = false;
        st = tr_key_get(db, subject, unwrap_key, &u, err);
        if (!u.retired)
            return st;
    }
    return st == TR_E_NOT_FOUND
               ? tr_fail(err, TR_E_CORRUPT, "keys.db", "the keyring lacks the master key of a data key")
               : st;
}

tr_status tr_datakey_get(tr_vault *vault, tr_db *db, const tr_uuid *subject, tr_secret *key, tr_error *err) {
    tr_datakey_cache *cache = vault->datakeys;
    tr_status st = TR_E_NOT_FOUND;
    pthread_mutex_lock(&cache->mutex);
    slot *s = slot_of(cache, subject);
    if (s->key.data && tr_uuid_equal(&s->subject, subject))
        st = tr_secret_copy(key, s->key.data, s->key.len, err);
    uint64_t forgotten = cache->forgotten;
    pthread_mutex_unlock(&cache->mutex);
    if (st != TR_E_NOT_FOUND)
        return st;

    st = read_key(vault, db, subject, key, err);
    if (st != TR_OK)
        return st;
    pthread_mutex_lock(&cache->mutex);
    /* A cache that cannot be filled only costs time. */
    if (cache->forgotten == forgotten && tr_secret_copy(&s->key, key->data, key->len, NULL) == TR_OK)
        s->subject = *subject;
    pthread_mutex_unlock(&cache->mutex);
    return TR_OK;
}

tr_status tr_datakey_make(tr_vault *vault, tr_secret *key, tr_buf *wrapped, uint32_t *master, tr_error *err) {
    tr_status st = tr_secret_random(key, TR_AEAD_KEY_LEN, err);
    return st == TR_OK ? tr_keyring_wrap(vault->ring, key, wrapped, master, err) : st;
}

bool tr_datakey_stale(tr_vault *vault, uint32_t master) {
    return master != tr_keyring_current(vault->ring);
}

tr_status tr_datakey_insert(tr_vault *vault, tr_db *tx, const tr_uuid *subject, uint32_t master,
                            tr_bytes wrapped, tr_error *err) {
    if (tr_datakey_stale(vault, master))
        return tr_fail(err, TR_E_PRECONDITION, NULL, "the master key was rotated meanwhile");
    return tr_key_insert(tx, subject, master, wrapped, err);
}

void tr_datakey_forget(tr_vault *vault, const tr_uuid *subject) {
    tr_datakey_cache *cache = vault->datakeys;
    pthread_mutex_lock(&cache->mutex);
    cache->forgotten++;
    slot *s = slot_of(cache, subject);
    if (tr_uuid_equal(&s->subject, subject))
        tr_secret_clear(&s->key);
    pthread_mutex_unlock(&cache->mutex);
}
