/* Opening: files and their modes, the lock, wrong keys, damage, migrations. */
#include "test_store_fixture.h"

#include "store/migrations.h"

static const char *const names[TR_DB_COUNT] = {"vault.db", "keys.db", "audit.db"};

static void files_are_private(void **state) {
    fixture *f = *state;
    char path[128];
    mode_t before = umask(0);
    fixture_put(f, "a");
    umask(before);
    static const char *const files[] = {"vault.db", "keys.db",      "audit.db",
                                        "lock",     "vault.db-wal", "vault.db-shm"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        struct stat info;
        fixture_path(f, files[i], path);
        assert_int_equal(stat(path, &info), 0);
        assert_int_equal(info.st_mode & 0777, 0600);
    }
}

static void closing_leaves_no_wal(void **state) {
    fixture *f = *state;
    char path[128];
    fixture_put(f, "a");
    assert_true(fixture_has(f, "a"));
    fixture_close(f);
    for (int i = 0; i < TR_DB_COUNT; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "%s-wal", names[i]);
        fixture_path(f, name, path);
        assert_int_not_equal(access(path, F_OK), 0);
    }
    assert_ok(f, fixture_open(f, false));
    assert_true(fixture_has(f, "a"));
}

static void one_process_at_a_time(void **state) {
    fixture *f = *state;
    tr_store_options options = fixture_options(f, false);
    tr_store *second = NULL;
    assert_status(f, tr_store_open(&options, &second, &f->err), TR_E_LOCKED);
    assert_null(second);
    fixture_put(f, "still works");
}

static void create_refuses_what_is_there(void **state) {
    fixture *f = *state;
    fixture_put(f, "a");
    fixture_close(f);
    assert_status(f, fixture_open(f, true), TR_E_EXISTS);
    assert_ok(f, fixture_open(f, false));
    assert_true(fixture_has(f, "a"));
}

static void create_that_fails_leaves_nothing(void **state) {
    fixture *f = *state;
    char path[128];
    tr_secret_clear(&f->keys[TR_DB_AUDIT]);
    assert_ok(f, tr_secret_random(&f->keys[TR_DB_AUDIT], 16, &f->err)); /* too short a key */
    assert_status(f, fixture_open(f, true), TR_E_INTERNAL);
    for (int i = 0; i < TR_DB_COUNT; i++) {
        fixture_path(f, names[i], path);
        assert_int_not_equal(access(path, F_OK), 0);
    }
}

static void a_missing_folder_or_file_is_named(void **state) {
    fixture *f = *state;
    char path[128];
    fixture_close(f);
    for (int i = 0; i < TR_DB_COUNT; i++) {
        fixture_copy(f, names[i], "kept");
        fixture_path(f, names[i], path);
        assert_int_equal(unlink(path), 0);
        assert_status(f, fixture_open(f, false), TR_E_CONFIG);
        assert_string_equal(f->err.where, names[i]);
        assert_int_not_equal(access(path, F_OK), 0); /* and not made */
        assert_int_equal(truncate(path, 0), -1);
        close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
        assert_status(f, fixture_open(f, false), TR_E_CORRUPT); /* empty */
        assert_string_equal(f->err.where, names[i]);
        fixture_copy(f, "kept", names[i]);
    }
    assert_ok(f, fixture_open(f, false));
    fixture_close(f);
    (void)snprintf(path, sizeof path, "%s", f->dir);
    (void)snprintf(f->dir, sizeof f->dir, "/tmp/tresor-test-none");
    assert_status(f, fixture_open(f, false), TR_E_CONFIG);
    (void)snprintf(f->dir, sizeof f->dir, "%.60s", path);
}

static void a_wrong_key_is_named(void **state) {
    fixture *f = *state;
    fixture_close(f);
    for (int i = 0; i < TR_DB_COUNT; i++) {
        f->keys[i].data[31] ^= 1;
        assert_status(f, fixture_open(f, false), TR_E_WRONG_KEY);
        assert_string_equal(f->err.where, names[i]);
        f->keys[i].data[31] ^= 1;
    }
    assert_ok(f, fixture_open(f, false));
}

static void a_damaged_first_page_is_not_opened(void **state) {
    fixture *f = *state;
    fixture_close(f);
    for (int i = 0; i < TR_DB_COUNT; i++) {
        fixture_damage(f, names[i], 100);
        assert_status(f, fixture_open(f, false), TR_E_WRONG_KEY); /* the two cannot be told apart */
        assert_string_equal(f->err.where, names[i]);
        fixture_damage(f, names[i], 100);
    }
}

