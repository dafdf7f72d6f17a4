/* Contacts, notices on their way, and requests that are due, in the store. */
#include "test_store_rows.h"

static tr_uuid add_notice(fixture *f, const tr_uuid *recipient, int64_t next_at) {
    const tr_notice row = {.id = tr_uuid_new(),
                           .recipient = *recipient,
                           .kind = "erasure",
                           .doc = "{}",
                           .created_at = next_at,
                           .next_at = next_at};
    assert_ok(f, tr_notice_insert(fixture_tx(f), &row, &f->err));
    return row.id;
}

static void mark(fixture *f, const tr_uuid *id, int64_t attempts, int64_t next_at, int64_t sent_at,
                 const char *problem) {
    const tr_notice row = {
        .id = *id, .attempts = attempts, .next_at = next_at, .sent_at = sent_at, .problem = problem};
    assert_ok(f, tr_notice_mark(fixture_tx(f), &row, &f->err));
}

/* attempts/next_at/sent_at/problem */
static tr_status on_notice(void *context, const tr_notice *row, tr_error *err) {
    char text[96];
    (void)err;
    ((words *)context)->last = row->id;
    const int n = snprintf(text, sizeof text, "%d/%d/%d/%s", (int)row->attempts, (int)row->next_at,
                           (int)row->sent_at, row->problem);
    return word(context, text, (size_t)n);
}

#define assert_list(f, want, list, ...)                                                                      \
    do {                                                                                                     \
        words list_ = {.count = 0};                                                                          \
        assert_ok(f, list(fixture_tx(f), __VA_ARGS__, &list_, &(f)->err));                                   \
        assert_string_equal(list_.text, want);                                                               \
    } while (0)

static void states_of_a_notice(void **state) {
    fixture *f = *state;
    tr_uuid who = tr_uuid_new(), one = add_notice(f, &who, 10), two = add_notice(f, &who, 5),
            three = add_notice(f, &who, 30);
    tr_notice_counts counts;
    assert_list(f, "0/5/0/ 0/10/0/", tr_notice_due, 10, ALL, on_notice);
    assert_list(f, "0/5/0/", tr_notice_due, 10, 1, on_notice);
    mark(f, &one, 1, 0, 12, "");
    mark(f, &two, 2, 0, 0, "http-410");
    assert_list(f, "1/0/12/", tr_notice_by_state, TR_NOTICE_SENT, NULL, ALL, on_notice);
    assert_list(f, "2/0/0/http-410", tr_notice_by_state, TR_NOTICE_DEAD, NULL, ALL, on_notice);
    assert_list(f, "0/30/0/", tr_notice_by_state, TR_NOTICE_WAITING, NULL, ALL, on_notice);
    assert_list(f, "2/0/0/http-410 0/30/0/", tr_notice_by_state, TR_NOTICE_ANY, &one, ALL, on_notice);
    assert_ok(f, tr_notice_count(fixture_tx(f), &counts, &f->err));
    assert_int_equal(counts.waiting, 1);
    assert_int_equal(counts.dead, 1);
    assert_int_equal(counts.oldest, 30);
    /* What came of a try that ended late does not undo what is decided. */
    const tr_notice late = {.id = two, .attempts = 9, .next_at = 99, .problem = ""};
    assert_status(f, tr_notice_mark(fixture_tx(f), &late, &f->err), TR_E_NOT_FOUND);
    assert_status(f, tr_notice_retry(fixture_tx(f), &one, 50, &f->err), TR_E_CONFLICT);
    assert_status(f, tr_notice_retry(fixture_tx(f), &who, 50, &f->err), TR_E_NOT_FOUND);
    assert_ok(f, tr_notice_retry(fixture_tx(f), &two, 50, &f->err));
    assert_list(f, "0/50/0/", tr_notice_get, &two, on_notice);
    assert_ok(f, tr_notice_put_off(fixture_tx(f), &who, 40, &f->err));
    assert_list(f, "0/40/0/", tr_notice_get, &three, on_notice);
    assert_list(f, "0/50/0/", tr_notice_get, &two, on_notice);
    assert_list(f, "1/0/12/", tr_notice_get, &one, on_notice);
}

static tr_status on_contact(void *context, const tr_contact_row *row, tr_error *err) {
    (void)err;
    return word(context, row->sealed.data, row->sealed.len);
}

static tr_status on_id(void *context, const tr_uuid *id, tr_error *err) {
    (void)err;
    ((words *)context)->last = *id;
    return word(context, "x", 1);
}

static void put(fixture *f, const tr_uuid *who, const char *sealed, int64_t at, tr_status want) {
    const tr_contact_row row = {.principal = *who, .sealed = text_bytes(sealed), .updated_at = at};
    assert_status(f, tr_contact_put(fixture_tx(f), &row, &f->err), want);
}

