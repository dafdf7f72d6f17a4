/* Erasures in the store: what begins one, its batches, what a cut-off leaves, the ledger. */
#include "test_store_jobs.h"
#include "test_store_rows.h"

#include <signal.h>
#include <sys/resource.h>

static const tr_index_entry entry = {.field = "/a", .mac = {1}};

typedef struct person {
    tr_uuid id, request, service, activity;
} person;

/* A subject with everything that may hang on one. */
static person add_person(fixture *f, const char *uid, int records) {
    tr_db *tx = fixture_tx(f);
    char service[40];
    person p = {.id = add_subject(f), .request = tr_uuid_new(), .activity = add_activity(f, 0)};
    (void)snprintf(service, sizeof service, "service-%s", uid);
    p.service = add_principal(f, service, TR_SERVICE, NULL);
    tr_uuid principal_id = add_principal(f, uid, TR_SUBJECT, &p.id);
    add_session(f, &principal_id, uid, 1, 1);
    for (int i = 0; i < records; i++)
        add_record(f, &p.id, "t", uid, &entry, 1);
    tr_grant grant = {.id = tr_uuid_new(),
                      .subject = p.id,
                      .grantee = p.service,
                      .activity = p.activity,
                      .types = "[]",
                      .fields = ""};
    tr_outcome outcome = {
        .principal = p.service, .has_subject = true, .subject = p.id, .sealed = text_bytes("x")};
    assert_ok(f, tr_grant_insert(tx, &grant, &f->err));
    assert_ok(f, tr_outcome_insert(tx, &outcome, &f->err));
    assert_ok(f, tr_key_insert(tx, &p.id, 1, text_bytes(uid), &f->err));
    return p;
}

static void begin(fixture *f, const person *p) {
    assert_ok(f, tr_erasure_begin(fixture_tx(f), &p->id, &p->request, 77, &f->err));
}

static bool step_of(fixture *f, const person *p, int limit) {
    bool left = false;
    assert_ok(f, tr_erasure_step(fixture_tx(f), &p->id, limit, &left, &f->err));
    return left;
}

static tr_erasure state_of(fixture *f, const person *p) {
    tr_erasure row = {0};
    assert_ok(f, tr_erasure_get(fixture_tx(f), &p->id, &row, &f->err));
    return row;
}

static tr_status on_ledger(void *context, int64_t seq, const tr_uuid *subject, const tr_uuid *request,
                           int64_t at, tr_error *err) {
    char text[40];
    words *w = context;
    (void)err, (void)request;
    w->last = *subject;
    (void)snprintf(text, sizeof text, "%d@%d", (int)seq, (int)at);
    return word(w, text, strlen(text));
}

static tr_status on_erasure(void *context, const tr_erasure *row, tr_error *err) {
    (void)err;
    ((words *)context)->last = row->subject;
    return word(context, row->phase ? "files" : "rows", 5 - (row->phase == 0));
}

/* ---- begin ---- */

static void the_subject_is_there_for_nobody(void **state) {
    fixture *f = *state;
    tr_db *tx = fixture_tx(f);
    tr_subject_row row;
    words w = {.text = ""};
    add_type(f, "t");
    person gone = add_person(f, "gone", 2), stays = add_person(f, "stays", 2);
    begin(f, &gone);
    assert_status(f, tr_subject_get(tx, &gone.id, &row, &f->err), TR_E_NOT_FOUND);
    assert_status(f, tr_key_get(tx, &gone.id, on_key, &w, &f->err), TR_E_NOT_FOUND);
    assert_int_equal(count_rows(f, TR_DB_VAULT, "grants"), 1);
    assert_int_equal(count_rows(f, TR_DB_VAULT, "outcomes"), 1);
    assert_int_equal(count_rows(f, TR_DB_VAULT, "principals"), 3);
    assert_int_equal(count_rows(f, TR_DB_VAULT, "sessions"), 1);
    assert_ok(f, tr_index_find(tx, "t", "/a", entry.mac, NULL, ALL, on_record, &w, &f->err));
    assert_int_equal(w.count, 2); /* of the other */
    assert_status(f, tr_erasure_begin(tx, &gone.id, &stays.request, 78, &f->err), TR_E_NOT_FOUND);
    tr_uuid nobody = tr_uuid_new();
    assert_status(f, tr_erasure_begin(tx, &nobody, &stays.request, 78, &f->err), TR_E_NOT_FOUND);
    assert_ok(f, tr_subject_get(tx, &stays.id, &row, &f->err));
    w = (words){.text = ""};
    assert_ok(f, tr_key_get(tx, &stays.id, on_key, &w, &f->err));
    assert_string_equal(w.text, "1:stays");
}

