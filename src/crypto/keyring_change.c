/* Changes of a ring. Each is made on a draft of the state, which is saved and only then taken: when the save
 * fails, file and ring are as they were.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "crypto/keyring_internal.h"

#define NAMED_KEY_LEN 32
#define NEXT          ".next"

/* ---- saving ---- */

static tr_status write_ring(const tr_keyring *ring, const tr_ring_state *state, bool replace, bool *published,
                            tr_error *err) {
    tr_buf text = TR_BUF_INIT;
    *published = false;
    tr_status st = tr_ring_write(ring, state, &text, err);
    if (st == TR_OK)
        st = tr_private_write(ring->path, (tr_bytes){text.data, text.len}, replace, published, err);
    tr_buf_clear(&text);
    return st;
}

/* The recovery file goes first: it may know a key that the ring never took, but must not lack one that is
 * used. */
static tr_status save(const tr_keyring *ring, const tr_ring_state *state, bool replace, bool *published,
                      tr_error *err) {
    *published = false;
    tr_status st = tr_ring_save_recovery(ring, state, err);
    return st == TR_OK ? write_ring(ring, state, replace, published, err) : st;
}

tr_status tr_ring_save_new(tr_keyring *ring, tr_error *err) {
    bool published;
    tr_status st = save(ring, ring->state, false, &published, err);
    if (st != TR_OK && published) /* in place, but may not last; its keys go with the ring that nobody gets */
        (void)unlink(ring->path);
    return st;
}

/* ---- drafts ---- */

static tr_status destroy(tr_keyring *ring, uint32_t version, tr_error *err) {
    pthread_rwlock_wrlock(&ring->lock);
    tr_status st = ring->provider->destroy_master(ring->self, version, err);
    pthread_rwlock_unlock(&ring->lock);
    return st;
}

static void drop_master(tr_ring_state *state, size_t i) {
    state->master_count--;
    memmove(&state->masters[i], &state->masters[i + 1], (state->master_count - i) * sizeof state->masters[0]);
}

/* Only a change writes the state, so a change may read it without the lock. */
static tr_status make_draft(const tr_keyring *ring, tr_ring_state **draft, tr_error *err) {
    *draft = malloc(sizeof **draft);
    if (!*draft)
        return tr_ring_no_memory(err);
    **draft = *ring->state;
    return TR_OK;
}

/* Begins a change, which end_change ends, also when this fails. */
static tr_status begin_change(tr_keyring *ring, tr_ring_state **draft, tr_error *err) {
    pthread_mutex_lock(&ring->change);
    return make_draft(ring, draft, err);
}

static void end_change(tr_keyring *ring, tr_ring_state *draft) {
    free(draft);
    pthread_mutex_unlock(&ring->change);
}

/* Save the draft, and make it the state: *draft is NULL then. When the new file is in place but may not last
 * (its folder could not be flushed), the old content is put back; when that is refused too, the change has
 * happened: it is taken, and the error still told. */
static tr_status commit(tr_keyring *ring, tr_ring_state **draft, tr_error *err) {
    bool published, back;
    tr_ring_state *old = ring->state;
    tr_status st = save(ring, *draft, true, &published, err);
    if (st != TR_OK) {
        (void)save(ring, old, true, &back, NULL);
        if (!published || back)
            return st;
    }
    pthread_rwlock_wrlock(&ring->lock);
    ring->state = *draft;
    pthread_rwlock_unlock(&ring->lock);
    *draft = NULL;
    free(old);
    return st;
}

/* ---- wrapping named keys ---- */

static tr_ring_key *find_key(tr_ring_state *state, const char *name) {
    for (size_t i = 0; i < state->key_count; i++) {
        if (strcmp(state->keys[i].name, name) == 0)
            return &state->keys[i];
    }
    return NULL;
}

static tr_status open_key(const tr_keyring *ring, const tr_ring_key *entry, tr_secret *key, tr_error *err) {
    tr_status st = ring->provider->unwrap(ring->self, entry->master,
                                          (tr_bytes){entry->wrapped, entry->wrapped_len}, key, err);
    /* The seal verified when the ring was opened, so this cannot be an accident of the file. */
    if (st == TR_E_CORRUPT || st == TR_E_NOT_FOUND)
        st = tr_fail(err, TR_E_CORRUPT, ring->path, "a database's key in the keyring does not verify");
    return st;
}