/* Page 2 is the table that the opening reads: meta, subject_keys (not read), entries. */
static void a_damaged_page_is_named(void **state) {
    fixture *f = *state;
    fixture_append(f, "{}");
    fixture_close(f);
    static const struct {
        const char *name;
        int page;
    } read_at_open[] = {{"vault.db", 2}, {"audit.db", 2}, {"keys.db", 4}};
    for (size_t i = 0; i < sizeof read_at_open / sizeof *read_at_open; i++) {
        off_t at = (off_t)(read_at_open[i].page - 1) * 4096 + 77;
        fixture_damage(f, read_at_open[i].name, at);
        assert_status(f, fixture_open(f, false), TR_E_CORRUPT);
        assert_string_equal(f->err.where, read_at_open[i].name);
        fixture_damage(f, read_at_open[i].name, at);
    }
    assert_ok(f, fixture_open(f, false));
}

/* SQLite would take the damaged frame for the log's end and drop the writes behind it. */
static void a_damaged_log_is_named(void **state) {
    fixture *f = *state;
    const off_t frame = 24 + 4096;
    const off_t flips[] = {20, 32 + 8, 32 + 17, 32 + 100, 32 + frame + 5, 32 + 2 * frame + 3000};
    static const char *const values[] = {"a", "b", "c", "d", "e", "f"};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        fixture_put(f, values[i]);
    fixture_copy(f, "vault.db", "kept");
    fixture_copy(f, "vault.db-wal", "kept-wal");
    fixture_close(f);
    for (size_t i = 0; i < sizeof flips / sizeof *flips; i++) {
        fixture_copy(f, "kept", "vault.db");
        fixture_copy(f, "kept-wal", "vault.db-wal");
        fixture_damage(f, "vault.db-wal", flips[i]);
        assert_status(f, fixture_open(f, false), TR_E_CORRUPT);
        assert_string_equal(f->err.where, "vault.db");
        fixture_damage(f, "vault.db-wal", flips[i]);
        assert_ok(f, fixture_open(f, false));
        assert_true(fixture_has(f, "f"));
        fixture_close(f);
    }
}

static tr_status nothing(void *context, uint32_t master, tr_bytes wrapped, tr_error *err) {
    (void)context, (void)master, (void)wrapped, (void)err;
    return TR_OK;
}

static tr_status key_job(void *context, tr_db *tx, tr_error *err) {
    return tr_key_insert(tx, context, 1, text_bytes("wrapped"), err);
}

/* A page that is not read at the opening: the reads of it fail, all else goes on, and the check finds it. */
static void damage_in_the_middle_is_found_and_bounded(void **state) {
    fixture *f = *state;
    tr_uuid id = tr_uuid_new(), other = tr_uuid_new();
    assert_ok(f, tr_store_write(f->store, key_job, &id, &f->err));
    assert_ok(f, tr_store_check(f->store, &f->err));
    fixture_close(f);
    fixture_damage(f, "keys.db", 4096 + 99); /* subject_keys */
    assert_ok(f, fixture_open(f, false));
    assert_status(f, tr_store_check(f->store, &f->err), TR_E_CORRUPT);
    assert_string_equal(f->err.where, "keys.db");
    for (int i = 0; i < 3; i++) {
        assert_status(f, tr_key_get(fixture_reader(f), &id, nothing, NULL, &f->err), TR_E_CORRUPT);
        assert_status(f, tr_store_write(f->store, key_job, &other, &f->err), TR_E_CORRUPT);
        assert_string_equal(f->err.where, "keys.db");
        assert_status(f, tr_named_key_get(fixture_reader(f), "index", nothing, NULL, &f->err),
                      TR_E_NOT_FOUND);
        fixture_put(f, "goes on");
        fixture_append(f, "{}");
    }
}

/* The number of the database's newest migration. */
static int newest_schema(const char *file) {
    int newest = 0;
    for (size_t i = 0; i < tr_migrations_count; i++) {
        if (strncmp(file, tr_migrations[i].db, strlen(tr_migrations[i].db)) == 0 &&
            tr_migrations[i].version > newest)
            newest = tr_migrations[i].version;
    }
    return newest;
}

