/* The record of processing activities: when an entry is live, what it says of retention, its printed forms.
 */
#include "test_store_rows.h"

#include "base/json.h"
#include "vault/register.h"
#include "vault/retention_rules.h"

#define DAY INT64_C(86400000)

static void test_when_it_is_live(void **state) {
    (void)state;
    const tr_activity live = {0}, ended = {.ended_at = 5}, expiring = {.expires_at = 10},
                      early = {.ended_at = 5, .expires_at = 10};
    assert_int_equal(tr_activity_ended(&live, 1000), 0);
    assert_int_equal(tr_activity_ended(&ended, 5), 5);
    assert_int_equal(tr_activity_ended(&expiring, 9), 0);
    assert_int_equal(tr_activity_ended(&expiring, 10), 10);
    assert_int_equal(tr_activity_ended(&expiring, 1000), 10);
    assert_int_equal(tr_activity_ended(&early, 1000), 5);
}

static tr_status take(const char *text, int64_t now, tr_activity *row, tr_error *err) {
    cJSON *doc = NULL;
    tr_status st = tr_json_parse(text, strlen(text), &doc, err);
    assert_int_equal(st, TR_OK);
    st = tr_activity_take(doc, now, row, err);
    cJSON_Delete(doc);
    return st;
}

static void test_what_the_vault_acts_on(void **state) {
    (void)state;
    tr_error err = {0};
    tr_activity row = {.expires_at = 7, .retains = true};
    assert_int_equal(take("{}", 0, &row, &err), TR_OK);
    assert_int_equal(row.expires_at, 0);
    assert_false(row.retains);
    assert_int_equal(take("{\"expires\":\"1970-01-01T01:00:01+01:00\",\"record_types\":[\"a\"],"
                          "\"retention_after_end\":\"P1Y\"}",
                          999, &row, &err),
                     TR_OK);
    assert_int_equal(row.expires_at, 1000);
    assert_true(row.retains);
    assert_int_equal(take("{\"record_types\":[]}", 0, &row, &err), TR_OK);
    assert_false(row.retains);
    assert_int_equal(take("{\"expires\":\"1970-01-01T00:00:01Z\"}", 1000, &row, &err), TR_E_VALIDATION);
    assert_string_equal(err.where, "/expires");
    assert_int_equal(take("{\"expires\":\"soon\"}", 0, &row, &err), TR_E_VALIDATION);
    assert_int_equal(take("{\"retention_after_end\":\"10 years\"}", 0, &row, &err), TR_E_VALIDATION);
    assert_string_equal(err.where, "/retention_after_end");
}

/* ---- printed ---- */

static const char whole[] =
    "{\"name\":\"<Billing> & "
    "\\\"more\\\"\",\"purpose\":\"=HYPERLINK(1)\",\"controller\":{\"contact\":\"031\","
    "\"name\":\"Clinic\",\"address\":\"Bern\"},\"joint_controllers\":[\"A\",{\"name\":\"B\"}],"
    "\"recipients\":[\"x\",\"y\"],\"transfers\":[{\"country\":\"US\",\"safeguard\":\"SCC\",\"basis\":\"Art. "
    "16\"},"
    "{\"country\":\"DE\"}],\"security_measures\":\"one\\ntwo\",\"record_types\":[\"contact\"]}";

static void print(const tr_register_form *form, const tr_activity *row, int64_t now, tr_buf *out) {
    tr_error err = {0};
    form->head(out, now);
    assert_int_equal(form->entry(out, row, now, &err), TR_OK);
    form->foot(out);
    assert_false(out->failed);
}

static void has(const tr_buf *out, const char *text) {
    if (!strstr(out->data, text))
        fail_msg("%s is not in:\n%s", text, out->data);
}

static void test_csv(void **state) {
    (void)state;
    tr_buf out = TR_BUF_INIT;
    const tr_activity row = {.id = tr_uuid_new(),
                             .doc = whole,
                             .version = 3,
                             .created_at = 1,
                             .updated_at = 2,
                             .expires_at = 1000};
    print(&tr_register_csv, &row, 1000, &out);
    has(&out, "id,version,created_at,updated_at,ended_at,name,controller,");
    has(&out, ",3,1970-01-01T00:00:00.001Z,1970-01-01T00:00:00.002Z,1970-01-01T00:00:01.000Z,");
    has(&out, "\"<Billing> & \"\"more\"\"\"");
    has(&out, "\"'=HYPERLINK(1)\"");
    has(&out, "\"Clinic, Bern, 031\"");
    has(&out, "\"A; B\"");
    has(&out, "\"US, SCC, Art. 16; DE\"");
    has(&out, "\"one\ntwo\"");
    assert_string_equal(out.data + out.len - 2, "\r\n");
    tr_buf_clear(&out);
}

