/* Who runs an erasure's steps, and what keeps it from its end: readers, other threads, faults, a stop. */
#include "test_vault_fixture.h"

#include <pthread.h>
#include <semaphore.h>

#include "base/json.h"
#include "base/log.h"
#include "vault/audit.h"
#include "vault/datakeys.h"
#include "vault/dsr.h"
#include "vault/erasure.h"
#include "vault/holds.h"

#define RECORDS 600 /* several batches */
#define MANY    40  /* more than share a round */

typedef struct person {
    vault_fixture *f;
    int records;
    tr_uuid id;
    tr_buf wrapped;
    uint32_t master;
    tr_dsr_case request;
} person;

static tr_status add_job(void *context, tr_db *tx, tr_error *err) {
    person *p = context;
    const tr_subject_row subject = {.id = p->id, .created_at = 1};
    tr_type type = {.name = "t", .version = 1, .schema = "{}"};
    tr_status st = tr_type_put(tx, &type, err);
    if (st != TR_OK && st != TR_E_PRECONDITION)
        return st;
    st = tr_subject_insert(tx, &subject, err);
    if (st == TR_OK)
        st = tr_datakey_insert(p->f->vault, tx, &p->id, p->master,
                               (tr_bytes){p->wrapped.data, p->wrapped.len}, err);
    for (int i = 0; st == TR_OK && i < p->records; i++) {
        tr_record row = {
            .id = tr_uuid_new(), .subject = p->id, .type = "t", .version = 1, .sealed = {"sealed", 6}};
        st = tr_record_insert(tx, &row, NULL, 0, err);
    }
    return st == TR_OK ? tr_dsr_insert(tx, &p->request.row, err) : st;
}

/* A subject with records and a verified request of its own. */
static void add_person(vault_fixture *f, person *p, int records) {
    tr_secret key = TR_SECRET_INIT;
    *p = (person){.f = f, .records = records, .id = tr_uuid_new()};
    assert_ok(f, tr_datakey_make(f->vault, &key, &p->wrapped, &p->master, &f->err));
    assert_ok(f, tr_dsr_new(f->vault, &p->id, TR_DSR_ERASURE, &p->id, 1000, 1000, &p->request, &f->err));
    assert_ok(f, tr_dsr_set_verified(&p->request, 2000, &p->id, "own-session", &f->err));
    cJSON_Delete(p->request.texts); /* its key is not stored yet */
    p->request.texts = NULL;
    assert_ok(f, tr_dsr_seal(f->vault, vault_reader(f), &p->request, &f->err));
    assert_ok(f, tr_store_write(f->vault->store, add_job, p, &f->err));
    tr_secret_clear(&key);
}

static void drop(person *p) {
    tr_dsr_clear(&p->request);
    tr_buf_clear(&p->wrapped);
}

static tr_status file_job(void *context, tr_db *tx, tr_error *err) {
    const person *p = context;
    return tr_erasure_file(tx, &p->id, &p->request.row.id, 3000, err);
}

static void file(person *p) {
    assert_ok(p->f, tr_store_write(p->f->vault->store, file_job, p, &p->f->err));
    tr_erasure_filed(p->f->vault, &p->id);
}

static bool finish(person *p, int64_t wait_ms) {
    bool done = false;
    assert_ok(p->f, tr_erasure_finish(p->f->vault, &p->id, wait_ms, &done, &p->f->err));
    return done;
}

static tr_dsr_state state_of(person *p) {
    tr_dsr_case c = {0};
    assert_ok(p->f, tr_dsr_load(p->f->vault, vault_reader(p->f), &p->request.row.id, &c, &p->f->err));
    const tr_dsr_state state = c.row.state;
    assert_int_equal(state == TR_DSR_FULFILLED, c.row.receipt != NULL && c.row.closed_at != 0);
    tr_dsr_clear(&c);
    return state;
}

static tr_status count_end(void *context, const tr_audit_row *row, tr_error *err) {
    static const char action[] = "\"action\":\"subject.erased\"";
    (void)err;
    *(int *)context += memmem(row->entry.data, row->entry.len, action, sizeof action - 1) != NULL;
    return TR_OK;
}

