/* A vault in a folder of its own, and what lies in its files. */
#ifndef TEST_VAULT_FIXTURE_H
#define TEST_VAULT_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "scratch.h"
#include "store/sqlcipher/engine.h"
#include "vault/vault_internal.h"

typedef struct vault_fixture {
    tr_config config;
    tr_vault *vault;
    tr_secret passphrase;
    tr_error err;
} vault_fixture;

#define assert_ok(f, call)                                                                                   \
    do {                                                                                                     \
        tr_status got_ = (call);                                                                             \
        if (got_ != TR_OK)                                                                                   \
            fail_msg("%s: %s: %s (%s)", #call, tr_status_slug(got_), (f)->err.what, (f)->err.where);         \
    } while (0)

static inline void vault_open(vault_fixture *f) {
    assert_ok(f, tr_vault_open(&f->config, &f->passphrase, &f->vault, &f->err));
}

static inline void vault_close(vault_fixture *f) {
    tr_vault_close(f->vault);
    f->vault = NULL;
}

static inline void vault_reopen(vault_fixture *f) {
    vault_close(f);
    vault_open(f);
}

static inline int vault_up(void **state) {
    vault_fixture *f = calloc(1, sizeof *f);
    char *rest[1];
    int rest_count = 0;
    tr_first_credentials first;
    if (!f || tr_config_load(0, NULL, NULL, &f->config, rest, &rest_count, &f->err) != TR_OK)
        return -1;
    *state = f;
    if (!scratch(f->config.data, sizeof f->config.data, "tresor-vault") ||
        tr_secret_copy(&f->passphrase, "correct horse", 13, &f->err) != TR_OK)
        return -1;
    const tr_keyring_spec spec = {.provider = "file", .passphrase = &f->passphrase};
    if (tr_vault_init(&f->config, &spec, &first, &f->err) != TR_OK) {
        (void)fprintf(stderr, "init: %s\n", f->err.what);
        return -1;
    }
    vault_open(f);
    return 0;
}

static inline int vault_down(void **state) {
    vault_fixture *f = *state;
    tr_clock_set_for_test(0);
    vault_close(f);
    DIR *dir = opendir(f->config.data);
    for (struct dirent *entry; dir && (entry = readdir(dir));)
        (void)unlinkat(dirfd(dir), entry->d_name, 0);
    if (dir)
        closedir(dir);
    (void)rmdir(f->config.data);
    tr_secret_clear(&f->passphrase);
    free(f);
    return 0;
}

static inline tr_db *vault_reader(vault_fixture *f) {
    tr_db *db = NULL;
    assert_ok(f, tr_store_reader(f->vault->store, &db, &f->err));
    return db;
}

/* ---- behind a closed vault's back ---- */

static inline void raw_open(vault_fixture *f, tr_db_kind kind, tr_source *source, tr_conn *conn) {
    char path[700];
    tr_keyring *ring = NULL;
    tr_secret key = TR_SECRET_INIT;
    const tr_secret *keys[TR_DB_COUNT] = {NULL};
    (void)snprintf(path, sizeof path, "%s/keyring", f->config.data);
    assert_ok(f, tr_keyring_open_file(path, &f->passphrase, &ring, &f->err));
    assert_ok(f, tr_keyring_named_key(ring, tr_db_name(kind), false, &key, &f->err));
    keys[kind] = &key;
    memset(source, 0, sizeof *source);
    memset(conn, 0, sizeof *conn);
    assert_ok(f, tr_source_set(source, f->config.data, keys, &f->err));
    assert_ok(f, tr_conn_open(source, kind, TR_WRITE, conn, &f->err));
    tr_keyring_close(ring);
    tr_secret_clear(&key);
}

static inline void raw_close(tr_source *source, tr_conn *conn) {
    tr_conn_close(conn);
    tr_source_clear(source);
}

static inline void raw_exec(vault_fixture *f, tr_db_kind kind, const char *sql) {
    tr_source source;
    tr_conn conn;
    raw_open(f, kind, &source, &conn);
    assert_ok(f, tr_conn_exec(&conn, sql, &f->err));
    raw_close(&source, &conn);
}

/* How often the bytes (ASCII case does not count) are in the database's decrypted pages, free ones too. */
static inline int raw_count(vault_fixture *f, tr_db_kind kind, const char *needle) {
    tr_source source;
    tr_conn conn;
    sqlite3_stmt *pages = NULL;
    int found = 0;
    size_t len = strlen(needle);
    raw_open(f, kind, &source, &conn);
    assert_int_equal(sqlite3_prepare_v2(conn.handle, "SELECT data FROM sqlite_dbpage", -1, &pages, NULL),
                     SQLITE_OK);
    while (sqlite3_step(pages) == SQLITE_ROW) {
        const char *page = sqlite3_column_blob(pages, 0);
        size_t n = (size_t)sqlite3_column_bytes(pages, 0);
        for (size_t i = 0; i + len <= n; i++)
            found += strncasecmp(page + i, needle, len) == 0;
    }
    sqlite3_finalize(pages);
    raw_close(&source, &conn);
    return found;
}

#endif
