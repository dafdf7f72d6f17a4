/* What the functions of the tables promise, one by one: subjects, records, activities, grants, keys. */
#include "test_store_rows.h"

/* ---- subjects ---- */

static void a_subject_takes_all_along(void **state) {
    fixture *f = *state;
    tr_db *tx = fixture_tx(f);
    static const char *const tables[] = {"records",    "record_versions", "index_entries", "grants",
                                         "principals", "sessions",        "outcomes",      "import_batches",
                                         "subjects",   "activities"};
    static const int left[] = {1, 0, 1, 1, 1, 0, 0, 0, 1, 1};
    add_type(f, "t");
    tr_uuid service = add_principal(f, "service", TR_SERVICE, NULL), activity = add_activity(f, 0),
            gone = {{0}};
    const tr_index_entry entry = {.field = "/a", .mac = {1}};
    for (int i = 0; i < 2; i++) {
        tr_uuid subject = add_subject(f);
        tr_record row = record(&subject, "t", "one");
        assert_ok(f, tr_record_insert(tx, &row, &entry, 1, &f->err));
        row.version = 2;
        tr_grant g = {.id = tr_uuid_new(),
                      .subject = subject,
                      .grantee = service,
                      .activity = activity,
                      .types = "[]",
                      .fields = ""};
        assert_ok(f, tr_grant_insert(tx, &g, &f->err));
        assert_ok(f, tr_key_insert(tx, &subject, 1, text_bytes("wrapped"), &f->err));
        if (i == 1)
            break;
        gone = subject;
        assert_ok(f, tr_record_update(tx, &row, 5, &entry, 1, &f->err));
        tr_uuid ana = add_principal(f, "ana", TR_SUBJECT, &subject);
        add_session(f, &ana, "a1", 1, 1);
        tr_outcome own = {.principal = ana, .sealed = text_bytes("x")}, of = {.principal = service,
                                                                              .has_subject = true,
                                                                              .subject = subject,
                                                                              .sealed = text_bytes("x")};
        tr_import_batch b = {.principal = ana, .results = text_bytes("x")};
        assert_ok(f, tr_outcome_insert(tx, &own, &f->err));
        assert_ok(f, tr_outcome_insert(tx, &of, &f->err));
        assert_ok(f, tr_import_batch_insert(tx, &b, &f->err));
    }
    assert_ok(f, tr_subject_delete(tx, &gone, &f->err));
    assert_status(f, tr_subject_delete(tx, &gone, &f->err), TR_E_NOT_FOUND);
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
        assert_int_equal(count_rows(f, TR_DB_VAULT, tables[i]), left[i]);
    assert_int_equal(count_rows(f, TR_DB_KEYS, "subject_keys"), 1);
    words w = {.text = ""};
    assert_status(f, tr_key_get(tx, &gone, on_key, &w, &f->err), TR_E_NOT_FOUND);
    /* The note for a crash between the commits is forgotten by the next group that uses keys.db. */
    assert_int_equal(count_rows(f, TR_DB_KEYS, "erasing"), 1);
    fixture_commit(f);
    assert_status(f, tr_key_get(fixture_tx(f), &gone, on_key, &w, &f->err), TR_E_NOT_FOUND);
    assert_int_equal(count_rows(f, TR_DB_KEYS, "erasing"), 0);
}

static void subjects_keep_all_members(void **state) {
    fixture *f = *state;
    tr_subject_row row = {.id = tr_uuid_new(),
                          .created_by = tr_uuid_new(),
                          .created_at = 5,
                          .restricted_at = 6},
                   got;
    assert_ok(f, tr_subject_insert(fixture_tx(f), &row, &f->err));
    assert_status(f, tr_subject_insert(fixture_tx(f), &row, &f->err), TR_E_CONFLICT);
    assert_ok(f, tr_subject_get(fixture_tx(f), &row.id, &got, &f->err));
    assert_memory_equal(&got, &row, sizeof row);
    assert_status(f, tr_subject_get(fixture_tx(f), &row.created_by, &got, &f->err), TR_E_NOT_FOUND);
}