static int ends_of(person *p) {
    int count = 0;
    assert_ok(p->f, tr_audit_list(vault_reader(p->f), &p->id, 0, false, 1000, count_end, &count, &p->f->err));
    return count;
}

static bool under_way(person *p) {
    tr_erasure row;
    const tr_status st = tr_erasure_get(vault_reader(p->f), &p->id, &row, &p->f->err);
    assert_true(st == TR_OK || st == TR_E_NOT_FOUND);
    return st == TR_OK;
}

static bool resume(vault_fixture *f) {
    bool more = false;
    assert_ok(f, tr_erasures_resume(f->vault, &more, &f->err));
    return more;
}

/* ---- one ---- */

static void it_comes_to_its_end(void **state) {
    vault_fixture *f = *state;
    person p;
    tr_secret key = TR_SECRET_INIT;
    add_person(f, &p, RECORDS);
    assert_ok(f, tr_datakey_get(f->vault, vault_reader(f), &p.id, &key, &f->err));
    file(&p);
    assert_int_equal(state_of(&p), TR_DSR_FULFILLING);
    assert_int_equal(tr_datakey_get(f->vault, vault_reader(f), &p.id, &key, NULL), TR_E_NOT_FOUND);
    assert_true(finish(&p, 20000));
    assert_int_equal(state_of(&p), TR_DSR_FULFILLED);
    assert_false(under_way(&p));
    assert_true(finish(&p, 20000)); /* it was done before */
    assert_false(resume(f));
    assert_int_equal(ends_of(&p), 1);
    tr_secret_clear(&key);
    drop(&p);
}

static void only_what_is_verified(void **state) {
    vault_fixture *f = *state;
    person p;
    add_person(f, &p, 1);
    file(&p);
    assert_int_equal(tr_store_write(f->vault->store, file_job, &p, &f->err), TR_E_CONFLICT);
    assert_non_null(strstr(f->err.what, "fulfilling"));
    drop(&p);
}

static tr_status hold_job(void *context, tr_db *tx, tr_error *err) {
    const person *p = context;
    const tr_hold hold = {
        .id = tr_uuid_new(), .subject = p->id, .title = "Invoices", .legal_basis = "x", .created_at = 1};
    return tr_hold_place(tx, &hold, err);
}

static void a_hold_forbids_it(void **state) {
    vault_fixture *f = *state;
    person p;
    add_person(f, &p, 1);
    assert_ok(f, tr_store_write(f->vault->store, hold_job, &p, &f->err));
    assert_int_equal(tr_store_write(f->vault->store, file_job, &p, &f->err), TR_E_HOLD);
    assert_non_null(strstr(f->err.what, "Invoices"));
    assert_int_equal(state_of(&p), TR_DSR_VERIFIED);
    assert_false(under_way(&p));
    drop(&p);
}

/* ---- readers ---- */

typedef struct holder { /* a thread that has an old view */
    vault_fixture *f;
    sem_t holds, let_go;
    pthread_t thread;
} holder;

static void *hold_view(void *context) {
    holder *h = context;
    tr_db *db = NULL;
    tr_subject_row row;
    const tr_uuid nobody = {{0}};
    if (tr_store_reader(h->f->vault->store, &db, NULL) == TR_OK && tr_read_begin(db, NULL) == TR_OK)
        (void)tr_subject_get(db, &nobody, &row, NULL); /* the view begins with the first read */
    sem_post(&h->holds);
    sem_wait(&h->let_go);
    if (db)
        tr_read_end(db);
    return NULL;
}

static void begin_hold(holder *h, vault_fixture *f) {
    h->f = f;
    sem_init(&h->holds, 0, 0);
    sem_init(&h->let_go, 0, 0);
    assert_int_equal(pthread_create(&h->thread, NULL, hold_view, h), 0);
    sem_wait(&h->holds);
}

static void end_hold(holder *h) {
    sem_post(&h->let_go);
    pthread_join(h->thread, NULL);
    sem_destroy(&h->holds);
    sem_destroy(&h->let_go);
}

static void count_wake(void *context) {
    ++*(_Atomic int *)context;
}

