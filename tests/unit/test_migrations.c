/* A vault of every earlier schema is opened by this program: what was there is there, the schema is the one
 * of a new vault, and a kill in the middle loses nothing. */
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

#include "base/encode.h"
#include "store/migrations.h"
#include "store/sqlcipher/memory.h"
#include "test_store_fixture.h"

#define KILLS       16
#define VERSION_MAX 16

extern char **environ;

/* Rows as a vault of that schema had them: run when the database has just got that number. */
#define ID(digit) "X'0000000000000000000000000000000" digit "'"
static const char *const rows[TR_DB_COUNT][VERSION_MAX] =
    {
        [TR_DB_VAULT] = {[1] =
                             "INSERT INTO subjects VALUES (" ID("1") "," ID(
                                 "2") ", 5, 0);"
                                      "INSERT INTO principals VALUES (" ID(
                                          "2") ", 'crm', 'Clinic', 1, NULL, 0, 1, 0, '$s$', 1, 2, 1),"
                                               " (" ID("3") ", 'sealed uid', '', 0, " ID(
                                                   "1") ", 0, 0, 1, '$s$', 1, 2, 7);"
                                                        "INSERT INTO sessions VALUES ('client', " ID(
                                                            "2") ", X'aa', X'bb', 3, NULL, 1, 3, 0, 0, '');"
                                                                 "INSERT INTO outcomes VALUES (9, " ID("2") ", zeroblob(32), zeroblob(32), " ID(
                                                                     "1") ", 4, X'0c');"
                                                                          "INSERT INTO import_batches VALUES "
                                                                          "(1, " ID(
                                                                              "2") ", zeroblob(32), 1, "
                                                                                   "zeroblob(32), 2, 4, "
                                                                                   "X'0d');"
                                                                                   "INSERT INTO types VALUES "
                                                                                   "(1, 'contact', 3, "
                                                                                   "'{\"type\":\"object\"}', "
                                                                                   "1, 2);"
                                                                                   "INSERT INTO records "
                                                                                   "VALUES (4, " ID("4") "," ID("1") ", 'contact', 2, 6, 7, " ID(
                                                                                       "2") ", X'5ea1');"
                                                                                            "INSERT INTO "
                                                                                            "record_versions "
                                                                                            "VALUES (1, 4, "
                                                                                            "1, 6, " ID(
                                                                                                "2") ", "
                                                                                                     "X'01d0'"
                                                                                                     ");"
                                                                                                     "INSERT "
                                                                                                     "INTO "
                                                                                                     "index_"
                                                                                                     "fields "
                                                                                                     "VALUES "
                                                                                                     "(1, "
                                                                                                     "'contac"
                                                                                                     "t', "
                                                                                                     "'/"
                                                                                                     "email')"
                                                                                                     ";"
                                                                                                     "INSERT "
                                                                                                     "INTO "
                                                                                                     "index_"
                                                                                                     "entries"
                                                                                                     " VALUES"
                                                                                                     " (1, "
                                                                                                     "X'"
                                                                                                     "0011223"
                                                                                                     "3445566"
                                                                                                     "778899a"
                                                                                                     "abbccdd"
                                                                                                     "eeff',"
                                                                                                     " " ID(
                                                                                                         "4") ", 4);"
                                                                                                              "INSERT INTO activities VALUES (" ID(
                                                                                                                  "5") ", '{\"name\":\"Letter\"}', 1, 2, 0, 1);"
                                                                                                                       "INSERT INTO grants VALUES (" ID("6") "," ID(
                                                                                                                           "1") "," ID("2") "," ID("5") ", '[\"contact\"]', '[]', 0, 1, 8, 0, 0);",
                         [2] = "INSERT INTO requests VALUES (" ID("7") "," ID(
                             "1") ", 0, 1, NULL, 10, 99, 0, 11, '{}', X'77', NULL, 2);"
                                  "INSERT INTO holds VALUES (" ID("8") "," ID(
                                      "1") ", 'Dispute', 'Art. 30', " ID("2") ", 12, 0, NULL, 0);"
                                                                              "INSERT INTO notices VALUES "
                                                                              "(" ID("9") "," ID("2") "," ID(
                                                                                  "1") "," ID("7") ", "
                                                                                                   "'restrict"
                                                                                                   "ion', "
                                                                                                   "'{}', "
                                                                                                   "13, 0, "
                                                                                                   "13, 0);",
                         [3] = "INSERT INTO contacts VALUES (" ID("2") ", X'c0', 14);",
                         [4] = "INSERT INTO incidents VALUES (" ID("a") ", 1, 1, NULL, " ID(
                             "2") ", 15, 16, 0, 0, 15, 15, 1, 15, X'1c', 1);"
                                  "INSERT INTO incident_evidence VALUES (" ID(
                                      "a") ", 1, 1, 15, NULL, NULL, NULL, NULL, NULL);"
                                           "INSERT INTO incident_told VALUES (" ID("a") ", zeroblob(32), " ID(
                                               "1") ");"},
        [TR_DB_KEYS] = {[1] = "INSERT INTO subject_keys VALUES (" ID(
                            "1") ", 1, X'0e');"
                                 "INSERT INTO named_keys VALUES ('index', 1, X'0f');",
                        [3] = "INSERT INTO erasure_ledger VALUES (1, " ID("b") "," ID("c") ", 17);"}};

