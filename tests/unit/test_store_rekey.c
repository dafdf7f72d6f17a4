/* A database under another key: the content stays, the old key opens nothing, what fails changes nothing. */
#include "test_store_fixture.h"

static tr_status rekey(fixture *f, const char *name, const tr_secret *old_key, const tr_secret *new_key) {
    f->err = (tr_error){0};
    return tr_store_rekey(f->dir, name, old_key, new_key, &f->err);
}

static void rekey_all(fixture *f) {
    for (int i = 0; i < TR_DB_COUNT; i++) {
        tr_secret key = TR_SECRET_INIT;
        assert_ok(f, tr_secret_random(&key, 32, &f->err));
        assert_ok(f, rekey(f, tr_db_name((tr_db_kind)i), &f->keys[i], &key));
        assert_status(f, tr_store_try_key(f->dir, tr_db_name((tr_db_kind)i), &f->keys[i], &f->err),
                      TR_E_WRONG_KEY);
        assert_ok(f, tr_store_try_key(f->dir, tr_db_name((tr_db_kind)i), &key, &f->err));
        tr_secret_clear(&f->keys[i]);
        f->keys[i] = key;
    }
}

static bool is_there(const fixture *f, const char *name) {
    char path[128];
    fixture_path(f, name, path);
    return access(path, F_OK) == 0;
}

static void content_stays(void **state) {
    fixture *f = *state;
    tr_audit_verdict verdict = {0};
    char name[32];
    for (int i = 0; i < 300; i++) {
        (void)snprintf(name, sizeof name, "value %d", i);
        fixture_put(f, name);
        fixture_append(f, "{\"n\":1}");
    }
    fixture_close(f);
    rekey_all(f);
    assert_ok(f, fixture_open(f, false));
    assert_true(fixture_has(f, "value 0") && fixture_has(f, "value 299"));
    assert_ok(f, tr_audit_verify(fixture_reader(f), &verdict, &f->err));
    assert_true(verdict.ok);
    assert_int_equal(verdict.entries, 300);
    assert_ok(f, tr_store_check(f->store, &f->err));
    fixture_put(f, "one more");
    fixture_reopen(f);
    assert_true(fixture_has(f, "one more"));
}

/* As they all were before: SQLCipher's own choice for a page's MAC. */
static void make_old(fixture *f, tr_db_kind kind) {
    static const char *const sql[] = {"PRAGMA copy.cipher_hmac_algorithm = HMAC_SHA512",
                                      "SELECT sqlcipher_export('copy')", "PRAGMA copy.journal_mode = WAL"};
    char from[128], to[128], text[TR_KEY_TEXT_LEN + 1], set[64];
    tr_conn conn = {.kind = kind};
    sqlite3_stmt *attach = NULL;
    int64_t version = 0;
    fixture_path(f, tr_db_name(kind), from);
    fixture_path(f, "old", to);
    assert_int_equal(sqlite3_open(from, &conn.handle), SQLITE_OK);
    assert_ok(f, tr_conn_key(&conn, &f->keys[kind], &f->err));
    assert_ok(f, tr_key_text(&f->keys[kind], kind, text, &f->err));
    assert_ok(f, tr_conn_pragma_int(&conn, "PRAGMA user_version", &version, &f->err));
    assert_int_equal(sqlite3_prepare_v2(conn.handle, "ATTACH DATABASE ?1 AS copy KEY ?2", -1, &attach, NULL),
                     SQLITE_OK);
    sqlite3_bind_text(attach, 1, to, -1, SQLITE_STATIC);
    sqlite3_bind_text(attach, 2, text, TR_KEY_TEXT_LEN, SQLITE_STATIC);
    assert_int_equal(sqlite3_step(attach), SQLITE_DONE);
    sqlite3_finalize(attach);
    for (size_t i = 0; i < sizeof sql / sizeof *sql; i++)
        assert_ok(f, tr_conn_exec(&conn, sql[i], &f->err));
    (void)snprintf(set, sizeof set, "PRAGMA copy.user_version = %d", (int)version);
    assert_ok(f, tr_conn_exec(&conn, set, &f->err));
    tr_conn_close(&conn);
    assert_int_equal(rename(to, from), 0);
}

static size_t cipher_bytes(fixture *f, tr_db_kind kind) {
    tr_conn *conn = NULL;
    assert_ok(f, tr_db_conn(fixture_tx(f), kind, &conn, &f->err));
    return conn->cipher_bytes;
}

static void older_files_are_opened_and_become_new(void **state) {
    fixture *f = *state;
    fixture_put(f, "before");
    fixture_append(f, "{\"n\":1}");
    fixture_close(f);
    for (int i = 0; i < TR_DB_COUNT; i++)
        make_old(f, (tr_db_kind)i);
    assert_ok(f, fixture_open(f, false));
    assert_true(fixture_has(f, "before"));
    fixture_put(f, "after");
    assert_int_equal(cipher_bytes(f, TR_DB_VAULT), 80);
    assert_ok(f, tr_store_check(f->store, &f->err));
    f->keys[TR_DB_VAULT].data[0] ^= 1;
    fixture_close(f);
    assert_status(f, fixture_open(f, false), TR_E_WRONG_KEY);
    f->keys[TR_DB_VAULT].data[0] ^= 1;
    rekey_all(f);
    assert_ok(f, fixture_open(f, false));
    assert_int_equal(cipher_bytes(f, TR_DB_VAULT), 48);
    assert_true(fixture_has(f, "before") && fixture_has(f, "after"));
    assert_ok(f, tr_store_check(f->store, &f->err));
}