/* The receipt says that no file has it: so it waits until the log can be emptied. */
static void an_old_view_keeps_it_waiting(void **state) {
    vault_fixture *f = *state;
    _Atomic int wakes = 0;
    holder h;
    person p;
    add_person(f, &p, RECORDS);
    tr_vault_set_wake(f->vault, count_wake, &wakes);
    begin_hold(&h, f);
    file(&p);
    assert_false(finish(&p, 300));
    assert_int_equal(wakes, 1);
    assert_int_equal(state_of(&p), TR_DSR_FULFILLING);
    assert_true(under_way(&p));
    end_hold(&h);
    assert_false(resume(f));
    assert_int_equal(state_of(&p), TR_DSR_FULFILLED);
    assert_int_equal(ends_of(&p), 1);
    drop(&p);
}

static void a_stop_ends_the_waiting(void **state) {
    vault_fixture *f = *state;
    holder h;
    person p;
    add_person(f, &p, 3);
    begin_hold(&h, f);
    file(&p);
    tr_erasures_end(f->vault);
    const int64_t began = tr_monotonic_ms();
    assert_false(finish(&p, 60000));
    assert_true(tr_monotonic_ms() - began < 30000);
    end_hold(&h);
    vault_reopen(f);
    assert_false(resume(f));
    assert_int_equal(state_of(&p), TR_DSR_FULFILLED);
    drop(&p);
}

/* ---- several ---- */

#define THREADS 6

static void *finish_thread(void *context) {
    person *p = context;
    bool done = false;
    tr_error err = {0};
    return tr_erasure_finish(p->f->vault, &p->id, 60000, &done, &err) == TR_OK && done ? p : NULL;
}

static void many_threads_one_erasure(void **state) {
    vault_fixture *f = *state;
    pthread_t threads[THREADS];
    person p;
    add_person(f, &p, RECORDS);
    file(&p);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, finish_thread, &p), 0);
    (void)resume(f);
    for (int i = 0; i < THREADS; i++) {
        void *result = NULL;
        pthread_join(threads[i], &result);
        assert_ptr_equal(result, &p);
    }
    assert_int_equal(ends_of(&p), 1);
    assert_int_equal(state_of(&p), TR_DSR_FULFILLED);
    drop(&p);
}

static void those_of_before_the_start(void **state) {
    vault_fixture *f = *state;
    static person people[MANY];
    for (int i = 0; i < MANY; i++) {
        add_person(f, &people[i], 2);
        file(&people[i]);
    }
    vault_reopen(f);
    while (resume(f)) {
    }
    for (int i = 0; i < MANY; i++) {
        assert_int_equal(state_of(&people[i]), TR_DSR_FULFILLED);
        assert_int_equal(ends_of(&people[i]), 1);
        drop(&people[i]);
    }
}

static tr_status break_job(void *context, tr_db *tx, tr_error *err) {
    tr_dsr_case *c = &((person *)context)->request;
    c->row.doc = "not JSON";
    c->row.version += 2;
    return tr_dsr_update(tx, &c->row, err);
}

static void one_that_fails_stops_no_other(void **state) {
    vault_fixture *f = *state;
    person people[3];
    for (int i = 0; i < 3; i++) {
        add_person(f, &people[i], 2);
        file(&people[i]);
    }
    assert_ok(f, tr_store_write(f->vault->store, break_job, &people[1], &f->err));
    assert_false(resume(f)); /* not at once again, which would change nothing */
    assert_true(under_way(&people[1]));
    assert_int_equal(state_of(&people[0]), TR_DSR_FULFILLED);
    assert_int_equal(state_of(&people[2]), TR_DSR_FULFILLED);
    bool done = false;
    assert_int_not_equal(tr_erasure_finish(f->vault, &people[1].id, 1000, &done, &f->err), TR_OK);
    assert_false(done);
    for (int i = 0; i < 3; i++)
        drop(&people[i]);
}

/* ---- a request that was lost with the commit that begins the erasure ---- */

static tr_status lose_job(void *context, tr_db *tx, tr_error *err) {
    person *p = context;
    p->request.row.id = tr_uuid_new();
    return tr_erasure_begin(tx, &p->id, &p->request.row.id, 3000, err);
}