typedef struct text {
    char *bytes;
    size_t len;
} text;

/* What the three databases hold, a query a line with what it gave: asked again later it must be the same. */
typedef struct kept {
    text queries[TR_DB_COUNT], answers[TR_DB_COUNT];
} kept;

static void add(text *t, const char *more, size_t len) {
    t->bytes = realloc(t->bytes, t->len + len + 1);
    assert_non_null(t->bytes);
    memcpy(t->bytes + t->len, more, len);
    t->len += len;
    t->bytes[t->len] = 0;
}

static int add_row(void *context, int count, char **values, char **names) {
    (void)names;
    for (int i = 0; i < count; i++) {
        add(context, values[i] ? values[i] : "NULL", values[i] ? strlen(values[i]) : 4);
        add(context, "\n", 1);
    }
    return 0;
}

static text ask(tr_conn *conn, const char *sql) {
    text answer = {NULL, 0};
    add(&answer, "", 0);
    assert_int_equal(sqlite3_exec(conn->handle, sql, add_row, &answer, NULL), SQLITE_OK);
    return answer;
}

static void ask_same(tr_conn *conn, const char *sql, const char *want) {
    text got = ask(conn, sql);
    assert_string_equal(got.bytes, want);
    free(got.bytes);
}

/* Each table's rows in the columns that it has now. */
static const char sql_queries[] =
    "SELECT 'SELECT ' || (SELECT group_concat('quote(\"' || c.name || '\")', ', ')"
    " FROM pragma_table_info(t.name) c) || ' FROM \"' || t.name || '\" ORDER BY 1;'"
    " FROM sqlite_schema t WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite_%' ORDER BY t.name";
static const char sql_schema[] =
    "SELECT type || ' ' || name || ' ' || coalesce(sql, '') FROM sqlite_schema ORDER BY 1";
static const char sql_version[] = "PRAGMA user_version";
static const char sql_cookie[] = "PRAGMA schema_version";

static int newest(tr_db_kind kind) {
    int version = 0;
    for (size_t i = 0; i < tr_migrations_count; i++) {
        if (strncmp(tr_db_name(kind), tr_migrations[i].db, strlen(tr_migrations[i].db)) == 0)
            version = tr_migrations[i].version;
    }
    return version;
}

