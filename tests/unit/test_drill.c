/* What a drill finds in a backup whose files are all as they were written: faults that were in the vault
 * itself. */
#include "test_vault_fixture.h"

#include <sys/stat.h>

#include "vault/datakeys.h"
#include "vault/drill.h"
#include "vault/records.h"
#include "vault/snapshot_unpack.h"
#include "vault/snapshots_internal.h"
#include "vault/types.h"

/* ---- a backup ---- */

static int up(void **state) {
    if (vault_up(state) != 0)
        return -1;
    vault_fixture *f = *state;
    (void)snprintf(f->config.backup_dir, sizeof f->config.backup_dir, "%.400s.backup", f->config.data);
    return mkdir(f->config.backup_dir, 0700);
}

static int down(void **state) {
    vault_fixture *f = *state;
    char path[600];
    (void)snprintf(path, sizeof path, "%s/" TR_TARGET_SNAPSHOTS, f->config.backup_dir);
    (void)tr_scratch_remove(path, NULL);
    (void)tr_scratch_remove(f->config.backup_dir, NULL);
    return vault_down(state);
}

struct person {
    vault_fixture *f;
    tr_uuid id;
    tr_buf wrapped;
    uint32_t master;
    tr_draft draft;
};

static tr_status add_job(void *context, tr_db *tx, tr_error *err) {
    struct person *p = context;
    const tr_subject_row subject = {.id = p->id, .created_at = 1};
    tr_status st = tr_subject_insert(tx, &subject, err);
    if (st == TR_OK)
        st = tr_datakey_insert(p->f->vault, tx, &p->id, p->master,
                               (tr_bytes){p->wrapped.data, p->wrapped.len}, err);
    return st == TR_OK ? tr_draft_insert(tx, &p->draft, err) : st;
}

static tr_status type_job(void *context, tr_db *tx, tr_error *err) {
    const tr_type type = {.name = "t", .version = 1, .schema = "{\"type\":\"object\"}"};
    (void)context;
    return tr_type_put(tx, &type, err);
}

static void add_person(vault_fixture *f, tr_rectype *type) {
    struct person p = {.f = f, .id = tr_uuid_new(), .wrapped = TR_BUF_INIT};
    tr_secret key = TR_SECRET_INIT;
    cJSON *data = cJSON_CreateObject();
    assert_ok(f, tr_datakey_make(f->vault, &key, &p.wrapped, &p.master, &f->err));
    p.draft.row = (tr_record){.id = tr_uuid_new(), .subject = p.id, .version = 1, .created_at = 1};
    assert_ok(f, tr_draft_make(f->vault, &key, type, data, &p.draft, NULL, &f->err));
    assert_ok(f, tr_store_write(f->vault->store, add_job, &p, &f->err));
    cJSON_Delete(data);
    tr_draft_clear(&p.draft);
    tr_buf_clear(&p.wrapped);
    tr_secret_clear(&key);
}

#define PERSONS 3

/* Three persons with a record each, then what the SQL does to them behind the vault's back, then a snapshot.
 */
static void back_up(vault_fixture *f, tr_db_kind kind, const char *sql) {
    const tr_uuid id = tr_uuid_new();
    tr_rectype *type = NULL;
    assert_ok(f, tr_store_write(f->vault->store, type_job, NULL, &f->err));
    assert_ok(f, tr_types_load(f->vault, vault_reader(f), "t", &type, &f->err));
    for (int i = 0; i < PERSONS; i++)
        add_person(f, type);
    tr_rectype_unref(type);
    if (sql) {
        vault_close(f);
        raw_exec(f, kind, sql);
        vault_open(f);
    }
    assert_ok(f, tr_snapshots_make(f->vault, TR_WANT_FULL, &id, &f->err));
}

static bool scratch_is_there(const vault_fixture *f) {
    char path[600];
    (void)snprintf(path, sizeof path, "%s/" TR_DRILL_SCRATCH, f->config.data);
    return access(path, F_OK) == 0;
}

static void expect_failure(vault_fixture *f, const char *step, const char *words) {
    tr_drill result;
    tr_error err = {0};
    assert_int_equal(tr_snapshots_drill(f->vault, &err), TR_E_CORRUPT);
    assert_true(tr_drill_last(f->vault, &result));
    assert_false(result.ok);
    assert_string_equal(result.step, step);
    assert_string_equal(result.problem, "storage-corrupt");
    assert_string_equal(result.reason, err.what);
    if (!strstr(result.reason, words))
        fail_msg("%s does not say: %s", result.reason, words);
    assert_false(scratch_is_there(f));
}

/* ---- the tests ---- */

static void test_good_and_stopped(void **state) {
    vault_fixture *f = *state;
    tr_snapshot_work work = {.task = TR_SNAPSHOT_DRILL, .begun_at = 1};
    tr_drill result, after;
    assert_false(tr_drill_last(f->vault, &result));
    back_up(f, TR_DB_VAULT, NULL);
    assert_ok(f, tr_snapshots_drill(f->vault, &f->err));
    assert_true(tr_drill_last(f->vault, &result));
    assert_true(result.ok && result.counted);
    assert_int_equal(result.counts.subjects, PERSONS);
    assert_int_equal(result.opened, PERSONS);
    assert_false(scratch_is_there(f));
    tr_snapshots_end(f->vault); /* one that is stopped says nothing of the backup: nothing is kept of it */
    assert_int_equal(tr_drill_run(f->vault, &work, NULL), TR_E_DRAINING);
    assert_true(tr_drill_last(f->vault, &after) && after.ok && after.begun_at == result.begun_at);
    assert_false(scratch_is_there(f));
}

static void test_persons_whose_keys_are_lost(void **state) {
    back_up(*state, TR_DB_KEYS, "DELETE FROM subject_keys");
    expect_failure(*state, "ledger", "3 persons have no data key");
}

static void test_an_erased_person_with_a_key(void **state) {
    back_up(*state, TR_DB_KEYS,
            "INSERT INTO erasure_ledger (subject, request, at) SELECT subject, zeroblob(16), 1"
            " FROM subject_keys LIMIT 1");
    expect_failure(*state, "ledger", "came back");
}

static void test_a_key_that_opens_another_persons_data(void **state) {
    back_up(*state, TR_DB_KEYS, "UPDATE subject_keys SET wrapped = (SELECT max(wrapped) FROM subject_keys)");
    expect_failure(*state, "payloads", "does not open");
}

static void test_a_row_that_belongs_to_nobody(void **state) {
    back_up(*state, TR_DB_VAULT,
            "PRAGMA foreign_keys = OFF; DELETE FROM subjects WHERE id = (SELECT min(id) FROM subjects)");
    expect_failure(*state, "integrity", "");
}

static void test_an_altered_entry(void **state) {
    back_up(*state, TR_DB_AUDIT,
            "DROP TRIGGER entries_no_update; UPDATE entries SET at = at + 1 WHERE seq = 1");
    expect_failure(*state, "audit", "entry 1 was altered");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_good_and_stopped, up, down),
        cmocka_unit_test_setup_teardown(test_persons_whose_keys_are_lost, up, down),
        cmocka_unit_test_setup_teardown(test_an_erased_person_with_a_key, up, down),
        cmocka_unit_test_setup_teardown(test_a_key_that_opens_another_persons_data, up, down),
        cmocka_unit_test_setup_teardown(test_a_row_that_belongs_to_nobody, up, down),
        cmocka_unit_test_setup_teardown(test_an_altered_entry, up, down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
