/* Requests of data subjects in the vault: texts are sealed to subject and request, and gone with the key; who
 * may see data. */
#include "test_vault_fixture.h"

#include "base/json.h"
#include "vault/datakeys.h"
#include "vault/dsr.h"

enum { NOW = 1000000 };

typedef struct job {
    vault_fixture *f;
    tr_subject_row subject;
    tr_buf wrapped;
    uint32_t master;
    const tr_dsr *row;
    tr_uuid id, officer;
    unsigned kinds;
    unsigned from;
    tr_dsr_state to;
    const tr_uuid *of;
    const tr_dsr_kind *kind;
} job;

static tr_status run(vault_fixture *f, tr_job_fn fn, job *j) {
    f->err = (tr_error){0};
    return tr_store_write(f->vault->store, fn, j, &f->err);
}

static tr_status insert_subject(void *context, tr_db *tx, tr_error *err) {
    job *j = context;
    tr_status st = tr_subject_insert(tx, &j->subject, err);
    return st == TR_OK ? tr_datakey_insert(j->f->vault, tx, &j->subject.id, j->master,
                                           (tr_bytes){j->wrapped.data, j->wrapped.len}, err)
                       : st;
}

static tr_uuid add_subject(vault_fixture *f) {
    job j = {.f = f, .subject = {.id = tr_uuid_new(), .created_by = tr_uuid_new(), .created_at = 1}};
    tr_secret key = TR_SECRET_INIT;
    assert_ok(f, tr_datakey_make(f->vault, &key, &j.wrapped, &j.master, &f->err));
    assert_ok(f, run(f, insert_subject, &j));
    tr_secret_clear(&key);
    tr_buf_clear(&j.wrapped);
    return j.subject.id;
}

static tr_status file(void *context, tr_db *tx, tr_error *err) {
    return tr_dsr_file(tx, ((job *)context)->row, err);
}

static tr_status update(void *context, tr_db *tx, tr_error *err) {
    return tr_dsr_update(tx, ((job *)context)->row, err);
}

static tr_status delete_subject(void *context, tr_db *tx, tr_error *err) {
    return tr_subject_delete(tx, &((job *)context)->id, err);
}

static tr_status change_state(void *context, tr_db *tx, tr_error *err) {
    job *j = context;
    return tr_dsr_change_state(tx, &j->id, j->of, j->kind, j->from, j->to, NOW, err);
}

/* A request with details, made but not stored. */
static void make(vault_fixture *f, const tr_uuid *subject, tr_dsr_kind kind, tr_dsr_case *c) {
    tr_uuid by = tr_uuid_new();
    assert_ok(f, tr_dsr_new(f->vault, subject, kind, &by, NOW, NOW, c, &f->err));
    assert_ok(f, tr_dsr_set_text(c, "details", "Frau Zwicky möchte", &f->err));
    assert_ok(f, tr_dsr_seal(f->vault, vault_reader(f), c, &f->err));
}

static void store(vault_fixture *f, const tr_dsr_case *c) {
    job j = {.row = &c->row};
    assert_ok(f, run(f, file, &j));
}

static tr_uuid add(vault_fixture *f, const tr_uuid *subject, tr_dsr_kind kind, tr_dsr_state state,
                   const tr_uuid *assignee) {
    tr_dsr_case c;
    make(f, subject, kind, &c);
    c.row.state = state;
    c.row.closed_at = state == TR_DSR_FULFILLED || state == TR_DSR_REFUSED ? NOW : 0;
    c.row.has_assignee = assignee != NULL;
    if (assignee)
        c.row.assignee = *assignee;
    store(f, &c);
    tr_uuid id = c.row.id;
    tr_dsr_clear(&c);
    return id;
}

static void test_texts_come_back_and_are_sealed(void **state) {
    vault_fixture *f = *state;
    tr_uuid subject = add_subject(f);
    tr_dsr_case c, back;
    make(f, &subject, TR_DSR_ACCESS, &c);
    store(f, &c);
    assert_null(memmem(c.row.sealed.data, c.row.sealed.len, "Zwicky", 6));
    assert_null(strstr(c.row.doc, "Zwicky"));
    assert_ok(f, tr_dsr_load(f->vault, vault_reader(f), &c.row.id, &back, &f->err));
    assert_string_equal(tr_json_string(back.texts, "details"), "Frau Zwicky möchte");
    assert_int_equal(back.row.due_at, c.row.due_at);
    tr_dsr_clear(&back);
    tr_dsr_clear(&c);
}

