/* What the functions of the tables promise, one by one: legal holds, restriction, the outbox, and what an
 * objection withdraws; and what vault/ makes of them. */
#include "test_store_rows.h"

#include "vault/holds.h"
#include "vault/restriction.h"

static tr_hold hold(const tr_uuid *subject, const char *title, int64_t expires_at) {
    return (tr_hold){.id = tr_uuid_new(),
                     .subject = *subject,
                     .title = title,
                     .legal_basis = "Art. 958f CO",
                     .created_by = tr_uuid_new(),
                     .created_at = 100,
                     .expires_at = expires_at};
}

static tr_uuid add_hold(fixture *f, const tr_uuid *subject, const char *title, int64_t expires_at) {
    tr_hold row = hold(subject, title, expires_at);
    assert_ok(f, tr_hold_insert(fixture_tx(f), &row, &f->err));
    return row.id;
}

static tr_status on_hold(void *context, const tr_hold *row, tr_error *err) {
    (void)err;
    ((words *)context)->last = row->id;
    return word(context, row->title, strlen(row->title));
}

struct hold_copy {
    tr_hold row;
    char title[64], basis[64];
};

static tr_status copy_hold(void *context, const tr_hold *row, tr_error *err) {
    struct hold_copy *c = context;
    (void)err;
    c->row = *row;
    (void)snprintf(c->title, sizeof c->title, "%s", row->title);
    (void)snprintf(c->basis, sizeof c->basis, "%s", row->legal_basis);
    return TR_OK;
}

/* ---- holds ---- */

static void holds_keep_all_members(void **state) {
    fixture *f = *state;
    tr_uuid subject = add_subject(f), other = add_subject(f), by = tr_uuid_new();
    tr_hold row = hold(&subject, "Payroll", 900);
    struct hold_copy c = {0};
    words w = {.text = ""};
    assert_ok(f, tr_hold_insert(fixture_tx(f), &row, &f->err));
    assert_ok(f, tr_hold_get(fixture_tx(f), &subject, &row.id, copy_hold, &c, &f->err));
    assert_string_equal(c.title, "Payroll");
    assert_string_equal(c.basis, "Art. 958f CO");
    assert_true(tr_uuid_equal(&c.row.created_by, &row.created_by));
    assert_true(tr_uuid_equal(&c.row.subject, &subject));
    assert_int_equal(c.row.created_at, 100);
    assert_int_equal(c.row.expires_at, 900);
    assert_false(c.row.has_lifted_by);
    assert_int_equal(c.row.lifted_at, 0);
    assert_status(f, tr_hold_get(fixture_tx(f), &other, &row.id, on_hold, &w, &f->err), TR_E_NOT_FOUND);
    assert_status(f, tr_hold_lift(fixture_tx(f), &other, &row.id, &by, 200, &f->err), TR_E_NOT_FOUND);
    assert_ok(f, tr_hold_lift(fixture_tx(f), &subject, &row.id, &by, 200, &f->err));
    tr_uuid later = tr_uuid_new(); /* the first who lifts it is the one who did */
    assert_ok(f, tr_hold_lift(fixture_tx(f), &subject, &row.id, &later, 300, &f->err));
    assert_ok(f, tr_hold_get(fixture_tx(f), &subject, &row.id, copy_hold, &c, &f->err));
    assert_true(c.row.has_lifted_by && tr_uuid_equal(&c.row.lifted_by, &by));
    assert_int_equal(c.row.lifted_at, 200);
}

static void the_oldest_standing_hold_is_named(void **state) {
    fixture *f = *state;
    tr_uuid subject = add_subject(f), other = add_subject(f);
    words w = {.text = ""};
    add_hold(f, &other, "another's", 0);
    assert_status(f, tr_hold_standing(fixture_tx(f), &subject, 100, on_hold, &w, &f->err), TR_E_NOT_FOUND);
    add_hold(f, &subject, "expires", 150);
    tr_uuid lifted = add_hold(f, &subject, "lifted", 0);
    add_hold(f, &subject, "stands", 0);
    assert_ok(f, tr_hold_standing(fixture_tx(f), &subject, 149, on_hold, &w, &f->err));
    assert_ok(f, tr_hold_standing(fixture_tx(f), &subject, 150, on_hold, &w, &f->err));
    tr_uuid by = tr_uuid_new();
    assert_ok(f, tr_hold_lift(fixture_tx(f), &subject, &lifted, &by, 160, &f->err));
    assert_ok(f, tr_hold_standing(fixture_tx(f), &subject, 170, on_hold, &w, &f->err));
    assert_string_equal(w.text, "expires lifted stands");
    w = (words){.text = ""};
    assert_ok(f, tr_hold_list(fixture_tx(f), &subject, NULL, 2, on_hold, &w, &f->err));
    assert_ok(f, tr_hold_list(fixture_tx(f), &subject, &w.last, ALL, on_hold, &w, &f->err));
    assert_string_equal(w.text, "expires lifted stands");
}