static void migrate_to(fixture *f, tr_conn *conn, int version) {
    struct tr_migration_text list[3 * VERSION_MAX];
    size_t count = 0;
    for (size_t i = 0; i < tr_migrations_count; i++) {
        assert_in_range(tr_migrations[i].version, 1, VERSION_MAX - 1);
        if (tr_migrations[i].version <= version)
            list[count++] = tr_migrations[i];
    }
    assert_ok(f, tr_migrate(conn, list, count, &f->err));
}

static void open_one(fixture *f, tr_db_kind kind, tr_access access, tr_conn *conn) {
    tr_source source = {.dir = ""};
    const tr_secret *const keys[TR_DB_COUNT] = {&f->keys[0], &f->keys[1], &f->keys[2]};
    assert_ok(f, tr_source_set(&source, f->dir, keys, &f->err));
    assert_ok(f, tr_conn_open(&source, kind, access, conn, &f->err));
    tr_source_clear(&source);
}

/* The log's first entry, and the vault's anchor to it. */
static void put_entry(fixture *f, tr_conn *conn) {
    static const uint8_t none[TR_HASH_LEN];
    static const char entry[] = "{\"action\":\"vault.init\"}";
    const tr_audit_row row = {.seq = 1, .at = 5, .entry = {(const uint8_t *)entry, sizeof entry - 1}};
    uint8_t hash[TR_HASH_LEN];
    char hex[2 * TR_HASH_LEN + 1], sql[256];
    assert_ok(f, tr_audit_hash(none, &row, hash, &f->err));
    tr_hex_encode(hash, sizeof hash, hex);
    if (conn->kind == TR_DB_AUDIT)
        (void)snprintf(sql, sizeof sql, "INSERT INTO entries VALUES (1, 5, NULL, '%s', X'%s')", entry, hex);
    else
        (void)snprintf(sql, sizeof sql,
                       "UPDATE meta SET value = X'0000000000000001%s' WHERE name = 'audit.anchor'", hex);
    assert_ok(f, tr_conn_exec(conn, sql, &f->err));
}

static void forget(kept *k) {
    for (int i = 0; i < TR_DB_COUNT; i++) {
        free(k->queries[i].bytes);
        free(k->answers[i].bytes);
    }
}

/* The databases as a program left them that knew so many migrations. */
static kept make_old(fixture *f, const int versions[TR_DB_COUNT]) {
    kept k;
    for (int i = 0; i < TR_DB_COUNT; i++) {
        tr_conn conn;
        open_one(f, (tr_db_kind)i, TR_CREATE, &conn);
        for (int version = 1; version <= versions[i]; version++) {
            migrate_to(f, &conn, version);
            if (version == 1 && i != TR_DB_KEYS)
                put_entry(f, &conn);
            if (rows[i][version])
                assert_ok(f, tr_conn_exec(&conn, rows[i][version], &f->err));
        }
        k.queries[i] = ask(&conn, sql_queries);
        k.answers[i] = ask(&conn, k.queries[i].bytes);
        assert_true(k.answers[i].len > 0);
        tr_conn_close(&conn);
    }
    return k;
}

static void remove_databases(const fixture *f) {
    static const char *const endings[] = {"", "-wal", "-shm"};
    char name[32], path[128];
    for (int i = 0; i < TR_DB_COUNT; i++) {
        for (size_t e = 0; e < sizeof endings / sizeof *endings; e++) {
            (void)snprintf(name, sizeof name, "%s%s", tr_db_name((tr_db_kind)i), endings[e]);
            fixture_path(f, name, path);
            (void)unlink(path);
        }
    }
}