static void test_html(void **state) {
    (void)state;
    static const char *const asked_for[] = {"Controller<",    "Purpose<",          "data subjects<",
                                            "personal data<", "recipients<",       "Retention<",
                                            "Security",       "Disclosure abroad", "Representative"};
    tr_buf out = TR_BUF_INIT;
    tr_activity row = {.id = tr_uuid_new(), .doc = whole, .version = 1, .created_at = 1, .updated_at = 2};
    print(&tr_register_html, &row, 1000, &out);
    has(&out, "<h2>&lt;Billing&gt; &amp; &quot;more&quot;</h2>");
    has(&out, "US, SCC, Art. 16; DE");
    assert_null(strstr(out.data, "<script"));
    assert_null(strstr(out.data, "<Billing"));
    assert_null(strstr(out.data, "http"));
    for (size_t i = 0; i < sizeof asked_for / sizeof *asked_for; i++)
        has(&out, asked_for[i]);
    has(&out, "Art. 12(2)(e) FADP, Art. 30(1)(f) GDPR</small></th><td class=\"none\">not stated");
    has(&out, "Ended</th><td>no");
    tr_buf_clear(&out);
    row.ended_at = 5;
    print(&tr_register_html, &row, 1000, &out);
    has(&out, "Ended</th><td>1970-01-01T00:00:00.005Z");
    tr_buf_clear(&out);
}

/* ---- in the store ---- */

static void add(fixture *f, const char *doc, int64_t ended_at, int64_t expires_at) {
    tr_activity row = {.id = tr_uuid_new(),
                       .doc = doc,
                       .created_at = 1,
                       .ended_at = ended_at,
                       .expires_at = expires_at,
                       .version = 1,
                       .retains = strstr(doc, "record_types") != NULL};
    assert_ok(f, tr_activity_insert(fixture_tx(f), &row, &f->err));
}

static void test_the_ends_of_activities(void **state) {
    fixture *f = *state;
    tr_end_rules rules;
    add(f, "{\"record_types\":[\"one\",\"live\"]}", 1 * DAY, 0);
    add(f, "{\"record_types\":[\"live\"]}", 0, 0);
    add(f, "{\"record_types\":[\"two\"],\"retention_after_end\":\"P10D\"}", 2 * DAY, 0);
    add(f, "{\"record_types\":[\"two\"],\"retention_after_end\":\"P1D\"}", 0, 5 * DAY);
    add(f, "{\"name\":\"no types\"}", 0, 0);
    /* It ended before it would have expired. */
    add(f, "{\"record_types\":[\"three\"],\"retention_after_end\":\"PT1H\"}", 3 * DAY, 9 * DAY);
    assert_ok(f, tr_end_rules_load(fixture_tx(f), &rules, &f->err));
    assert_int_equal(rules.count, 4);
    assert_null(tr_end_rules_find(&rules, "live"));
    assert_null(tr_end_rules_find(&rules, "unknown"));
    const tr_end_rule *one = tr_end_rules_find(&rules, "one"), *two = tr_end_rules_find(&rules, "two"),
                      *three = tr_end_rules_find(&rules, "three");
    assert_non_null(one);
    assert_non_null(two);
    assert_non_null(three);
    assert_int_equal(one->due_at, 1 * DAY);
    assert_int_equal(one->until, 1 * DAY);
    assert_int_equal(two->due_at, 12 * DAY); /* whichever keeps them longest */
    assert_int_equal(two->until, 5 * DAY);
    assert_int_equal(three->due_at, 3 * DAY + 3600000);
    tr_end_rules_clear(&rules);
}

