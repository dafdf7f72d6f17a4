/* The principals of data subjects: found by their uid, told by no copy of vault.db once the data key is gone.
 */
#include "test_vault_fixture.h"

#include "base/encode.h"
#include "vault/datakeys.h"
#include "vault/principals.h"

#define OLD 450 /* more than two batches */

/* ---- rows ---- */

struct subject {
    tr_vault *vault;
    tr_uuid id;
    uint32_t master;
    tr_buf wrapped;
};

static tr_status subject_job(void *context, tr_db *tx, tr_error *err) {
    struct subject *s = context;
    tr_subject_row row = {.id = s->id, .created_by = s->id, .created_at = tr_now_ms()};
    tr_status st = tr_subject_insert(tx, &row, err);
    return st == TR_OK ? tr_datakey_insert(s->vault, tx, &s->id, s->master,
                                           (tr_bytes){s->wrapped.data, s->wrapped.len}, err)
                       : st;
}

static tr_uuid make_subject(vault_fixture *f) {
    struct subject s = {.vault = f->vault, .id = tr_uuid_new()};
    tr_secret key = TR_SECRET_INIT;
    assert_ok(f, tr_datakey_make(f->vault, &key, &s.wrapped, &s.master, &f->err));
    assert_ok(f, tr_store_write(f->vault->store, subject_job, &s, &f->err));
    tr_secret_clear(&key);
    tr_buf_clear(&s.wrapped);
    return s.id;
}

/* A principal without the time that a password's hash takes. */
static void fill(tr_principal_copy *plain, tr_role role, const char *uid, const char *name,
                 const tr_uuid *subject) {
    tr_principal row = {.id = tr_uuid_new(),
                        .uid = uid,
                        .name = name,
                        .role = role,
                        .has_subject = subject != NULL,
                        .password = "none",
                        .created_at = 1,
                        .updated_at = 2,
                        .version = 1};
    if (subject)
        row.subject = *subject;
    assert_int_equal(tr_principal_keep(plain, &row, NULL), TR_OK);
}

struct rows {
    tr_vault *vault;
    tr_principal_copy plain, stored;
};

static tr_status add_job(void *context, tr_db *tx, tr_error *err) {
    struct rows *r = context;
    return tr_principal_add(r->vault, tx, &r->plain, &r->stored, err);
}

static tr_status update_job(void *context, tr_db *tx, tr_error *err) {
    return tr_principal_update(tx, &((struct rows *)context)->stored.row, err);
}

static tr_status insert_plain_job(void *context, tr_db *tx, tr_error *err) {
    return tr_principal_insert(tx, &((struct rows *)context)->plain.row, err);
}

static tr_status add(vault_fixture *f, struct rows *r, tr_role role, const char *uid, const char *name,
                     const tr_uuid *subject) {
    r->vault = f->vault;
    fill(&r->plain, role, uid, name, subject);
    assert_ok(f, tr_principal_seal(f->vault, vault_reader(f), &r->plain, &r->stored, &f->err));
    return tr_store_write(f->vault->store, add_job, r, &f->err);
}

static tr_status find(vault_fixture *f, const char *uid, tr_principal_copy *copy) {
    memset(copy, 0, sizeof *copy);
    return tr_principal_find(f->vault, vault_reader(f), uid, copy, &f->err);
}

/* ---- tests ---- */

