/* The audit log: order, lists, the chain, and every way in which it may be bent. */
#include "test_store_fixture.h"

#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <sys/wait.h>

#include "base/encode.h"

#define ENTRIES 20

typedef struct entry {
    int64_t at;
    const tr_uuid *subject;
    const char *text;
} entry;

static tr_status entry_job(void *context, tr_db *tx, tr_error *err) {
    const entry *e = context;
    return tr_audit_append(tx, e->at, e->subject, text_bytes(e->text), err);
}

/* With an effect in the vault, so that the group has two commits. */
static tr_status effect_job(void *context, tr_db *tx, tr_error *err) {
    tr_status st = tr_meta_put(tx, "effect", text_bytes("x"), err);
    return st == TR_OK ? entry_job(context, tx, err) : st;
}

static void append_by(fixture *f, tr_job_fn fn, int number, const tr_uuid *subject) {
    char text[48];
    (void)snprintf(text, sizeof text, "{\"n\":%d}", number);
    entry e = {.at = 1000 + number, .subject = subject, .text = text};
    assert_ok(f, tr_store_write(f->store, fn, &e, &f->err));
}

static void append(fixture *f, int number, const tr_uuid *subject) {
    append_by(f, entry_job, number, subject);
}

/* ENTRIES of them, each third about a subject. */
static tr_uuid fill(fixture *f) {
    tr_uuid subject = tr_uuid_new();
    for (int i = 1; i <= ENTRIES; i++)
        append(f, i, i % 3 ? NULL : &subject);
    return subject;
}

/* ---- lists ---- */

typedef struct seen {
    char text[256];
    tr_uuid subject;
    tr_audit_row last;
} seen;

static tr_status on_entry(void *context, const tr_audit_row *row, tr_error *err) {
    seen *s = context;
    size_t used = strlen(s->text);
    (void)err;
    s->last = *row;
    (void)snprintf(s->text + used, sizeof s->text - used, "%s%d", used ? " " : "", (int)row->seq);
    char want[48];
    (void)snprintf(want, sizeof want, "{\"n\":%d}", (int)row->seq);
    return row->entry.len == strlen(want) && memcmp(row->entry.data, want, row->entry.len) == 0 &&
                   row->at == 1000 + row->seq && row->has_subject == (row->seq % 3 == 0) &&
                   (!row->has_subject || tr_uuid_equal(&row->subject, &s->subject))
               ? TR_OK
               : TR_E_INTERNAL;
}

static void the_log_is_listed(void **state) {
    fixture *f = *state;
    seen s = {.subject = fill(f)};
    const struct {
        bool of_subject;
        int64_t after;
        bool newest_first;
        int limit;
        const char *want;
    } lists[] = {{false, 0, false, 3, "1 2 3"},
                 {false, 3, false, 2, "4 5"},
                 {false, 0, true, 3, "20 19 18"},
                 {false, 18, true, 2, "17 16"},
                 {false, 20, false, 9, ""},
                 {false, 1, true, 9, ""},
                 {true, 0, false, 9, "3 6 9 12 15 18"},
                 {true, 6, false, 2, "9 12"},
                 {true, 0, true, 2, "18 15"},
                 {true, 9, true, 9, "6 3"}};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        s.text[0] = '\0';
        assert_ok(f, tr_audit_list(fixture_reader(f), lists[i].of_subject ? &s.subject : NULL, lists[i].after,
                                   lists[i].newest_first, lists[i].limit, on_entry, &s, &f->err));
        assert_string_equal(s.text, lists[i].want);
    }
}

/* The chain as store.h says it, made again here by hand. */
static void the_chain_is_what_is_documented(void **state) {
    fixture *f = *state;
    uint8_t bytes[1 + 32 + 8 + 8 + 16] = {1}, hash[32];
    tr_uuid subject = tr_uuid_new();
    seen s = {.subject = subject};
    append(f, 1, NULL);
    append(f, 2, NULL);
    append(f, 3, &subject);
    assert_ok(f, tr_audit_list(fixture_reader(f), NULL, 1, false, 1, on_entry, &s, &f->err));
    memcpy(bytes + 1, s.last.hash, 32);
    assert_ok(f, tr_audit_list(fixture_reader(f), NULL, 2, false, 1, on_entry, &s, &f->err));
    bytes[1 + 32 + 7] = 3;
    bytes[1 + 32 + 8 + 6] = 1003 >> 8;
    bytes[1 + 32 + 8 + 7] = 1003 & 255;
    memcpy(bytes + 49, subject.bytes, 16);
    const tr_bytes parts[] = {{bytes, sizeof bytes}, {"{\"n\":3}", 7}};
    assert_ok(f, tr_sha256(parts, 2, hash, &f->err));
    assert_memory_equal(hash, s.last.hash, 32);
}

