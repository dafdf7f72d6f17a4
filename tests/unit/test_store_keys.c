/* keys.db: data keys found, wrapped again and counted by the version of the master key. */
#include "test_store_rows.h"

static tr_uuid add_key(fixture *f, uint32_t master, const char *wrapped) {
    tr_uuid subject = tr_uuid_new();
    assert_ok(f, tr_key_insert(fixture_tx(f), &subject, master, text_bytes(wrapped), &f->err));
    return subject;
}

static tr_status on_row(void *context, const tr_uuid *subject, uint32_t master, tr_bytes wrapped,
                        tr_error *err) {
    ((words *)context)->last = *subject;
    return on_key(context, master, wrapped, err);
}

static tr_status on_named(void *context, const char *name, uint32_t master, tr_bytes wrapped, tr_error *err) {
    char text[64];
    (void)err;
    (void)snprintf(text, sizeof text, "%s=%u:%.*s", name, master, (int)wrapped.len,
                   (const char *)wrapped.data);
    return word(context, text, strlen(text));
}

static tr_status on_count(void *context, uint32_t master, int64_t count, tr_error *err) {
    char text[64];
    (void)err;
    (void)snprintf(text, sizeof text, "%u*%d", master, (int)count);
    return word(context, text, strlen(text));
}

static bool in_use(fixture *f, uint32_t master) {
    bool answer = false;
    assert_ok(f, tr_key_in_use(fixture_tx(f), master, &answer, &f->err));
    return answer;
}

static void test_stale_keys_come_by_subject_in_pages(void **state) {
    fixture *f = *state;
    words w = {0};
    add_key(f, 1, "a");
    add_key(f, 2, "b");
    add_key(f, 3, "c"); /* above the current one: stale too */
    add_key(f, 1, "d");
    add_key(f, 2, "e");
    assert_ok(f, tr_key_list_stale(fixture_tx(f), 2, NULL, 2, on_row, &w, &f->err));
    assert_string_equal(w.text, "1:a 3:c");
    assert_ok(f, tr_key_list_stale(fixture_tx(f), 2, &w.last, 2, on_row, &w, &f->err));
    assert_string_equal(w.text, "1:a 3:c 1:d");
    assert_ok(f, tr_key_list_stale(fixture_tx(f), 2, &w.last, 2, on_row, &w, &f->err));
    assert_int_equal(w.count, 3);
}

static void test_the_list_ends_when_the_callback_says_so(void **state) {
    fixture *f = *state;
    words w = {.end_with = TR_E_BUSY};
    add_key(f, 1, "a");
    add_key(f, 1, "b");
    assert_status(f, tr_key_list_stale(fixture_tx(f), 2, NULL, ALL, on_row, &w, &f->err), TR_E_BUSY);
    assert_int_equal(w.count, 1);
}

static void test_a_key_is_wrapped_again_only_from_the_version_that_was_read(void **state) {
    fixture *f = *state;
    words w = {0};
    tr_uuid subject = add_key(f, 1, "old"), nobody = tr_uuid_new();
    assert_ok(f, tr_key_rewrap(fixture_tx(f), &subject, 1, 2, text_bytes("new"), &f->err));
    assert_status(f, tr_key_rewrap(fixture_tx(f), &subject, 1, 2, text_bytes("late"), &f->err),
                  TR_E_NOT_FOUND);
    assert_status(f, tr_key_rewrap(fixture_tx(f), &nobody, 1, 2, text_bytes("none"), &f->err),
                  TR_E_NOT_FOUND);
    assert_ok(f, tr_key_get(fixture_tx(f), &subject, on_key, &w, &f->err));
    assert_string_equal(w.text, "2:new");
    assert_int_equal(count_rows(f, TR_DB_KEYS, "subject_keys"), 1);
}

static void test_named_keys_are_wrapped_again(void **state) {
    fixture *f = *state;
    words w = {0};
    assert_ok(f, tr_named_key_insert(fixture_tx(f), "token", 1, text_bytes("t"), &f->err));
    assert_ok(f, tr_named_key_insert(fixture_tx(f), "index", 1, text_bytes("i"), &f->err));
    assert_ok(f, tr_named_key_rewrap(fixture_tx(f), "index", 1, 2, text_bytes("I"), &f->err));
    assert_status(f, tr_named_key_rewrap(fixture_tx(f), "index", 1, 2, text_bytes("late"), &f->err),
                  TR_E_NOT_FOUND);
    assert_status(f, tr_named_key_rewrap(fixture_tx(f), "other", 1, 2, text_bytes("none"), &f->err),
                  TR_E_NOT_FOUND);
    assert_ok(f, tr_named_key_list(fixture_tx(f), on_named, &w, &f->err));
    assert_string_equal(w.text, "index=2:I token=1:t");
}

