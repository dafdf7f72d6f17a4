/* Making, opening and using a ring; keyring_change.c changes one. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/json.h"
#include "crypto/kdf_cost.h"
#include "crypto/keyring_internal.h"

static const tr_keyring_provider *const providers[] = {&tr_keyring_file_provider, &tr_keyring_split_provider,
                                                       &tr_keyring_pkcs11_provider};

tr_status tr_ring_find_provider(const char *name, const char *path, const tr_keyring_provider **out,
                                tr_error *err) {
    for (size_t i = 0; name && i < sizeof providers / sizeof providers[0]; i++) {
        if (strcmp(providers[i]->name, name) == 0) {
            *out = providers[i];
            return TR_OK;
        }
    }
    return tr_fail(err, TR_E_CONFIG, path, "the keyring needs a key provider that this program lacks");
}

/* ---- a ring's life ---- */

/* As the default prefers readers, a change could wait for ever while many threads read. */
static bool init_lock(pthread_rwlock_t *lock) {
    pthread_rwlockattr_t attributes;
    if (pthread_rwlockattr_init(&attributes) != 0)
        return false;
    bool good =
        pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP) == 0 &&
        pthread_rwlock_init(lock, &attributes) == 0;
    pthread_rwlockattr_destroy(&attributes);
    return good;
}

static bool init_locks(tr_keyring *ring) {
    if (pthread_mutex_init(&ring->change, NULL) != 0)
        return false;
    if (init_lock(&ring->lock))
        return true;
    pthread_mutex_destroy(&ring->change);
    return false;
}

tr_status tr_ring_new(const char *path, const tr_keyring_provider *provider, void *self, tr_keyring **out,
                      tr_error *err) {
    tr_keyring *ring = calloc(1, sizeof *ring);
    *out = NULL;
    if (!ring || !(ring->path = strdup(path)) || !(ring->state = calloc(1, sizeof *ring->state)) ||
        !init_locks(ring)) {
        if (ring) {
            free(ring->path);
            free(ring->state);
        }
        free(ring);
        if (self)
            (provider->discard ? provider->discard : provider->close)(self);
        return tr_ring_no_memory(err);
    }
    ring->provider = provider;
    ring->self = self;
    *out = ring;
    return TR_OK;
}

static void free_ring(tr_keyring *ring) {
    pthread_rwlock_destroy(&ring->lock);
    pthread_mutex_destroy(&ring->change);
    free(ring->path);
    free(ring->state);
    free(ring);
}

void tr_keyring_close(tr_keyring *ring) {
    if (!ring)
        return;
    if (ring->self)
        ring->provider->close(ring->self);
    free_ring(ring);
}

void tr_ring_discard(tr_keyring *ring) {
    if (!ring)
        return;
    if (ring->self && ring->provider->discard)
        ring->provider->discard(ring->self);
    else if (ring->self)
        ring->provider->close(ring->self);
    free_ring(ring);
}

/* ---- making ---- */

tr_status tr_ring_check_free(const char *path, tr_error *err) {
    struct stat info;
    if (lstat(path, &info) == 0)
        return tr_fail(err, TR_E_EXISTS, path, "there is a keyring already");
    return errno == ENOENT ? TR_OK : tr_fail_errno(err, path, "cannot look for the keyring");
}

/* Takes over the provider's state. */
static tr_status begin_ring(const char *path, const tr_keyring_provider *provider, void *self, uint32_t first,
                            tr_keyring **out, tr_error *err) {
    tr_keyring *ring;
    tr_status st = tr_ring_new(path, provider, self, &ring, err);
    if (st != TR_OK)
        return st;
    TR_TRY(provider->new_master(self, first, err));
    ring->state->current = first;
    ring->state->masters[0] = (tr_ring_master){.version = first, .created_ms = tr_now_ms()};
    ring->state->master_count = 1;
    TR_TRY(tr_ring_save_new(ring, err));
    *out = ring;
    ring = NULL;
out:
    tr_ring_discard(ring);
    return st;
}