/* ---- records ---- */

static void records_need_subject_and_type(void **state) {
    fixture *f = *state;
    words w = {.text = ""};
    tr_uuid subject = add_subject(f), other = add_subject(f);
    add_type(f, "t");
    tr_record row = record(&subject, "t", "payload");
    assert_ok(f, tr_record_insert(fixture_tx(f), &row, NULL, 0, &f->err));
    assert_status(f, tr_record_insert(fixture_tx(f), &row, NULL, 0, &f->err), TR_E_CONFLICT);
    row.subject = other; /* an id is taken for all subjects */
    assert_status(f, tr_record_insert(fixture_tx(f), &row, NULL, 0, &f->err), TR_E_CONFLICT);
    assert_status(f, tr_record_get(fixture_tx(f), &other, &row.id, on_record, &w, &f->err), TR_E_NOT_FOUND);
    assert_ok(f, tr_record_get(fixture_tx(f), &subject, &row.id, on_record, &w, &f->err));
    assert_string_equal(w.text, "t:1:payload");
    row = record(&subject, "none", "x");
    assert_status(f, tr_record_insert(fixture_tx(f), &row, NULL, 0, &f->err), TR_E_NOT_FOUND);
    assert_string_equal(f->err.where, "type");
    row = record(&row.id, "t", "x");
    assert_status(f, tr_record_insert(fixture_tx(f), &row, NULL, 0, &f->err), TR_E_NOT_FOUND);
    assert_string_equal(f->err.where, "subject");
}

static void records_have_a_history(void **state) {
    fixture *f = *state;
    tr_db *tx = fixture_tx(f);
    tr_uuid subject = add_subject(f);
    add_type(f, "t");
    tr_record row = record(&subject, "t", "v1");
    assert_ok(f, tr_record_insert(tx, &row, NULL, 0, &f->err));
    assert_status(f, tr_record_update(tx, &row, 2, NULL, 0, &f->err), TR_E_PRECONDITION);
    char text[16];
    for (int v = 2; v <= 5; v++) {
        (void)snprintf(text, sizeof text, "v%d", v);
        row.version = v;
        row.sealed = text_bytes(text);
        assert_ok(f, tr_record_update(tx, &row, 2, NULL, 0, &f->err));
    }
    words w = {.text = ""}, one = {.text = ""}, none = {.text = ""};
    assert_ok(f, tr_record_versions(tx, &row.id, ALL, on_record, &w, &f->err));
    assert_string_equal(w.text, "t:4:v4 t:3:v3");
    assert_ok(f, tr_record_versions(tx, &row.id, 1, on_record, &one, &f->err));
    assert_string_equal(one.text, "t:4:v4");
    row.version = 7; /* a version is left out */
    assert_status(f, tr_record_update(tx, &row, 2, NULL, 0, &f->err), TR_E_PRECONDITION);
    row.version = 6;
    assert_ok(f, tr_record_update(tx, &row, 0, NULL, 0, &f->err));
    assert_ok(f, tr_record_versions(tx, &row.id, ALL, on_record, &none, &f->err));
    assert_int_equal(none.count, 0);
    assert_status(f, tr_record_delete(tx, &subject, &row.id, 5, &f->err), TR_E_PRECONDITION);
    assert_ok(f, tr_record_delete(tx, &subject, &row.id, 6, &f->err));
    assert_status(f, tr_record_delete(tx, &subject, &row.id, 0, &f->err), TR_E_NOT_FOUND);
    row.version = 7;
    assert_status(f, tr_record_update(tx, &row, 0, NULL, 0, &f->err), TR_E_NOT_FOUND);
}