static void test_each_change_is_seen(void **state) {
    fixture *f = *state;
    int64_t before = -1, after = -1;
    tr_activity row = {.id = tr_uuid_new(), .doc = "{}", .created_at = 1, .version = 1, .expires_at = 50};
    words w = {0};
    assert_ok(f, tr_activity_stamp(fixture_tx(f), &before, &f->err));
    assert_ok(f, tr_activity_insert(fixture_tx(f), &row, &f->err));
    assert_ok(f, tr_activity_stamp(fixture_tx(f), &after, &f->err));
    assert_true(after > before);
    assert_ok(f, tr_activity_expired(fixture_tx(f), 49, ALL, on_activity, &w, &f->err));
    assert_int_equal(w.count, 0);
    assert_ok(f, tr_activity_expired(fixture_tx(f), 50, ALL, on_activity, &w, &f->err));
    assert_int_equal(w.count, 1);
    before = after;
    row.version = 2;
    row.ended_at = 50;
    assert_ok(f, tr_activity_update(fixture_tx(f), &row, &f->err));
    assert_ok(f, tr_activity_stamp(fixture_tx(f), &after, &f->err));
    assert_true(after > before);
    assert_ok(f, tr_activity_expired(fixture_tx(f), 50, ALL, on_activity, &w, &f->err));
    assert_int_equal(w.count, 1); /* marked as ended */
}

static tr_status on_aged(void *context, const tr_aged_record *row, tr_error *err) {
    char text[64];
    words *w = context;
    (void)err;
    w->last = row->id;
    (void)snprintf(text, sizeof text, "%lld/%lld", (long long)row->mark.created_at, (long long)row->weight);
    return word(w, text, strlen(text));
}

static tr_status keep_mark(void *context, const tr_aged_record *row, tr_error *err) {
    (void)err;
    *(tr_age_mark *)context = row->mark;
    return TR_OK;
}

static tr_status on_ages(void *context, const tr_record_ages *row, tr_error *err) {
    char text[96];
    (void)err;
    (void)snprintf(text, sizeof text, "%s:%lld:%lld-%lld", row->type, (long long)row->count,
                   (long long)row->oldest, (long long)row->newest);
    return word(context, text, strlen(text));
}

static void test_records_by_age(void **state) {
    fixture *f = *state;
    tr_uuid ada = add_subject(f), bob = add_subject(f);
    static char payload[40000];
    static const int64_t ages[] = {30, 10, 20, 10, 40};
    tr_record row;
    words w = {0};
    tr_age_mark mark = {0};
    int64_t count = 0;
    memset(payload, 'x', sizeof payload - 1);
    add_type(f, "a");
    add_type(f, "b");
    for (size_t i = 0; i < sizeof ages / sizeof *ages; i++) {
        row = record(i % 2 ? &bob : &ada, "a", i == 2 ? payload : "x");
        row.created_at = ages[i];
        assert_ok(f, tr_record_insert(fixture_tx(f), &row, NULL, 0, &f->err));
    }
    row.version = 2; /* the one of 40 has a history */
    assert_ok(f, tr_record_update(fixture_tx(f), &row, 10, NULL, 0, &f->err));
    add_record(f, &ada, "b", "y", NULL, 0);
    assert_ok(f, tr_record_by_age(fixture_tx(f), "a", &mark, ALL, on_aged, &w, &f->err));
    assert_string_equal(w.text, "10/1 10/1 20/3 30/1 40/2");
    w = (words){0};
    /* Go on behind one of two that are as old as one another. */
    assert_ok(f, tr_record_by_age(fixture_tx(f), "a", &mark, 1, keep_mark, &mark, &f->err));
    assert_ok(f, tr_record_by_age(fixture_tx(f), "a", &mark, 2, on_aged, &w, &f->err));
    assert_string_equal(w.text, "10/1 20/3");
    w = (words){0};
    assert_ok(f, tr_record_ages_list(fixture_tx(f), &ada, on_ages, &w, &f->err));
    assert_string_equal(w.text, "a:3:20-40 b:1:10-10");
    assert_ok(f, tr_record_count_until(fixture_tx(f), &ada, "a", 30, &count, &f->err));
    assert_int_equal(count, 2);
    assert_ok(f, tr_record_count_until(fixture_tx(f), &bob, "b", 30, &count, &f->err));
    assert_int_equal(count, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_when_it_is_live),
        cmocka_unit_test(test_what_the_vault_acts_on),
        cmocka_unit_test(test_csv),
        cmocka_unit_test(test_html),
        cmocka_unit_test_setup_teardown(test_the_ends_of_activities, fixture_up, fixture_down),
        cmocka_unit_test_setup_teardown(test_each_change_is_seen, fixture_up, fixture_down),
        cmocka_unit_test_setup_teardown(test_records_by_age, fixture_up, fixture_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
