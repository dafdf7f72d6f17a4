/* The keys of a vault in hexadecimal, for the test that looks for them in an image of the server's memory.
 *
 *   showkeys DIR PASSPHRASE_FILE MOST
 *
 * Prints "name hexadecimal", one a line: the passphrase's own keys, the master keys, the keys of the
 * databases, the vault's named keys, up to MOST data keys, and of each key what is as good as the key itself:
 * the two states that HMAC makes of it. The vault may be running. For `file` keyrings.
 */
#define OPENSSL_SUPPRESS_DEPRECATED /* the states of a running hash are seen nowhere else */
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/encode.h"
#include "base/json.h"
#include "crypto/keywrap.h"
#include "crypto/password.h"
#include "store/sqlcipher/engine.h"

#define MASTERS_MAX 1024
#define SEAL_INFO   "tresor-keyring-1 seal"

typedef struct master {
    uint32_t version;
    tr_secret key;
} master;

static struct {
    tr_secret kek;
    master masters[MASTERS_MAX];
    size_t count;
} ring;

static void print_hex(const char *name, const char *part, const void *bytes, size_t len) {
    char hex[257];
    tr_hex_encode(bytes, len, hex);
    printf("%s%s %s\n", name, part, hex);
}

/* The states after the first block, of inner and outer hash (RFC 2104): with them anyone can make the MACs.
 */
static void print_hmac_states(const char *name, const tr_secret *key) {
    static const struct {
        const char *part;
        uint8_t pad;
    } ways[] = {{"/inner", 0x36}, {"/outer", 0x5c}};
    for (size_t w = 0; w < 2; w++) {
        uint8_t block[128];
        SHA256_CTX small;
        SHA512_CTX large;
        char part[32];
        memset(block, ways[w].pad, sizeof block);
        for (size_t i = 0; i < key->len; i++)
            block[i] ^= key->data[i];
        SHA256_Init(&small);
        SHA256_Update(&small, block, 64);
        (void)snprintf(part, sizeof part, "%s256", ways[w].part);
        print_hex(name, part, small.h, 32);
        SHA512_Init(&large);
        SHA512_Update(&large, block, 128);
        (void)snprintf(part, sizeof part, "%s512", ways[w].part);
        print_hex(name, part, large.h, 64);
    }
}

static void show(const char *name, const tr_secret *key) {
    print_hex(name, "", key->data, key->len);
    print_hmac_states(name, key);
}

static tr_status unwrap(uint32_t version, tr_bytes wrapped, tr_secret *key, tr_error *err) {
    for (size_t i = 0; i < ring.count; i++) {
        if (ring.masters[i].version == version)
            return tr_keyunwrap(&ring.masters[i].key, wrapped, key, err);
    }
    return tr_fail(err, TR_E_NOT_FOUND, NULL, "no master key of version %u", (unsigned)version);
}

static tr_status decode(const char *text, uint8_t *out, size_t room, size_t *len, tr_error *err) {
    *len = room;
    if (text && tr_base64url_decode(text, strlen(text), out, len))
        return TR_OK;
    return tr_fail(err, TR_E_CORRUPT, NULL, "the keyring is not what this tool knows");
}

static tr_status derive(const cJSON *kdf, const tr_secret *passphrase, tr_error *err) {
    uint8_t salt[64];
    size_t len;
    int64_t ln = 0;
    tr_secret seal = TR_SECRET_INIT;
    tr_status st = decode(tr_json_string(kdf, "salt"), salt, sizeof salt, &len, err);
    if (st == TR_OK && !tr_json_int(kdf, "ln", &ln))
        st = tr_fail(err, TR_E_CORRUPT, NULL, "the keyring has no \"kdf\"");
    if (st == TR_OK)
        st = tr_scrypt((tr_bytes){passphrase->data, passphrase->len}, (tr_bytes){salt, len},
                       UINT64_C(1) << ln, 8, 1, 32, &ring.kek, err);
    if (st == TR_OK)
        st = tr_hkdf_sha256(&ring.kek, (tr_bytes){NULL, 0}, (tr_bytes){SEAL_INFO, sizeof SEAL_INFO - 1}, 32,
                            &seal, err);
    if (st == TR_OK) {
        show("passphrase", passphrase);
        show("kek", &ring.kek);
        show("seal", &seal);
    }
    tr_secret_clear(&seal);
    return st;
}

static tr_status load_masters(const cJSON *list, tr_error *err) {
    const cJSON *entry;
    tr_status st = TR_OK;
    cJSON_ArrayForEach(entry, list) {
        uint8_t wrapped[128];
        char name[32];
        size_t len;
        int64_t version = 0;
        if (ring.count == MASTERS_MAX || !tr_json_int(entry, "version", &version))
            return tr_fail(err, TR_E_CORRUPT, NULL,
                           "the keyring's master keys are not as this tool knows them");
        master *m = &ring.masters[ring.count];
        m->version = (uint32_t)version;
        TR_TRY(decode(tr_json_string(entry, "key"), wrapped, sizeof wrapped, &len, err));
        TR_TRY(tr_keyunwrap(&ring.kek, (tr_bytes){wrapped, len}, &m->key, err));
        ring.count++;
        (void)snprintf(name, sizeof name, "master.%u", (unsigned)version);
        show(name, &m->key);
    }
out:
    return st;
}