/* The sealed texts of one request in the row of another, of the same subject or not. */
static void test_texts_cannot_stand_in_anothers_place(void **state) {
    vault_fixture *f = *state;
    tr_uuid ada = add_subject(f), ben = add_subject(f);
    tr_dsr_case c[3], back;
    const tr_uuid *subjects[3] = {&ada, &ada, &ben};
    for (int i = 0; i < 3; i++) {
        make(f, subjects[i], TR_DSR_ACCESS, &c[i]);
        store(f, &c[i]);
    }
    for (int i = 1; i < 3; i++) {
        tr_dsr row = c[i].row;
        row.sealed = c[0].row.sealed;
        row.version = 2;
        job j = {.row = &row};
        assert_ok(f, run(f, update, &j));
        assert_int_equal(tr_dsr_load(f->vault, vault_reader(f), &row.id, &back, &f->err), TR_E_CORRUPT);
    }
    for (int i = 0; i < 3; i++)
        tr_dsr_clear(&c[i]);
}

static void test_texts_go_with_the_key(void **state) {
    vault_fixture *f = *state;
    tr_uuid subject = add_subject(f);
    tr_dsr_case c;
    tr_uuid id = add(f, &subject, TR_DSR_ACCESS, TR_DSR_RECEIVED, NULL);
    job j = {.id = subject};
    assert_ok(f, run(f, delete_subject, &j));
    tr_datakey_forget(f->vault, &subject);
    assert_ok(f, tr_dsr_load(f->vault, vault_reader(f), &id, &c, &f->err));
    assert_null(c.texts);
    assert_non_null(tr_json_string(c.doc, "filed_by"));
    assert_int_equal(tr_dsr_set_text(&c, "note", "x", &f->err), TR_E_CONFLICT);
    assert_ok(f, tr_dsr_set_count(&c, "records", 7, &f->err));
    assert_ok(f, tr_dsr_set_count(&c, "records", 8, &f->err)); /* a job may run twice */
    assert_ok(f, tr_dsr_seal(f->vault, vault_reader(f), &c, &f->err));
    assert_int_equal(c.row.sealed.len, 0);
    assert_non_null(strstr(c.row.doc, "\"result\":{\"records\":8}"));
    tr_dsr_clear(&c);
    assert_int_equal(tr_dsr_load(f->vault, vault_reader(f), &subject, &c, &f->err), TR_E_NOT_FOUND);
}

static void test_steps_are_read_back(void **state) {
    vault_fixture *f = *state;
    tr_uuid subject = add_subject(f), by = tr_uuid_new();
    tr_dsr_case c;
    make(f, &subject, TR_DSR_ACCESS, &c);
    assert_int_equal(tr_dsr_step_time(&c, "verification", "at"), 0);
    assert_ok(f, tr_dsr_set_verified(&c, NOW + 5, &by, "other", &f->err));
    assert_int_equal(tr_dsr_step_time(&c, "verification", "at"), NOW + 5);
    assert_int_equal(tr_dsr_set_verified(&c, NOW + 6, &by, "other", &f->err), TR_E_CONFLICT);
    assert_non_null(strstr(f->err.what, "verified"));
    assert_int_equal(tr_dsr_step_time(&c, "verification", "at"), NOW + 5);
    tr_dsr_touch(&c, TR_DSR_REFUSED, NOW + 7);
    assert_int_equal(c.row.closed_at, NOW + 7);
    assert_int_equal(c.row.version, 2);
    tr_dsr_clear(&c);
}

static void test_a_state_changes_only_from_where_it_may(void **state) {
    vault_fixture *f = *state;
    const tr_dsr_kind erasure = TR_DSR_ERASURE, access = TR_DSR_ACCESS;
    tr_uuid subject = add_subject(f), other = tr_uuid_new();
    tr_uuid id = add(f, &subject, erasure, TR_DSR_RECEIVED, NULL);
    tr_dsr_case c;
    job j = {
        .id = id, .of = &subject, .kind = &erasure, .from = TR_DSR_ARE_VERIFIED, .to = TR_DSR_FULFILLING};
    assert_int_equal(run(f, change_state, &j), TR_E_CONFLICT);
    assert_non_null(strstr(f->err.what, "received"));
    j.from |= TR_DSR_IS(TR_DSR_RECEIVED);
    j.of = &other;
    assert_int_equal(run(f, change_state, &j), TR_E_NOT_FOUND);
    j.of = &subject;
    j.kind = &access;
    assert_int_equal(run(f, change_state, &j), TR_E_NOT_FOUND);
    j.kind = &erasure;
    assert_ok(f, run(f, change_state, &j));
    assert_int_equal(run(f, change_state, &j), TR_E_CONFLICT);
    assert_ok(f, tr_dsr_load(f->vault, vault_reader(f), &id, &c, &f->err));
    assert_int_equal(c.row.state, TR_DSR_FULFILLING);
    assert_int_equal(c.row.version, 2);
    assert_int_equal(c.row.closed_at, 0);
    assert_non_null(c.texts); /* untouched */
    tr_dsr_clear(&c);
}