tr_status tr_keyring_create_with(const tr_keyring_provider *provider, const char *path,
                                 const tr_keyring_spec *spec, uint32_t first, tr_keyring **out,
                                 tr_error *err) {
    void *self;
    *out = NULL;
    if (first == 0)
        return tr_fail(err, TR_E_INTERNAL, NULL, "the versions of master keys begin with 1");
    tr_status st = tr_ring_check_free(path, err);
    if (st == TR_OK)
        st = provider->create(spec, &self, err);
    if (st != TR_OK)
        return st;
    st = begin_ring(path, provider, self, first, out, err);
    for (int i = 0; st != TR_OK && spec->share_texts && i < spec->shares; i++)
        tr_secret_clear(&spec->share_texts[i]);
    return st;
}

tr_status tr_keyring_create(const char *path, const tr_keyring_spec *spec, uint32_t first, tr_keyring **out,
                            tr_error *err) {
    const tr_keyring_provider *provider = NULL;
    *out = NULL;
    tr_status st = tr_ring_find_provider(spec->provider, spec->provider, &provider, err);
    return st == TR_OK ? tr_keyring_create_with(provider, path, spec, first, out, err) : st;
}

tr_status tr_keyring_create_file_ln(const char *path, const tr_secret *passphrase, unsigned ln,
                                    tr_keyring **out, tr_error *err) {
    void *self;
    *out = NULL;
    tr_status st = tr_ring_check_free(path, err);
    if (st == TR_OK)
        st = tr_keyring_file_new(passphrase, ln, &self, err);
    return st == TR_OK ? begin_ring(path, &tr_keyring_file_provider, self, 1, out, err) : st;
}

tr_status tr_keyring_create_file(const char *path, const tr_secret *passphrase, tr_keyring **out,
                                 tr_error *err) {
    return tr_keyring_create_file_ln(path, passphrase, tr_kdf_cost.keyring_ln, out, err);
}

/* ---- opening ---- */

tr_status tr_ring_read_file(const char *path, cJSON **document, const tr_keyring_provider **provider,
                            tr_error *err) {
    tr_buf text = TR_BUF_INIT;
    tr_status st = TR_OK;
    *document = NULL;
    TR_TRY(tr_private_read(path, TR_KEYRING_MAX, &text, err));
    TR_TRY(tr_document_read((tr_bytes){text.data, text.len}, TR_KEYRING_FORMAT, document, err));
    TR_TRY(tr_ring_find_provider(tr_json_string(*document, "provider"), path, provider, err));
out:
    if (st != TR_OK) {
        cJSON_Delete(*document);
        *document = NULL;
    }
    if (st == TR_E_CORRUPT)
        st = tr_fail(err, st, path, "the keyring is damaged");
    tr_buf_clear(&text);
    return st;
}

tr_status tr_keyring_peek(const char *path, tr_keyring_need *need, tr_error *err) {
    cJSON *document = NULL;
    const tr_keyring_provider *provider;
    *need = (tr_keyring_need){0};
    int64_t current = 0;
    tr_status st = tr_ring_read_file(path, &document, &provider, err);
    if (st == TR_OK) {
        need->current = tr_json_int(document, "current", &current) ? (uint32_t)current : 0;
        strncpy(need->provider, provider->name, sizeof need->provider - 1);
        if (provider->need)
            st = provider->need(document, need, err);
    }
    if (st == TR_E_CORRUPT)
        st = tr_fail(err, st, path, "the keyring is damaged");
    cJSON_Delete(document);
    return st;
}