static void test_stored_and_opened(void **state) {
    vault_fixture *f = *state;
    static const char name[] = "Ada \"Z\xc3\xbcrich\" Lovelace \\ / \xf0\x9f\x94\x91";
    tr_uuid subject = make_subject(f);
    struct rows r;
    tr_principal_copy copy;
    assert_ok(f, add(f, &r, TR_SUBJECT, "Ada.Lovelace@Example.org", name, &subject));

    assert_ok(f, tr_principal_get(vault_reader(f), &r.plain.row.id, tr_principal_keep, &copy, &f->err));
    assert_true(tr_principal_uid_sealed(copy.uid));
    assert_null(strcasestr(copy.uid, "ada"));
    assert_null(strcasestr(copy.name, "lovelace"));

    assert_ok(f, tr_principal_load(f->vault, vault_reader(f), &r.plain.row.id, &copy, &f->err));
    assert_string_equal(copy.uid, "Ada.Lovelace@Example.org"); /* as it was given */
    assert_string_equal(copy.row.uid, copy.uid);
    assert_string_equal(copy.row.name, name);
    assert_true(tr_uuid_equal(&copy.row.subject, &subject));

    static const char *const ways[] = {"Ada.Lovelace@Example.org", "ada.lovelace@example.org",
                                       "ADA.LOVELACE@EXAMPLE.ORG"};
    for (size_t i = 0; i < 3; i++) {
        assert_ok(f, find(f, ways[i], &copy));
        assert_true(tr_uuid_equal(&copy.row.id, &r.plain.row.id));
        assert_true(tr_principal_uid_sealed(copy.uid)); /* nothing was opened */
    }
    assert_int_equal(find(f, "ada.lovelace@example.or", &copy), TR_E_NOT_FOUND);
    assert_int_equal(find(f, "ada.lovelace@example.orgg", &copy), TR_E_NOT_FOUND);
    /* What the row holds is no uid. */
    assert_int_equal(find(f, r.stored.uid, &copy), TR_E_NOT_FOUND);

    vault_close(f);
    assert_int_equal(raw_count(f, TR_DB_VAULT, "ada.lovelace"), 0);
    assert_int_equal(raw_count(f, TR_DB_VAULT, "Lovelace \\"), 0);
    assert_true(raw_count(f, TR_DB_VAULT, "officer") >
                0); /* the others are in the clear, and would be found */
    vault_open(f);
}

static void test_longest(void **state) {
    vault_fixture *f = *state;
    char uid[TR_UID_MAX + 1], name[TR_NAME_MAX * 4 + 1];
    tr_uuid subject = make_subject(f);
    struct rows r;
    tr_principal_copy copy;
    memset(uid, '"', sizeof uid - 1);
    uid[sizeof uid - 1] = '\0';
    for (size_t i = 0; i + 4 < sizeof name; i += 4)
        memcpy(name + i, "\xf0\x9f\x94\x91", 4);
    name[sizeof name - 1] = '\0';
    assert_ok(f, add(f, &r, TR_SUBJECT, uid, name, &subject));
    assert_ok(f, tr_principal_load(f->vault, vault_reader(f), &r.plain.row.id, &copy, &f->err));
    assert_string_equal(copy.uid, uid);
    assert_string_equal(copy.name, name);
    assert_ok(f, find(f, uid, &copy));
}

/* A uid is one person's, whatever form its row has. */
static void test_unique(void **state) {
    vault_fixture *f = *state;
    tr_uuid subject = make_subject(f), other = make_subject(f);
    struct rows r;
    assert_ok(f, add(f, &r, TR_SUBJECT, "ada@example.org", "", &subject));
    assert_int_equal(add(f, &r, TR_SUBJECT, "ADA@example.org", "", &other), TR_E_CONFLICT);
    assert_int_equal(add(f, &r, TR_SERVICE, "Ada@Example.org", "", NULL), TR_E_CONFLICT);
    assert_int_equal(add(f, &r, TR_OFFICER, "ada@example.org", "", NULL), TR_E_CONFLICT);
    assert_ok(f, add(f, &r, TR_SERVICE, "clinic@example.org", "", NULL));
    assert_string_equal(r.stored.uid, "clinic@example.org");
    assert_int_equal(add(f, &r, TR_SUBJECT, "Clinic@Example.org", "", &other), TR_E_CONFLICT);
    assert_int_equal(add(f, &r, TR_SUBJECT, "officer", "", &other), TR_E_CONFLICT); /* init's */
    assert_ok(f, add(f, &r, TR_SUBJECT, "bert@example.org", "", &other));
    tr_uuid nobody = tr_uuid_new();
    fill(&r.plain, TR_SUBJECT, "carl@example.org", "", &nobody);
    assert_int_equal(tr_principal_seal(f->vault, vault_reader(f), &r.plain, &r.stored, &f->err),
                     TR_E_NOT_FOUND);
}