/* The store is open: all that was kept is there, and it is sound; `schemas` are those of a new vault. */
static void assert_carried_over(fixture *f, const kept *k, const text schemas[TR_DB_COUNT]) {
    char version[16];
    tr_audit_verdict verdict;
    for (int i = 0; i < TR_DB_COUNT; i++) {
        tr_conn *conn = &f->store->group.tx.conns[i];
        (void)snprintf(version, sizeof version, "%d\n", newest((tr_db_kind)i));
        ask_same(conn, sql_version, version);
        ask_same(conn, k->queries[i].bytes, k->answers[i].bytes);
        ask_same(conn, sql_schema, schemas[i].bytes);
    }
    assert_ok(f, tr_store_check(f->store, &f->err));
    assert_ok(f, tr_audit_verify(fixture_reader(f), &verdict, &f->err));
    assert_true(verdict.ok);
    assert_int_equal(verdict.entries, 1);
}

static void schemas_of_a_new_vault(fixture *f, text schemas[TR_DB_COUNT]) {
    assert_ok(f, fixture_open(f, true));
    for (int i = 0; i < TR_DB_COUNT; i++)
        schemas[i] = ask(&f->store->group.tx.conns[i], sql_schema);
    fixture_close(f);
    remove_databases(f);
}

/* Opened once more, nothing is left to do. */
static void assert_second_opening_changes_nothing(fixture *f, const kept *k,
                                                  const text schemas[TR_DB_COUNT]) {
    text cookies[TR_DB_COUNT];
    for (int i = 0; i < TR_DB_COUNT; i++)
        cookies[i] = ask(&f->store->group.tx.conns[i], sql_cookie);
    fixture_reopen(f);
    assert_carried_over(f, k, schemas);
    for (int i = 0; i < TR_DB_COUNT; i++) {
        ask_same(&f->store->group.tx.conns[i], sql_cookie, cookies[i].bytes);
        free(cookies[i].bytes);
    }
}

/* Every combination: those that were released are among them, and so are those that a crash between two
 * databases leaves. */
static void every_earlier_schema_is_brought_up(void **state) {
    fixture *f = *state;
    text schemas[TR_DB_COUNT];
    int at[TR_DB_COUNT], count = 0;
    schemas_of_a_new_vault(f, schemas);
    for (at[TR_DB_VAULT] = 1; at[TR_DB_VAULT] <= newest(TR_DB_VAULT); at[TR_DB_VAULT]++) {
        for (at[TR_DB_KEYS] = 1; at[TR_DB_KEYS] <= newest(TR_DB_KEYS); at[TR_DB_KEYS]++) {
            for (at[TR_DB_AUDIT] = 1; at[TR_DB_AUDIT] <= newest(TR_DB_AUDIT); at[TR_DB_AUDIT]++) {
                kept k = make_old(f, at);
                assert_ok(f, fixture_open(f, false));
                assert_carried_over(f, &k, schemas);
                assert_second_opening_changes_nothing(f, &k, schemas);
                fixture_close(f);
                remove_databases(f);
                forget(&k);
                count++;
            }
        }
    }
    assert_int_equal(count, newest(TR_DB_VAULT) * newest(TR_DB_KEYS) * newest(TR_DB_AUDIT));
    for (int i = 0; i < TR_DB_COUNT; i++)
        free(schemas[i].bytes);
}

/* ---- killed in the middle ---- */

static long steps, kill_at;

/* SQLite calls it at each step of a statement. */
static int step(void *context) {
    (void)context;
    if (++steps == kill_at)
        (void)kill(getpid(), SIGKILL);
    return 0;
}

static int watch(sqlite3 *db, const char **problem, const struct sqlite3_api_routines *api) {
    (void)problem, (void)api;
    sqlite3_progress_handler(db, 1, step, NULL);
    return SQLITE_OK;
}

/* This program as another process, which opens the store and is killed on the way. It leaves the number of
 * its steps when it is not. */