/* Load the master keys. A key whose destruction was begun may be gone: then it is forgotten here. */
static tr_status load_masters(tr_keyring *ring, const cJSON *list, size_t *opened, size_t *wrong,
                              tr_error *err) {
    tr_ring_state *state = ring->state;
    const cJSON *entry;
    size_t index = 0, kept = 0;
    cJSON_ArrayForEach(entry, list) {
        tr_ring_master master = state->masters[index++];
        tr_status st = ring->provider->load_master(ring->self, master.version, entry, err);
        bool gone = master.retiring && (st == TR_E_HSM || st == TR_E_NOT_FOUND);
        if (st != TR_OK && st != TR_E_WRONG_KEY && !gone)
            return st;
        *opened += st == TR_OK;
        *wrong += st == TR_E_WRONG_KEY;
        if (!gone)
            state->masters[kept++] = master;
    }
    state->master_count = kept;
    return TR_OK;
}

/* Open every master key, and hold seal and key wraps against each other: both fail with a wrong passphrase;
 * when only some do, the passphrase is right and somebody changed the file. */
static tr_status unseal(tr_keyring *ring, const cJSON *document, tr_error *err) {
    size_t opened = 0, wrong = 0;
    bool sealed = false;
    tr_status st = load_masters(ring, tr_json_member(document, "masters"), &opened, &wrong, err);
    if (st == TR_OK)
        st = tr_ring_check_seal(ring, document, &sealed, err);
    if (st != TR_OK)
        return st;
    if (!sealed && opened == 0)
        return tr_fail(err, TR_E_WRONG_KEY, ring->path, "the %s does not open the keyring",
                       ring->provider->unlocker);
    if (!sealed || wrong > 0)
        return tr_fail(err, TR_E_CORRUPT, ring->path, "the keyring was changed: its seal does not verify");
    return TR_OK;
}

tr_status tr_keyring_open_file(const char *path, const tr_secret *passphrase, tr_keyring **out,
                               tr_error *err) {
    tr_keyring *ring = NULL;
    cJSON *document = NULL;
    const tr_keyring_provider *provider;
    tr_status st = TR_OK;
    *out = NULL;
    TR_TRY(tr_ring_read_file(path, &document, &provider, err));
    TR_TRY(tr_ring_new(path, provider, NULL, &ring, err));
    TR_TRY(tr_document_load_state(ring->state, document, err));
    TR_TRY(provider->open(document, passphrase, &ring->self, err));
    TR_TRY(unseal(ring, document, err));
    tr_private_sweep(path);
    *out = ring;
    ring = NULL;
out:
    if (st == TR_E_CORRUPT && err && !err->where[0])
        (void)tr_fail(err, st, path, "the keyring is damaged");
    cJSON_Delete(document);
    tr_keyring_close(ring);
    return st;
}

/* ---- use ---- */

const char *tr_keyring_provider_name(tr_keyring *ring) {
    return ring->provider->name;
}

uint32_t tr_keyring_current(tr_keyring *ring) {
    pthread_rwlock_rdlock(&ring->lock);
    uint32_t current = ring->state->current;
    pthread_rwlock_unlock(&ring->lock);
    return current;
}

void tr_keyring_list(tr_keyring *ring, tr_master_info *out, size_t room, size_t *count) {
    pthread_rwlock_rdlock(&ring->lock);
    for (size_t i = 0; i < ring->state->master_count && i < room; i++) {
        const tr_ring_master *master = &ring->state->masters[i];
        out[i] =
            (tr_master_info){master->version, master->created_ms, master->version == ring->state->current};
    }
    *count = ring->state->master_count;
    pthread_rwlock_unlock(&ring->lock);
}

tr_status tr_keyring_wrap(tr_keyring *ring, const tr_secret *key, tr_buf *wrapped, uint32_t *version,
                          tr_error *err) {
    pthread_rwlock_rdlock(&ring->lock);
    *version = ring->state->current;
    tr_status st = ring->provider->wrap(ring->self, *version, key, wrapped, err);
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

void tr_keyring_get_recovery(tr_keyring *ring, uint8_t public_key[32], bool *set) {
    pthread_rwlock_rdlock(&ring->lock);
    *set = ring->state->has_recovery;
    memcpy(public_key, ring->state->recovery, TR_HPKE_KEY_LEN);
    pthread_rwlock_unlock(&ring->lock);
}