static const tr_uuid principal = {{7}};

static tr_status lose_logged_job(void *context, tr_db *tx, tr_error *err) {
    person *p = context;
    tr_status st = lose_job(p, tx, err);
    const tr_caller who = {.principal = principal, .role = TR_SUBJECT};
    const tr_event event = {.at = 3000,
                            .action = "subject.delete",
                            .who = &who,
                            .subject = &p->id,
                            .purpose = &p->request.row.id,
                            .outcome = TR_OK};
    return st == TR_OK ? tr_event_append(tx, &event, err) : st;
}

/* What the vault has of it after the end. */
static void load_lost(vault_fixture *f, person *p, tr_job_fn lose, tr_dsr_case *c) {
    add_person(f, p, 5);
    assert_ok(f, tr_store_write(f->vault->store, lose, p, &f->err));
    vault_reopen(f);
    assert_false(resume(f));
    assert_int_equal(state_of(p), TR_DSR_FULFILLED);
    assert_int_equal(ends_of(p), 1);
    assert_ok(f, tr_dsr_load(f->vault, vault_reader(f), &p->request.row.id, c, &f->err));
    assert_true(tr_uuid_equal(&c->row.subject, &p->id) && c->row.received_at == 3000 && c->row.version == 1);
}

/* Its own, in one commit with the erasure: the log says who it was. */
static void a_lost_request_is_made_anew(void **state) {
    vault_fixture *f = *state;
    char by[TR_UUID_TEXT];
    tr_dsr_case c = {0};
    person p;
    tr_uuid_format(&principal, by);
    load_lost(f, &p, lose_logged_job, &c);
    assert_string_equal(tr_json_string(c.doc, "filed_by"), by);
    assert_string_equal(tr_json_string(tr_json_member(c.doc, "verification"), "method"), "own-session");
    assert_string_equal(tr_json_string(tr_json_member(c.doc, "verification"), "by"), by);
    assert_non_null(strstr(c.receipt.data, "\"received_at\":\"1970-01-01T00:00:03.000Z\""));
    tr_dsr_clear(&c);
    drop(&p);
}

/* The ledger alone, as after a restore: nothing is made up. */
static void what_only_the_ledger_knows(void **state) {
    vault_fixture *f = *state;
    tr_dsr_case c = {0};
    person p;
    load_lost(f, &p, lose_job, &c);
    assert_null(tr_json_string(c.doc, "filed_by"));
    assert_null(tr_json_member(c.doc, "verification"));
    assert_non_null(strstr(c.receipt.data, "\"received_at\":null,\"verified_at\":null"));
    tr_dsr_clear(&c);
    drop(&p);
}

static void other_requests_are_closed(void **state) {
    vault_fixture *f = *state;
    tr_dsr_case c = {0};
    person p;
    add_person(f, &p, 5);
    const tr_uuid other = p.request.row.id;
    assert_ok(f, tr_store_write(f->vault->store, lose_job, &p, &f->err));
    tr_erasure_filed(f->vault, &p.id);
    assert_true(finish(&p, 10000));
    assert_ok(f, tr_dsr_load(f->vault, vault_reader(f), &other, &c, &f->err));
    assert_true(c.row.state == TR_DSR_VERIFIED && c.row.closed_at != 0);
    assert_non_null(tr_json_string(tr_json_member(c.doc, "result"), "erased_by"));
    assert_int_equal(tr_dsr_check_state(&c.row, TR_DSR_ARE_VERIFIED, &f->err), TR_E_CONFLICT);
    tr_dsr_clear(&c);
    drop(&p);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, vault_up, vault_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(it_comes_to_its_end),         CASE(only_what_is_verified),
        CASE(a_hold_forbids_it),           CASE(an_old_view_keeps_it_waiting),
        CASE(a_stop_ends_the_waiting),     CASE(many_threads_one_erasure),
        CASE(those_of_before_the_start),   CASE(one_that_fails_stops_no_other),
        CASE(a_lost_request_is_made_anew), CASE(what_only_the_ledger_knows),
        CASE(other_requests_are_closed),
    };
    tr_log_set_fd(-1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
