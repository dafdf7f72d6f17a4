/* The file provider: master keys wrapped (RFC 5649) by a key that scrypt (RFC 7914) makes from a passphrase.
 */
#include <stdlib.h>
#include <string.h>

#include "base/encode.h"
#include "base/json.h"
#include "crypto/keyring_provider.h"
#include "crypto/keywrap.h"
#include "crypto/password.h"

#define KEY_LEN   32
#define SALT_LEN  32
#define R         8
#define P         1
#define LN_MAX    20 /* 1 GiB: beyond, a changed file would take the machine's memory */
#define SEAL_INFO "tresor-keyring-1 seal"

typedef struct master {
    uint32_t version;
    tr_secret key;
} master;

typedef struct file_keys {
    unsigned ln;
    uint8_t salt[SALT_LEN];
    tr_secret kek;  /* from the passphrase; wraps the master keys */
    tr_secret seal; /* from the kek; seals the document */
    master masters[TR_MASTERS_MAX];
    size_t count;
} file_keys;

static void close_file(void *self) {
    file_keys *file = self;
    tr_secret_clear(&file->kek);
    tr_secret_clear(&file->seal);
    for (size_t i = 0; i < file->count; i++)
        tr_secret_clear(&file->masters[i].key);
    free(file);
}

/* Derive the keys that salt and cost give with this passphrase. */
static tr_status derive(file_keys *file, const tr_secret *passphrase, tr_error *err) {
    if (passphrase->len == 0)
        return tr_fail(err, TR_E_CONFIG, "keyring_file", "the keyring's passphrase is empty");
    tr_status st = tr_scrypt((tr_bytes){passphrase->data, passphrase->len}, (tr_bytes){file->salt, SALT_LEN},
                             UINT64_C(1) << file->ln, R, P, KEY_LEN, &file->kek, err);
    if (st == TR_OK)
        st = tr_hkdf_sha256(&file->kek, (tr_bytes){NULL, 0}, (tr_bytes){SEAL_INFO, sizeof SEAL_INFO - 1},
                            KEY_LEN, &file->seal, err);
    return st;
}

tr_status tr_keyring_file_new(const tr_secret *passphrase, unsigned ln, void **self, tr_error *err) {
    file_keys *file = calloc(1, sizeof *file);
    tr_status st = TR_OK;
    *self = NULL;
    if (!file)
        return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    file->ln = ln;
    TR_TRY(tr_random(file->salt, SALT_LEN, err));
    TR_TRY(derive(file, passphrase, err));
    *self = file;
    file = NULL;
out:
    if (file)
        close_file(file);
    return st;
}

/* The "kdf" member; only what this file writes. */
static bool read_kdf(const cJSON *kdf, file_keys *file) {
    const char *name = tr_json_string(kdf, "name"), *salt = tr_json_string(kdf, "salt");
    int64_t ln = 0, r = 0, p = 0;
    size_t salt_len = SALT_LEN;
    if (!name || strcmp(name, "scrypt") != 0 || !salt || !tr_json_int(kdf, "ln", &ln) ||
        !tr_json_int(kdf, "r", &r) || !tr_json_int(kdf, "p", &p) || ln < 1 || ln > LN_MAX || r != R || p != P)
        return false;
    file->ln = (unsigned)ln;
    return tr_base64url_decode(salt, strlen(salt), file->salt, &salt_len) && salt_len == SALT_LEN;
}

static tr_status open_file(const cJSON *document, const tr_secret *passphrase, void **self, tr_error *err) {
    file_keys *file = calloc(1, sizeof *file);
    tr_status st = TR_OK;
    *self = NULL;
    if (!file)
        return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    if (!read_kdf(tr_json_member(document, "kdf"), file))
        TR_TRY(tr_fail(err, TR_E_CORRUPT, NULL, "the keyring is damaged"));
    TR_TRY(derive(file, passphrase, err));
    *self = file;
    file = NULL;
out:
    if (file)
        close_file(file);
    return st;
}

static tr_status add(file_keys *file, uint32_t version, tr_secret *key, tr_error *err) {
    if (file->count == TR_MASTERS_MAX)
        return tr_fail(err, TR_E_INTERNAL, NULL, "the keyring has too many master keys");
    file->masters[file->count++] = (master){version, *key};
    *key = TR_SECRET_INIT;
    return TR_OK;
}