/* ---- verifying ---- */

static tr_audit_verdict offline(fixture *f) {
    tr_audit_verdict v;
    assert_ok(f, tr_store_verify_offline(f->dir, &f->keys[TR_DB_VAULT], &f->keys[TR_DB_AUDIT], &v, &f->err));
    return v;
}

static void a_good_log_verifies(void **state) {
    fixture *f = *state;
    tr_audit_verdict v;
    assert_ok(f, tr_audit_verify(fixture_reader(f), &v, &f->err));
    assert_true(v.ok && v.entries == 0);
    fill(f);
    assert_ok(f, tr_audit_verify(fixture_reader(f), &v, &f->err));
    assert_true(v.ok && v.entries == ENTRIES && v.bad_seq == 0);
    tr_audit_verdict beside = offline(f);
    assert_memory_equal(&beside, &v, sizeof v);
    fixture_close(f);
    beside = offline(f);
    assert_memory_equal(&beside, &v, sizeof v);
}

static void run_sql(fixture *f, tr_db_kind kind, const char *sql) {
    const tr_secret *const keys[TR_DB_COUNT] = {&f->keys[0], &f->keys[1], &f->keys[2]};
    tr_source source = {.dir = ""};
    tr_conn conn;
    assert_ok(f, tr_source_set(&source, f->dir, keys, &f->err));
    assert_ok(f, tr_conn_open(&source, kind, TR_WRITE, &conn, &f->err));
    int rc = sqlite3_exec(conn.handle, sql, NULL, NULL, NULL);
    if (rc != SQLITE_OK)
        fail_msg("%s: %s", sql, sqlite3_errmsg(conn.handle));
    sqlite3_db_config(conn.handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
    tr_conn_close(&conn);
    tr_source_clear(&source);
}

#define UNPROTECT "DROP TRIGGER entries_no_update; DROP TRIGGER entries_no_delete;"

static const struct bend {
    const char *sql;
    int64_t bad_seq, entries;
    const char *reason;
    bool opens; /* the server starts: it looks at the newest entry only */
} bends[] = {
    {"UPDATE entries SET entry = '{\"n\":18}' WHERE seq = 17", 17, 16, "entry 17 was altered", true},
    {"UPDATE entries SET at = at + 1 WHERE seq = 1", 1, 0, "entry 1 was altered", true},
    {"UPDATE entries SET subject = randomblob(16) WHERE seq = 3", 3, 2, "entry 3 was altered", true},
    {"UPDATE entries SET subject = NULL WHERE seq = 3", 3, 2, "entry 3 was altered", true},
    {"UPDATE entries SET hash = randomblob(32) WHERE seq = 20", 20, 19, "entry 20 was altered", false},
    {"DELETE FROM entries WHERE seq = 5", 5, 4, "entry 5 is missing", true},
    {"DELETE FROM entries WHERE seq = 1", 1, 0, "entry 1 is missing", true},
    {"DELETE FROM entries WHERE seq > 16", 17, 16, "the log ends at 16, the vault knows 20", false},
    {"DELETE FROM entries", 1, 0, "the log ends at 0, the vault knows 20", false},
    {"UPDATE entries SET seq = -1 WHERE seq = 7; UPDATE entries SET seq = 7 WHERE seq = 8;"
     "UPDATE entries SET seq = 8 WHERE seq = -1",
     7, 6, "entry 7 was moved to 8", true},
    {"UPDATE entries SET seq = -1 WHERE seq = 4; UPDATE entries SET seq = 4 WHERE seq = 15;"
     "UPDATE entries SET seq = 15 WHERE seq = -1",
     4, 3, "entry 4 was moved to 15", true},
    {"UPDATE entries SET seq = 40 WHERE seq = 4", 4, 3, "entry 4 was moved to 40", false},
};

static void every_bend_is_found(void **state) {
    fixture *f = *state;
    tr_audit_verdict v;
    fill(f);
    fixture_close(f);
    run_sql(f, TR_DB_AUDIT, UNPROTECT);
    fixture_copy(f, "audit.db", "kept");
    for (size_t i = 0; i < sizeof bends / sizeof *bends; i++) {
        const struct bend *b = &bends[i];
        fixture_copy(f, "kept", "audit.db");
        run_sql(f, TR_DB_AUDIT, b->sql);
        v = offline(f);
        assert_false(v.ok);
        assert_string_equal(v.reason, b->reason);
        assert_int_equal(v.bad_seq, b->bad_seq);
        assert_int_equal(v.entries, b->entries);
        if (!b->opens) {
            assert_status(f, fixture_open(f, false), TR_E_CORRUPT);
            assert_string_equal(f->err.where, "audit.db");
            continue;
        }
        assert_ok(f, fixture_open(f, false));
        assert_ok(f, tr_audit_verify(fixture_reader(f), &v, &f->err));
        assert_false(v.ok);
        assert_int_equal(v.bad_seq, b->bad_seq);
        fixture_close(f);
    }
}

/* One with the key of audit.db writes the whole chain anew: the vault's anchor gives it away. */
static void a_log_written_anew_is_found(void **state) {
    fixture *f = *state;
    char dir[64];
    fill(f);
    fixture_close(f);
    fixture_copy(f, "vault.db", "kept");
    (void)snprintf(dir, sizeof dir, "%s", f->dir);
    static const char *const names[] = {"vault.db", "keys.db", "audit.db"};
    for (int i = 0; i < 3; i++) {
        char path[128];
        fixture_path(f, names[i], path);
        assert_int_equal(unlink(path), 0);
    }
    assert_ok(f, fixture_open(f, true));
    for (int i = 1; i <= ENTRIES; i++)
        append(f, i == 9 ? 99 : i, NULL);
    fixture_close(f);
    fixture_copy(f, "kept", "vault.db");
    tr_audit_verdict v = offline(f);
    assert_false(v.ok);
    assert_int_equal(v.bad_seq, ENTRIES);
    assert_non_null(strstr(v.reason, "is not the one that the vault knows"));
    assert_status(f, fixture_open(f, false), TR_E_CORRUPT);
    assert_non_null(strstr(f->err.what, "entry 20"));
}

static void the_log_is_append_only(void **state) {
    fixture *f = *state;
    fill(f);
    tr_conn *conn = &fixture_tx(f)->conns[TR_DB_AUDIT];
    assert_status(f, tr_conn_exec(conn, "DELETE FROM entries WHERE seq = 3", &f->err), TR_E_INTERNAL);
    assert_status(f, tr_conn_exec(conn, "UPDATE entries SET entry = '{}' WHERE seq = 3", &f->err),
                  TR_E_INTERNAL);
    assert_true(offline(f).ok);
}

static void an_anchor_that_is_missing_is_found(void **state) {
    fixture *f = *state;
    tr_audit_verdict v;
    fill(f);
    fixture_close(f);
    run_sql(f, TR_DB_VAULT, "DELETE FROM meta WHERE name = 'audit.anchor'");
    assert_status(f,
                  tr_store_verify_offline(f->dir, &f->keys[TR_DB_VAULT], &f->keys[TR_DB_AUDIT], &v, &f->err),
                  TR_E_CORRUPT);
    assert_string_equal(f->err.where, "vault.db");
    assert_status(f, fixture_open(f, false), TR_E_CORRUPT);
}

static void a_damaged_page_of_the_log_is_an_error(void **state) {
    fixture *f = *state;
    tr_audit_verdict v;
    for (int i = 0; i < 10; i++)
        fill(f);
    fixture_close(f);
    fixture_damage(f, "audit.db", (off_t)4096 + 50); /* the root of entries */
    assert_status(f,
                  tr_store_verify_offline(f->dir, &f->keys[TR_DB_VAULT], &f->keys[TR_DB_AUDIT], &v, &f->err),
                  TR_E_CORRUPT);
    assert_string_equal(f->err.where, "audit.db");
    assert_non_null(strstr(f->err.what, "cannot be read behind entry"));
    f->keys[TR_DB_AUDIT].data[0] ^= 1;
    assert_status(f,
                  tr_store_verify_offline(f->dir, &f->keys[TR_DB_VAULT], &f->keys[TR_DB_AUDIT], &v, &f->err),
                  TR_E_WRONG_KEY);
}

/* ---- beside a running store ---- */

static pid_t start_child(fixture *f, const char *what, const char *argument) {
    char keys[TR_DB_COUNT][65];
    const char *argv[] = {"child", what, argument, f->dir, keys[0], keys[1], keys[2], NULL};
    pid_t child = -1;
    for (int i = 0; i < TR_DB_COUNT; i++)
        tr_hex_encode(f->keys[i].data, 32, keys[i]);
    union { /* posix_spawn does not write to it, whatever its type says */
        const char **given;
        char *const *taken;
    } arguments = {argv};
    assert_int_equal(posix_spawn(&child, "/proc/self/exe", NULL, NULL, arguments.taken, environ), 0);
    return child;
}

typedef struct appender {
    fixture *f;
    atomic_bool stop;
    int wrong;
} appender;

static void *keep_appending(void *context) {
    appender *a = context;
    for (int i = 0; !atomic_load(&a->stop); i++) {
        entry e = {.at = 1, .text = "{\"more\":true}"};
        a->wrong += tr_store_write(a->f->store, entry_job, &e, NULL) != TR_OK;
        if (i % 50 == 49) { /* who verifies holds its view: then not now */
            tr_status st = tr_store_checkpoint(a->f->store, NULL);
            a->wrong += st != TR_OK && st != TR_E_BUSY;
        }
    }
    return NULL;
}

static void verifying_in_another_process(fixture *f) {
    tr_audit_verdict v;
    tr_error err = {0};
    tr_status st = tr_store_verify_offline(f->dir, &f->keys[TR_DB_VAULT], &f->keys[TR_DB_AUDIT], &v, &err);
    exit(st == TR_OK && v.ok && v.entries >= ENTRIES ? 0 : 1 + (int)st);
}

static void verifying_beside_a_running_store(void **state) {
    fixture *f = *state;
    appender a = {.f = f};
    pthread_t thread;
    fill(f);
    assert_int_equal(pthread_create(&thread, NULL, keep_appending, &a), 0);
    for (int i = 0; i < 20; i++) {
        int status = -1;
        pid_t child = start_child(f, "verify", "");
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
    }
    atomic_store(&a.stop, true);
    pthread_join(thread, NULL);
    assert_int_equal(a.wrong, 0);
    assert_true(offline(f).ok);
}

/* ---- crashes ---- */

/* As after a crash between the commits: the log is whole, the vault is from before. */
static void a_log_that_is_ahead_is_taken(void **state) {
    fixture *f = *state;
    seen s = {.text = ""};
    fill(f);
    fixture_close(f);
    fixture_copy(f, "vault.db", "kept");
    assert_ok(f, fixture_open(f, false));
    for (int i = 0; i < 3; i++)
        append_by(f, effect_job, ENTRIES + 1 + i, NULL);
    append(f, ENTRIES + 4, NULL); /* without an effect, so none can be missing */
    fixture_close(f);
    fixture_copy(f, "kept", "vault.db");
    assert_true(offline(f).ok); /* longer than the anchor is no fault */
    assert_ok(f, fixture_open(f, false));
    (void)tr_audit_list(fixture_reader(f), NULL, 0, true, 1, on_entry, &s, &f->err);
    assert_int_equal(s.last.seq, ENTRIES + 5);
    tr_query q;
    int64_t n = 0;
    assert_ok(f, tr_query_begin(
                     fixture_reader(f), TR_DB_AUDIT,
                     "SELECT count(*) FROM entries WHERE seq = 25 AND json_extract(entry, '$.action') ="
                     " 'storage.recovered' AND json_extract(entry, '$.detail') LIKE 'entries 21 to 23 %'",
                     &q, &f->err));
    assert_ok(f, tr_query_int(&q, &n, &f->err));
    assert_int_equal(n, 1);
    fixture_reopen(f);
    tr_audit_verdict v = offline(f);
    assert_true(v.ok);
    assert_int_equal(v.entries, ENTRIES + 5); /* once only */
}

static void a_tail_that_is_bent_is_not_taken(void **state) {
    fixture *f = *state;
    fill(f);
    fixture_close(f);
    fixture_copy(f, "vault.db", "kept");
    assert_ok(f, fixture_open(f, false));
    for (int i = 0; i < 3; i++)
        append(f, ENTRIES + 1 + i, NULL);
    fixture_close(f);
    fixture_copy(f, "kept", "vault.db");
    run_sql(f, TR_DB_AUDIT, UNPROTECT "UPDATE entries SET entry = '{}' WHERE seq = 22");
    assert_status(f, fixture_open(f, false), TR_E_CORRUPT);
    assert_non_null(strstr(f->err.what, "entry 22 was altered"));
}

/* A process writes and is killed; what it had been told is there, in the vault and in the log. */
static void write_until_killed(fixture *f, const char *round) {
    if (fixture_open(f, false) != TR_OK)
        exit(3);
    for (int i = 0;; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "r%s-%d", round, i);
        if (tr_store_write(f->store, put_job, name, NULL) != TR_OK ||
            tr_store_write(f->store, append_job, name, NULL) != TR_OK)
            exit(4);
        if (write(STDOUT_FILENO, &i, sizeof i) != sizeof i)
            exit(5);
    }
}