static void nothing_new_comes_to_it(void **state) {
    fixture *f = *state;
    tr_db *tx = fixture_tx(f);
    add_type(f, "t");
    person p = add_person(f, "p", 1);
    tr_record r = record(&p.id, "t", "late");
    tr_grant g = {.id = tr_uuid_new(),
                  .subject = p.id,
                  .grantee = p.service,
                  .activity = p.activity,
                  .types = "[]",
                  .fields = ""};
    tr_hold h = {.id = tr_uuid_new(), .subject = p.id, .title = "late", .legal_basis = "x"};
    tr_principal who = principal("late", TR_SUBJECT);
    who.has_subject = true;
    who.subject = p.id;
    begin(f, &p);
    assert_status(f, tr_record_insert(tx, &r, NULL, 0, &f->err), TR_E_NOT_FOUND);
    assert_string_equal(f->err.where, "subject");
    assert_status(f, tr_grant_insert(tx, &g, &f->err), TR_E_NOT_FOUND);
    assert_string_equal(f->err.where, "subject");
    assert_status(f, tr_principal_insert(tx, &who, &f->err), TR_E_NOT_FOUND);
    assert_string_equal(f->err.where, "subject");
    assert_status(f, tr_hold_insert(tx, &h, &f->err), TR_E_NOT_FOUND);
    assert_status(f, tr_subject_restrict(tx, &p.id, 5, &f->err), TR_E_NOT_FOUND);
}

/* ---- batches ---- */

static void batches_are_bounded_and_counted(void **state) {
    fixture *f = *state;
    tr_db *tx = fixture_tx(f);
    add_type(f, "t");
    person gone = add_person(f, "gone", 5), stays = add_person(f, "stays", 2);
    tr_record row = record(&gone.id, "t", "v1");
    assert_ok(f, tr_record_insert(tx, &row, &entry, 1, &f->err));
    for (row.version = 2; row.version <= 8; row.version++) /* seven older versions */
        assert_ok(f, tr_record_update(tx, &row, 100, &entry, 1, &f->err));
    tr_hold h = {
        .id = tr_uuid_new(), .subject = gone.id, .title = "lifted", .legal_basis = "x", .lifted_at = 1};
    assert_ok(f, tr_hold_insert(tx, &h, &f->err));
    begin(f, &gone);
    assert_true(step_of(f, &gone, 4));
    assert_int_equal(state_of(f, &gone).records, 4);
    assert_true(step_of(f, &gone, 4)); /* one record, and three versions of the next */
    tr_erasure now = state_of(f, &gone);
    assert_true(now.records == 5 && now.versions == 3 && now.phase == 0);
    assert_int_equal(count_rows(f, TR_DB_VAULT, "record_versions"), 4);
    assert_true(step_of(f, &gone, 4));
    assert_true(step_of(f, &gone, 1));
    assert_int_equal(count_rows(f, TR_DB_VAULT, "subjects"), 2);
    assert_false(step_of(f, &gone, 4));
    now = state_of(f, &gone);
    assert_true(now.records == 6 && now.versions == 7 && now.phase == 1);
    assert_true(tr_uuid_equal(&now.request, &gone.request) && now.started_at == 77);
    assert_false(step_of(f, &gone, 4)); /* no harm */
    assert_int_equal(state_of(f, &gone).records, 6);
    assert_int_equal(count_rows(f, TR_DB_VAULT, "subjects"), 1);
    assert_int_equal(count_rows(f, TR_DB_VAULT, "records"), 2);
    assert_int_equal(count_rows(f, TR_DB_VAULT, "index_entries"), 2);
    assert_int_equal(count_rows(f, TR_DB_VAULT, "holds"), 0);
    words w = {.text = ""};
    assert_ok(f, tr_record_list(tx, &stays.id, NULL, NULL, ALL, on_record, &w, &f->err));
    assert_string_equal(w.text, "t:1:stays t:1:stays");
    tr_uuid nobody = tr_uuid_new();
    bool left = true;
    assert_status(f, tr_erasure_step(tx, &nobody, 4, &left, &f->err), TR_E_NOT_FOUND);
}

