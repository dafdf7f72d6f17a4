/* What is written to a log: a commit's pages together, and the same when a transaction is larger than the
 * page cache (cmake/patches/sqlcipher-wal.patch). */
#include <stdio.h>
#include <stdlib.h>

#include "test_store_jobs.h"

#define SCHEMA_LEN 100000 /* some 25 pages */
#define PAGES      25
#define LARGE      150 /* types: 15 MB, of which the writer's cache holds 10 */

typedef struct fill {
    int count, again; /* types that are put, and of them those that are put once more */
    char *schema;
} fill;

static tr_status put(fill *w, int number, char letter, tr_db *tx, tr_error *err) {
    char name[16];
    (void)snprintf(name, sizeof name, "type-%d", number);
    memset(w->schema, letter, SCHEMA_LEN);
    const tr_type type = {
        .name = name, .version = letter == 'a' ? 1 : 2, .schema = w->schema, .updated_at = 1};
    return tr_type_put(tx, &type, err);
}

static tr_status put_types(void *context, tr_db *tx, tr_error *err) {
    fill *w = context;
    tr_status st = TR_OK;
    for (int i = 0; i < w->count && st == TR_OK; i++)
        st = put(w, i, 'a', tx, err);
    for (int i = 0; i < w->again && st == TR_OK; i++)
        st = put(w, i, 'b', tx, err);
    return st;
}

static void write_types(fixture *f, int count, int again) {
    fill w = {count, again, calloc(1, SCHEMA_LEN + 1)};
    assert_non_null(w.schema);
    assert_ok(f, tr_store_write(f->store, put_types, &w, &f->err));
    free(w.schema);
}

/* So many types, and of each whether it is as it was put last. */
static void check_types(fixture *f, int count, int again) {
    static const char sql[] = "SELECT CAST(substr(name, 6) AS INTEGER), schema FROM types";
    tr_query q;
    bool row = false;
    int seen = 0;
    assert_ok(f, tr_query_begin(fixture_reader(f), TR_DB_VAULT, sql, &q, &f->err));
    for (;; seen++) {
        assert_ok(f, tr_query_step(&q, &row, &f->err));
        if (!row)
            break;
        const char *schema = tr_col_text(&q, 1), letter = tr_col_int(&q, 0) < again ? 'b' : 'a';
        assert_int_equal(strlen(schema), SCHEMA_LEN);
        for (int at = 0; at < SCHEMA_LEN; at++)
            assert_true(schema[at] == letter);
    }
    tr_query_end(&q);
    assert_int_equal(seen, count);
}

/* Of the whole process: it does nothing else. */
static long writes(void) {
    char line[80];
    long count = -1;
    FILE *io = fopen("/proc/self/io", "re");
    assert_non_null(io);
    while (fgets(line, sizeof line, io))
        (void)sscanf(line, "syscw: %ld", &count);
    (void)fclose(io);
    return count;
}

static void a_commits_pages_are_written_together(void **state) {
    fixture *f = *state;
    fixture_put(f, "x"); /* what is written only the first time */
    long before = writes();
    write_types(f, 10, 0);
    long calls = writes() - before;
    check_types(f, 10, 0);
    assert_in_range(calls, 2, 10 * PAGES / 2); /* a header and a page for each frame would be 20 * PAGES */
}

/* By a process of its own: the store has the files open, and for this process to close one of them would give
 * SQLite's locks back. */
static void keep(const fixture *f, const char *name, const char *as) {
    char source[128], target[128], command[300];
    fixture_path(f, name, source);
    fixture_path(f, as, target);
    (void)snprintf(command, sizeof command, "cp %s %s", source, target);
    assert_int_equal(system(command), 0);
}

static void more_than_the_cache_holds_comes_back_from_the_log(void **state) {
    fixture *f = *state;
    write_types(f, LARGE, LARGE / 2);
    check_types(f, LARGE, LARGE / 2);
    keep(f, "vault.db", "kept");
    keep(f, "vault.db-wal", "kept-wal");
    fixture_close(f);
    fixture_copy(f, "kept", "vault.db");
    fixture_copy(f, "kept-wal", "vault.db-wal");
    assert_ok(f, fixture_open(f, false)); /* SQLite takes what has the right checksums, and no more */
    check_types(f, LARGE, LARGE / 2);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, fixture_up, fixture_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(a_commits_pages_are_written_together),
        CASE(more_than_the_cache_holds_comes_back_from_the_log),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