static void killed_writers_lose_nothing(void **state) {
    fixture *f = *state;
    fixture_close(f);
    for (int round = 0; round < 8; round++) {
        int ends[2], told = -1, seen_so_far = 0, out = dup(STDOUT_FILENO);
        char number[12];
        (void)snprintf(number, sizeof number, "%d", round);
        assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
        assert_int_equal(dup2(ends[1], STDOUT_FILENO), STDOUT_FILENO); /* the child's */
        pid_t child = start_child(f, "write", number);
        assert_int_equal(dup2(out, STDOUT_FILENO), STDOUT_FILENO);
        close(out);
        close(ends[1]);
        while (seen_so_far < 5 + round * 7 && read(ends[0], &told, sizeof told) == sizeof told)
            seen_so_far++;
        assert_int_equal(kill(child, SIGKILL), 0);
        while (read(ends[0], &told, sizeof told) == sizeof told) {
        }
        close(ends[0]);
        assert_int_equal(waitpid(child, NULL, 0), child);
        assert_true(told >= 4);
        assert_true(offline(f).ok); /* with the WALs as the dead process left them */
        assert_ok(f, fixture_open(f, false));
        for (int i = 0; i <= told; i++) {
            char name[32];
            (void)snprintf(name, sizeof name, "r%d-%d", round, i);
            assert_true(fixture_has(f, name));
        }
        tr_audit_verdict v;
        assert_ok(f, tr_audit_verify(fixture_reader(f), &v, &f->err));
        assert_true(v.ok && v.entries >= told + 1);
        assert_ok(f, tr_store_check(f->store, &f->err));
        fixture_close(f);
    }
}

