#include "crypto/keyring_internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"

#define NAMED_KEY_LEN    32
#define KEYRING_FILE_MAX ((size_t)1024 * 1024)

static const tr_keyring_provider *const providers[] = {&tr_keyring_file_provider};

/* ---- making and opening ---- */

static tr_status new_ring(const char *path, const tr_keyring_provider *provider, tr_keyring **out,
                          tr_error *err) {
    tr_keyring *ring = calloc(1, sizeof *ring);
    *out = NULL;
    if (!ring || !(ring->path = strdup(path)) || pthread_rwlock_init(&ring->lock, NULL) != 0) {
        if (ring)
            free(ring->path);
        free(ring);
        return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    }
    ring->provider = provider;
    *out = ring;
    return TR_OK;
}

void tr_keyring_close(tr_keyring *ring) {
    if (!ring)
        return;
    if (ring->self)
        ring->provider->close(ring->self);
    pthread_rwlock_destroy(&ring->lock);
    free(ring->path);
    tr_wipe(ring, sizeof *ring);
    free(ring);
}

static tr_status save(const tr_keyring *ring, bool replace, tr_error *err) {
    tr_buf text = TR_BUF_INIT;
    tr_status st = tr_ring_write(ring, &text, err);
    if (st == TR_OK)
        st = tr_private_write(ring->path, (tr_bytes){text.data, text.len}, replace, err);
    tr_buf_clear(&text);
    return st;
}

tr_status tr_keyring_create_file_ln(const char *path, const tr_secret *passphrase, unsigned ln,
                                    tr_keyring **out, tr_error *err) {
    tr_keyring *ring = NULL;
    tr_status st = TR_OK;
    *out = NULL;
    TR_TRY(new_ring(path, &tr_keyring_file_provider, &ring, err));
    TR_TRY(tr_keyring_file_new(passphrase, ln, &ring->self, err));
    TR_TRY(ring->provider->new_master(ring->self, 1, err));
    ring->current = 1;
    ring->masters[0] = (tr_ring_master){.version = 1, .created_ms = tr_now_ms()};
    ring->master_count = 1;
    TR_TRY(save(ring, false, err));
    *out = ring;
    ring = NULL;
out:
    tr_keyring_close(ring);
    return st;
}

tr_status tr_keyring_create_file(const char *path, const tr_secret *passphrase, tr_keyring **out,
                                 tr_error *err) {
    return tr_keyring_create_file_ln(path, passphrase, TR_KEYRING_FILE_LN, out, err);
}

static tr_status find_provider(const cJSON *document, const char *path, const tr_keyring_provider **out,
                               tr_error *err) {
    const char *name = tr_json_string(document, "provider");
    for (size_t i = 0; name && i < sizeof providers / sizeof providers[0]; i++) {
        if (strcmp(providers[i]->name, name) == 0) {
            *out = providers[i];
            return TR_OK;
        }
    }
    return tr_fail(err, TR_E_CONFIG, path, "the keyring needs a key provider that this program lacks");
}

/* Open every master key, and hold seal and key wraps against each other: both fail with a wrong passphrase;
 * when only some do, the passphrase is right and somebody changed the file. */
static tr_status unseal(tr_keyring *ring, const cJSON *document, tr_error *err) {
    const cJSON *entry;
    size_t index = 0, opened = 0;
    bool sealed = false;
    tr_status st = TR_OK;
    cJSON_ArrayForEach(entry, tr_json_member(document, "masters")) {
        st = ring->provider->load_master(ring->self, ring->masters[index++].version, entry, err);
        if (st != TR_OK && st != TR_E_WRONG_KEY)
            return st;
        opened += st == TR_OK;
    }
    st = tr_ring_check_seal(ring, document, &sealed, err);
    if (st != TR_OK)
        return st;
    if (!sealed && opened == 0)
        return tr_fail(err, TR_E_WRONG_KEY, ring->path, "the passphrase does not open the keyring");
    if (!sealed || opened != ring->master_count)
        return tr_fail(err, TR_E_CORRUPT, ring->path, "the keyring was changed: its seal does not verify");
    return TR_OK;
}

tr_status tr_keyring_open_file(const char *path, const tr_secret *passphrase, tr_keyring **out,
                               tr_error *err) {
    tr_keyring *ring = NULL;
    cJSON *document = NULL;
    tr_buf text = TR_BUF_INIT;
    const tr_keyring_provider *provider;
    tr_status st = TR_OK;
    *out = NULL;
    TR_TRY(tr_private_read(path, KEYRING_FILE_MAX, &text, err));
    TR_TRY(tr_ring_read((tr_bytes){text.data, text.len}, &document, err));
    TR_TRY(find_provider(document, path, &provider, err));
    TR_TRY(new_ring(path, provider, &ring, err));
    TR_TRY(tr_ring_load(ring, document, err));
    TR_TRY(provider->open(document, passphrase, &ring->self, err));
    TR_TRY(unseal(ring, document, err));
    tr_private_sweep(path);
    *out = ring;
    ring = NULL;
out:
    if (st == TR_E_CORRUPT && err && !err->where[0])
        (void)tr_fail(err, st, path, "the keyring is damaged");
    cJSON_Delete(document);
    tr_buf_clear(&text);
    tr_keyring_close(ring);
    return st;
}