/* A job is as short with few long rows as with many short ones. */
static void long_payloads_count_more(void **state) {
    fixture *f = *state;
    static char text[200 * 1024];
    memset(text, 'x', sizeof text - 1);
    add_type(f, "t");
    person p = add_person(f, "p", 0);
    for (int i = 0; i < 8; i++)
        add_record(f, &p.id, "t", text, NULL, 0);
    begin(f, &p);
    assert_true(step_of(f, &p, 30));
    int64_t after_one = state_of(f, &p).records;
    assert_true(after_one >= 2 && after_one < 5);
}

/* ---- lists ---- */

static void lists_and_the_ledger(void **state) {
    fixture *f = *state;
    tr_db *tx = fixture_tx(f);
    words w = {.text = ""};
    add_type(f, "t");
    person a = add_person(f, "a", 1), b = add_person(f, "b", 1), c = add_person(f, "c", 1);
    begin(f, &c);
    begin(f, &a);
    begin(f, &b);
    assert_false(step_of(f, &b, 9));
    assert_ok(f, tr_erasure_list(tx, NULL, 2, on_erasure, &w, &f->err));
    assert_string_equal(w.text, "rows files");
    tr_uuid after = w.last;
    w = (words){.text = ""};
    assert_ok(f, tr_erasure_list(tx, &after, 2, on_erasure, &w, &f->err));
    assert_string_equal(w.text, "rows");
    w = (words){.text = ""};
    assert_ok(f, tr_ledger_list(tx, 0, 2, on_ledger, &w, &f->err));
    assert_string_equal(w.text, "1@77 2@77");
    assert_true(tr_uuid_equal(&w.last, &a.id));
    w = (words){.text = ""};
    assert_ok(f, tr_ledger_list(tx, 2, 2, on_ledger, &w, &f->err));
    assert_string_equal(w.text, "3@77");
    assert_true(tr_uuid_equal(&w.last, &b.id));
    assert_ok(f, tr_erasure_end(tx, &b.id, &f->err));
    assert_status(f, tr_erasure_end(tx, &b.id, &f->err), TR_E_NOT_FOUND);
    tr_erasure row;
    assert_status(f, tr_erasure_get(tx, &b.id, &row, &f->err), TR_E_NOT_FOUND);
    assert_int_equal(count_rows(f, TR_DB_KEYS, "erasure_ledger"), 3);
}

/* ---- cut off ---- */

#define MB ((size_t)1024 * 1024)