static void test_use_is_counted_by_version(void **state) {
    fixture *f = *state;
    words w = {0};
    assert_ok(f, tr_key_count(fixture_tx(f), on_count, &w, &f->err));
    assert_string_equal(w.text, "");
    assert_false(in_use(f, 1));
    add_key(f, 1, "a");
    tr_uuid subject = add_key(f, 1, "b");
    add_key(f, 7, "c");
    assert_ok(f, tr_named_key_insert(fixture_tx(f), "index", 1, text_bytes("i"), &f->err));
    assert_ok(f, tr_named_key_insert(fixture_tx(f), "token", 4, text_bytes("t"), &f->err));
    assert_ok(f, tr_key_count(fixture_tx(f), on_count, &w, &f->err));
    assert_string_equal(w.text, "1*3 4*1 7*1");
    assert_true(in_use(f, 1) && in_use(f, 4) && in_use(f, 7));
    assert_false(in_use(f, 2));
    assert_ok(f, tr_key_rewrap(fixture_tx(f), &subject, 1, 7, text_bytes("B"), &f->err));
    memset(&w, 0, sizeof w);
    assert_ok(f, tr_key_count(fixture_tx(f), on_count, &w, &f->err));
    assert_string_equal(w.text, "1*2 4*1 7*2");
}

static void test_only_jobs_write(void **state) {
    fixture *f = *state;
    tr_uuid subject = add_key(f, 1, "a");
    tr_db *db = fixture_reader(f);
    assert_status(f, tr_key_rewrap(db, &subject, 1, 2, text_bytes("b"), &f->err), TR_E_INTERNAL);
    assert_status(f, tr_named_key_rewrap(db, "index", 1, 2, text_bytes("b"), &f->err), TR_E_INTERNAL);
}

/* The plan, not a clock: no scan of the table where there may be a million rows. */
static void assert_plan(fixture *f, const char *sql, const char *part, const char *without) {
    char text[512], plan[512] = "";
    sqlite3_stmt *q = NULL;
    sqlite3 *handle = fixture_tx(f)->conns[TR_DB_KEYS].handle;
    (void)snprintf(text, sizeof text, "EXPLAIN QUERY PLAN %s", sql);
    assert_int_equal(sqlite3_prepare_v2(handle, text, -1, &q, NULL), SQLITE_OK);
    while (sqlite3_step(q) == SQLITE_ROW) {
        size_t used = strlen(plan);
        (void)snprintf(plan + used, sizeof plan - used, "%s;", (const char *)sqlite3_column_text(q, 3));
    }
    sqlite3_finalize(q);
    if (!strstr(plan, part) || strstr(plan, without))
        fail_msg("%s: %s", sql, plan);
}

static void test_the_index_is_used(void **state) {
    fixture *f = *state;
    add_key(f, 1, "a");
    assert_plan(f, "SELECT EXISTS (SELECT 1 FROM subject_keys WHERE master = 1)", "INDEX subject_keys_master",
                "SCAN subject_keys");
    assert_plan(f, "SELECT master, count(*) FROM subject_keys GROUP BY master",
                "COVERING INDEX subject_keys_master", "TEMP B-TREE");
    assert_plan(
        f, "SELECT subject FROM subject_keys WHERE subject > x'00' AND +master <> 1 ORDER BY subject LIMIT 2",
        "USING PRIMARY KEY (subject>?)", "TEMP B-TREE");
}

/* A database of version 1 has its keys after the migration. */
static void test_a_database_from_before_gets_the_index(void **state) {
    fixture *f = *state;
    tr_source source = {0};
    tr_conn conn = {0};
    const tr_secret *keys[TR_DB_COUNT] = {&f->keys[TR_DB_VAULT], &f->keys[TR_DB_KEYS], &f->keys[TR_DB_AUDIT]};
    int64_t version = 0;
    tr_uuid subject = add_key(f, 1, "kept");
    words w = {0};
    fixture_commit(f);
    fixture_close(f);
    assert_ok(f, tr_source_set(&source, f->dir, keys, &f->err));
    assert_ok(f, tr_conn_open(&source, TR_DB_KEYS, TR_WRITE, &conn, &f->err));
    assert_ok(f, tr_conn_exec(&conn,
                              "DROP TABLE erasure_ledger; ALTER TABLE erasing DROP COLUMN request; DROP "
                              "INDEX subject_keys_master; PRAGMA user_version = 1",
                              &f->err));
    tr_conn_close(&conn);
    tr_source_clear(&source);
    fixture_reopen(f);
    assert_ok(f, tr_key_get(fixture_tx(f), &subject, on_key, &w, &f->err));
    assert_string_equal(w.text, "1:kept");
    assert_ok(
        f, tr_conn_pragma_int(&fixture_tx(f)->conns[TR_DB_KEYS], "PRAGMA user_version", &version, &f->err));
    assert_true(version >= 2);
    assert_plan(f, "SELECT 1 FROM subject_keys WHERE master = 1", "INDEX subject_keys_master", "SCAN");
}

#define STORE_TEST(name) cmocka_unit_test_setup_teardown(name, fixture_up, fixture_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        STORE_TEST(test_stale_keys_come_by_subject_in_pages),
        STORE_TEST(test_the_list_ends_when_the_callback_says_so),
        STORE_TEST(test_a_key_is_wrapped_again_only_from_the_version_that_was_read),
        STORE_TEST(test_named_keys_are_wrapped_again),
        STORE_TEST(test_use_is_counted_by_version),
        STORE_TEST(test_only_jobs_write),
        STORE_TEST(test_the_index_is_used),
        STORE_TEST(test_a_database_from_before_gets_the_index),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
