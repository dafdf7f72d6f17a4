/* Rotation of the master key inside a vault: its schedule, its batches, its crashes, its retirement. */
#include "test_vault_fixture.h"
#include "vault/datakeys.h"
#include "vault/keys.h"
#include "vault/keys_internal.h"

#define DAY_MS INT64_C(86400000)
#define KEYS   250
#define OWN    5 /* the vault's own */

typedef vault_fixture fixture;

static tr_uuid subjects[KEYS];
static tr_secret plain[KEYS];

static int down(void **state) {
    for (int i = 0; i < KEYS; i++)
        tr_secret_clear(&plain[i]);
    return vault_down(state);
}

/* Until there is nothing to do at once. */
static void sweep(fixture *f) {
    bool more = true;
    while (more)
        assert_ok(f, tr_vault_sweep(f->vault, &more, &f->err));
}

struct insert {
    tr_vault *vault;
    tr_uuid subject;
    uint32_t master;
    tr_buf wrapped;
    bool unchecked; /* by any version */
};

static tr_status insert_job(void *context, tr_db *tx, tr_error *err) {
    struct insert *i = context;
    tr_bytes wrapped = {i->wrapped.data, i->wrapped.len};
    return i->unchecked ? tr_key_insert(tx, &i->subject, i->master, wrapped, err)
                        : tr_datakey_insert(i->vault, tx, &i->subject, i->master, wrapped, err);
}

static tr_status insert_all_job(void *context, tr_db *tx, tr_error *err) {
    tr_status st = TR_OK;
    for (int n = 0; st == TR_OK && n < KEYS; n++)
        st = insert_job((struct insert *)context + n, tx, err);
    return st;
}

static void add_keys(fixture *f) {
    struct insert *all = calloc(KEYS, sizeof *all);
    assert_non_null(all);
    for (int n = 0; n < KEYS; n++) {
        subjects[n] = tr_uuid_new();
        all[n] = (struct insert){.vault = f->vault, .subject = subjects[n]};
        assert_ok(f, tr_datakey_make(f->vault, &plain[n], &all[n].wrapped, &all[n].master, &f->err));
    }
    assert_ok(f, tr_store_write(f->vault->store, insert_all_job, all, &f->err));
    for (int n = 0; n < KEYS; n++)
        tr_buf_clear(&all[n].wrapped);
    free(all);
}

/* A row that no master key opens. */
static tr_uuid add_row(fixture *f, uint32_t master) {
    struct insert i = {.vault = f->vault, .subject = tr_uuid_new(), .master = master, .unchecked = true};
    tr_buf_puts(&i.wrapped, "0123456789012345678901234567890123456789");
    assert_ok(f, tr_store_write(f->vault->store, insert_job, &i, &f->err));
    tr_buf_clear(&i.wrapped);
    return i.subject;
}

static void assert_keys_open(fixture *f) {
    tr_secret key = TR_SECRET_INIT;
    for (int n = 0; n < KEYS; n++) {
        assert_ok(f, tr_datakey_get(f->vault, vault_reader(f), &subjects[n], &key, &f->err));
        assert_int_equal(key.len, plain[n].len);
        assert_memory_equal(key.data, plain[n].data, key.len);
    }
    tr_secret_clear(&key);
}

static int64_t wrapped_by(fixture *f, uint32_t version) {
    tr_master_use *items = NULL;
    size_t count = 0;
    int64_t found = -1;
    assert_ok(f, tr_keys_list(f->vault, vault_reader(f), &items, &count, &f->err));
    for (size_t i = 0; i < count; i++)
        found = items[i].version == version ? items[i].data_keys : found;
    free(items);
    return found;
}

/* ---- the audit log ---- */

struct search {
    const char *action;
    char text[1024]; /* the entries with it, without their time */
};

static tr_status collect(void *context, const tr_audit_row *row, tr_error *err) {
    struct search *s = context;
    char entry[512], quoted[64];
    (void)err;
    (void)snprintf(entry, sizeof entry, "%.*s", (int)row->entry.len, (const char *)row->entry.data);
    (void)snprintf(quoted, sizeof quoted, "\"action\":\"%s\"", s->action);
    const char *found = strstr(entry, quoted);
    size_t used = strlen(s->text);
    if (found)
        (void)snprintf(s->text + used, sizeof s->text - used, "{%s", found);
    return TR_OK;
}

static void assert_logged(fixture *f, const char *action, const char *want) {
    struct search s = {.action = action};
    assert_ok(f, tr_audit_list(vault_reader(f), NULL, 0, false, 1000, collect, &s, &f->err));
    assert_string_equal(s.text, want);
}

