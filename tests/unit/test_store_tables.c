/* What the functions of the tables promise, one by one: principals, sessions, outcomes, imports, types. */
#include "test_store_rows.h"

/* ---- meta ---- */

static void meta_keeps_bytes(void **state) {
    fixture *f = *state;
    tr_db *tx = fixture_tx(f);
    tr_buf value = TR_BUF_INIT;
    assert_status(f, tr_meta_get(tx, "a", &value, &f->err), TR_E_NOT_FOUND);
    assert_ok(f, tr_meta_put(tx, "a", (tr_bytes){"x\0y", 3}, &f->err));
    assert_ok(f, tr_meta_put(tx, "a", (tr_bytes){"p\0qr", 4}, &f->err));
    assert_ok(f, tr_meta_put(tx, "empty", (tr_bytes){NULL, 0}, &f->err));
    assert_ok(f, tr_meta_get(tx, "a", &value, &f->err));
    assert_int_equal(value.len, 4);
    assert_memory_equal(value.data, "p\0qr", 4);
    assert_ok(f, tr_meta_get(tx, "empty", &value, &f->err));
    assert_int_equal(value.len, 0);
    assert_status(f, tr_meta_put(tx, "audit.anchor", (tr_bytes){"x", 1}, &f->err), TR_E_INTERNAL);
    tr_buf_clear(&value);
}

/* ---- principals ---- */

static void principals_keep_all_members(void **state) {
    fixture *f = *state;
    tr_uuid subject = add_subject(f);
    tr_principal row = principal("Ana@example.org", TR_SUBJECT);
    row.has_subject = row.disabled = row.may_register = row.password_initial = true;
    row.subject = subject;
    words w = {.text = ""};
    assert_ok(f, tr_principal_insert(fixture_tx(f), &row, &f->err));
    assert_ok(f, tr_principal_by_uid(fixture_tx(f), "aNA@EXAMPLE.org", on_principal, &w, &f->err));
    assert_string_equal(w.text, "Ana@example.org");
    assert_true(tr_uuid_equal(&w.last, &row.id));
    assert_status(f, tr_principal_by_uid(fixture_tx(f), "nobody", on_principal, &w, &f->err), TR_E_NOT_FOUND);
    assert_status(f, tr_principal_get(fixture_tx(f), &subject, on_principal, &w, &f->err), TR_E_NOT_FOUND);
    w.end_with = TR_E_RATE; /* the callback's status is the caller's */
    assert_status(f, tr_principal_get(fixture_tx(f), &row.id, on_principal, &w, &f->err), TR_E_RATE);
}

static void a_uid_is_taken_once(void **state) {
    fixture *f = *state;
    tr_principal row = principal("ana", TR_AUDITOR);
    assert_ok(f, tr_principal_insert(fixture_tx(f), &row, &f->err));
    row.id = tr_uuid_new();
    row.uid = "ANA";
    assert_status(f, tr_principal_insert(fixture_tx(f), &row, &f->err), TR_E_CONFLICT);
    assert_string_equal(f->err.where, "uid");
    row.uid = "ber";
    row.has_subject = true;
    row.subject = tr_uuid_new();
    assert_status(f, tr_principal_insert(fixture_tx(f), &row, &f->err), TR_E_NOT_FOUND);
    assert_string_equal(f->err.where, "subject");
}

static void principals_are_updated_by_version(void **state) {
    fixture *f = *state;
    words w = {.text = ""};
    tr_principal row = principal("ana", TR_OPERATOR);
    assert_ok(f, tr_principal_insert(fixture_tx(f), &row, &f->err));
    assert_status(f, tr_principal_update(fixture_tx(f), &row, &f->err), TR_E_PRECONDITION);
    row.version = 3;
    assert_status(f, tr_principal_update(fixture_tx(f), &row, &f->err), TR_E_PRECONDITION);
    row.version = 2;
    row.uid = "bea";
    assert_ok(f, tr_principal_update(fixture_tx(f), &row, &f->err));
    assert_ok(f, tr_principal_get(fixture_tx(f), &row.id, on_principal, &w, &f->err));
    assert_string_equal(w.text, "bea");
    add_principal(f, "ana", TR_OPERATOR, NULL); /* the uid is free again */
    row.version = 3;
    row.uid = "ana";
    assert_status(f, tr_principal_update(fixture_tx(f), &row, &f->err), TR_E_CONFLICT);
}