static void a_hold_needs_its_subject_and_goes_with_it(void **state) {
    fixture *f = *state;
    tr_uuid subject = add_subject(f), unknown = tr_uuid_new(), request = tr_uuid_new();
    tr_hold row = hold(&unknown, "x", 0);
    assert_status(f, tr_hold_insert(fixture_tx(f), &row, &f->err), TR_E_NOT_FOUND);
    assert_status(f, tr_hold_place(fixture_tx(f), &row, &f->err), TR_E_NOT_FOUND);
    add_hold(f, &subject, "x", 0);
    assert_ok(f, tr_subject_delete(fixture_tx(f), &subject, &f->err));
    assert_int_equal(count_rows(f, TR_DB_VAULT, "holds"), 0);
    tr_uuid erased = add_subject(f);
    assert_ok(f, tr_erasure_begin(fixture_tx(f), &erased, &request, 500, &f->err));
    row = hold(&erased, "too late", 0);
    assert_status(f, tr_hold_place(fixture_tx(f), &row, &f->err), TR_E_NOT_FOUND);
}

static void the_refusal_names_the_hold(void **state) {
    fixture *f = *state;
    tr_uuid subject = add_subject(f);
    bool stands = true;
    char id[TR_UUID_TEXT], want[200];
    assert_ok(f, tr_hold_check(fixture_tx(f), &subject, 100, &f->err));
    assert_ok(f, tr_hold_stands(fixture_tx(f), &subject, 100, &stands, &f->err));
    assert_false(stands);
    tr_uuid hold_id = add_hold(f, &subject, "Payroll 2025", 200);
    assert_status(f, tr_hold_check(fixture_tx(f), &subject, 199, &f->err), TR_E_HOLD);
    tr_uuid_format(&hold_id, id);
    (void)snprintf(want, sizeof want, "the legal hold \"Payroll 2025\" (%s) forbids it", id);
    assert_string_equal(f->err.what, want);
    assert_ok(f, tr_hold_stands(fixture_tx(f), &subject, 199, &stands, &f->err));
    assert_true(stands);
    assert_ok(f, tr_hold_check(fixture_tx(f), &subject, 200, &f->err));
}

/* 120 characters of four bytes each: the text is cut between two of them, and the id still shows. */
static void a_long_title_is_cut_between_characters(void **state) {
    fixture *f = *state;
    tr_uuid subject = add_subject(f);
    char title[481] = "x", id[TR_UUID_TEXT];
    for (int i = 0; i < 119; i++)
        memcpy(title + 1 + (size_t)i * 4, "\xf0\x9f\x94\x92", 5);
    tr_uuid hold_id = add_hold(f, &subject, title, 0);
    assert_status(f, tr_hold_check(fixture_tx(f), &subject, 100, &f->err), TR_E_HOLD);
    tr_uuid_format(&hold_id, id);
    const char *cut = strstr(f->err.what, "...\"");
    assert_non_null(strstr(f->err.what, id));
    assert_non_null(cut);
    assert_int_equal((size_t)(cut - f->err.what - strlen("the legal hold \"")) % 4, 1);
}

static void standing_holds_are_bounded(void **state) {
    fixture *f = *state;
    tr_uuid subject = add_subject(f), by = tr_uuid_new();
    tr_hold row = hold(&subject, "x", 0);
    for (int i = 0; i < TR_HOLDS_MAX; i++) {
        row.id = tr_uuid_new();
        assert_ok(f, tr_hold_place(fixture_tx(f), &row, &f->err));
    }
    tr_uuid last = row.id;
    row.id = tr_uuid_new();
    assert_status(f, tr_hold_place(fixture_tx(f), &row, &f->err), TR_E_CONFLICT);
    assert_ok(f, tr_hold_lift(fixture_tx(f), &subject, &last, &by, 200, &f->err));
    assert_ok(f, tr_hold_place(fixture_tx(f), &row, &f->err));
}

/* ---- restriction ---- */