static void test_who_may_see_data(void **state) {
    vault_fixture *f = *state;
    tr_uuid ada = add_subject(f), ben = add_subject(f), officer = tr_uuid_new(), colleague = tr_uuid_new(),
            id;
    tr_db *db = vault_reader(f);
    const struct {
        const tr_uuid *subject, *assignee;
        tr_dsr_state state;
    } not_enough[] = {{&ada, NULL, TR_DSR_VERIFIED},       {&ada, &officer, TR_DSR_RECEIVED},
                      {&ada, &officer, TR_DSR_FULFILLING}, {&ada, &officer, TR_DSR_FULFILLED},
                      {&ada, &officer, TR_DSR_REFUSED},    {&ada, &colleague, TR_DSR_VERIFIED},
                      {&ben, &officer, TR_DSR_VERIFIED}};
    for (size_t i = 0; i < sizeof not_enough / sizeof *not_enough; i++)
        add(f, not_enough[i].subject, TR_DSR_RECTIFICATION, not_enough[i].state, not_enough[i].assignee);
    assert_int_equal(tr_dsr_warrant(db, &ada, &officer, TR_DSR_KINDS_ALL, &id, &f->err), TR_E_NOT_FOUND);
    tr_uuid access = add(f, &ada, TR_DSR_ACCESS, TR_DSR_EXTENDED, &officer);
    assert_ok(f, tr_dsr_warrant(db, &ada, &officer, TR_DSR_KINDS_ALL, &id, &f->err));
    assert_true(tr_uuid_equal(&id, &access));
    assert_int_equal(tr_dsr_warrant(db, &ada, &officer, 1u << TR_DSR_RECTIFICATION, &id, &f->err),
                     TR_E_NOT_FOUND);
    tr_uuid rectification = add(f, &ada, TR_DSR_RECTIFICATION, TR_DSR_VERIFIED, &officer);
    assert_ok(f, tr_dsr_warrant(db, &ada, &officer, 1u << TR_DSR_RECTIFICATION, &id, &f->err));
    assert_true(tr_uuid_equal(&id, &rectification));
}

static void test_filing_is_limited_and_needs_a_subject(void **state) {
    vault_fixture *f = *state;
    tr_uuid subject = add_subject(f), nobody = tr_uuid_new();
    tr_dsr_case c;
    for (int i = 0; i < TR_DSR_OPEN_MAX; i++)
        add(f, &subject, TR_DSR_ACCESS, TR_DSR_RECEIVED, NULL);
    make(f, &subject, TR_DSR_ACCESS, &c);
    job j = {.row = &c.row};
    assert_int_equal(run(f, file, &j), TR_E_CONFLICT);
    c.row.subject = nobody;
    assert_int_equal(run(f, file, &j), TR_E_NOT_FOUND);
    tr_dsr_clear(&c);
}

static void test_names(void **state) {
    tr_dsr_kind kind;
    (void)state;
    for (int i = 0; i < TR_DSR_KIND_COUNT; i++)
        assert_true(tr_dsr_kind_parse(tr_dsr_kind_name((tr_dsr_kind)i), &kind) && (int)kind == i);
    assert_false(tr_dsr_kind_parse("deletion", &kind));
    assert_string_equal(tr_dsr_kind_name(TR_DSR_KIND_COUNT), "unknown");
    assert_string_equal(tr_dsr_state_name(TR_DSR_STATE_COUNT), "unknown");
}

#define VAULT_TEST(name) cmocka_unit_test_setup_teardown(name, vault_up, vault_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        VAULT_TEST(test_texts_come_back_and_are_sealed),
        VAULT_TEST(test_texts_cannot_stand_in_anothers_place),
        VAULT_TEST(test_texts_go_with_the_key),
        VAULT_TEST(test_steps_are_read_back),
        VAULT_TEST(test_a_state_changes_only_from_where_it_may),
        VAULT_TEST(test_who_may_see_data),
        VAULT_TEST(test_filing_is_limited_and_needs_a_subject),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