static int child_main(char **argv) {
    fixture f = {.store = NULL};
    uint8_t bytes[32];
    char path[128];
    kill_at = strtol(argv[1], NULL, 10);
    (void)snprintf(f.dir, sizeof f.dir, "%s", argv[2]);
    for (int i = 0; i < TR_DB_COUNT; i++) {
        if (!tr_hex_decode(argv[3 + i], 64, bytes, sizeof bytes) ||
            tr_secret_copy(&f.keys[i], bytes, sizeof bytes, &f.err) != TR_OK)
            return 2;
    }
    if (tr_sqlite_memory(&f.err) != TR_OK || sqlite3_auto_extension((void (*)(void))watch) != SQLITE_OK ||
        fixture_open(&f, false) != TR_OK)
        return 3;
    fixture_path(&f, "steps", path);
    FILE *file = fopen(path, "w");
    if (!file || fprintf(file, "%ld", steps) < 0 || fclose(file) != 0)
        return 4;
    fixture_close(&f);
    for (int i = 0; i < TR_DB_COUNT; i++)
        tr_secret_clear(&f.keys[i]);
    return 0;
}

/* Was it killed? */
static bool open_in_child(fixture *f, long at) {
    char number[24], keys[TR_DB_COUNT][65];
    const char *argv[] = {"child", number, f->dir, keys[0], keys[1], keys[2], NULL};
    pid_t child = -1;
    int status = -1;
    (void)snprintf(number, sizeof number, "%ld", at);
    for (int i = 0; i < TR_DB_COUNT; i++)
        tr_hex_encode(f->keys[i].data, 32, keys[i]);
    union { /* posix_spawn does not write to it, whatever its type says */
        const char **given;
        char *const *taken;
    } arguments = {argv};
    assert_int_equal(posix_spawn(&child, "/proc/self/exe", NULL, NULL, arguments.taken, environ), 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) ? WTERMSIG(status) == SIGKILL : WEXITSTATUS(status) == 0);
    return WIFSIGNALED(status);
}

static long steps_of_an_opening(fixture *f) {
    char path[128];
    long count = 0;
    assert_false(open_in_child(f, 0));
    fixture_path(f, "steps", path);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%ld", &count), 1);
    fclose(file);
    return count;
}

/* How many migrations the killed process got done. */
static int done_since(fixture *f, const int versions[TR_DB_COUNT]) {
    int done = 0;
    for (int i = 0; i < TR_DB_COUNT; i++) {
        tr_conn conn;
        int64_t version = 0;
        open_one(f, (tr_db_kind)i, TR_WRITE, &conn);
        assert_ok(f, tr_conn_pragma_int(&conn, sql_version, &version, &f->err));
        assert_in_range(version, versions[i], newest((tr_db_kind)i));
        done += (int)version - versions[i];
        tr_conn_close(&conn);
    }
    return done;
}

static void a_kill_in_the_middle_loses_nothing(void **state) {
    fixture *f = *state;
    static const int first[TR_DB_COUNT] = {1, 1, 1};
    text schemas[TR_DB_COUNT];
    int all = 0, between = 0;
    schemas_of_a_new_vault(f, schemas);
    kept k = make_old(f, first);
    for (int i = 0; i < TR_DB_COUNT; i++)
        all += newest((tr_db_kind)i) - first[i];
    long count = steps_of_an_opening(f);
    for (int round = 0; round < KILLS; round++) {
        remove_databases(f);
        forget(&k);
        k = make_old(f, first);
        assert_true(open_in_child(f, 1 + count * round / KILLS));
        int done = done_since(f, first);
        between += done > 0 && done < all;
        assert_ok(f, fixture_open(f, false));
        assert_carried_over(f, &k, schemas);
        fixture_close(f);
    }
    assert_true(between > 0);
    forget(&k);
    for (int i = 0; i < TR_DB_COUNT; i++)
        free(schemas[i].bytes);
}

int main(int argc, char **argv) {
    if (argc == 3 + TR_DB_COUNT)
        return child_main(argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_earlier_schema_is_brought_up, fixture_up_empty, fixture_down),
        cmocka_unit_test_setup_teardown(a_kill_in_the_middle_loses_nothing, fixture_up_empty, fixture_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