/* Wrap the key by the state's current master key into the entry. */
static tr_status close_key(const tr_keyring *ring, const tr_ring_state *state, const tr_secret *key,
                           tr_ring_key *entry, tr_error *err) {
    tr_buf wrapped = TR_BUF_INIT;
    tr_status st = ring->provider->wrap(ring->self, state->current, key, &wrapped, err);
    if (st == TR_OK && wrapped.len > sizeof entry->wrapped)
        st = tr_fail(err, TR_E_INTERNAL, NULL, "a wrapped key of %zu bytes", wrapped.len);
    if (st == TR_OK) {
        entry->master = state->current;
        entry->wrapped_len = wrapped.len;
        memcpy(entry->wrapped, wrapped.data, wrapped.len);
    }
    tr_buf_clear(&wrapped);
    return st;
}

/* Put the key under this name, in place of one that is there. */
static tr_status put_key(const tr_keyring *ring, tr_ring_state *draft, const char *name, const tr_secret *key,
                         tr_error *err) {
    tr_ring_key *entry = find_key(draft, name);
    if (!entry) {
        if (draft->key_count == TR_NAMED_KEYS_MAX || name[0] == '\0' || strlen(name) > TR_KEY_NAME_MAX)
            return tr_fail(err, TR_E_INTERNAL, NULL, "the keyring takes no key of this name");
        entry = &draft->keys[draft->key_count++];
        *entry = (tr_ring_key){0};
        memcpy(entry->name, name, strlen(name) + 1);
    }
    return close_key(ring, draft, key, entry, err);
}

static void drop_key(tr_ring_state *draft, tr_ring_key *entry) {
    size_t after = draft->key_count - (size_t)(entry - draft->keys) - 1;
    memmove(entry, entry + 1, after * sizeof *entry);
    draft->key_count--;
}

/* ---- master keys ---- */

static tr_status add_master(tr_keyring *ring, tr_ring_state *draft, tr_error *err) {
    uint32_t last = draft->masters[draft->master_count - 1].version;
    if (draft->master_count == TR_MASTERS_MAX || last == UINT32_MAX)
        return tr_fail(err, TR_E_CONFLICT, NULL, "the keyring is full: versions must be retired first");
    pthread_rwlock_wrlock(&ring->lock);
    tr_status st = ring->provider->new_master(ring->self, last + 1, err);
    pthread_rwlock_unlock(&ring->lock);
    if (st != TR_OK)
        return st;
    draft->masters[draft->master_count++] = (tr_ring_master){.version = last + 1, .created_ms = tr_now_ms()};
    draft->current = last + 1;
    return TR_OK;
}

static tr_status rewrap_keys(const tr_keyring *ring, tr_ring_state *draft, tr_error *err) {
    tr_secret key = TR_SECRET_INIT;
    tr_status st = TR_OK;
    for (size_t i = 0; st == TR_OK && i < draft->key_count; i++) {
        st = open_key(ring, &draft->keys[i], &key, err);
        if (st == TR_OK)
            st = close_key(ring, draft, &key, &draft->keys[i], err);
    }
    tr_secret_clear(&key);
    return st;
}

tr_status tr_keyring_rotate(tr_keyring *ring, uint32_t *version, tr_error *err) {
    tr_ring_state *draft = NULL;
    uint32_t made = 0;
    tr_status st = TR_OK;
    TR_TRY(begin_change(ring, &draft, err));
    TR_TRY(add_master(ring, draft, err));
    made = draft->current;
    TR_TRY(rewrap_keys(ring, draft, err));
    TR_TRY(commit(ring, &draft, err));
    *version = made;
out:
    if (made != 0 && draft) /* it was not taken, so nobody has used it */
        (void)destroy(ring, made, NULL);
    end_change(ring, draft);
    return st;
}

static tr_status find_unused(const tr_ring_state *state, uint32_t version, size_t *index, tr_error *err) {
    size_t at = 0;
    while (at < state->master_count && state->masters[at].version != version)
        at++;
    if (at == state->master_count)
        return tr_fail(err, TR_E_NOT_FOUND, NULL, "the keyring has no master key of version %u",
                       (unsigned)version);
    if (version == state->current)
        return tr_fail(err, TR_E_CONFLICT, NULL, "version %u is the current master key", (unsigned)version);
    for (size_t i = 0; i < state->key_count; i++) {
        if (state->keys[i].master == version)
            return tr_fail(err, TR_E_CONFLICT, NULL, "version %u still wraps the key of %s",
                           (unsigned)version, state->keys[i].name);
    }
    *index = at;
    return TR_OK;
}