static void restriction_is_set_and_lifted(void **state) {
    fixture *f = *state;
    tr_uuid subject = add_subject(f), unknown = tr_uuid_new(), request = tr_uuid_new();
    tr_subject_row row;
    assert_ok(f, tr_restriction_check(fixture_tx(f), &subject, &f->err));
    assert_ok(f, tr_subject_restrict(fixture_tx(f), &subject, 77, &f->err));
    assert_ok(f, tr_subject_get(fixture_tx(f), &subject, &row, &f->err));
    assert_int_equal(row.restricted_at, 77);
    assert_status(f, tr_restriction_check(fixture_tx(f), &subject, &f->err), TR_E_RESTRICTED);
    assert_ok(f, tr_subject_restrict(fixture_tx(f), &subject, 0, &f->err));
    assert_ok(f, tr_restriction_check(fixture_tx(f), &subject, &f->err));
    assert_status(f, tr_subject_restrict(fixture_tx(f), &unknown, 77, &f->err), TR_E_NOT_FOUND);
    assert_ok(f, tr_restriction_check(fixture_tx(f), &unknown, &f->err));
    assert_ok(f, tr_erasure_begin(fixture_tx(f), &subject, &request, 500, &f->err));
    assert_status(f, tr_subject_restrict(fixture_tx(f), &subject, 77, &f->err), TR_E_NOT_FOUND);
}

/* ---- notices ---- */

static tr_status on_notice(void *context, const tr_notice *row, tr_error *err) {
    char text[128];
    (void)err;
    ((words *)context)->last = row->id;
    (void)snprintf(text, sizeof text, "%s%s:%d:%d:%d", row->kind, row->doc, (int)row->attempts,
                   row->next_at == row->created_at, (int)row->sent_at);
    assert_true(row->has_subject && row->has_request);
    return word(context, text, strlen(text));
}

static tr_status on_recipient(void *context, const tr_notice *row, tr_error *err) {
    return tr_recipients_add(context, &row->recipient, err);
}

static void notices_go_to_each_once_and_outlive_the_subject(void **state) {
    fixture *f = *state;
    tr_uuid subject = add_subject(f), request = tr_uuid_new(), other = tr_uuid_new();
    tr_recipients to = TR_RECIPIENTS_INIT, told = TR_RECIPIENTS_INIT;
    words w = {.text = ""};
    int64_t count = 0;
    for (int i = 0; i < 100; i++) {
        tr_uuid id = tr_uuid_new();
        assert_ok(f, tr_recipients_add(&to, &id, &f->err));
        assert_ok(f, tr_recipients_add(&to, &id, &f->err));
    }
    assert_int_equal(to.count, 100);
    assert_ok(f, tr_notices_add(fixture_tx(f), &to, &subject, &request, "erasure", NULL, &count, &f->err));
    assert_int_equal(count, 100);
    assert_ok(f, tr_notices_add(fixture_tx(f), &to, &subject, NULL, "restriction", "{}", NULL, &f->err));
    assert_ok(f, tr_subject_delete(fixture_tx(f), &subject, &f->err));
    assert_int_equal(count_rows(f, TR_DB_VAULT, "notices"), 200);
    assert_ok(f, tr_notice_list(fixture_tx(f), &request, NULL, ALL, on_recipient, &told, &f->err));
    assert_int_equal(told.count, 100);
    for (size_t i = 0; i < to.room; i++)
        assert_ok(f, tr_recipients_add(&told, &to.ids[i], &f->err));
    assert_int_equal(told.count, 100); /* the same ones */
    assert_ok(f, tr_notice_list(fixture_tx(f), &request, NULL, 1, on_notice, &w, &f->err));
    assert_string_equal(w.text, "erasure{}:0:1:0");
    assert_ok(f, tr_notice_list(fixture_tx(f), &request, &w.last, ALL, on_notice, &w, &f->err));
    assert_int_equal(w.count, 100);
    w = (words){.text = ""};
    assert_ok(f, tr_notice_list(fixture_tx(f), &other, NULL, ALL, on_notice, &w, &f->err));
    assert_int_equal(w.count, 0);
    tr_recipients_clear(&to);
    tr_recipients_clear(&told);
}

/* ---- objection ---- */

struct world {
    tr_uuid subject, other, asked, kept, ended, one, two;
};

static tr_uuid add_grant(fixture *f, const tr_uuid *subject, const tr_uuid *grantee, const tr_uuid *activity,
                         int64_t expires_at, int64_t withdrawn_at) {
    tr_grant row = {.id = tr_uuid_new(),
                    .subject = *subject,
                    .grantee = *grantee,
                    .activity = *activity,
                    .types = "[]",
                    .fields = "",
                    .actions = TR_ACT_READ,
                    .created_at = 1,
                    .expires_at = expires_at,
                    .withdrawn_at = withdrawn_at};
    assert_ok(f, tr_grant_insert(fixture_tx(f), &row, &f->err));
    return row.id;
}