static tr_status note_job(void *context, tr_db *tx, tr_error *err) {
    return tr_keys_note(tx, *(uint32_t *)context, err);
}

/* As the route does it. */
static uint32_t rotate(fixture *f) {
    uint32_t version = 0;
    tr_keys_lock(f->vault);
    assert_ok(f, tr_keys_rotate(f->vault, &version, &f->err));
    assert_ok(f, tr_store_write(f->vault->store, note_job, &version, &f->err));
    tr_keys_unlock(f->vault);
    return version;
}

static tr_status retire(fixture *f, uint32_t version) {
    const tr_event event = {.at = tr_now_ms(), .action = "keys.retire", .outcome = TR_OK};
    tr_keys_lock(f->vault);
    tr_status st = tr_keys_retire(f->vault, version, &event, &f->err);
    tr_keys_unlock(f->vault);
    return st;
}

/* ---- tests ---- */

static void test_rotates_when_it_is_time(void **state) {
    fixture *f = *state;
    int64_t made = tr_now_ms();
    sweep(f);
    tr_clock_set_for_test(made + 89 * DAY_MS);
    sweep(f);
    assert_int_equal(tr_keyring_current(f->vault->ring), 1);
    assert_logged(f, "keys.rotate", "");
    tr_clock_set_for_test(made + 91 * DAY_MS);
    sweep(f);
    sweep(f);
    assert_int_equal(tr_keyring_current(f->vault->ring), 2);
    assert_int_equal(wrapped_by(f, 1), 0);
    assert_int_equal(wrapped_by(f, 2), OWN);
    assert_logged(f, "keys.rotate",
                  "{\"action\":\"keys.rotate\",\"outcome\":\"ok\",\"detail\":\"scheduled\"}");
    assert_logged(f, "keys.rewrapped",
                  "{\"action\":\"keys.rewrapped\",\"outcome\":\"ok\",\"detail\":\"version 2\"}");
    vault_reopen(f);
    sweep(f);
    assert_int_equal(tr_keyring_current(f->vault->ring), 2);
    assert_logged(f, "keys.rewrapped",
                  "{\"action\":\"keys.rewrapped\",\"outcome\":\"ok\",\"detail\":\"version 2\"}");
}

static void test_never_when_set_so(void **state) {
    fixture *f = *state;
    f->config.key_rotation = 0;
    tr_clock_set_for_test(tr_now_ms() + 36500 * DAY_MS);
    sweep(f);
    assert_int_equal(tr_keyring_current(f->vault->ring), 1);
}

static void test_batches_go_on_after_a_crash(void **state) {
    fixture *f = *state;
    bool done = false;
    add_keys(f);
    assert_int_equal(rotate(f), 2);
    assert_true(tr_keys_rewrapping(f->vault));
    assert_ok(f, tr_keys_rewrap_some(f->vault, 100, &done, &f->err));
    assert_false(done);
    assert_int_equal(wrapped_by(f, 2), 100 + OWN);
    assert_keys_open(f);
    vault_reopen(f); /* nothing but the rows says how far it was */
    assert_keys_open(f);
    for (int i = 0; i < 10 && !done; i++)
        assert_ok(f, tr_keys_rewrap_some(f->vault, 100, &done, &f->err));
    assert_true(done);
    assert_false(tr_keys_rewrapping(f->vault));
    assert_int_equal(wrapped_by(f, 1), 0);
    assert_int_equal(wrapped_by(f, 2), KEYS + OWN);
    vault_reopen(f);
    assert_keys_open(f);
}

static void test_a_rotation_in_the_middle_of_another(void **state) {
    fixture *f = *state;
    bool done = false;
    add_keys(f);
    rotate(f);
    assert_ok(f, tr_keys_rewrap_some(f->vault, 100, &done, &f->err));
    assert_int_equal(rotate(f), 3);
    sweep(f);
    assert_int_equal(wrapped_by(f, 3), KEYS + OWN);
    assert_int_equal(wrapped_by(f, 1) + wrapped_by(f, 2), 0);
    vault_reopen(f);
    assert_keys_open(f);
}

static void test_a_version_is_destroyed_only_when_nothing_uses_it(void **state) {
    fixture *f = *state;
    add_keys(f);
    assert_int_equal(retire(f, 1), TR_E_CONFLICT); /* current */
    rotate(f);
    assert_int_equal(retire(f, 1), TR_E_CONFLICT); /* wraps data keys */
    assert_logged(f, "keys.retire", "");
    sweep(f);
    assert_int_equal(retire(f, 1), TR_OK);
    assert_logged(f, "keys.retire", "{\"action\":\"keys.retire\",\"outcome\":\"ok\"}");
    assert_int_equal(retire(f, 1), TR_E_NOT_FOUND);
    assert_int_equal(retire(f, 7), TR_E_NOT_FOUND);
    vault_reopen(f);
    assert_int_equal(wrapped_by(f, 1), -1);
    assert_keys_open(f);
}