static void a_newer_schema_is_refused(void **state) {
    fixture *f = *state;
    for (int i = 0; i < TR_DB_COUNT; i++) {
        tr_conn conn;
        fixture_close(f);
        tr_source source = {.dir = ""};
        const tr_secret *const keys[TR_DB_COUNT] = {&f->keys[0], &f->keys[1], &f->keys[2]};
        assert_ok(f, tr_source_set(&source, f->dir, keys, &f->err));
        assert_ok(f, tr_conn_open(&source, (tr_db_kind)i, TR_WRITE, &conn, &f->err));
        assert_ok(f, tr_conn_exec(&conn, "PRAGMA user_version = 999", &f->err));
        assert_status(f, fixture_open(f, false), TR_E_CONFIG);
        assert_string_equal(f->err.where, names[i]);
        char back[40];
        snprintf(back, sizeof back, "PRAGMA user_version = %d", newest_schema(names[i]));
        assert_ok(f, tr_conn_exec(&conn, back, &f->err));
        tr_conn_close(&conn);
        tr_source_clear(&source);
        assert_ok(f, fixture_open(f, false));
    }
}

static void migrations_are_whole_or_not_at_all(void **state) {
    fixture *f = *state;
    static const struct tr_migration_text good[] = {
        {"vault", 1, "a", "this is not run again"},
        {"keys", 2, "b", "not for this database"},
        {"vault", 2, "c", "CREATE TABLE two (a); CREATE TABLE zwei (a)"},
        {"vault", 3, "d", "ALTER TABLE two ADD COLUMN b"}};
    static const struct tr_migration_text bad[] = {
        {"vault", 1, "a", ""},
        {"vault", 2, "c", ""},
        {"vault", 3, "d", ""},
        {"vault", 4, "e", "CREATE TABLE four (a); CREATE TABLE two (a)"}};
    tr_conn *conn = &f->store->group.tx.conns[TR_DB_VAULT];
    int64_t n = 0;
    assert_ok(f, tr_conn_exec(conn, "PRAGMA user_version = 1", &f->err)); /* however many the real ones are */
    assert_ok(f, tr_migrate(conn, good, 4, &f->err));
    assert_ok(f, tr_conn_pragma_int(conn, "PRAGMA user_version", &n, &f->err));
    assert_int_equal(n, 3);
    assert_ok(f, tr_conn_exec(conn, "INSERT INTO two (a, b) VALUES (1, 2)", &f->err));
    assert_ok(f, tr_migrate(conn, good, 4, &f->err)); /* nothing is left to do */
    assert_status(f, tr_migrate(conn, bad, 4, &f->err), TR_E_INTERNAL);
    assert_ok(f, tr_conn_pragma_int(conn, "PRAGMA user_version", &n, &f->err));
    assert_int_equal(n, 3);
    assert_ok(
        f, tr_conn_pragma_int(conn, "SELECT count(*) FROM sqlite_schema WHERE name = 'four'", &n, &f->err));
    assert_int_equal(n, 0);
    assert_status(f, tr_migrate_check(conn, good, 3, &f->err), TR_E_CONFIG);
}

static void nothing_readable_is_on_disk(void **state) {
    fixture *f = *state;
    static const char *const files[] = {"vault.db", "vault.db-wal", "audit.db", "audit.db-wal"};
    fixture_put(f, "needle-in-the-vault");
    fixture_append(f, "{\"needle-in-the-log\":1}");
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char command[256];
        (void)snprintf(command, sizeof command, "grep -aq needle-in %s/%s", f->dir, files[i]);
        assert_int_not_equal(system(command), 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(files_are_private, fixture_up, fixture_down),
        cmocka_unit_test_setup_teardown(closing_leaves_no_wal, fixture_up, fixture_down),
        cmocka_unit_test_setup_teardown(one_process_at_a_time, fixture_up, fixture_down),
        cmocka_unit_test_setup_teardown(create_refuses_what_is_there, fixture_up, fixture_down),
        cmocka_unit_test_setup_teardown(create_that_fails_leaves_nothing, fixture_up_empty, fixture_down),
        cmocka_unit_test_setup_teardown(a_missing_folder_or_file_is_named, fixture_up, fixture_down),
        cmocka_unit_test_setup_teardown(a_wrong_key_is_named, fixture_up, fixture_down),
        cmocka_unit_test_setup_teardown(a_damaged_first_page_is_not_opened, fixture_up, fixture_down),
        cmocka_unit_test_setup_teardown(a_damaged_page_is_named, fixture_up, fixture_down),
        cmocka_unit_test_setup_teardown(a_damaged_log_is_named, fixture_up, fixture_down),
        cmocka_unit_test_setup_teardown(damage_in_the_middle_is_found_and_bounded, fixture_up, fixture_down),
        cmocka_unit_test_setup_teardown(a_newer_schema_is_refused, fixture_up, fixture_down),
        cmocka_unit_test_setup_teardown(migrations_are_whole_or_not_at_all, fixture_up, fixture_down),
        cmocka_unit_test_setup_teardown(nothing_readable_is_on_disk, fixture_up, fixture_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