/* This program once more, as another process: started by exec, since SQLite's state must not go through a
 * fork. */
static int child_main(char **argv) {
    fixture f = {.store = NULL};
    uint8_t bytes[32];
    (void)snprintf(f.dir, sizeof f.dir, "%s", argv[3]);
    for (int i = 0; i < TR_DB_COUNT; i++) {
        if (!tr_hex_decode(argv[4 + i], 64, bytes, sizeof bytes) ||
            tr_secret_copy(&f.keys[i], bytes, sizeof bytes, &f.err) != TR_OK)
            return 2;
    }
    if (strcmp(argv[1], "verify") == 0)
        verifying_in_another_process(&f);
    write_until_killed(&f, argv[2]);
    return 2;
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, fixture_up, fixture_down)

int main(int argc, char **argv) {
    if (argc == 4 + TR_DB_COUNT)
        return child_main(argv);
    const struct CMUnitTest tests[] = {
        CASE(the_log_is_listed),
        CASE(the_chain_is_what_is_documented),
        CASE(a_good_log_verifies),
        CASE(every_bend_is_found),
        CASE(a_log_written_anew_is_found),
        CASE(the_log_is_append_only),
        CASE(an_anchor_that_is_missing_is_found),
        CASE(a_damaged_page_of_the_log_is_an_error),
        CASE(verifying_beside_a_running_store),
        CASE(a_log_that_is_ahead_is_taken),
        CASE(a_tail_that_is_bent_is_not_taken),
        CASE(killed_writers_lose_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
