#include "cli/recovery_key.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/encode.h"
#include "cli/files.h"
#include "crypto/hash.h"
#include "crypto/hpke.h"

#define CHECK_LEN 4
#define RAW_LEN   (TR_HPKE_KEY_LEN + CHECK_LEN)
#define TEXT_LEN  TR_BASE64URL_LEN(RAW_LEN)

static const char private_mark[] = "tresor-recovery-private-1:";
static const char public_mark[] = "tresor-recovery-public-1:";

/* The whole line, with its end, in a secret. */
static tr_status write_line(const char *mark, const uint8_t key[TR_HPKE_KEY_LEN], tr_secret *line,
                            tr_error *err) {
    tr_secret raw = TR_SECRET_INIT;
    uint8_t hash[TR_SHA256_LEN];
    size_t before = strlen(mark);
    tr_status st = TR_OK;
    TR_TRY(tr_secret_alloc(&raw, RAW_LEN, err));
    TR_TRY(tr_secret_alloc(line, before + TEXT_LEN + 1, err));
    TR_TRY(tr_sha256(&(tr_bytes){key, TR_HPKE_KEY_LEN}, 1, hash, err));
    memcpy(raw.data, key, TR_HPKE_KEY_LEN);
    memcpy(raw.data + TR_HPKE_KEY_LEN, hash, CHECK_LEN);
    memcpy(line->data, mark, before);
    tr_base64url_encode(raw.data, RAW_LEN, (char *)line->data + before);
    line->data[before + TEXT_LEN] = '\n';
out:
    tr_secret_clear(&raw);
    return st;
}

static tr_status read_line(const char *path, const char *mark, const char *what, tr_secret *key,
                           tr_error *err) {
    tr_secret line = TR_SECRET_INIT, raw = TR_SECRET_INIT;
    uint8_t hash[TR_SHA256_LEN];
    size_t before = strlen(mark), n = RAW_LEN;
    tr_status st = TR_OK;
    TR_TRY(tr_secret_from_file(&line, path, err));
    TR_TRY(tr_secret_alloc(&raw, RAW_LEN, err));
    bool fits = line.len == before + TEXT_LEN && memcmp(line.data, mark, before) == 0 &&
                tr_base64url_decode((const char *)line.data + before, TEXT_LEN, raw.data, &n) && n == RAW_LEN;
    if (!fits)
        TR_TRY(tr_fail(err, TR_E_CONFIG, path, "is not a %s recovery key", what));
    TR_TRY(tr_sha256(&(tr_bytes){raw.data, TR_HPKE_KEY_LEN}, 1, hash, err));
    if (memcmp(hash, raw.data + TR_HPKE_KEY_LEN, CHECK_LEN) != 0)
        TR_TRY(tr_fail(err, TR_E_CONFIG, path, "the recovery key is mistyped or damaged"));
    st = tr_secret_copy(key, raw.data, TR_HPKE_KEY_LEN, err);
out:
    tr_secret_clear(&raw);
    tr_secret_clear(&line);
    return st;
}

tr_status tr_recovery_key_make(const char *path, tr_error *err) {
    char beside[PATH_MAX];
    uint8_t public_key[TR_HPKE_KEY_LEN];
    tr_secret private_key = TR_SECRET_INIT, line = TR_SECRET_INIT;
    bool made = false;
    tr_status st = TR_OK;
    if ((size_t)snprintf(beside, sizeof beside, "%s.pub", path) >= sizeof beside)
        return tr_fail(err, TR_E_CONFIG, "--out", "the file's name is too long");
    TR_TRY(tr_hpke_keypair(&private_key, public_key, err));
    TR_TRY(write_line(private_mark, private_key.data, &line, err));
    TR_TRY(tr_file_create(path, line.data, line.len, err));
    made = true;
    TR_TRY(write_line(public_mark, public_key, &line, err));
    st = tr_file_create(beside, line.data, line.len, err);
out:
    if (st != TR_OK && made)
        (void)unlink(path);
    tr_secret_clear(&private_key);
    tr_secret_clear(&line);
    return st;
}

tr_status tr_recovery_key_public(const char *path, uint8_t public_key[32], tr_error *err) {
    tr_secret key = TR_SECRET_INIT;
    tr_status st = read_line(path, public_mark, "public", &key, err);
    if (st == TR_OK)
        memcpy(public_key, key.data, TR_HPKE_KEY_LEN);
    tr_secret_clear(&key);
    return st;
}

tr_status tr_recovery_key_private(const char *path, tr_secret *private_key, tr_error *err) {
    return read_line(path, private_mark, "private", private_key, err);
}