static void another_operator(void **state) {
    fixture *f = *state;
    bool exists = true;
    tr_principal one = principal("one", TR_OPERATOR), two = principal("two", TR_OPERATOR);
    add_principal(f, "officer", TR_OFFICER, NULL);
    assert_ok(f, tr_principal_insert(fixture_tx(f), &one, &f->err));
    assert_ok(f, tr_principal_another(fixture_tx(f), TR_OPERATOR, &one.id, &exists, &f->err));
    assert_false(exists);
    assert_ok(f, tr_principal_another(fixture_tx(f), TR_OPERATOR, NULL, &exists, &f->err));
    assert_true(exists);
    assert_ok(f, tr_principal_insert(fixture_tx(f), &two, &f->err));
    assert_ok(f, tr_principal_another(fixture_tx(f), TR_OPERATOR, &one.id, &exists, &f->err));
    assert_true(exists);
    two.version = 2;
    two.disabled = true;
    assert_ok(f, tr_principal_update(fixture_tx(f), &two, &f->err));
    assert_ok(f, tr_principal_another(fixture_tx(f), TR_OPERATOR, &one.id, &exists, &f->err));
    assert_false(exists);
}

static void principals_are_listed_by_page(void **state) {
    fixture *f = *state;
    words w = {.text = ""};
    for (int i = 0; i < 5; i++)
        add_principal(f, (const char *[]){"a", "b", "c", "d", "e"}[i], TR_SERVICE, NULL);
    assert_ok(f, tr_principal_list(fixture_tx(f), NULL, 2, on_principal, &w, &f->err));
    assert_string_equal(w.text, "a b");
    tr_uuid after = w.last;
    assert_ok(f, tr_principal_list(fixture_tx(f), &after, ALL, on_principal, &w, &f->err));
    assert_string_equal(w.text, "a b c d e");
    words stopped = {.end_with = TR_E_BUSY};
    assert_status(f, tr_principal_list(fixture_tx(f), NULL, ALL, on_principal, &stopped, &f->err), TR_E_BUSY);
    assert_int_equal(stopped.count, 1);
}

static void a_principal_takes_its_sessions_and_outcomes_along(void **state) {
    fixture *f = *state;
    tr_uuid ana = add_principal(f, "ana", TR_SERVICE, NULL), ber = add_principal(f, "ber", TR_SERVICE, NULL);
    add_session(f, &ana, "a1", 1, 1);
    add_session(f, &ber, "b1", 1, 1);
    tr_outcome o = {.principal = ana, .created_at = 1, .sealed = text_bytes("x")};
    tr_import_batch b = {.principal = ana, .results = text_bytes("x")};
    assert_ok(f, tr_outcome_insert(fixture_tx(f), &o, &f->err));
    assert_ok(f, tr_import_batch_insert(fixture_tx(f), &b, &f->err));
    assert_ok(f, tr_principal_delete(fixture_tx(f), &ana, &f->err));
    assert_status(f, tr_principal_delete(fixture_tx(f), &ana, &f->err), TR_E_NOT_FOUND);
    assert_int_equal(count_rows(f, TR_DB_VAULT, "sessions"), 1);
    assert_int_equal(count_rows(f, TR_DB_VAULT, "outcomes"), 0);
    assert_int_equal(count_rows(f, TR_DB_VAULT, "import_batches"), 0);
}

/* ---- sessions ---- */

static void sessions_keep_all_members(void **state) {
    fixture *f = *state;
    tr_uuid ana = add_principal(f, "ana", TR_SERVICE, NULL);
    tr_session row = session(&ana, "a1", 11, 22), got;
    row.lane = true;
    (void)snprintf(row.origin, sizeof row.origin, "origin");
    assert_ok(f, tr_session_insert(fixture_tx(f), &row, &f->err));
    assert_status(f, tr_session_insert(fixture_tx(f), &row, &f->err), TR_E_CONFLICT);
    assert_ok(f, tr_session_get(fixture_tx(f), row.client, &got, &f->err));
    assert_memory_equal(&got, &row, sizeof row);
    /* Once within the same hour, and once in a later one. */
    for (int i = 1; i <= 2; i++) {
        memcpy(row.previous, row.current, 32);
        memset(row.current, 8 + i, 32);
        memset(row.request, 40 + i, 32);
        row.previous_at = row.used_at = 22 + (i - 1) * 7200000;
        assert_ok(f, tr_session_update(fixture_tx(f), &row, &f->err));
        assert_ok(f, tr_session_get(fixture_tx(f), row.client, &got, &f->err));
        assert_memory_equal(&got, &row, sizeof row);
    }
    memset(row.request, 0, 32);
    assert_ok(f, tr_session_update(fixture_tx(f), &row, &f->err));
    assert_ok(f, tr_session_get(fixture_tx(f), row.client, &got, &f->err));
    assert_memory_equal(&got, &row, sizeof row);
    assert_ok(f, tr_session_delete(fixture_tx(f), row.client, &f->err));
    assert_status(f, tr_session_delete(fixture_tx(f), row.client, &f->err), TR_E_NOT_FOUND);
    assert_status(f, tr_session_update(fixture_tx(f), &row, &f->err), TR_E_NOT_FOUND);
    assert_status(f, tr_session_get(fixture_tx(f), row.client, &got, &f->err), TR_E_NOT_FOUND);
    row.principal = tr_uuid_new();
    assert_status(f, tr_session_insert(fixture_tx(f), &row, &f->err), TR_E_NOT_FOUND);
}