/* A key in the document: gone with the save. */
static tr_status retire_inside(tr_keyring *ring, tr_ring_state **draft, size_t index, tr_error *err) {
    uint32_t version = (*draft)->masters[index].version;
    drop_master(*draft, index);
    tr_status st = commit(ring, draft, err);
    if (!*draft)
        (void)destroy(ring, version, NULL);
    return st;
}

/* A key outside the document: it is marked, destroyed and then left out, so that the document names it as
 * long as it may be there. When that breaks off, the mark stays: opening does not miss the key, and retiring
 * it again finishes it. */
static tr_status retire_outside(tr_keyring *ring, tr_ring_state **draft, size_t index, tr_error *err) {
    uint32_t version = (*draft)->masters[index].version;
    bool published;
    tr_status st = TR_OK;
    if (!(*draft)->masters[index].retiring) {
        (*draft)->masters[index].retiring = true;
        st = commit(ring, draft, err);
    }
    if (st == TR_OK)
        st = destroy(ring, version, err);
    if (st != TR_OK)
        return st;
    pthread_rwlock_wrlock(&ring->lock);
    drop_master(ring->state, index);
    pthread_rwlock_unlock(&ring->lock);
    (void)save(ring, ring->state, true, &published, NULL); /* else the mark goes with the next save */
    return TR_OK;
}

tr_status tr_keyring_retire(tr_keyring *ring, uint32_t version, tr_error *err) {
    tr_ring_state *draft = NULL;
    size_t index = 0;
    tr_status st = TR_OK;
    TR_TRY(begin_change(ring, &draft, err));
    TR_TRY(find_unused(draft, version, &index, err));
    st = (ring->provider->external ? retire_outside : retire_inside)(ring, &draft, index, err);
out:
    end_change(ring, draft);
    return st;
}

/* ---- named keys ---- */

static tr_status no_such_key(tr_error *err) {
    return tr_fail(err, TR_E_NOT_FOUND, NULL, "the keyring has no such key");
}

static tr_status read_key(tr_keyring *ring, const char *name, tr_secret *key, tr_error *err) {
    pthread_rwlock_rdlock(&ring->lock);
    const tr_ring_key *entry = find_key(ring->state, name);
    tr_status st = entry ? open_key(ring, entry, key, err) : no_such_key(err);
    pthread_rwlock_unlock(&ring->lock);
    return st;
}

/* Make the key unless another thread was quicker. Needs no lock for reading: it is within a change. */
static tr_status make_key(tr_keyring *ring, tr_ring_state **draft, const char *name, tr_secret *key,
                          tr_error *err) {
    tr_secret fresh = TR_SECRET_INIT;
    tr_ring_key *entry = find_key(*draft, name);
    tr_status st = TR_OK;
    if (entry)
        return open_key(ring, entry, key, err);
    TR_TRY(tr_secret_random(&fresh, NAMED_KEY_LEN, err));
    TR_TRY(put_key(ring, *draft, name, &fresh, err));
    TR_TRY(commit(ring, draft, err));
    tr_secret_clear(key);
    *key = fresh;
    fresh = TR_SECRET_INIT;
out:
    tr_secret_clear(&fresh);
    return st;
}

tr_status tr_keyring_named_key(tr_keyring *ring, const char *name, bool create, tr_secret *key,
                               tr_error *err) {
    tr_ring_state *draft = NULL;
    tr_status st = read_key(ring, name, key, err);
    if (st != TR_E_NOT_FOUND || !create)
        return st;
    st = begin_change(ring, &draft, err);
    if (st == TR_OK)
        st = make_key(ring, &draft, name, key, err);
    end_change(ring, draft);
    return st;
}

tr_status tr_keyring_named_master(tr_keyring *ring, const char *name, uint32_t *version, tr_error *err) {
    pthread_rwlock_rdlock(&ring->lock);
    const tr_ring_key *entry = find_key(ring->state, name);
    tr_status st = entry ? TR_OK : no_such_key(err);
    if (entry)
        *version = entry->master;
    pthread_rwlock_unlock(&ring->lock);
    return st;
}