/* Nobody else may take a uid of the stored form: it could stand in a data subject's way, or pass for one. */
static void test_reserved_form(void **state) {
    vault_fixture *f = *state;
    tr_uuid subject = make_subject(f);
    struct rows r;
    tr_principal_copy copy;
    char one_time[32];
    assert_ok(f, add(f, &r, TR_SUBJECT, "ada@example.org", "", &subject));
    assert_int_equal(tr_principal_prepare(TR_SERVICE, r.stored.uid, "", NULL, &copy, one_time, &f->err),
                     TR_E_VALIDATION);
    assert_string_equal(f->err.where, "/uid");
    assert_ok(f, tr_principal_prepare(TR_SERVICE, "s:short", "", NULL, &copy, one_time, &f->err));
}

/* Sealed for this row: not to be moved to another. */
static void test_bound(void **state) {
    vault_fixture *f = *state;
    tr_uuid subjects[2] = {make_subject(f), make_subject(f)};
    struct rows a, b;
    tr_principal_copy copy;
    assert_ok(f, add(f, &a, TR_SUBJECT, "ada@example.org", "Ada", &subjects[0]));
    assert_ok(f, add(f, &b, TR_SUBJECT, "bert@example.org", "Bert", &subjects[1]));
    /* A second way in for the same person: same key, other row. */
    assert_ok(f, add(f, &b, TR_SUBJECT, "ada.two@example.org", "Ada II", &subjects[0]));
    memcpy(b.stored.name, a.stored.name, sizeof b.stored.name);
    b.stored.row.version++;
    assert_ok(f, tr_store_write(f->vault->store, update_job, &b, &f->err));
    assert_int_equal(tr_principal_load(f->vault, vault_reader(f), &b.plain.row.id, &copy, &f->err),
                     TR_E_CORRUPT);
    strcpy(b.stored.name, "not even base64");
    b.stored.row.version++;
    assert_ok(f, tr_store_write(f->vault->store, update_job, &b, &f->err));
    assert_int_equal(tr_principal_load(f->vault, vault_reader(f), &b.plain.row.id, &copy, &f->err),
                     TR_E_CORRUPT);
    assert_ok(f, tr_principal_load(f->vault, vault_reader(f), &a.plain.row.id, &copy, &f->err));
}

/* Whoever has an old vault.db, today's keyring and today's keys.db. */
static void test_without_the_key(void **state) {
    vault_fixture *f = *state;
    tr_uuid subject = make_subject(f);
    struct rows r;
    tr_principal_copy copy;
    assert_ok(f, add(f, &r, TR_SUBJECT, "ada.lovelace@example.org", "Ada Lovelace", &subject));
    vault_close(f);
    raw_exec(f, TR_DB_KEYS, "DELETE FROM subject_keys");
    assert_int_equal(raw_count(f, TR_DB_VAULT, "lovelace"), 0);
    vault_open(f);
    assert_ok(f, tr_principal_get(vault_reader(f), &r.plain.row.id, tr_principal_keep, &copy, &f->err));
    assert_int_equal(tr_principal_load(f->vault, vault_reader(f), &r.plain.row.id, &copy, &f->err),
                     TR_E_NOT_FOUND);
}

/* ---- a vault from before ---- */

static tr_status count_row(void *context, const tr_principal *row, tr_error *err) {
    int *counts = context;
    (void)err;
    counts[row->role == TR_SUBJECT]++;
    counts[2] += tr_principal_uid_sealed(row->uid);
    return TR_OK;
}

static void count_rows(vault_fixture *f, int counts[3]) {
    memset(counts, 0, 3 * sizeof *counts);
    assert_ok(f, tr_principal_list(vault_reader(f), NULL, 10000, count_row, counts, &f->err));
}