static void limit_files(rlim_t bytes) {
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes ? bytes : limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

typedef struct order {
    person person;
    size_t audit;
} order;

/* With an entry so long that the log cannot be written: keys.db is committed, and nothing else. */
static tr_status begin_job(void *context, tr_db *tx, tr_error *err) {
    order *o = context;
    char *bytes = malloc(o->audit + 1);
    tr_status st = TR_OK;
    if (!bytes)
        return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    memset(bytes, ' ', o->audit + 1);
    TR_TRY(tr_erasure_begin(tx, &o->person.id, &o->person.request, 77, err));
    TR_TRY(tr_audit_append(tx, 1, NULL, (tr_bytes){bytes, o->audit + 1}, err));
out:
    free(bytes);
    return st;
}

static void add_request(fixture *f, const person *p, tr_dsr_state at) {
    tr_dsr row = {.id = p->request,
                  .subject = p->id,
                  .kind = TR_DSR_ERASURE,
                  .state = at,
                  .received_at = 1,
                  .due_at = 2,
                  .updated_at = 3,
                  .doc = "{}",
                  .version = 4};
    assert_ok(f, tr_dsr_insert(fixture_tx(f), &row, &f->err));
}

static tr_status on_dsr(void *context, const tr_dsr *row, tr_error *err) {
    char text[40];
    (void)err;
    (void)snprintf(text, sizeof text, "%d v%d", (int)row->state, (int)row->version);
    return word(context, text, strlen(text));
}

static tr_status end_job(void *context, tr_db *tx, tr_error *err) {
    const order *o = context;
    bool left = false;
    tr_status st = tr_erasure_step(tx, &o->person.id, 100, &left, err);
    return st == TR_OK ? tr_erasure_end(tx, &o->person.id, err) : st;
}

static void what_was_cut_off_begins_again(void **state) {
    fixture *f = *state;
    tr_subject_row row;
    tr_erasure erasure;
    words w = {.text = ""};
    add_type(f, "t");
    order o = {add_person(f, "p", 3), MB * 3 / 2};
    add_request(f, &o.person, TR_DSR_VERIFIED);
    fixture_commit(f);
    limit_files(MB);
    assert_status(f, tr_store_write(f->store, begin_job, &o, &f->err), TR_E_DISK_FULL);
    assert_string_equal(f->err.where, "audit.db");
    limit_files(0);
    assert_ok(f, tr_subject_get(fixture_reader(f), &o.person.id, &row, &f->err));
    fixture_reopen(f); /* as after a crash */
    assert_status(f, tr_subject_get(fixture_reader(f), &o.person.id, &row, &f->err), TR_E_NOT_FOUND);
    assert_ok(f, tr_erasure_get(fixture_reader(f), &o.person.id, &erasure, &f->err));
    assert_true(tr_uuid_equal(&erasure.request, &o.person.request) && erasure.started_at == 77 &&
                erasure.phase == 0);
    assert_ok(f, tr_dsr_get(fixture_reader(f), &o.person.request, on_dsr, &w, &f->err));
    assert_string_equal(w.text, "3 v5"); /* fulfilling */
    assert_int_equal(count_entries(f, "%storage.recovered%"), 1);
    /* Once: neither the next start nor an end that no group with keys.db follows begins it again. */
    fixture_reopen(f);
    assert_int_equal(count_entries(f, "%storage.recovered%"), 1);
    assert_ok(f, tr_store_write(f->store, end_job, &o, &f->err));
    fixture_reopen(f);
    assert_status(f, tr_erasure_get(fixture_reader(f), &o.person.id, &erasure, &f->err), TR_E_NOT_FOUND);
    assert_int_equal(count_entries(f, "%storage.recovered%"), 1);
    w = (words){.text = ""};
    assert_ok(f, tr_ledger_list(fixture_reader(f), 0, ALL, on_ledger, &w, &f->err));
    assert_string_equal(w.text, "1@77");
    assert_log_is_good(f, -1);
}

/* What asked for it came in the same commit, and is lost: the erasure goes on all the same. */
static void it_needs_no_request(void **state) {
    fixture *f = *state;
    tr_erasure erasure;
    add_type(f, "t");
    order o = {add_person(f, "p", 1), MB * 3 / 2};
    fixture_commit(f);
    limit_files(MB);
    assert_status(f, tr_store_write(f->store, begin_job, &o, &f->err), TR_E_DISK_FULL);
    limit_files(0);
    fixture_put(f, "next"); /* the running store recovers by itself */
    assert_ok(f, tr_erasure_get(fixture_reader(f), &o.person.id, &erasure, &f->err));
    assert_true(tr_uuid_equal(&erasure.request, &o.person.request));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, fixture_up, fixture_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(the_subject_is_there_for_nobody),
        CASE(nothing_new_comes_to_it),
        CASE(batches_are_bounded_and_counted),
        CASE(long_payloads_count_more),
        CASE(lists_and_the_ledger),
        CASE(what_was_cut_off_begins_again),
        CASE(it_needs_no_request),
    };
    (void)signal(SIGXFSZ, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
