/* Keys wrapped by a ring, and what is asked of it again and again, for the tests of changes. */
#ifndef TR_TEST_KEYRING_CHANGE_FIXTURE_H
#define TR_TEST_KEYRING_CHANGE_FIXTURE_H

#include "keyring_fixture.h"

typedef struct wrapped_key {
    tr_secret key;
    tr_buf wrapped;
    uint32_t version;
} wrapped_key;

static inline wrapped_key wrap_one(tr_keyring *ring) {
    wrapped_key w = {0};
    assert_int_equal(tr_secret_random(&w.key, 32, NULL), TR_OK);
    assert_int_equal(tr_keyring_wrap(ring, &w.key, &w.wrapped, &w.version, NULL), TR_OK);
    return w;
}

static inline tr_status unwrap_one(tr_keyring *ring, const wrapped_key *w) {
    tr_secret back = TR_SECRET_INIT;
    tr_status st =
        tr_keyring_unwrap(ring, w->version, (tr_bytes){w->wrapped.data, w->wrapped.len}, &back, NULL);
    if (st == TR_OK) {
        assert_int_equal(back.len, w->key.len);
        assert_memory_equal(back.data, w->key.data, back.len);
    }
    tr_secret_clear(&back);
    return st;
}

static inline void drop_one(wrapped_key *w) {
    tr_secret_clear(&w->key);
    tr_buf_clear(&w->wrapped);
}

static inline void rotate(tr_keyring *ring, uint32_t expected) {
    uint32_t version = 0;
    assert_int_equal(tr_keyring_rotate(ring, &version, NULL), TR_OK);
    assert_int_equal(version, expected);
    assert_int_equal(tr_keyring_current(ring), expected);
}

static inline void get_named(tr_keyring *ring, const char *name, tr_secret *key) {
    assert_int_equal(tr_keyring_named_key(ring, name, true, key, NULL), TR_OK);
}

/* The named key is this one. */
static inline void named_is(tr_keyring *ring, const char *name, const tr_secret *expected) {
    tr_secret key = TR_SECRET_INIT;
    assert_int_equal(tr_keyring_named_key(ring, name, false, &key, NULL), TR_OK);
    assert_memory_equal(key.data, expected->data, 32);
    tr_secret_clear(&key);
}

static inline tr_keyring *reopen(tr_keyring *ring) {
    tr_keyring_close(ring);
    return open_ring();
}

#endif
