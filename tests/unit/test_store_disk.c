/* Full disks, deletions that are cut off, checkpoints, and what readers see. */
#include "test_store_jobs.h"

#include <signal.h>
#include <sys/resource.h>

/* ---- full disks ---- */

/* What a process may write of one file: the nearest thing to a full disk that needs no disk. */
static void limit_files(rlim_t bytes) {
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes ? bytes : limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

typedef struct load {
    size_t vault, audit;
    const tr_uuid *erase;
    int calls;
} load;

static tr_status load_job(void *context, tr_db *tx, tr_error *err) {
    load *l = context;
    tr_status st = TR_OK;
    char *bytes = malloc(l->vault + l->audit + 1);
    if (!bytes)
        return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    memset(bytes, ' ', l->vault + l->audit + 1);
    l->calls++;
    if (l->erase)
        TR_TRY(tr_subject_delete(tx, l->erase, err));
    if (l->vault)
        TR_TRY(tr_meta_put(tx, "load", (tr_bytes){bytes, l->vault}, err));
    TR_TRY(tr_audit_append(tx, 1, NULL, (tr_bytes){bytes, l->audit + 1}, err));
out:
    free(bytes);
    return st;
}

#define MB ((size_t)1024 * 1024)

/* The log is committed, the vault is not: nothing of the group remains in the vault, and the log says so. */
static void a_full_disk_fails_the_group(void **state) {
    fixture *f = *state;
    gate g;
    task tasks[2];
    step other = {.name = "other"};
    load l = {.vault = 4 * MB};
    tr_store_stats stats;
    gate_shut(&g, f);
    queue_up(f, &tasks[0], step_job, &other, 1);
    queue_up(f, &tasks[1], load_job, &l, 2);
    limit_files(MB);
    gate_open(&g);
    for (int i = 0; i < 2; i++) {
        pthread_join(tasks[i].thread, NULL);
        assert_int_equal(tasks[i].status, TR_E_DISK_FULL);
        assert_string_equal(tasks[i].err.where, "vault.db");
    }
    tr_store_get_stats(f->store, &stats);
    assert_true(stats.failed);
    step next = {.name = "next"};
    assert_ok(f, tr_store_write(f->store, step_job, &next, &f->err)); /* small enough */
    limit_files(0);
    tr_store_get_stats(f->store, &stats);
    assert_false(stats.failed);
    assert_false(fixture_has(f, "other") || fixture_has(f, "load"));
    assert_true(fixture_has(f, "next"));
    assert_int_equal(count_entries(f, "%storage.recovered%entries 1 to 2 %"), 1);
    assert_log_is_good(f, 4);
    assert_ok(f, tr_store_check(f->store, &f->err));
}

/* The page cache spills in the middle of a job: only that job fails. */
static void a_full_disk_in_a_job_fails_the_job(void **state) {
    fixture *f = *state;
    gate g;
    task tasks[3];
    step before = {.name = "before"}, after = {.name = "after"};
    load l = {.vault = 40 * MB};
    gate_shut(&g, f);
    queue_up(f, &tasks[0], step_job, &before, 1);
    queue_up(f, &tasks[1], load_job, &l, 2);
    queue_up(f, &tasks[2], step_job, &after, 3);
    limit_files(MB);
    gate_open(&g);
    for (int i = 0; i < 3; i++)
        pthread_join(tasks[i].thread, NULL);
    limit_files(0);
    assert_int_equal(tasks[1].status, TR_E_DISK_FULL);
    assert_int_equal(l.calls, 1);
    assert_int_equal(tasks[0].status, TR_OK);
    assert_int_equal(tasks[2].status, TR_OK);
    assert_true(fixture_has(f, "before") && fixture_has(f, "after"));
    assert_log_is_good(f, 2);
}

/* The key is gone, but the log could not be written: the deletion is completed by the next group. */
static tr_status subject_job(void *context, tr_db *tx, tr_error *err) {
    tr_subject_row row = {.id = *(tr_uuid *)context};
    tr_status st = tr_subject_insert(tx, &row, err);
    return st == TR_OK ? tr_key_insert(tx, &row.id, 1, text_bytes("k"), err) : st;
}

static void a_deletion_cut_off_is_completed(void **state) {
    fixture *f = *state;
    tr_uuid subject = tr_uuid_new(), other = tr_uuid_new();
    tr_subject_row row;
    load l = {.audit = MB * 3 / 2, .erase = &subject}; /* the writer's page cache holds it until the commit */
    assert_ok(f, tr_store_write(f->store, subject_job, &subject, &f->err));
    assert_ok(f, tr_store_write(f->store, subject_job, &other, &f->err));
    limit_files(MB);
    assert_status(f, tr_store_write(f->store, load_job, &l, &f->err), TR_E_DISK_FULL);
    assert_string_equal(f->err.where, "audit.db");
    limit_files(0);
    assert_ok(f, tr_subject_get(fixture_reader(f), &subject, &row, &f->err));
    fixture_put(f, "next");
    assert_status(f, tr_subject_get(fixture_reader(f), &subject, &row, &f->err), TR_E_NOT_FOUND);
    assert_ok(f, tr_subject_get(fixture_reader(f), &other, &row, &f->err));
    assert_int_equal(count_entries(f, "%storage.recovered%"), 1);
    assert_log_is_good(f, 1);
    fixture_reopen(f);
    assert_int_equal(count_entries(f, "%storage.recovered%"), 1); /* once */
}

/* ---- reading ---- */

static void readers_do_not_write(void **state) {
    fixture *f = *state;
    step s = {.name = "x"};
    assert_status(f, step_job(&s, fixture_reader(f), &f->err), TR_E_INTERNAL);
    assert_status(f, tr_audit_append(fixture_reader(f), 1, NULL, text_bytes("{}"), &f->err), TR_E_INTERNAL);
    assert_status(f, tr_nested(fixture_reader(f), step_job, &s, &f->err), TR_E_INTERNAL);
}

static void a_view_stays_the_same(void **state) {
    fixture *f = *state;
    tr_db *db = fixture_reader(f);
    fixture_put(f, "one");
    assert_ok(f, tr_read_begin(db, &f->err));
    assert_status(f, tr_read_begin(db, &f->err), TR_E_INTERNAL);
    assert_true(fixture_has(f, "one"));
    fixture_put(f, "two");
    assert_false(fixture_has(f, "two"));
    tr_read_end(db);
    assert_true(fixture_has(f, "two"));
    tr_read_end(db); /* no harm */
    assert_ok(f, tr_read_begin(db, &f->err));
    tr_read_end(db);
}

static off_t size_of(fixture *f, const char *name) {
    char path[128];
    struct stat info;
    fixture_path(f, name, path);
    return stat(path, &info) == 0 ? info.st_size : -1;
}

static void a_checkpoint_empties_the_wals(void **state) {
    fixture *f = *state;
    tr_uuid subject = tr_uuid_new();
    step s = {.name = "x"};
    assert_ok(f, tr_store_write(f->store, step_job, &s, &f->err));
    assert_ok(f, tr_store_write(f->store, subject_job, &subject, &f->err));
    assert_true(size_of(f, "vault.db-wal") > 0 && size_of(f, "keys.db-wal") > 0 &&
                size_of(f, "audit.db-wal") > 0);
    assert_true(fixture_has(f, "x"));
    assert_ok(f, tr_store_checkpoint(f->store, &f->err));
    assert_true(size_of(f, "vault.db-wal") == 0 && size_of(f, "keys.db-wal") == 0 &&
                size_of(f, "audit.db-wal") == 0);
    assert_true(fixture_has(f, "x"));
    assert_ok(f, tr_read_begin(fixture_reader(f), &f->err));
    assert_true(fixture_has(f, "x"));
    fixture_put(f, "y");
    assert_status(f, tr_store_checkpoint(f->store, &f->err), TR_E_BUSY);
    assert_string_equal(f->err.where, "vault.db");
    tr_read_end(fixture_reader(f));
    assert_ok(f, tr_store_checkpoint(f->store, &f->err));
    assert_true(fixture_has(f, "y"));
}

/* A WAL is begun anew while writes go on: it does not grow with them. */
static void a_wal_stays_short(void **state) {
    fixture *f = *state;
    load l = {.vault = 4 * 1024 * 100};
    for (int i = 0; i < 100; i++)
        assert_ok(f, tr_store_write(f->store, load_job, &l, &f->err));
    assert_true(size_of(f, "vault.db-wal") < (off_t)(20 * MB)); /* of 40 MB written */
    assert_ok(f, tr_store_check(f->store, &f->err));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, fixture_up, fixture_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(a_full_disk_fails_the_group),
        CASE(a_full_disk_in_a_job_fails_the_job),
        CASE(a_deletion_cut_off_is_completed),
        CASE(readers_do_not_write),
        CASE(a_view_stays_the_same),
        CASE(a_checkpoint_empties_the_wals),
        CASE(a_wal_stays_short),
    };
    (void)signal(SIGXFSZ, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
