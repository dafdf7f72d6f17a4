/* The file provider: master keys wrapped (RFC 5649) by a key that scrypt (RFC 7914) makes from a passphrase.
 */
#include <stdlib.h>
#include <string.h>

#include "base/encode.h"
#include "base/json.h"
#include "crypto/kdf_cost.h"
#include "crypto/keyring_masters.h"
#include "crypto/password.h"

#define KEY_LEN  32
#define SALT_LEN 32
#define R        8
#define P        1
#define LN_MAX   20 /* 1 GiB: beyond, a changed file would take the machine's memory */

typedef struct file_keys {
    tr_masters masters; /* their kek is from the passphrase */
    unsigned ln;
    uint8_t salt[SALT_LEN];
} file_keys;

static void close_file(void *self) {
    file_keys *file = self;
    tr_masters_clear(&file->masters);
    free(file);
}

/* Derive the keys that salt and cost give with this passphrase. */
static tr_status derive(file_keys *file, const tr_secret *passphrase, tr_error *err) {
    if (!passphrase || passphrase->len == 0)
        return tr_fail(err, TR_E_CONFIG, "keyring_file", "the keyring's passphrase is empty");
    tr_status st = tr_scrypt((tr_bytes){passphrase->data, passphrase->len}, (tr_bytes){file->salt, SALT_LEN},
                             UINT64_C(1) << file->ln, R, P, KEY_LEN, &file->masters.kek, err);
    return st == TR_OK ? tr_masters_derive_seal(&file->masters, err) : st;
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

static tr_status create_file(const tr_keyring_spec *spec, void **self, tr_error *err) {
    return tr_keyring_file_new(spec->passphrase, tr_kdf_cost.keyring_ln, self, err);
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

const tr_keyring_provider tr_keyring_file_provider = {
    .name = "file",
    .unlocker = "passphrase",
    .create = create_file,
    .open = open_file,
    .close = close_file,
    .new_master = tr_masters_new,
    .load_master = tr_masters_load,
    .destroy_master = tr_masters_destroy,
    .export_master = tr_masters_export,
    .import_master = tr_masters_import,
    .describe = describe,
    .describe_master = tr_masters_describe,
    .wrap = tr_masters_wrap,
    .unwrap = tr_masters_unwrap,
    .seal = tr_masters_seal,
};
