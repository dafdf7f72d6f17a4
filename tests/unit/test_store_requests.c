/* Requests of data subjects in the store: kept after their subject, listed by what an officer asks for,
 * counted. */
#include "test_store_rows.h"

static tr_dsr dsr(const tr_uuid *subject, int64_t due_at, int64_t closed_at) {
    return (tr_dsr){.id = tr_uuid_new(),
                    .subject = *subject,
                    .kind = TR_DSR_OBJECTION,
                    .state = closed_at ? TR_DSR_REFUSED : TR_DSR_RECEIVED,
                    .received_at = 1,
                    .due_at = due_at,
                    .closed_at = closed_at,
                    .updated_at = 2,
                    .doc = "{\"filed_by\":1}",
                    .sealed = text_bytes("sealed"),
                    .version = 1};
}

static tr_uuid add(fixture *f, const tr_uuid *subject, int64_t due_at, int64_t closed_at,
                   const tr_uuid *assignee) {
    tr_dsr row = dsr(subject, due_at, closed_at);
    if (assignee) {
        row.has_assignee = true;
        row.assignee = *assignee;
    }
    assert_ok(f, tr_dsr_insert(fixture_tx(f), &row, &f->err));
    return row.id;
}

/* A row as text: its due date. */
static tr_status on_dsr(void *context, const tr_dsr *row, tr_error *err) {
    char text[32];
    words *w = context;
    (void)err;
    (void)snprintf(text, sizeof text, "%d", (int)row->due_at);
    w->last = row->id;
    return word(w, text, strlen(text));
}

static void lists(fixture *f, tr_dsr_filter filter, const char *text) {
    words w = {0};
    assert_ok(f, tr_dsr_list(fixture_tx(f), &filter, NULL, ALL, on_dsr, &w, &f->err));
    assert_string_equal(w.text, text);
}

static tr_status same(void *context, const tr_dsr *row, tr_error *err) {
    const tr_dsr *want = context;
    (void)err;
    assert_memory_equal(&row->id, &want->id, sizeof row->id);
    assert_memory_equal(&row->subject, &want->subject, sizeof row->subject);
    assert_int_equal(row->kind, want->kind);
    assert_int_equal(row->state, want->state);
    assert_int_equal(row->has_assignee, want->has_assignee);
    if (want->has_assignee)
        assert_memory_equal(&row->assignee, &want->assignee, sizeof row->assignee);
    assert_int_equal(row->received_at, want->received_at);
    assert_int_equal(row->due_at, want->due_at);
    assert_int_equal(row->closed_at, want->closed_at);
    assert_int_equal(row->updated_at, want->updated_at);
    assert_string_equal(row->doc, want->doc);
    assert_int_equal(row->sealed.len, want->sealed.len);
    if (want->sealed.len)
        assert_memory_equal(row->sealed.data, want->sealed.data, want->sealed.len);
    assert_int_equal(row->receipt != NULL, want->receipt != NULL);
    if (want->receipt)
        assert_string_equal(row->receipt, want->receipt);
    assert_int_equal(row->version, want->version);
    return TR_OK;
}

static void stored(fixture *f, tr_dsr *want) {
    assert_ok(f, tr_dsr_get(fixture_tx(f), &want->id, same, want, &f->err));
}

static void test_a_row_comes_back_as_it_went(void **state) {
    fixture *f = *state;
    tr_uuid subject = add_subject(f), unknown = tr_uuid_new();
    tr_dsr row = dsr(&subject, 30, 0);
    assert_ok(f, tr_dsr_insert(fixture_tx(f), &row, &f->err));
    stored(f, &row);
    assert_status(f, tr_dsr_insert(fixture_tx(f), &row, &f->err), TR_E_CONFLICT);
    assert_status(f, tr_dsr_get(fixture_tx(f), &unknown, same, &row, &f->err), TR_E_NOT_FOUND);
}

static void test_an_update_needs_the_version_before(void **state) {
    fixture *f = *state;
    tr_uuid subject = add_subject(f);
    tr_dsr row = dsr(&subject, 30, 0), old = row;
    assert_ok(f, tr_dsr_insert(fixture_tx(f), &row, &f->err));
    old = row;
    assert_status(f, tr_dsr_update(fixture_tx(f), &row, &f->err), TR_E_PRECONDITION);
    stored(f, &old);
    row.state = TR_DSR_FULFILLED;
    row.has_assignee = true;
    row.assignee = tr_uuid_new();
    row.due_at = 40;
    row.closed_at = 35;
    row.updated_at = 36;
    row.doc = "{}";
    row.sealed = (tr_bytes){NULL, 0};
    row.receipt = "{\"receipt\":{}}";
    row.version = 2;
    assert_ok(f, tr_dsr_update(fixture_tx(f), &row, &f->err));
    stored(f, &row);
    assert_status(f, tr_dsr_update(fixture_tx(f), &row, &f->err), TR_E_PRECONDITION);
    row.version = 3;
    row.id = tr_uuid_new();
    assert_status(f, tr_dsr_update(fixture_tx(f), &row, &f->err), TR_E_PRECONDITION);
}