static void test_an_old_version_gets_no_new_keys(void **state) {
    fixture *f = *state;
    struct insert i = {.vault = f->vault, .subject = tr_uuid_new()};
    assert_ok(f, tr_datakey_make(f->vault, &plain[0], &i.wrapped, &i.master, &f->err));
    rotate(f);
    assert_true(tr_datakey_stale(f->vault, i.master));
    assert_int_equal(tr_store_write(f->vault->store, insert_job, &i, &f->err), TR_E_PRECONDITION);
    assert_int_equal(wrapped_by(f, 1), OWN);
    tr_buf_clear(&i.wrapped);
}

static void test_a_key_that_does_not_open_holds_up_no_other(void **state) {
    fixture *f = *state;
    bool more = true;
    add_row(f, 1);
    add_keys(f);
    rotate(f);
    sweep(f); /* comes to an end */
    assert_int_equal(wrapped_by(f, 1), 1);
    assert_int_equal(wrapped_by(f, 2), KEYS + OWN);
    assert_true(tr_keys_rewrapping(f->vault));
    assert_ok(f, tr_vault_sweep(f->vault, &more, &f->err));
    assert_false(more);
    assert_int_equal(retire(f, 1), TR_E_CONFLICT);
    assert_logged(f, "keys.rewrapped", "");
    assert_keys_open(f);
}

static void test_a_key_of_a_missing_version_is_no_missing_key(void **state) {
    fixture *f = *state;
    tr_secret key = TR_SECRET_INIT;
    tr_uuid subject = add_row(f, 99), nobody = tr_uuid_new();
    assert_int_equal(tr_datakey_get(f->vault, vault_reader(f), &subject, &key, &f->err), TR_E_CORRUPT);
    assert_int_equal(tr_datakey_get(f->vault, vault_reader(f), &nobody, &key, &f->err), TR_E_NOT_FOUND);
}

/* The keyring was saved, and then the process died before the entry was durable. */
static void test_a_rotation_without_its_entry(void **state) {
    fixture *f = *state;
    uint32_t version = 0;
    int64_t now = tr_now_ms();
    assert_ok(f, tr_keyring_rotate(f->vault->ring, &version, &f->err));
    assert_int_equal(version, 2);
    vault_reopen(f);
    sweep(f);
    assert_logged(f, "keys.rotate", ""); /* whoever asked for it may ask again */
    assert_int_equal(rotate(f), 2);
    assert_int_equal(rotate(f), 3);
    assert_ok(f, tr_keyring_rotate(f->vault->ring, &version, &f->err));
    vault_reopen(f);
    tr_clock_set_for_test(now + f->config.token_recovery_ms + 60000);
    sweep(f);
    sweep(f);
    assert_logged(
        f, "keys.rotate",
        "{\"action\":\"keys.rotate\",\"outcome\":\"ok\",\"detail\":\"found: its request was cut off\"}");
    assert_int_equal(tr_keyring_current(f->vault->ring), 4);
    assert_int_equal(wrapped_by(f, 4), OWN);
}

static void test_a_sweep_ends_when_it_is_told(void **state) {
    fixture *f = *state;
    bool more = true;
    add_keys(f);
    rotate(f);
    tr_vault_end_sweep(f->vault);
    assert_ok(f, tr_vault_sweep(f->vault, &more, &f->err));
    assert_false(more);
    assert_true(wrapped_by(f, 1) > 0);
}

#define VAULT_TEST(name) cmocka_unit_test_setup_teardown(name, vault_up, down)

int main(void) {
    const struct CMUnitTest tests[] = {
        VAULT_TEST(test_rotates_when_it_is_time),
        VAULT_TEST(test_never_when_set_so),
        VAULT_TEST(test_batches_go_on_after_a_crash),
        VAULT_TEST(test_a_rotation_in_the_middle_of_another),
        VAULT_TEST(test_a_version_is_destroyed_only_when_nothing_uses_it),
        VAULT_TEST(test_an_old_version_gets_no_new_keys),
        VAULT_TEST(test_a_key_that_does_not_open_holds_up_no_other),
        VAULT_TEST(test_a_key_of_a_missing_version_is_no_missing_key),
        VAULT_TEST(test_a_rotation_without_its_entry),
        VAULT_TEST(test_a_sweep_ends_when_it_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