static void triggers_and_version_stay(void **state) {
    fixture *f = *state;
    fixture_append(f, "{}");
    fixture_close(f);
    rekey_all(f);
    assert_ok(f, fixture_open(f, false)); /* with another user_version it would be migrated again, and fail */
    tr_conn *conn = NULL;
    assert_ok(f, tr_db_conn(fixture_tx(f), TR_DB_AUDIT, &conn, &f->err));
    assert_int_not_equal(tr_conn_exec(conn, "DELETE FROM entries", &f->err), TR_OK);
}

static void file_is_private_and_alone(void **state) {
    fixture *f = *state;
    struct stat info;
    char path[128];
    fixture_put(f, "a");
    fixture_close(f);
    mode_t before = umask(0);
    rekey_all(f);
    umask(before);
    fixture_path(f, "vault.db", path);
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
    assert_false(is_there(f, "vault.db.rekey") || is_there(f, "vault.db.rekey-wal"));
}

static void a_wrong_key_changes_nothing(void **state) {
    fixture *f = *state;
    fixture_put(f, "a");
    fixture_close(f);
    assert_status(f, rekey(f, "vault.db", &f->keys[TR_DB_KEYS], &f->keys[TR_DB_AUDIT]), TR_E_WRONG_KEY);
    assert_status(f, rekey(f, "other.db", &f->keys[TR_DB_VAULT], &f->keys[TR_DB_AUDIT]), TR_E_INTERNAL);
    assert_false(is_there(f, "vault.db.rekey"));
    assert_ok(f, fixture_open(f, false));
    assert_true(fixture_has(f, "a"));
}

static void damage_is_named_and_stays(void **state) {
    fixture *f = *state;
    tr_secret key = TR_SECRET_INIT;
    assert_ok(f, tr_secret_random(&key, 32, &f->err));
    fixture_put(f, "a");
    fixture_close(f);
    fixture_damage(f, "vault.db", 2 * 4096 + 50);
    assert_status(f, rekey(f, "vault.db", &f->keys[TR_DB_VAULT], &key), TR_E_CORRUPT);
    assert_string_equal(f->err.where, "vault.db");
    assert_false(is_there(f, "vault.db.rekey"));
    fixture_damage(f, "vault.db", 2 * 4096 + 50); /* the same byte back */
    assert_ok(f, tr_store_try_key(f->dir, "vault.db", &f->keys[TR_DB_VAULT], &f->err));
    tr_secret_clear(&key);
    assert_ok(f, fixture_open(f, false));
    assert_true(fixture_has(f, "a"));
}

static void a_reader_holds_it_up(void **state) {
    fixture *f = *state;
    tr_source source = {.dir = ""};
    tr_conn conn = {.handle = NULL};
    tr_secret key = TR_SECRET_INIT;
    assert_ok(f, tr_secret_random(&key, 32, &f->err));
    fixture_put(f, "a");
    assert_ok(f, tr_source_set(&source, f->dir, (const tr_secret *const[]){&f->keys[TR_DB_VAULT], NULL, NULL},
                               &f->err));
    fixture_close(f);
    assert_ok(f, tr_conn_open(&source, TR_DB_VAULT, TR_WRITE, &conn, &f->err));
    assert_ok(f, tr_conn_exec(&conn, "INSERT INTO meta (name, value) VALUES ('b', x'00')", &f->err));
    assert_ok(f, tr_conn_exec(&conn, "BEGIN", &f->err));
    assert_ok(f, tr_conn_exec(&conn, "SELECT count(*) FROM meta", &f->err));
    assert_status(f, rekey(f, "vault.db", &f->keys[TR_DB_VAULT], &key), TR_E_BUSY);
    tr_conn_close(&conn);
    tr_source_clear(&source);
    tr_secret_clear(&key);
    assert_ok(f, fixture_open(f, false));
    assert_true(fixture_has(f, "a") && fixture_has(f, "b"));
}

static void what_a_crash_left_is_removed(void **state) {
    fixture *f = *state;
    fixture_put(f, "a");
    fixture_close(f);
    fixture_copy(f, "vault.db", "vault.db.rekey");
    fixture_copy(f, "vault.db", "vault.db.rekey-wal");
    assert_ok(f, fixture_open(f, false));
    assert_false(is_there(f, "vault.db.rekey") || is_there(f, "vault.db.rekey-wal"));
    fixture_close(f);
    fixture_copy(f, "keys.db", "vault.db.rekey");
    rekey_all(f);
    assert_ok(f, fixture_open(f, false));
    assert_true(fixture_has(f, "a"));
}

static void the_lock_is_the_callers(void **state) {
    fixture *f = *state;
    int lock = -1, second = -1;
    fixture_close(f);
    assert_ok(f, tr_store_lock(f->dir, &lock, &f->err));
    assert_status(f, tr_store_lock(f->dir, &second, &f->err), TR_E_LOCKED);
    assert_int_equal(second, -1);
    assert_status(f, fixture_open(f, false), TR_E_LOCKED);
    tr_store_options options = fixture_options(f, false);
    options.locked = true;
    assert_ok(f, tr_store_open(&options, &f->store, &f->err));
    fixture_close(f);
    assert_status(f, tr_store_lock(f->dir, &second, &f->err), TR_E_LOCKED); /* still the caller's */
    tr_store_unlock(lock);
    tr_store_unlock(-1);
    assert_ok(f, fixture_open(f, false));
    assert_status(f, tr_store_lock("/nowhere/at/all", &second, &f->err), TR_E_CONFIG);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_up, fixture_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(content_stays),
        TEST(older_files_are_opened_and_become_new),
        TEST(triggers_and_version_stay),
        TEST(file_is_private_and_alone),
        TEST(a_wrong_key_changes_nothing),
        TEST(damage_is_named_and_stays),
        TEST(a_reader_holds_it_up),
        TEST(what_a_crash_left_is_removed),
        TEST(the_lock_is_the_callers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