static tr_status new_master(void *self, uint32_t version, tr_error *err) {
    tr_secret key = TR_SECRET_INIT;
    tr_status st = tr_secret_random(&key, KEY_LEN, err);
    if (st == TR_OK)
        st = add(self, version, &key, err);
    tr_secret_clear(&key);
    return st;
}

static tr_status load_master(void *self, uint32_t version, const cJSON *entry, tr_error *err) {
    file_keys *file = self;
    const char *text = tr_json_string(entry, "key");
    uint8_t wrapped[TR_WRAPPED_KEY_LEN];
    size_t n = sizeof wrapped;
    tr_secret key = TR_SECRET_INIT;
    if (!text || !tr_base64url_decode(text, strlen(text), wrapped, &n))
        return tr_fail(err, TR_E_CORRUPT, NULL, "the keyring is damaged");
    tr_status st = tr_keyunwrap(&file->kek, (tr_bytes){wrapped, n}, &key, err);
    if (st == TR_E_CORRUPT || (st == TR_OK && key.len != KEY_LEN))
        st = tr_fail(err, TR_E_WRONG_KEY, NULL, "a master key does not open");
    if (st == TR_OK)
        st = add(file, version, &key, err);
    tr_secret_clear(&key);
    return st;
}

static tr_status describe(void *self, cJSON *document, tr_error *err) {
    const file_keys *file = self;
    char salt[TR_BASE64URL_LEN(SALT_LEN) + 1];
    cJSON *kdf = cJSON_AddObjectToObject(document, "kdf");
    tr_base64url_encode(file->salt, SALT_LEN, salt);
    if (!kdf || !cJSON_AddStringToObject(kdf, "name", "scrypt") ||
        !cJSON_AddNumberToObject(kdf, "ln", file->ln) || !cJSON_AddNumberToObject(kdf, "r", R) ||
        !cJSON_AddNumberToObject(kdf, "p", P) || !cJSON_AddStringToObject(kdf, "salt", salt))
        return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    return TR_OK;
}

/* The master key of this version, or NULL. The newest is what is asked for most. */
static const tr_secret *find(const file_keys *file, uint32_t version, tr_error *err) {
    for (size_t i = file->count; i-- > 0;) {
        if (file->masters[i].version == version)
            return &file->masters[i].key;
    }
    (void)tr_fail(err, TR_E_NOT_FOUND, NULL, "the keyring has no master key of version %u",
                  (unsigned)version);
    return NULL;
}

static tr_status describe_master(void *self, uint32_t version, cJSON *entry, tr_error *err) {
    const file_keys *file = self;
    char text[TR_BASE64URL_LEN(TR_WRAPPED_KEY_LEN) + 1];
    tr_buf wrapped = TR_BUF_INIT;
    const tr_secret *key = find(file, version, err);
    tr_status st = key ? tr_keywrap(&file->kek, key, &wrapped, err) : TR_E_NOT_FOUND;
    if (st == TR_OK) {
        tr_base64url_encode(wrapped.data, wrapped.len, text);
        if (!cJSON_AddStringToObject(entry, "key", text))
            st = tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    }
    tr_buf_clear(&wrapped);
    return st;
}

static tr_status wrap(void *self, uint32_t version, const tr_secret *key, tr_buf *wrapped, tr_error *err) {
    const tr_secret *master_key = find(self, version, err);
    return master_key ? tr_keywrap(master_key, key, wrapped, err) : TR_E_NOT_FOUND;
}

static tr_status unwrap(void *self, uint32_t version, tr_bytes wrapped, tr_secret *key, tr_error *err) {
    const tr_secret *master_key = find(self, version, err);
    return master_key ? tr_keyunwrap(master_key, wrapped, key, err) : TR_E_NOT_FOUND;
}

static tr_status seal(void *self, tr_bytes text, uint8_t out[TR_SHA256_LEN], tr_error *err) {
    const file_keys *file = self;
    return tr_hmac_sha256(&file->seal, &text, 1, out, err);
}

const tr_keyring_provider tr_keyring_file_provider = {
    .name = "file",
    .open = open_file,
    .close = close_file,
    .new_master = new_master,
    .load_master = load_master,
    .describe = describe,
    .describe_master = describe_master,
    .wrap = wrap,
    .unwrap = unwrap,
    .seal = seal,
};
