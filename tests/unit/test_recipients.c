/* Who has got a subject's data, as the audit log tells it. */
#include "test_store_rows.h"

#include "vault/recipients.h"
#include "vault/restriction.h"

#define MANY 2500 /* more than a batch */

struct entry {
    const tr_uuid *subject;
    tr_uuid who;
    const char *role, *action, *outcome;
    bool records;
    int times;
};

static tr_status append(void *context, tr_db *tx, tr_error *err) {
    const struct entry *e = context;
    char who[TR_UUID_TEXT], text[400];
    tr_uuid_format(&e->who, who);
    (void)snprintf(
        text, sizeof text,
        "{\"time\":\"2026-01-01T00:00:00.000Z\",\"action\":\"%s\",\"principal\":\"%s\",\"role\":\"%s\""
        "%s,\"outcome\":\"%s\"}",
        e->action, who, e->role, e->records ? ",\"records\":[\"01995b2f-6d3c-7a41-9c1e-52d7f0a6b3e8\"]" : "",
        e->outcome);
    tr_status st = TR_OK;
    for (int i = 0; st == TR_OK && i < e->times; i++)
        st = tr_audit_append(tx, 1000, e->subject, text_bytes(text), err);
    return st;
}

static tr_uuid log_of(fixture *f, const tr_uuid *subject, const char *role, const char *action,
                      const char *outcome, bool records) {
    struct entry e = {subject, tr_uuid_new(), role, action, outcome, records, 1};
    assert_ok(f, tr_store_write(f->store, append, &e, &f->err));
    return e.who;
}

static void load(fixture *f, const tr_uuid *subject, tr_recipients *out) {
    assert_ok(f, tr_recipients_load(NULL, fixture_reader(f), subject, out, &f->err));
}

/* Is it one of them? */
static bool has(fixture *f, tr_recipients *r, const tr_uuid *id) {
    size_t before = r->count;
    assert_ok(f, tr_recipients_add(r, id, &f->err));
    return r->count == before;
}

static void who_was_shown_data(void **state) {
    static const char *const shown[] = {"record.read",   "record.list",  "record.versions",
                                        "record.lookup", "record.patch", "subject.export"};
    static const char *const not_shown[] = {"record.create", "record.replace", "record.delete",
                                            "record.import", "subject.read",   "grant.list",
                                            "auth.sign_in"};
    fixture *f = *state;
    tr_uuid subject = tr_uuid_new(), other = tr_uuid_new(), ids[6];
    tr_recipients r = TR_RECIPIENTS_INIT;
    for (size_t i = 0; i < 6; i++)
        ids[i] = log_of(f, &subject, "service", shown[i], "ok", true);
    for (size_t i = 0; i < sizeof not_shown / sizeof *not_shown; i++)
        log_of(f, &subject, "service", not_shown[i], "ok", true);
    log_of(f, &subject, "service", "record.read", "no-grant", true);
    log_of(f, &subject, "service", "record.list", "ok", false); /* an empty list shows nobody's data */
    log_of(f, &subject, "subject", "record.read", "ok", true);
    log_of(f, &subject, "officer", "record.read", "ok", true);
    log_of(f, &other, "service", "record.read", "ok", true);
    log_of(f, NULL, "service", "record.lookup", "ok", false);
    tr_uuid exported = log_of(f, &subject, "service", "subject.export", "ok", false);
    load(f, &subject, &r);
    assert_int_equal(r.count, 7);
    for (size_t i = 0; i < 6; i++)
        assert_true(has(f, &r, &ids[i]));
    assert_true(has(f, &r, &exported));
    load(f, &other, &r); /* anew */
    assert_int_equal(r.count, 1);
    tr_uuid nobody = tr_uuid_new();
    load(f, &nobody, &r);
    assert_int_equal(r.count, 0);
    tr_recipients_clear(&r);
}

static void a_long_log_is_walked_to_its_end(void **state) {
    fixture *f = *state;
    tr_uuid subject = tr_uuid_new();
    struct entry many = {&subject, tr_uuid_new(), "service", "record.read", "ok", true, MANY};
    tr_recipients r = TR_RECIPIENTS_INIT;
    tr_uuid first = log_of(f, &subject, "service", "record.read", "ok", true);
    assert_ok(f, tr_store_write(f->store, append, &many, &f->err));
    tr_uuid last = log_of(f, &subject, "service", "record.read", "ok", true);
    load(f, &subject, &r);
    assert_int_equal(r.count, 3);
    assert_true(has(f, &r, &first) && has(f, &r, &many.who) && has(f, &r, &last));
    assert_int_equal(r.seq, MANY + 2);
    tr_recipients_clear(&r);
}

struct renewal {
    const tr_uuid *subject;
    tr_recipients *recipients;
    struct entry *waiting, *anothers; /* entries of jobs before, in the same group */
};