/* ---- versions ---- */

uint32_t tr_keyring_current(tr_keyring *ring) {
    pthread_rwlock_rdlock(&ring->lock);
    uint32_t current = ring->current;
    pthread_rwlock_unlock(&ring->lock);
    return current;
}

void tr_keyring_list(tr_keyring *ring, tr_master_info *out, size_t room, size_t *count) {
    pthread_rwlock_rdlock(&ring->lock);
    for (size_t i = 0; i < ring->master_count && i < room; i++) {
        const tr_ring_master *master = &ring->masters[i];
        out[i] = (tr_master_info){master->version, master->created_ms, master->version == ring->current};
    }
    *count = ring->master_count;
    pthread_rwlock_unlock(&ring->lock);
}

tr_status tr_keyring_wrap(tr_keyring *ring, const tr_secret *key, tr_buf *wrapped, uint32_t *version,
                          tr_error *err) {
    pthread_rwlock_rdlock(&ring->lock);
    *version = ring->current;
    tr_status st = ring->provider->wrap(ring->self, ring->current, key, wrapped, err);
    pthread_rwlock_unlock(&ring->lock);
    return st;
}

tr_status tr_keyring_unwrap(tr_keyring *ring, uint32_t version, tr_bytes wrapped, tr_secret *key,
                            tr_error *err) {
    pthread_rwlock_rdlock(&ring->lock);
    tr_status st = ring->provider->unwrap(ring->self, version, wrapped, key, err);
    pthread_rwlock_unlock(&ring->lock);
    return st;
}

/* ---- named keys ---- */

static const tr_ring_key *find_key(const tr_keyring *ring, const char *name) {
    for (size_t i = 0; i < ring->key_count; i++) {
        if (strcmp(ring->keys[i].name, name) == 0)
            return &ring->keys[i];
    }
    return NULL;
}

static tr_status open_key(const tr_keyring *ring, const tr_ring_key *entry, tr_secret *key, tr_error *err) {
    tr_status st = ring->provider->unwrap(ring->self, entry->master,
                                          (tr_bytes){entry->wrapped, entry->wrapped_len}, key, err);
    if (st != TR_OK) /* the seal verified when the ring was opened, so this cannot be an accident */
        st = tr_fail(err, TR_E_CORRUPT, ring->path, "a database's key in the keyring does not verify");
    return st;
}

static tr_status make_key(tr_keyring *ring, const char *name, tr_secret *key, tr_error *err) {
    tr_ring_key *entry = &ring->keys[ring->key_count];
    tr_secret fresh = TR_SECRET_INIT;
    tr_buf wrapped = TR_BUF_INIT;
    tr_status st = TR_OK;
    if (ring->key_count == TR_NAMED_KEYS_MAX || name[0] == '\0' || strlen(name) > TR_KEY_NAME_MAX)
        return tr_fail(err, TR_E_INTERNAL, NULL, "the keyring takes no key of this name");
    TR_TRY(tr_secret_random(&fresh, NAMED_KEY_LEN, err));
    TR_TRY(ring->provider->wrap(ring->self, ring->current, &fresh, &wrapped, err));
    if (wrapped.len > sizeof entry->wrapped)
        TR_TRY(tr_fail(err, TR_E_INTERNAL, NULL, "a wrapped key of %zu bytes", wrapped.len));
    *entry = (tr_ring_key){.master = ring->current, .wrapped_len = wrapped.len};
    memcpy(entry->name, name, strlen(name) + 1);
    memcpy(entry->wrapped, wrapped.data, wrapped.len);
    ring->key_count++;
    st = save(ring, true, err);
    if (st != TR_OK) { /* nobody got the key, so the ring forgets it */
        ring->key_count--;
        goto out;
    }
    tr_secret_clear(key);
    *key = fresh;
    fresh = TR_SECRET_INIT;
out:
    tr_secret_clear(&fresh);
    tr_buf_clear(&wrapped);
    return st;
}

tr_status tr_keyring_named_key(tr_keyring *ring, const char *name, bool create, tr_secret *key,
                               tr_error *err) {
    tr_status st;
    if (create)
        pthread_rwlock_wrlock(&ring->lock);
    else
        pthread_rwlock_rdlock(&ring->lock);
    const tr_ring_key *entry = find_key(ring, name);
    if (entry)
        st = open_key(ring, entry, key, err);
    else if (create)
        st = make_key(ring, name, key, err);
    else
        st = tr_fail(err, TR_E_NOT_FOUND, NULL, "the keyring has no such key");
    pthread_rwlock_unlock(&ring->lock);
    return st;
}