static tr_status database_key(const cJSON *keys, const char *name, tr_secret *key, tr_error *err) {
    const cJSON *entry = tr_json_member(keys, name);
    uint8_t wrapped[128];
    size_t len;
    int64_t version = 0;
    tr_status st = decode(tr_json_string(entry, "wrapped"), wrapped, sizeof wrapped, &len, err);
    if (st == TR_OK && !tr_json_int(entry, "master", &version))
        st = tr_fail(err, TR_E_CORRUPT, NULL, "the keyring's %s has no version", name);
    if (st == TR_OK)
        st = unwrap((uint32_t)version, (tr_bytes){wrapped, len}, key, err);
    if (st == TR_OK)
        show(name, key);
    return st;
}

/* Rows of (name, master, wrapped). */
static tr_status show_rows(sqlite3 *handle, const char *sql, tr_error *err) {
    sqlite3_stmt *rows = NULL;
    tr_status st = TR_OK;
    if (sqlite3_prepare_v2(handle, sql, -1, &rows, NULL) != SQLITE_OK)
        return tr_fail(err, TR_E_INTERNAL, NULL, "%s", sqlite3_errmsg(handle));
    while (st == TR_OK && sqlite3_step(rows) == SQLITE_ROW) {
        tr_secret key = TR_SECRET_INIT;
        const tr_bytes wrapped = {sqlite3_column_blob(rows, 2), (size_t)sqlite3_column_bytes(rows, 2)};
        st = unwrap((uint32_t)sqlite3_column_int64(rows, 1), wrapped, &key, err);
        if (st == TR_OK)
            show((const char *)sqlite3_column_text(rows, 0), &key);
        tr_secret_clear(&key);
    }
    sqlite3_finalize(rows);
    return st;
}

static tr_status show_stored(const char *dir, const tr_secret *key, long most, tr_error *err) {
    tr_source source = {0};
    tr_conn conn = {0};
    char sql[160];
    tr_status st = tr_source_set(&source, dir, (const tr_secret *const[]){NULL, key, NULL}, err);
    if (st == TR_OK)
        st = tr_conn_open(&source, TR_DB_KEYS, TR_READ, &conn, err);
    if (st == TR_OK)
        st = show_rows(conn.handle, "SELECT 'named.' || name, master, wrapped FROM named_keys", err);
    (void)snprintf(sql, sizeof sql,
                   "SELECT 'data.' || hex(subject), master, wrapped FROM subject_keys LIMIT %ld", most);
    if (st == TR_OK)
        st = show_rows(conn.handle, sql, err);
    tr_conn_close(&conn);
    tr_source_clear(&source);
    return st;
}

static tr_status show_all(const char *dir, const char *passphrase_file, long most, tr_error *err) {
    static const char *const names[] = {"vault.db", "audit.db", "keys.db"};
    char path[PATH_MAX];
    static char text[1024 * 1024];
    tr_secret passphrase = TR_SECRET_INIT, key = TR_SECRET_INIT;
    cJSON *document = NULL;
    tr_status st = TR_OK;
    (void)snprintf(path, sizeof path, "%s/keyring", dir);
    FILE *file = fopen(path, "r");
    if (!file)
        return tr_fail_errno(err, path, "cannot open the keyring");
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    document = cJSON_Parse(text);
    TR_TRY(tr_secret_from_file(&passphrase, passphrase_file, err));
    TR_TRY(derive(tr_json_member(document, "kdf"), &passphrase, err));
    TR_TRY(load_masters(tr_json_member(document, "masters"), err));
    for (size_t i = 0; i < 3; i++) /* the last one stays in `key` */
        TR_TRY(database_key(tr_json_member(document, "keys"), names[i], &key, err));
    st = show_stored(dir, &key, most, err);
out:
    cJSON_Delete(document);
    tr_secret_clear(&passphrase);
    tr_secret_clear(&key);
    tr_secret_clear(&ring.kek);
    for (size_t i = 0; i < ring.count; i++)
        tr_secret_clear(&ring.masters[i].key);
    return st;
}

int main(int argc, char **argv) {
    tr_error err = {0};
    if (argc != 4) {
        fputs("usage: showkeys DIR PASSPHRASE_FILE MOST\n", stderr);
        return 2;
    }
    if (show_all(argv[1], argv[2], strtol(argv[3], NULL, 10), &err) == TR_OK)
        return fflush(stdout) == 0 ? 0 : 1;
    fprintf(stderr, "showkeys: %s\n", err.what);
    return 1;
}