static void records_are_listed_by_page(void **state) {
    fixture *f = *state;
    words w = {.text = ""}, of_type = {.text = ""};
    tr_uuid subject = add_subject(f), other = add_subject(f);
    add_type(f, "s");
    add_type(f, "t");
    for (int i = 0; i < 6; i++)
        add_record(f, i == 3 ? &other : &subject, i % 2 ? "s" : "t",
                   (const char *[]){"0", "1", "2", "3", "4", "5"}[i], NULL, 0);
    assert_ok(f, tr_record_list(fixture_tx(f), &subject, NULL, NULL, 2, on_record, &w, &f->err));
    assert_string_equal(w.text, "t:1:0 s:1:1");
    tr_uuid after = w.last;
    assert_ok(f, tr_record_list(fixture_tx(f), &subject, NULL, &after, ALL, on_record, &w, &f->err));
    assert_string_equal(w.text, "t:1:0 s:1:1 t:1:2 t:1:4 s:1:5");
    assert_ok(f, tr_record_list(fixture_tx(f), &subject, "s", NULL, ALL, on_record, &of_type, &f->err));
    assert_string_equal(of_type.text, "s:1:1 s:1:5");
}

static void the_blind_index_follows_its_record(void **state) {
    fixture *f = *state;
    tr_db *tx = fixture_tx(f);
    words w = {.text = ""}, second = {.text = ""}, gone = {.text = ""};
    tr_uuid subject = add_subject(f);
    add_type(f, "s");
    add_type(f, "t");
    const tr_index_entry twice[] = {
        {.field = "/a", .mac = {1}}, {.field = "/a", .mac = {1}}, {.field = "/b", .mac = {2}}};
    const tr_index_entry moved[] = {{.field = "/a", .mac = {9}}};
    tr_record first = record(&subject, "t", "1");
    assert_ok(f, tr_record_insert(tx, &first, twice, 3, &f->err));
    add_record(f, &subject, "t", "2", twice, 3);
    add_record(f, &subject, "s", "3", twice, 3);
    assert_ok(f, tr_index_find(tx, "t", "/a", twice[0].mac, NULL, 1, on_record, &w, &f->err));
    assert_true(tr_uuid_equal(&w.last, &first.id));
    assert_string_equal(w.text, "t:1:"); /* without the payload */
    tr_uuid after = w.last;
    assert_ok(f, tr_index_find(tx, "t", "/a", twice[0].mac, &after, ALL, on_record, &w, &f->err));
    assert_int_equal(w.count, 2);
    first.version = 2;
    assert_ok(f, tr_record_update(tx, &first, 0, moved, 1, &f->err));
    assert_ok(f, tr_index_find(tx, "t", "/a", moved[0].mac, NULL, ALL, on_record, &second, &f->err));
    assert_int_equal(second.count, 1);
    assert_ok(f, tr_record_delete(tx, &subject, &first.id, 0, &f->err));
    assert_ok(f, tr_index_find(tx, "t", "/a", moved[0].mac, NULL, ALL, on_record, &gone, &f->err));
    assert_ok(f, tr_index_find(tx, "t", "/none", moved[0].mac, NULL, ALL, on_record, &gone, &f->err));
    assert_int_equal(gone.count, 0);
    assert_int_equal(count_rows(f, TR_DB_VAULT, "index_entries"), 4);
}

static void large_and_empty_payloads(void **state) {
    fixture *f = *state;
    const size_t big = 3 * 1024 * 1024;
    char *bytes = malloc(big);
    assert_non_null(bytes);
    memset(bytes, 'x', big);
    tr_uuid subject = add_subject(f);
    add_type(f, "t");
    tr_record row = record(&subject, "t", "");
    row.sealed = (tr_bytes){bytes, big};
    assert_ok(f, tr_record_insert(fixture_tx(f), &row, NULL, 0, &f->err));
    row.version = 2;
    row.sealed = (tr_bytes){NULL, 0};
    assert_ok(f, tr_record_update(fixture_tx(f), &row, 1, NULL, 0, &f->err));
    words w = {.text = ""};
    assert_ok(f, tr_record_get(fixture_tx(f), &subject, &row.id, on_record, &w, &f->err));
    assert_string_equal(w.text, "t:2:");
    free(bytes);
}