static void make_world(fixture *f, struct world *w) {
    *w = (struct world){.subject = add_subject(f),
                        .other = add_subject(f),
                        .asked = add_activity(f, 0),
                        .kept = add_activity(f, 0),
                        .ended = add_activity(f, 5),
                        .one = add_principal(f, "one", TR_SERVICE, NULL),
                        .two = add_principal(f, "two", TR_SERVICE, NULL)};
}

static tr_status withdrawn_at(void *context, const tr_grant *row, tr_error *err) {
    (void)err;
    *(int64_t *)context = row->withdrawn_at;
    return TR_OK;
}

static int64_t withdrawal(fixture *f, const tr_uuid *subject, const tr_uuid *id) {
    int64_t at = -1;
    assert_ok(f, tr_grant_get(fixture_tx(f), subject, id, withdrawn_at, &at, &f->err));
    return at;
}

static void an_objection_withdraws_what_is_live_and_tells_each_grantee_once(void **state) {
    fixture *f = *state;
    struct world w;
    int64_t grants = -1, notices = -1;
    words told = {.text = ""};
    tr_uuid request = tr_uuid_new();
    make_world(f, &w);
    tr_uuid live = add_grant(f, &w.subject, &w.one, &w.asked, 0, 0),
            again = add_grant(f, &w.subject, &w.one, &w.asked, 501, 0),
            of_ended = add_grant(f, &w.subject, &w.one, &w.ended, 0, 0),
            expired = add_grant(f, &w.subject, &w.two, &w.asked, 500, 0),
            before = add_grant(f, &w.subject, &w.two, &w.asked, 0, 400),
            else_for = add_grant(f, &w.subject, &w.two, &w.kept, 0, 0),
            else_of = add_grant(f, &w.other, &w.two, &w.asked, 0, 0);
    const tr_uuid activities[] = {w.asked, w.ended};
    assert_ok(f, tr_objection_apply(fixture_tx(f), &w.subject, activities, 2, &request, 500, &grants,
                                    &notices, &f->err));
    assert_int_equal(grants, 3);
    assert_int_equal(notices, 1);
    assert_int_equal(withdrawal(f, &w.subject, &live), 500);
    assert_int_equal(withdrawal(f, &w.subject, &again), 500);
    assert_int_equal(withdrawal(f, &w.subject, &of_ended), 500);
    assert_int_equal(withdrawal(f, &w.subject, &expired), 0);
    assert_int_equal(withdrawal(f, &w.subject, &before), 400);
    assert_int_equal(withdrawal(f, &w.subject, &else_for), 0);
    assert_int_equal(withdrawal(f, &w.other, &else_of), 0);
    assert_ok(f, tr_notice_list(fixture_tx(f), &request, NULL, ALL, on_notice, &told, &f->err));
    assert_int_equal(told.count, 1);
    char one[TR_UUID_TEXT], two[TR_UUID_TEXT], want[160];
    tr_uuid_format(&w.asked, one);
    tr_uuid_format(&w.ended, two);
    (void)snprintf(want, sizeof want, "objection{\"activities\":[\"%s\",\"%s\"]}:0:1:0", one, two);
    assert_memory_equal(told.text, want, 100);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(holds_keep_all_members, fixture_up, fixture_down),
        cmocka_unit_test_setup_teardown(the_oldest_standing_hold_is_named, fixture_up, fixture_down),
        cmocka_unit_test_setup_teardown(a_hold_needs_its_subject_and_goes_with_it, fixture_up, fixture_down),
        cmocka_unit_test_setup_teardown(the_refusal_names_the_hold, fixture_up, fixture_down),
        cmocka_unit_test_setup_teardown(a_long_title_is_cut_between_characters, fixture_up, fixture_down),
        cmocka_unit_test_setup_teardown(standing_holds_are_bounded, fixture_up, fixture_down),
        cmocka_unit_test_setup_teardown(restriction_is_set_and_lifted, fixture_up, fixture_down),
        cmocka_unit_test_setup_teardown(notices_go_to_each_once_and_outlive_the_subject, fixture_up,
                                        fixture_down),
        cmocka_unit_test_setup_teardown(an_objection_withdraws_what_is_live_and_tells_each_grantee_once,
                                        fixture_up, fixture_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