/* ---- successors ---- */

static tr_status next_name(const char *name, char next[TR_KEY_NAME_MAX + 1], tr_error *err) {
    int n = snprintf(next, TR_KEY_NAME_MAX + 1, "%s" NEXT, name);
    if (n < 0 || n > TR_KEY_NAME_MAX)
        return no_such_key(err);
    return TR_OK;
}

tr_status tr_keyring_named_next(tr_keyring *ring, const char *name, tr_secret *key, tr_error *err) {
    char next[TR_KEY_NAME_MAX + 1];
    uint32_t version;
    tr_status st = tr_keyring_named_master(ring, name, &version, err);
    if (st == TR_OK)
        st = next_name(name, next, err);
    return st == TR_OK ? tr_keyring_named_key(ring, next, true, key, err) : st;
}

tr_status tr_keyring_named_has_next(tr_keyring *ring, const char *name, bool *has) {
    char next[TR_KEY_NAME_MAX + 1];
    uint32_t version;
    *has =
        next_name(name, next, NULL) == TR_OK && tr_keyring_named_master(ring, next, &version, NULL) == TR_OK;
    return TR_OK;
}

/* The successor leaves; with `promote` it takes the name's place. */
static tr_status end_next(tr_keyring *ring, const char *name, bool promote, tr_error *err) {
    char next[TR_KEY_NAME_MAX + 1];
    tr_ring_state *draft = NULL;
    tr_ring_key *entry, *successor;
    tr_status st = TR_OK;
    TR_TRY(begin_change(ring, &draft, err));
    TR_TRY(next_name(name, next, err));
    entry = find_key(draft, name);
    successor = find_key(draft, next);
    if (!entry || !successor)
        TR_TRY(tr_fail(err, TR_E_NOT_FOUND, NULL, "the keyring has no successor for this key"));
    if (promote) {
        entry->master = successor->master;
        entry->wrapped_len = successor->wrapped_len;
        memcpy(entry->wrapped, successor->wrapped, successor->wrapped_len);
    }
    drop_key(draft, successor);
    st = commit(ring, &draft, err);
out:
    end_change(ring, draft);
    return st;
}

tr_status tr_keyring_named_promote(tr_keyring *ring, const char *name, tr_error *err) {
    return end_next(ring, name, true, err);
}

tr_status tr_keyring_named_drop_next(tr_keyring *ring, const char *name, tr_error *err) {
    return end_next(ring, name, false, err);
}

/* ---- moving, recovery ---- */

static tr_status copy_keys(tr_keyring *from, const tr_keyring *to, tr_ring_state *draft, tr_error *err) {
    tr_secret key = TR_SECRET_INIT;
    tr_status st = TR_OK;
    pthread_rwlock_rdlock(&from->lock);
    for (size_t i = 0; st == TR_OK && i < from->state->key_count; i++) {
        st = open_key(from, &from->state->keys[i], &key, err);
        if (st == TR_OK)
            st = put_key(to, draft, from->state->keys[i].name, &key, err);
    }
    if (st == TR_OK && from->state->has_recovery && to->provider->export_master) {
        draft->has_recovery = true;
        memcpy(draft->recovery, from->state->recovery, sizeof draft->recovery);
    }
    pthread_rwlock_unlock(&from->lock);
    tr_secret_clear(&key);
    return st;
}

tr_status tr_keyring_copy_named(tr_keyring *from, tr_keyring *to, tr_error *err) {
    tr_ring_state *draft = NULL;
    tr_status st = TR_OK;
    TR_TRY(begin_change(to, &draft, err));
    TR_TRY(copy_keys(from, to, draft, err));
    st = commit(to, &draft, err);
out:
    end_change(to, draft);
    return st;
}

tr_status tr_keyring_set_recovery(tr_keyring *ring, const uint8_t public_key[32], tr_error *err) {
    tr_ring_state *draft = NULL;
    tr_status st = TR_OK;
    if (!ring->provider->export_master)
        return tr_fail(err, TR_E_CONFIG, NULL,
                       "the master keys never leave the HSM: its own backup is the recovery");
    TR_TRY(begin_change(ring, &draft, err));
    draft->has_recovery = true;
    memcpy(draft->recovery, public_key, sizeof draft->recovery);
    st = commit(ring, &draft, err);
out:
    end_change(ring, draft);
    return st;
}