static void sessions_of_a_principal(void **state) {
    fixture *f = *state;
    int64_t n = 0;
    words w = {.text = ""};
    tr_uuid ana = add_principal(f, "ana", TR_SERVICE, NULL), ber = add_principal(f, "ber", TR_SERVICE, NULL);
    add_session(f, &ana, "a1", 1, 1);
    add_session(f, &ana, "a2", 1, 1);
    add_session(f, &ana, "a3", 1, 1);
    add_session(f, &ber, "b1", 1, 1);
    assert_ok(f, tr_session_list(fixture_tx(f), &ana, on_session, &w, &f->err));
    assert_string_equal(w.text, "a1 a2 a3");
    assert_ok(f, tr_session_count(fixture_tx(f), &ana, &n, &f->err));
    assert_int_equal(n, 3);
    tr_session keep = session(&ana, "a2", 1, 1);
    assert_ok(f, tr_session_delete_all(fixture_tx(f), &ana, keep.client, &n, &f->err));
    assert_int_equal(n, 2);
    assert_ok(f, tr_session_delete_all(fixture_tx(f), &ana, NULL, &n, &f->err));
    assert_int_equal(n, 1);
    assert_int_equal(count_rows(f, TR_DB_VAULT, "sessions"), 1);
}

static void sessions_are_swept(void **state) {
    fixture *f = *state;
    const int64_t hour = 3600000;
    int64_t n = 0;
    words w = {.text = ""};
    tr_uuid ana = add_principal(f, "ana", TR_SERVICE, NULL);
    add_session(f, &ana, "i1", 50 * hour, 60 * hour);     /* idle */
    add_session(f, &ana, "i2", 50 * hour, 70 * hour - 1); /* idle, in the limit's hour or just before */
    add_session(f, &ana, "k1", 50 * hour, 70 * hour);     /* not idle */
    add_session(f, &ana, "o1", 40 * hour - 1, 99 * hour); /* old */
    add_session(f, &ana, "k2", 40 * hour, 99 * hour);     /* not old */
    assert_ok(f, tr_session_sweep(fixture_tx(f), 70 * hour, 40 * hour, 1, &n, &f->err));
    assert_int_equal(n, 1);
    assert_ok(f, tr_session_sweep(fixture_tx(f), 70 * hour, 40 * hour, ALL, &n, &f->err));
    assert_int_equal(n, 2);
    assert_ok(f, tr_session_sweep(fixture_tx(f), 70 * hour, 40 * hour, ALL, &n, &f->err));
    assert_int_equal(n, 0);
    assert_ok(f, tr_session_list(fixture_tx(f), &ana, on_session, &w, &f->err));
    assert_string_equal(w.text, "k1 k2");
    assert_ok(f, tr_session_sweep(fixture_tx(f), 70 * hour + 1, 40 * hour, ALL, &n, &f->err));
    assert_int_equal(n, 1);
}

/* ---- outcomes and imports ---- */

static void outcomes_are_kept_once(void **state) {
    fixture *f = *state;
    int64_t n = 0;
    words w = {.text = ""};
    tr_uuid subject = add_subject(f), ana = add_principal(f, "ana", TR_SERVICE, NULL);
    tr_outcome o = {.principal = ana,
                    .has_subject = true,
                    .subject = subject,
                    .created_at = 5,
                    .sealed = text_bytes("one")};
    memset(o.key, 1, 32);
    assert_ok(f, tr_outcome_insert(fixture_tx(f), &o, &f->err));
    assert_status(f, tr_outcome_insert(fixture_tx(f), &o, &f->err), TR_E_CONFLICT);
    memset(o.key, 2, 32);
    o.has_subject = false;
    o.created_at = 6;
    o.sealed = text_bytes("two");
    assert_ok(f, tr_outcome_insert(fixture_tx(f), &o, &f->err));
    assert_ok(f, tr_outcome_get(fixture_tx(f), &ana, o.key, on_outcome, &w, &f->err));
    assert_string_equal(w.text, "two");
    assert_status(f, tr_outcome_get(fixture_tx(f), &subject, o.key, on_outcome, &w, &f->err), TR_E_NOT_FOUND);
    assert_ok(f, tr_outcome_sweep(fixture_tx(f), 6, ALL, &n, &f->err));
    assert_int_equal(n, 1);
    assert_ok(f, tr_outcome_get(fixture_tx(f), &ana, o.key, on_outcome, &w, &f->err));
    o.principal = tr_uuid_new();
    assert_status(f, tr_outcome_insert(fixture_tx(f), &o, &f->err), TR_E_NOT_FOUND);
}