/* A callback may use the statement that it is called from. */
typedef struct inner {
    fixture *f;
    tr_uuid subject;
    int rows;
} inner;

static tr_status count_record(void *context, const tr_record *row, tr_error *err) {
    (void)row, (void)err;
    ++*(int *)context;
    return TR_OK;
}

static tr_status list_again(void *context, const tr_record *row, tr_error *err) {
    inner *i = context;
    (void)row;
    return tr_record_list(fixture_tx(i->f), &i->subject, NULL, NULL, ALL, count_record, &i->rows, err);
}

static void callbacks_may_read(void **state) {
    fixture *f = *state;
    inner i = {.f = f, .subject = add_subject(f)};
    add_type(f, "t");
    for (int n = 0; n < 3; n++)
        add_record(f, &i.subject, "t", "x", NULL, 0);
    assert_ok(f, tr_record_list(fixture_tx(f), &i.subject, NULL, NULL, ALL, list_again, &i, &f->err));
    assert_int_equal(i.rows, 9);
}

/* ---- activities and grants ---- */

static void activities_have_versions(void **state) {
    fixture *f = *state;
    words w = {.text = ""};
    tr_activity row = {.id = tr_uuid_new(), .doc = "one", .version = 1};
    assert_ok(f, tr_activity_insert(fixture_tx(f), &row, &f->err));
    assert_status(f, tr_activity_insert(fixture_tx(f), &row, &f->err), TR_E_CONFLICT);
    assert_status(f, tr_activity_update(fixture_tx(f), &row, &f->err), TR_E_PRECONDITION);
    row.version = 2;
    row.doc = "two";
    assert_ok(f, tr_activity_update(fixture_tx(f), &row, &f->err));
    add_activity(f, 0);
    assert_ok(f, tr_activity_get(fixture_tx(f), &row.id, on_activity, &w, &f->err));
    assert_ok(f, tr_activity_list(fixture_tx(f), NULL, 1, on_activity, &w, &f->err));
    tr_uuid after = w.last;
    assert_ok(f, tr_activity_list(fixture_tx(f), &after, ALL, on_activity, &w, &f->err));
    assert_string_equal(w.text, "two two {}");
    after = tr_uuid_new();
    assert_status(f, tr_activity_get(fixture_tx(f), &after, on_activity, &w, &f->err), TR_E_NOT_FOUND);
}

static void grants_name_what_is_there(void **state) {
    fixture *f = *state;
    tr_uuid subject = add_subject(f), service = add_principal(f, "s", TR_SERVICE, NULL),
            activity = add_activity(f, 0);
    const struct {
        tr_uuid subject, grantee, activity;
        const char *where;
    } wrong[] = {{service, service, activity, "subject"},
                 {subject, subject, activity, "grantee"},
                 {subject, service, subject, "activity"}};
    for (size_t i = 0; i < 3; i++) {
        tr_grant g = {.id = tr_uuid_new(),
                      .subject = wrong[i].subject,
                      .grantee = wrong[i].grantee,
                      .activity = wrong[i].activity,
                      .types = "[]",
                      .fields = ""};
        assert_status(f, tr_grant_insert(fixture_tx(f), &g, &f->err), TR_E_NOT_FOUND);
        assert_string_equal(f->err.where, wrong[i].where);
    }
}