static void test_older_vault(void **state) {
    vault_fixture *f = *state;
    char uid[64], name[64];
    struct rows r = {.vault = f->vault};
    tr_uuid subjects[2] = {make_subject(f), make_subject(f)};
    tr_principal_copy copy;
    int counts[3];
    for (int i = 0; i < OLD; i++) {
        bool service = i % 9 == 8;
        (void)snprintf(uid, sizeof uid, "%s-%d@example.org", service ? "Clinic" : "Lovelace", i);
        (void)snprintf(name, sizeof name, "%s %d", service ? "Clinic" : "Babbage", i);
        fill(&r.plain, service ? TR_SERVICE : TR_SUBJECT, uid, name, service ? NULL : &subjects[i % 2]);
        assert_ok(f, tr_store_write(f->vault->store, insert_plain_job, &r, &f->err));
    }
    vault_close(f);
    raw_exec(f, TR_DB_VAULT, "DELETE FROM meta WHERE name = 'principals.sealed'");
    assert_true(raw_count(f, TR_DB_VAULT, "lovelace-") >= 400);
    assert_true(raw_count(f, TR_DB_VAULT, "babbage ") >= 400);

    vault_open(f);
    count_rows(f, counts);
    assert_int_equal(counts[0], 3 + 50);
    assert_int_equal(counts[1], OLD - 50);
    assert_int_equal(counts[2], OLD - 50);
    assert_ok(f, find(f, "lovelace-448@example.org", &copy));
    assert_ok(f, tr_principal_open(f->vault, vault_reader(f), &copy, &f->err));
    assert_string_equal(copy.uid, "Lovelace-448@example.org");
    assert_string_equal(copy.name, "Babbage 448");
    assert_int_equal(copy.row.updated_at, 2);
    assert_ok(f, find(f, "clinic-8@example.org", &copy));
    assert_string_equal(copy.uid, "Clinic-8@example.org");
    assert_int_equal(copy.row.version, 1);
    assert_int_equal(add(f, &r, TR_SERVICE, "LOVELACE-0@example.org", "", NULL), TR_E_CONFLICT);

    vault_close(f);
    assert_int_equal(raw_count(f, TR_DB_VAULT, "lovelace-"), 0);
    assert_int_equal(raw_count(f, TR_DB_VAULT, "babbage "), 0);
    assert_true(raw_count(f, TR_DB_VAULT, "clinic-") >= 50);
    vault_open(f);
    assert_ok(f, find(f, "lovelace-0@example.org", &copy));
    assert_int_equal(copy.row.version, 2); /* once */
}

/* Cut off after the first batches: the rest follows at the next opening. */
static void test_older_vault_half_done(void **state) {
    vault_fixture *f = *state;
    tr_uuid subject = make_subject(f);
    struct rows r = {.vault = f->vault};
    tr_principal_copy copy;
    int counts[3];
    assert_ok(f, add(f, &r, TR_SUBJECT, "first@example.org", "First", &subject));
    fill(&r.plain, TR_SUBJECT, "second@example.org", "Second", &subject);
    assert_ok(f, tr_store_write(f->vault->store, insert_plain_job, &r, &f->err));
    assert_ok(f, find(f, "second@example.org", &copy)); /* plain rows are found meanwhile */
    vault_close(f);
    raw_exec(f, TR_DB_VAULT, "DELETE FROM meta WHERE name = 'principals.sealed'");
    vault_open(f);
    count_rows(f, counts);
    assert_int_equal(counts[2], 2);
    assert_ok(f, find(f, "first@example.org", &copy));
    assert_ok(f, tr_principal_open(f->vault, vault_reader(f), &copy, &f->err));
    assert_string_equal(copy.name, "First");
    assert_ok(f, find(f, "second@example.org", &copy));
    assert_ok(f, tr_principal_open(f->vault, vault_reader(f), &copy, &f->err));
    assert_string_equal(copy.name, "Second");
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define VAULT(test) cmocka_unit_test_setup_teardown(test, vault_up, vault_down)
        VAULT(test_stored_and_opened),
        VAULT(test_longest),
        VAULT(test_unique),
        VAULT(test_reserved_form),
        VAULT(test_bound),
        VAULT(test_without_the_key),
        VAULT(test_older_vault),
        VAULT(test_older_vault_half_done),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
