#include "crypto/keyring_masters.h"

#include <string.h>

#include "base/encode.h"
#include "base/json.h"
#include "crypto/keywrap.h"

#define SEAL_INFO "tresor-keyring-1 seal"

tr_status tr_masters_derive_seal(tr_masters *m, tr_error *err) {
    return tr_hkdf_sha256(&m->kek, (tr_bytes){NULL, 0}, (tr_bytes){SEAL_INFO, sizeof SEAL_INFO - 1},
                          TR_SHA256_LEN, &m->seal, err);
}

void tr_masters_clear(tr_masters *m) {
    tr_secret_clear(&m->kek);
    tr_secret_clear(&m->seal);
    for (size_t i = 0; i < m->count; i++)
        tr_secret_clear(&m->list[i].key);
    m->count = 0;
}

/* Where the master key of this version is, or m->count. The newest is what is asked for most. */
static size_t find(const tr_masters *m, uint32_t version) {
    for (size_t i = m->count; i-- > 0;) {
        if (m->list[i].version == version)
            return i;
    }
    return m->count;
}

static const tr_secret *get(const tr_masters *m, uint32_t version, tr_error *err) {
    size_t i = find(m, version);
    if (i < m->count)
        return &m->list[i].key;
    (void)tr_fail(err, TR_E_NOT_FOUND, NULL, "the keyring has no master key of version %u",
                  (unsigned)version);
    return NULL;
}

/* ---- coming and going ---- */

/* Takes the key over. */
static tr_status add(tr_masters *m, uint32_t version, tr_secret *key, tr_error *err) {
    if (m->count == TR_MASTERS_MAX || find(m, version) < m->count)
        return tr_fail(err, TR_E_INTERNAL, NULL, "no room for this master key");
    m->list[m->count].version = version;
    m->list[m->count].key = *key;
    m->count++;
    *key = TR_SECRET_INIT;
    return TR_OK;
}

tr_status tr_masters_new(void *self, uint32_t version, tr_error *err) {
    tr_secret key = TR_SECRET_INIT;
    tr_status st = tr_secret_random(&key, TR_MASTER_LEN, err);
    if (st == TR_OK)
        st = add(self, version, &key, err);
    tr_secret_clear(&key);
    return st;
}

tr_status tr_masters_load(void *self, uint32_t version, const cJSON *entry, tr_error *err) {
    tr_masters *m = self;
    const char *text = tr_json_string(entry, "key");
    uint8_t wrapped[TR_WRAPPED_KEY_LEN];
    size_t n = sizeof wrapped;
    tr_secret key = TR_SECRET_INIT;
    if (!text || !tr_base64url_decode(text, strlen(text), wrapped, &n))
        return tr_fail(err, TR_E_CORRUPT, NULL, "the keyring is damaged");
    tr_status st = tr_keyunwrap(&m->kek, (tr_bytes){wrapped, n}, &key, err);
    if (st == TR_E_CORRUPT || (st == TR_OK && key.len != TR_MASTER_LEN))
        st = tr_fail(err, TR_E_WRONG_KEY, NULL, "a master key does not open");
    if (st == TR_OK)
        st = add(m, version, &key, err);
    tr_secret_clear(&key);
    return st;
}

tr_status tr_masters_destroy(void *self, uint32_t version, tr_error *err) {
    tr_masters *m = self;
    size_t i = find(m, version);
    (void)err; /* it cannot fail: what is kept outside memory is the document, which is saved without it */
    if (i == m->count)
        return TR_OK;
    tr_secret_clear(&m->list[i].key);
    m->count--;
    memmove(&m->list[i], &m->list[i + 1], (m->count - i) * sizeof m->list[0]);
    return TR_OK;
}

tr_status tr_masters_export(void *self, uint32_t version, tr_secret *key, tr_error *err) {
    const tr_secret *master = get(self, version, err);
    return master ? tr_secret_copy(key, master->data, master->len, err) : TR_E_NOT_FOUND;
}

tr_status tr_masters_import(void *self, uint32_t version, const tr_secret *key, tr_error *err) {
    tr_secret copy = TR_SECRET_INIT;
    if (key->len != TR_MASTER_LEN)
        return tr_fail(err, TR_E_CORRUPT, NULL, "a master key has another length");
    tr_status st = tr_secret_copy(&copy, key->data, key->len, err);
    if (st == TR_OK)
        st = add(self, version, &copy, err);
    tr_secret_clear(&copy);
    return st;
}

/* ---- use ---- */

tr_status tr_masters_describe(void *self, uint32_t version, cJSON *entry, tr_error *err) {
    const tr_masters *m = self;
    char text[TR_BASE64URL_LEN(TR_WRAPPED_KEY_LEN) + 1];
    tr_buf wrapped = TR_BUF_INIT;
    const tr_secret *key = get(m, version, err);
    tr_status st = key ? tr_keywrap(&m->kek, key, &wrapped, err) : TR_E_NOT_FOUND;
    if (st == TR_OK) {
        tr_base64url_encode(wrapped.data, wrapped.len, text);
        if (!cJSON_AddStringToObject(entry, "key", text))
            st = tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    }
    tr_buf_clear(&wrapped);
    return st;
}

tr_status tr_masters_wrap(void *self, uint32_t version, const tr_secret *key, tr_buf *wrapped,
                          tr_error *err) {
    const tr_secret *master = get(self, version, err);
    return master ? tr_keywrap(master, key, wrapped, err) : TR_E_NOT_FOUND;
}

tr_status tr_masters_unwrap(void *self, uint32_t version, tr_bytes wrapped, tr_secret *key, tr_error *err) {
    const tr_secret *master = get(self, version, err);
    return master ? tr_keyunwrap(master, wrapped, key, err) : TR_E_NOT_FOUND;
}

tr_status tr_masters_seal(void *self, tr_bytes text, uint8_t seal[TR_SHA256_LEN], tr_error *err) {
    const tr_masters *m = self;
    return tr_hmac_sha256(&m->seal, &text, 1, seal, err);
}