static void only_live_grants_count(void **state) {
    fixture *f = *state;
    tr_db *tx = fixture_tx(f);
    words w = {.text = ""}, all = {.text = ""};
    tr_uuid subject = add_subject(f), other = add_subject(f),
            service = add_principal(f, "s", TR_SERVICE, NULL),
            second = add_principal(f, "z", TR_SERVICE, NULL), live = add_activity(f, 0),
            ended = add_activity(f, 5);
    const tr_grant grants[] = {
        {.subject = subject, .grantee = service, .activity = live, .types = "live"},
        {.subject = subject, .grantee = service, .activity = live, .types = "later", .expires_at = 101},
        {.subject = subject, .grantee = service, .activity = live, .types = "expired", .expires_at = 100},
        {.subject = subject, .grantee = service, .activity = live, .types = "withdrawn", .withdrawn_at = 1},
        {.subject = subject, .grantee = service, .activity = ended, .types = "ended"},
        {.subject = subject, .grantee = second, .activity = live, .types = "another's"},
        {.subject = other, .grantee = service, .activity = live, .types = "of-another"},
    };
    tr_uuid first = {{0}};
    for (size_t i = 0; i < sizeof grants / sizeof *grants; i++) {
        tr_grant g = grants[i];
        g.id = tr_uuid_new();
        g.fields = "";
        first = i == 0 ? g.id : first;
        assert_ok(f, tr_grant_insert(tx, &g, &f->err));
    }
    assert_ok(f, tr_grant_live(tx, &subject, &service, 100, on_grant, &w, &f->err));
    assert_string_equal(w.text, "live later");
    assert_ok(f, tr_grant_list(tx, &subject, NULL, 1, on_grant, &all, &f->err));
    tr_uuid after = all.last;
    assert_ok(f, tr_grant_list(tx, &subject, &after, ALL, on_grant, &all, &f->err));
    assert_int_equal(all.count, 6);
    assert_ok(f, tr_grant_withdraw(tx, &subject, &first, 77, &f->err));
    assert_ok(f, tr_grant_withdraw(tx, &subject, &first, 99, &f->err)); /* stays withdrawn at 77 */
    int64_t at = 0;
    assert_ok(
        f, tr_conn_pragma_int(&tx->conns[TR_DB_VAULT], "SELECT max(withdrawn_at) FROM grants", &at, &f->err));
    assert_int_equal(at, 77);
    assert_status(f, tr_grant_withdraw(tx, &other, &first, 77, &f->err), TR_E_NOT_FOUND);
    assert_status(f, tr_grant_get(tx, &other, &first, on_grant, &w, &f->err), TR_E_NOT_FOUND);
    assert_ok(f, tr_grant_get(tx, &subject, &first, on_grant, &w, &f->err));
    assert_string_equal(w.text, "live later live");
}

/* ---- keys ---- */

static void keys_are_kept_once(void **state) {
    fixture *f = *state;
    tr_db *tx = fixture_tx(f);
    words w = {.text = ""};
    tr_uuid subject = tr_uuid_new();
    assert_ok(f, tr_key_insert(tx, &subject, 3, text_bytes("k"), &f->err));
    assert_status(f, tr_key_insert(tx, &subject, 3, text_bytes("k"), &f->err), TR_E_CONFLICT);
    assert_ok(f, tr_named_key_insert(tx, "index", 4, text_bytes("n"), &f->err));
    assert_status(f, tr_named_key_insert(tx, "index", 4, text_bytes("n"), &f->err), TR_E_CONFLICT);
    assert_ok(f, tr_key_get(tx, &subject, on_key, &w, &f->err));
    assert_ok(f, tr_named_key_get(tx, "index", on_key, &w, &f->err));
    assert_string_equal(w.text, "3:k 4:n");
    assert_status(f, tr_named_key_get(tx, "token", on_key, &w, &f->err), TR_E_NOT_FOUND);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, fixture_up, fixture_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(a_subject_takes_all_along),     CASE(subjects_keep_all_members),
        CASE(records_need_subject_and_type), CASE(records_have_a_history),
        CASE(records_are_listed_by_page),    CASE(the_blind_index_follows_its_record),
        CASE(large_and_empty_payloads),      CASE(callbacks_may_read),
        CASE(activities_have_versions),      CASE(grants_name_what_is_there),
        CASE(only_live_grants_count),        CASE(keys_are_kept_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