static void test_lists(void **state) {
    fixture *f = *state;
    tr_uuid ada = add_subject(f), ben = add_subject(f), officer = tr_uuid_new(), other = tr_uuid_new();
    add(f, &ada, 30, 0, NULL);
    add(f, &ben, 10, 0, &officer);
    add(f, &ada, 20, 5, &officer);
    add(f, &ada, 40, 0, &officer);
    add(f, &ben, 50, 6, &other);
    lists(f, (tr_dsr_filter){0}, "30 10 20 40 50");
    lists(f, (tr_dsr_filter){.open = true}, "30 10 40");
    lists(f, (tr_dsr_filter){.closed = true}, "20 50");
    lists(f, (tr_dsr_filter){.subject = &ada}, "30 20 40");
    lists(f, (tr_dsr_filter){.subject = &ada, .open = true}, "30 40");
    lists(f, (tr_dsr_filter){.subject = &ada, .closed = true}, "20");
    lists(f, (tr_dsr_filter){.subject = &ada, .open = true, .assignee = &officer}, "40");
    lists(f, (tr_dsr_filter){.assignee = &officer}, "10 20 40");
    lists(f, (tr_dsr_filter){.open = true, .due_before = 31}, "30 10");
    lists(f, (tr_dsr_filter){.open = true, .due_before = 30}, "10"); /* due now is not overdue */
    lists(f, (tr_dsr_filter){.open = true, .due_before = 30, .subject = &ada}, "");
}

static void test_lists_page(void **state) {
    fixture *f = *state;
    tr_uuid ada = add_subject(f);
    const tr_dsr_filter filters[] = {{.subject = NULL}, {.open = true}, {.subject = &ada}};
    for (int i = 1; i <= 5; i++)
        add(f, &ada, 10 * i, 0, NULL);
    for (size_t i = 0; i < sizeof filters / sizeof *filters; i++) {
        words w = {0};
        assert_ok(f, tr_dsr_list(fixture_tx(f), &filters[i], NULL, 2, on_dsr, &w, &f->err));
        assert_string_equal(w.text, "10 20");
        tr_uuid after = w.last;
        assert_ok(f, tr_dsr_list(fixture_tx(f), &filters[i], &after, 2, on_dsr, &w, &f->err));
        after = w.last;
        assert_ok(f, tr_dsr_list(fixture_tx(f), &filters[i], &after, 2, on_dsr, &w, &f->err));
        assert_string_equal(w.text, "10 20 30 40 50");
    }
}

static void test_counts(void **state) {
    fixture *f = *state;
    tr_uuid ada = add_subject(f);
    int64_t open = -1, overdue = -1;
    assert_ok(f, tr_dsr_count(fixture_tx(f), 100, &open, &overdue, &f->err));
    assert_int_equal(open, 0);
    assert_int_equal(overdue, 0);
    add(f, &ada, 30, 0, NULL);
    add(f, &ada, 40, 0, NULL);
    add(f, &ada, 20, 5, NULL);
    assert_ok(f, tr_dsr_count(fixture_tx(f), 40, &open, &overdue, &f->err));
    assert_int_equal(open, 2);
    assert_int_equal(overdue, 1);
}

static void test_a_request_outlives_its_subject(void **state) {
    fixture *f = *state;
    tr_uuid ada = add_subject(f);
    tr_dsr row = dsr(&ada, 30, 0);
    assert_ok(f, tr_key_insert(fixture_tx(f), &ada, 1, text_bytes("wrapped"), &f->err));
    assert_ok(f, tr_dsr_insert(fixture_tx(f), &row, &f->err));
    assert_ok(f, tr_subject_delete(fixture_tx(f), &ada, &f->err));
    stored(f, &row);
}

static void test_records_are_counted(void **state) {
    fixture *f = *state;
    tr_uuid ada = add_subject(f), ben = add_subject(f);
    int64_t records = -1, versions = -1;
    add_type(f, "contact");
    assert_ok(f, tr_record_count(fixture_tx(f), &ada, &records, &versions, &f->err));
    assert_int_equal(records, 0);
    assert_int_equal(versions, 0);
    tr_record row = record(&ada, "contact", "1");
    assert_ok(f, tr_record_insert(fixture_tx(f), &row, NULL, 0, &f->err));
    for (row.version = 2; row.version <= 4; row.version++)
        assert_ok(f, tr_record_update(fixture_tx(f), &row, 9, NULL, 0, &f->err));
    add_record(f, &ada, "contact", "2", NULL, 0);
    add_record(f, &ben, "contact", "3", NULL, 0);
    assert_ok(f, tr_record_count(fixture_tx(f), &ada, &records, &versions, &f->err));
    assert_int_equal(records, 2);
    assert_int_equal(versions, 3);
}

static void test_only_jobs_write(void **state) {
    fixture *f = *state;
    tr_db *db = NULL;
    tr_uuid subject = add_subject(f);
    tr_dsr row = dsr(&subject, 1, 0);
    assert_ok(f, tr_store_reader(f->store, &db, &f->err));
    assert_status(f, tr_dsr_insert(db, &row, &f->err), TR_E_INTERNAL);
    assert_status(f, tr_dsr_update(db, &row, &f->err), TR_E_INTERNAL);
}

#define STORE_TEST(name) cmocka_unit_test_setup_teardown(name, fixture_up, fixture_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        STORE_TEST(test_a_row_comes_back_as_it_went),
        STORE_TEST(test_an_update_needs_the_version_before),
        STORE_TEST(test_lists),
        STORE_TEST(test_lists_page),
        STORE_TEST(test_counts),
        STORE_TEST(test_a_request_outlives_its_subject),
        STORE_TEST(test_records_are_counted),
        STORE_TEST(test_only_jobs_write),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