static void contacts(void **state) {
    fixture *f = *state;
    tr_uuid officer = add_principal(f, "o", TR_OFFICER, NULL),
            other = add_principal(f, "p", TR_OFFICER, NULL),
            service = add_principal(f, "s", TR_SERVICE, NULL), nobody = tr_uuid_new();
    tr_uuid waits = add_notice(f, &service, 7), fails = add_notice(f, &service, 8);
    words holders = {.count = 0};
    mark(f, &waits, 0, 1000, 0, TR_NOTICE_NO_CONTACT);
    mark(f, &fails, 1, 2000, 0, "timeout");
    put(f, &nobody, "n", 1, TR_E_NOT_FOUND);
    put(f, &service, "one", 20, TR_OK);
    put(f, &service, "two", 21, TR_OK);
    put(f, &officer, "three", 22, TR_OK);
    assert_list(f, "two", tr_contact_get, &service, on_contact);
    assert_list(f, "0/21/0/no-contact", tr_notice_get, &waits, on_notice);
    assert_list(f, "1/2000/0/timeout", tr_notice_get, &fails, on_notice);
    /* Found missing before it was put, and written down after. */
    const tr_notice late = {.id = waits, .next_at = 1000};
    const tr_notice without = {.id = add_notice(f, &other, 9), .next_at = 1000};
    assert_ok(f, tr_notice_hold(fixture_tx(f), &late, 30, &f->err));
    assert_list(f, "0/30/0/no-contact", tr_notice_get, &waits, on_notice);
    assert_ok(f, tr_notice_hold(fixture_tx(f), &without, 30, &f->err));
    assert_list(f, "0/1000/0/no-contact", tr_notice_get, &without.id, on_notice);
    assert_ok(f, tr_contact_holders(fixture_tx(f), TR_OFFICER, on_id, &holders, &f->err));
    assert_int_equal(holders.count, 1);
    assert_true(tr_uuid_equal(&holders.last, &officer));
    assert_status(f, tr_contact_delete(fixture_tx(f), &other, &f->err), TR_E_NOT_FOUND);
    assert_ok(f, tr_principal_delete(fixture_tx(f), &officer, &f->err));
    assert_int_equal(count_rows(f, TR_DB_VAULT, "contacts"), 1);
    assert_ok(f, tr_contact_delete(fixture_tx(f), &service, &f->err));
    assert_int_equal(count_rows(f, TR_DB_VAULT, "contacts"), 0);
}

/* What others are told about a person stays; what was for the person itself, and its address, goes. */
static void an_erasure(void **state) {
    fixture *f = *state;
    tr_uuid ada = add_subject(f), me = add_principal(f, "a", TR_SUBJECT, &ada),
            service = add_principal(f, "s", TR_SERVICE, NULL), request = tr_uuid_new();
    tr_uuid old = add_notice(f, &me, 1);
    mark(f, &old, 1, 0, 2, "");
    add_notice(f, &me, 3);
    tr_uuid kept = add_notice(f, &service, 4);
    put(f, &me, "sealed", 5, TR_OK);
    assert_ok(f, tr_key_insert(fixture_tx(f), &ada, 1, text_bytes("wrapped"), &f->err));
    assert_ok(f, tr_erasure_begin(fixture_tx(f), &ada, &request, 6, &f->err));
    assert_int_equal(count_rows(f, TR_DB_VAULT, "contacts"), 0);
    assert_int_equal(count_rows(f, TR_DB_VAULT, "notices"), 2);
    assert_list(f, "0/4/0/", tr_notice_get, &kept, on_notice);
    assert_list(f, "1/0/2/", tr_notice_get, &old, on_notice);
}

/* ---- requests that are due ---- */

struct due {
    tr_dsr_due rows[8];
    int count;
};

static tr_status on_due(void *context, const tr_dsr_due *row, tr_error *err) {
    struct due *d = context;
    (void)err;
    d->rows[d->count++] = *row;
    return TR_OK;
}

static struct due untold(fixture *f, int64_t now, bool unassigned) {
    struct due d = {.count = 0};
    assert_ok(f, tr_dsr_untold(fixture_tx(f), now, now + 10, unassigned, 8, on_due, &d, &f->err));
    return d;
}

static tr_uuid add_request(fixture *f, const tr_uuid *subject, int64_t due_at, bool assigned,
                           int64_t closed_at) {
    const tr_dsr row = {.id = tr_uuid_new(),
                        .subject = *subject,
                        .kind = TR_DSR_ACCESS,
                        .has_assignee = assigned,
                        .due_at = due_at,
                        .closed_at = closed_at,
                        .doc = "{}",
                        .version = 1};
    assert_ok(f, tr_dsr_insert(fixture_tx(f), &row, &f->err));
    return row.id;
}

static void told_once(void **state) {
    fixture *f = *state;
    tr_uuid ada = add_subject(f), near = add_request(f, &ada, 105, false, 0);
    add_request(f, &ada, 200, true, 0);
    add_request(f, &ada, 101, true, 50);
    assert_int_equal(untold(f, 100, false).count, 0);
    struct due due = untold(f, 100, true);
    assert_int_equal(due.count, 1);
    assert_true(tr_uuid_equal(&due.rows[0].id, &near) && !due.rows[0].overdue);
    assert_ok(f, tr_dsr_told(fixture_tx(f), &due.rows[0], &f->err));
    assert_status(f, tr_dsr_told(fixture_tx(f), &due.rows[0], &f->err), TR_E_NOT_FOUND);
    assert_int_equal(untold(f, 100, true).count, 0);
    due = untold(f, 106, true); /* past */
    assert_int_equal(due.count, 1);
    assert_true(due.rows[0].overdue);
    assert_ok(f, tr_dsr_told(fixture_tx(f), &due.rows[0], &f->err));
    assert_int_equal(untold(f, 106, true).count, 0);
    const tr_dsr put_off = {.id = near, .subject = ada, .due_at = 110, .doc = "{}", .version = 2};
    assert_ok(f, tr_dsr_update(fixture_tx(f), &put_off, &f->err));
    assert_int_equal(untold(f, 106, true).count, 1); /* the new date comes near */
    assert_status(f, tr_dsr_told(fixture_tx(f), &due.rows[0], &f->err), TR_E_NOT_FOUND);
}

#define STORE_TEST(name) cmocka_unit_test_setup_teardown(name, fixture_up, fixture_down)

int main(void) {
    const struct CMUnitTest tests[] = {STORE_TEST(states_of_a_notice), STORE_TEST(contacts),
                                       STORE_TEST(an_erasure), STORE_TEST(told_once)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
