/* Which entries of the log are about whom: while their places are in memory, on their way into the table, and
 * there. */
#include "test_store_fixture.h"

#define SUBJECTS 40
#define A_JOB    700

static tr_uuid subjects[SUBJECTS];
static int64_t entries; /* so far: entry n is about subject n % (SUBJECTS + 1), the last of which is nobody */

static const tr_uuid *subject_of(int64_t seq) {
    int64_t n = seq % (SUBJECTS + 1);
    return n < SUBJECTS ? &subjects[n] : NULL;
}

static tr_status fill_job(void *context, tr_db *tx, tr_error *err) {
    tr_status st = TR_OK;
    int64_t seq = *(const int64_t *)context;
    for (int i = 0; i < A_JOB && st == TR_OK; i++) {
        seq++;
        st = tr_audit_append(tx, seq, subject_of(seq), text_bytes("{}"), err);
    }
    return st;
}

static void append(fixture *f, int jobs) {
    for (int i = 0; i < jobs; i++) {
        assert_ok(f, tr_store_write(f->store, fill_job, &entries, &f->err));
        entries += A_JOB;
    }
}

typedef struct walk {
    const tr_uuid *subject;
    int64_t at, count;
    bool down;
} walk;

/* The next one in that order, and none between them left out. */
static tr_status on_entry(void *context, const tr_audit_row *row, tr_error *err) {
    walk *w = context;
    (void)err;
    assert_true(row->has_subject && tr_uuid_equal(&row->subject, w->subject));
    assert_int_equal(row->seq, w->at + (w->down ? -(SUBJECTS + 1) : SUBJECTS + 1));
    w->at = row->seq;
    w->count++;
    return TR_OK;
}

static void assert_listed(fixture *f, int which) {
    int64_t first = which ? which : SUBJECTS + 1,
            all = entries < first ? 0 : (entries - first) / (SUBJECTS + 1) + 1;
    for (int down = 0; down <= 1; down++) {
        walk w = {.subject = &subjects[which], .down = down};
        int64_t before;
        w.at = down ? first + all * (SUBJECTS + 1) : first - (SUBJECTS + 1);
        do {
            before = w.count;
            int64_t after = w.count == 0 ? 0 : w.at;
            assert_ok(f,
                      tr_audit_list(fixture_reader(f), w.subject, after, down, 100, on_entry, &w, &f->err));
            assert_true(w.count - before <= 100);
        } while (w.count > before && !(down && w.at == first));
        assert_int_equal(w.count, all);
    }
}

static void assert_all_listed(fixture *f) {
    for (int i = 0; i < SUBJECTS; i += 13)
        assert_listed(f, i);
}

static int64_t number(fixture *f, const char *sql) {
    tr_query q;
    int64_t n = 0;
    assert_ok(f, tr_query_begin(fixture_reader(f), TR_DB_AUDIT, sql, &q, &f->err));
    assert_ok(f, tr_query_int(&q, &n, &f->err));
    return n;
}

static void begin(void) {
    entries = 0;
    for (int i = 0; i < SUBJECTS; i++)
        subjects[i] = tr_uuid_new();
}

static void entries_are_found_wherever_their_places_are(void **state) {
    fixture *f = *state;
    static const char in_table[] = "SELECT count(*) FROM entries_of", done[] = "SELECT done FROM indexed";
    begin();
    append(f, 3);
    assert_int_equal(number(f, in_table), 0);
    assert_all_listed(f);
    fixture_reopen(f);
    assert_all_listed(f);
    while (number(f, in_table) == 0) /* there are many now */
        append(f, 1);
    assert_int_equal(number(f, done), 0);
    assert_all_listed(f); /* some here, some there */
    fixture_reopen(f);
    assert_all_listed(f);
    while (number(f, done) == 0)
        append(f, 1);
    assert_all_listed(f);
    fixture_reopen(f);
    append(f, 1);
    assert_all_listed(f);
    assert_true(number(f, in_table) >= number(f, done) / (SUBJECTS + 1) * SUBJECTS);
}

/* From before there was the table. */
static void an_older_log_is_indexed_when_it_is_opened(void **state) {
    fixture *f = *state;
    begin();
    append(f, 4);
    fixture_close(f);
    const tr_secret *const keys[TR_DB_COUNT] = {&f->keys[0], &f->keys[1], &f->keys[2]};
    tr_source source = {.dir = ""};
    tr_conn conn;
    assert_ok(f, tr_source_set(&source, f->dir, keys, &f->err));
    assert_ok(f, tr_conn_open(&source, TR_DB_AUDIT, TR_WRITE, &conn, &f->err));
    assert_ok(f, tr_conn_exec(&conn,
                              "DROP TABLE turns; DROP TABLE entries_of; DROP TABLE indexed;"
                              "CREATE INDEX entries_subject ON entries (subject) WHERE subject IS NOT NULL;"
                              "PRAGMA user_version = 1",
                              &f->err));
    tr_conn_close(&conn);
    tr_source_clear(&source);
    assert_ok(f, fixture_open(f, false));
    assert_all_listed(f);
    append(f, 1);
    assert_all_listed(f);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, fixture_up, fixture_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(entries_are_found_wherever_their_places_are),
        CASE(an_older_log_is_indexed_when_it_is_opened),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