static void import_batches_are_kept_once(void **state) {
    fixture *f = *state;
    int64_t n = 0;
    words w = {.text = ""};
    tr_uuid ana = add_principal(f, "ana", TR_SERVICE, NULL);
    tr_import_batch b = {.principal = ana, .lines = 3, .created_at = 5, .results = text_bytes("zero")};
    assert_ok(f, tr_import_batch_insert(fixture_tx(f), &b, &f->err));
    assert_status(f, tr_import_batch_insert(fixture_tx(f), &b, &f->err), TR_E_CONFLICT);
    b.number = 1;
    b.created_at = 6;
    b.results = text_bytes("one");
    assert_ok(f, tr_import_batch_insert(fixture_tx(f), &b, &f->err));
    assert_ok(f, tr_import_batch_get(fixture_tx(f), &ana, b.key, 0, on_batch, &w, &f->err));
    assert_ok(f, tr_import_batch_get(fixture_tx(f), &ana, b.key, 1, on_batch, &w, &f->err));
    assert_string_equal(w.text, "zero one");
    assert_status(f, tr_import_batch_get(fixture_tx(f), &ana, b.key, 2, on_batch, &w, &f->err),
                  TR_E_NOT_FOUND);
    assert_ok(f, tr_import_batch_sweep(fixture_tx(f), 100, 1, &n, &f->err));
    assert_int_equal(n, 1);
    assert_status(f, tr_import_batch_get(fixture_tx(f), &ana, b.key, 0, on_batch, &w, &f->err),
                  TR_E_NOT_FOUND);
}

/* ---- types ---- */

static void types_have_versions(void **state) {
    fixture *f = *state;
    words w = {.text = ""};
    tr_type row = {.name = "contact", .version = 2, .schema = "{\"v\":2}", .created_at = 1, .updated_at = 1};
    assert_status(f, tr_type_put(fixture_tx(f), &row, &f->err), TR_E_PRECONDITION);
    add_type(f, "contact");
    row.version = 1;
    assert_status(f, tr_type_put(fixture_tx(f), &row, &f->err), TR_E_PRECONDITION);
    row.version = 3;
    assert_status(f, tr_type_put(fixture_tx(f), &row, &f->err), TR_E_PRECONDITION);
    row.version = 2;
    assert_ok(f, tr_type_put(fixture_tx(f), &row, &f->err));
    assert_ok(f, tr_type_get(fixture_tx(f), "contact", on_type, &w, &f->err));
    assert_string_equal(w.text, "contact:2:{\"v\":2}");
    assert_status(f, tr_type_get(fixture_tx(f), "Contact", on_type, &w, &f->err), TR_E_NOT_FOUND);
}

static void types_in_use_stay(void **state) {
    fixture *f = *state;
    bool used = true;
    words w = {.text = ""};
    tr_uuid subject = add_subject(f);
    const tr_index_entry entry = {.field = "/a"};
    add_type(f, "a");
    add_type(f, "b");
    add_type(f, "c");
    assert_ok(f, tr_type_in_use(fixture_tx(f), "b", &used, &f->err));
    assert_false(used);
    tr_uuid id = add_record(f, &subject, "b", "x", &entry, 1);
    assert_ok(f, tr_type_in_use(fixture_tx(f), "b", &used, &f->err));
    assert_true(used);
    assert_status(f, tr_type_delete(fixture_tx(f), "b", &f->err), TR_E_CONFLICT);
    assert_ok(f, tr_type_list(fixture_tx(f), NULL, 2, on_type, &w, &f->err));
    assert_ok(f, tr_type_list(fixture_tx(f), "b", ALL, on_type, &w, &f->err));
    assert_string_equal(w.text, "a:1:{} b:1:{} c:1:{}");
    assert_ok(f, tr_record_delete(fixture_tx(f), &subject, &id, 0, &f->err));
    assert_ok(f, tr_type_delete(fixture_tx(f), "b", &f->err));
    assert_status(f, tr_type_delete(fixture_tx(f), "b", &f->err), TR_E_NOT_FOUND);
    assert_int_equal(count_rows(f, TR_DB_VAULT, "index_fields"), 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, fixture_up, fixture_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(meta_keeps_bytes),
        CASE(principals_keep_all_members),
        CASE(a_uid_is_taken_once),
        CASE(principals_are_updated_by_version),
        CASE(another_operator),
        CASE(principals_are_listed_by_page),
        CASE(a_principal_takes_its_sessions_and_outcomes_along),
        CASE(sessions_keep_all_members),
        CASE(sessions_of_a_principal),
        CASE(sessions_are_swept),
        CASE(outcomes_are_kept_once),
        CASE(import_batches_are_kept_once),
        CASE(types_have_versions),
        CASE(types_in_use_stay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