static tr_status renew(void *context, tr_db *tx, tr_error *err) {
    struct renewal *r = context;
    tr_status st = r->waiting ? append(r->waiting, tx, err) : TR_OK;
    if (st == TR_OK && r->anothers)
        st = append(r->anothers, tx, err);
    return st == TR_OK ? tr_recipients_renew(tx, r->subject, r->recipients, err) : st;
}

static void what_came_in_between_is_seen_in_the_job(void **state) {
    fixture *f = *state;
    tr_uuid subject = tr_uuid_new(), other = tr_uuid_new();
    tr_recipients r = TR_RECIPIENTS_INIT;
    log_of(f, &subject, "service", "record.read", "ok", true);
    load(f, &subject, &r);
    assert_int_equal(r.count, 1);
    tr_uuid later = log_of(f, &subject, "service", "record.read", "ok", true);
    struct entry same_group = {&subject, tr_uuid_new(), "service", "record.read", "ok", true, 1},
                 anothers = {&other, tr_uuid_new(), "service", "record.read", "ok", true, 1};
    struct renewal job = {&subject, &r, &same_group, &anothers};
    assert_ok(f, tr_store_write(f->store, renew, &job, &f->err));
    assert_int_equal(r.count, 3);
    assert_true(has(f, &r, &later) && has(f, &r, &same_group.who));
    struct entry many = {&subject, tr_uuid_new(), "subject", "record.read", "ok", true, MANY};
    assert_ok(f, tr_store_write(f->store, append, &many, &f->err));
    job = (struct renewal){.subject = &subject, .recipients = &r};
    assert_status(f, tr_store_write(f->store, renew, &job, &f->err), TR_E_PRECONDITION);
    load(f, &subject, &r);
    assert_ok(f, tr_store_write(f->store, renew, &job, &f->err));
    tr_recipients_clear(&r);
}

static void a_damaged_entry_is_said(void **state) {
    fixture *f = *state;
    tr_uuid subject = tr_uuid_new();
    struct entry e = {&subject, tr_uuid_new(), "service", "record.read\"x", "ok", true, 1};
    tr_recipients r = TR_RECIPIENTS_INIT;
    assert_ok(f, tr_store_write(f->store, append, &e, &f->err));
    assert_status(f, tr_recipients_load(NULL, fixture_reader(f), &subject, &r, &f->err), TR_E_CORRUPT);
    tr_recipients_clear(&r);
}

/* ---- who is told of a restriction ---- */

struct restriction {
    tr_uuid subject, request;
    bool restricted, changed;
    tr_recipients recipients;
    int64_t notices;
};

static tr_status add_row(void *context, tr_db *tx, tr_error *err) {
    const struct restriction *r = context;
    tr_subject_row row = {.id = r->subject, .created_by = r->request, .created_at = 5};
    return tr_subject_insert(tx, &row, err);
}

static tr_status set(void *context, tr_db *tx, tr_error *err) {
    struct restriction *r = context;
    return tr_restriction_set(tx, &r->subject, r->restricted, &r->request, &r->recipients, 500, &r->changed,
                              &r->notices, err);
}

static void a_restriction_is_told_once(void **state) {
    fixture *f = *state;
    struct restriction r = {.subject = tr_uuid_new(), .request = tr_uuid_new(), .restricted = true};
    assert_ok(f, tr_store_write(f->store, add_row, &r, &f->err));
    log_of(f, &r.subject, "service", "record.read", "ok", true);
    load(f, &r.subject, &r.recipients);
    log_of(f, &r.subject, "service", "record.read", "ok", true);
    assert_ok(f, tr_store_write(f->store, set, &r, &f->err));
    assert_true(r.changed && r.notices == 2);
    assert_ok(f, tr_store_write(f->store, set, &r, &f->err));
    assert_true(!r.changed && r.notices == 2); /* by this request, before */
    r.restricted = false;
    assert_ok(f, tr_store_write(f->store, set, &r, &f->err));
    assert_true(r.changed && r.notices == 2);
    assert_int_equal(count_rows(f, TR_DB_VAULT, "notices"), 4);
    r.subject = tr_uuid_new();
    assert_status(f, tr_store_write(f->store, set, &r, &f->err), TR_E_NOT_FOUND);
    tr_recipients_clear(&r.recipients);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(who_was_shown_data, fixture_up, fixture_down),
        cmocka_unit_test_setup_teardown(a_long_log_is_walked_to_its_end, fixture_up, fixture_down),
        cmocka_unit_test_setup_teardown(what_came_in_between_is_seen_in_the_job, fixture_up, fixture_down),
        cmocka_unit_test_setup_teardown(a_damaged_entry_is_said, fixture_up, fixture_down),
        cmocka_unit_test_setup_teardown(a_restriction_is_told_once, fixture_up, fixture_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
