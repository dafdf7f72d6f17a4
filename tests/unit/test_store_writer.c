/* The writer: groups, failing jobs, transactions that SQLite undoes, the queue. */
#include "test_store_jobs.h"

static void a_failed_job_leaves_nothing(void **state) {
    fixture *f = *state;
    step bad = {.name = "bad", .end_with = TR_E_CONFLICT};
    assert_status(f, tr_store_write(f->store, step_job, &bad, &f->err), TR_E_CONFLICT);
    assert_string_equal(f->err.where, "bad");
    assert_false(fixture_has(f, "bad"));
    step good = {.name = "good"};
    assert_ok(f, tr_store_write(f->store, step_job, &good, &f->err));
    assert_true(fixture_has(f, "good"));
    assert_log_is_good(f, 1);
}

static void a_failed_job_does_not_touch_its_group(void **state) {
    fixture *f = *state;
    gate g;
    task tasks[5];
    step steps[5] = {{.name = "s0"},
                     {.name = "s1", .end_with = TR_E_NOT_FOUND},
                     {.name = "s2"},
                     {.name = "s3", .end_with = TR_E_RATE},
                     {.name = "s4"}};
    static const int calls[5] = {2, 2, 1, 1,
                                 1}; /* the first that fails after it wrote: all again, with savepoints */
    tr_store_stats before, after;
    gate_shut(&g, f);
    for (int i = 0; i < 5; i++)
        queue_up(f, &tasks[i], step_job, &steps[i], i + 1);
    tr_store_get_stats(f->store, &before);
    gate_open(&g);
    for (int i = 0; i < 5; i++) {
        pthread_join(tasks[i].thread, NULL);
        assert_int_equal(tasks[i].status, steps[i].end_with);
        assert_int_equal(fixture_has(f, steps[i].name), steps[i].end_with == TR_OK);
        assert_int_equal(count_entries(f, steps[i].name), steps[i].end_with == TR_OK);
        assert_int_equal(steps[i].calls, calls[i]);
    }
    tr_store_get_stats(f->store, &after);
    assert_int_equal(after.groups, before.groups + 2); /* the gate's, and one for the five */
    assert_int_equal(after.jobs, 6);
    assert_int_equal(after.failures, 2);
    assert_int_equal(after.audit_seq, 3);
    assert_false(after.failed);
    assert_true(after.vault_bytes > 4096 && after.keys_bytes > 4096 && after.audit_bytes > 4096);
    assert_log_is_good(f, 3);
}

static tr_status look_and_put_job(void *context, tr_db *tx, tr_error *err) {
    tr_buf value = TR_BUF_INIT;
    tr_status st = tr_meta_get(tx, "looked", &value, err);
    tr_buf_clear(&value);
    (void)context;
    return st == TR_E_NOT_FOUND ? tr_meta_put(tx, "looked", text_bytes("x"), err) : st;
}

/* A reader that meets a commit in the midst of the log's index takes the lock of writers for a moment.
 * (Nothing tells that a job waits for it: one that does not has failed long before the time is over.) */
static void a_lock_held_for_a_moment_is_waited_for(void **state) {
    fixture *f = *state;
    tr_conn other;
    task one;
    assert_ok(f, tr_conn_open(&f->store->source, TR_DB_VAULT, TR_WRITE, &other, &f->err));
    assert_ok(f, tr_conn_exec(&other, "BEGIN IMMEDIATE", &f->err));
    start_task(f, &one, look_and_put_job, NULL);
    (void)usleep(100000);
    assert_ok(f, tr_conn_exec(&other, "COMMIT", &f->err));
    pthread_join(one.thread, NULL);
    assert_ok(f, one.status);
    tr_conn_close(&other);
}

static tr_status refusing_job(void *context, tr_db *tx, tr_error *err) {
    ++*(int *)context;
    (void)tx;
    return tr_fail(err, TR_E_FORBIDDEN, NULL, "as told");
}

static void what_failed_after_it_wrote_is_awaited_again(void **state) {
    fixture *f = *state;
    int refused = 0;
    step fails = {.name = "s", .end_with = TR_E_CONFLICT};
    assert_status(f, tr_store_write(f->store, refusing_job, &refused, &f->err), TR_E_FORBIDDEN);
    assert_int_equal(refused, 1); /* it has written nothing that is to be undone */
    assert_status(f, tr_store_write(f->store, step_job, &fails, &f->err), TR_E_CONFLICT);
    assert_int_equal(fails.calls, 2);
    for (int i = 0; i < 10; i++)
        assert_status(f, tr_store_write(f->store, step_job, &fails, &f->err), TR_E_CONFLICT);
    assert_int_equal(fails.calls, 12);
    for (int i = 0; i < 100; i++)
        fixture_put(f, "x");
    assert_status(f, tr_store_write(f->store, step_job, &fails, &f->err), TR_E_CONFLICT);
    assert_int_equal(fails.calls, 14);
    assert_false(fixture_has(f, "s"));
    assert_log_is_good(f, 0);
}

/* ---- nested ---- */

static tr_status nesting_job(void *context, tr_db *tx, tr_error *err) {
    step outer = {.name = "outer"}, kept = {.name = "kept"},
         undone = {.name = "undone", .end_with = TR_E_CONFLICT};
    tr_status st = TR_OK;
    TR_TRY(step_job(&outer, tx, err));
    TR_TRY(tr_nested(tx, step_job, &kept, err));
    if (tr_nested(tx, step_job, &undone, err) != TR_E_CONFLICT)
        st = tr_fail(err, TR_E_INTERNAL, NULL, "the nested job did not fail");
out:
    return st == TR_OK ? *(tr_status *)context : st;
}

static tr_status deep_job(void *context, tr_db *tx, tr_error *err) {
    int *depth = context;
    char name[16];
    (void)snprintf(name, sizeof name, "deep%d", *depth);
    step s = {.name = name};
    tr_status st = step_job(&s, tx, err);
    if (st == TR_OK && ++*depth < 4)
        (void)tr_nested(tx, deep_job, depth, err);
    return st == TR_OK && --*depth == 2 ? TR_E_RATE : st; /* one level undoes itself and what is inside */
}

static void nested_jobs_undo_only_themselves(void **state) {
    fixture *f = *state;
    tr_status end = TR_OK;
    assert_ok(f, tr_store_write(f->store, nesting_job, &end, &f->err));
    assert_true(fixture_has(f, "outer") && fixture_has(f, "kept"));
    assert_false(fixture_has(f, "undone"));
    assert_int_equal(count_entries(f, "undone"), 0);
    assert_log_is_good(f, 2);
}

static void a_failed_job_undoes_what_is_nested(void **state) {
    fixture *f = *state;
    tr_status end = TR_E_FORBIDDEN;
    assert_status(f, tr_store_write(f->store, nesting_job, &end, &f->err), TR_E_FORBIDDEN);
    assert_false(fixture_has(f, "outer") || fixture_has(f, "kept"));
    assert_log_is_good(f, 0);
}

static tr_status deepest_job(void *context, tr_db *tx, tr_error *err) {
    *(int *)context = 0; /* it may run more than once */
    return deep_job(context, tx, err);
}

static void nesting_goes_deep(void **state) {
    fixture *f = *state;
    int depth;
    (void)tr_store_write(f->store, deepest_job, &depth, &f->err);
    assert_true(fixture_has(f, "deep0"));
    assert_log_is_good(f, -1);
}

/* ---- when SQLite undoes the whole transaction ---- */

static tr_status losing_job(void *context, tr_db *tx, tr_error *err) {
    step *s = context;
    tr_status st = step_job(s, tx, err);
    (void)sqlite3_exec(tx->conns[TR_DB_VAULT].handle, "ROLLBACK", NULL, NULL, NULL);
    return s->end_with == TR_OK ? st : tr_fail(err, s->end_with, NULL, "as told");
}

static tr_status nested_losing_job(void *context, tr_db *tx, tr_error *err) {
    (void)tr_nested(tx, losing_job, context, err);
    step after = {.name = "after"}; /* must not begin a new transaction */
    return step_job(&after, tx, err);
}

static void others_are_run_again_when_a_transaction_is_lost(void **state) {
    fixture *f = *state;
    gate g;
    task tasks[6];
    step steps[6] = {{.name = "s0"},   {.name = "lost", .end_with = TR_E_DISK_FULL},
                     {.name = "s2"},   {.name = "said"},
                     {.name = "deep"}, {.name = "s5", .end_with = TR_E_RATE}};
    static const tr_status want[6] = {TR_OK, TR_E_DISK_FULL, TR_OK, TR_E_IO, TR_E_IO, TR_E_RATE};
    static const tr_job_fn jobs[6] = {step_job,   losing_job,        step_job,
                                      losing_job, nested_losing_job, step_job};
    static const int calls[6] = {5, 1, 4, 1, 1, 2};
    gate_shut(&g, f);
    for (int i = 0; i < 6; i++)
        queue_up(f, &tasks[i], jobs[i], &steps[i], i + 1);
    gate_open(&g);
    for (int i = 0; i < 6; i++) {
        pthread_join(tasks[i].thread, NULL);
        assert_int_equal(tasks[i].status, want[i]);
        assert_int_equal(fixture_has(f, steps[i].name), want[i] == TR_OK);
        assert_int_equal(count_entries(f, steps[i].name), want[i] == TR_OK);
        assert_int_equal(steps[i].calls, calls[i]);
    }
    assert_false(fixture_has(f, "after"));
    assert_log_is_good(f, 2);
}

/* ---- many threads ---- */

#define THREADS 16
#define ROUNDS  60

typedef struct busy_thread {
    fixture *f;
    int number;
    int wrong;
    pthread_t thread;
} busy_thread;

static tr_status seldom_losing_job(void *context, tr_db *tx, tr_error *err) {
    step *s = context;
    return s->end_with == TR_E_IO ? losing_job(s, tx, err) : step_job(s, tx, err);
}

static void *busy(void *context) {
    busy_thread *b = context;
    tr_db *db = NULL;
    for (int i = 0; i < ROUNDS; i++) {
        char name[32];
        tr_buf value = TR_BUF_INIT;
        (void)snprintf(name, sizeof name, "t%02d-%03d", b->number, i);
        tr_status end = i % 3 == 1 ? TR_E_CONFLICT : i % 20 == 17 ? TR_E_IO : TR_OK;
        step s = {.name = name, .end_with = end};
        b->wrong += tr_store_write(b->f->store, seldom_losing_job, &s, NULL) != end;
        /* What was answered is there, in the same thread and at once. */
        b->wrong += tr_store_reader(b->f->store, &db, NULL) != TR_OK;
        b->wrong += (tr_meta_get(db, name, &value, NULL) == TR_OK) != (end == TR_OK);
        tr_buf_clear(&value);
    }
    return NULL;
}

static void threads_write_and_fail_together(void **state) {
    fixture *f = *state;
    busy_thread threads[THREADS];
    int64_t good = 0;
    for (int i = 0; i < ROUNDS; i++)
        good += THREADS * (i % 3 != 1 && i % 20 != 17);
    for (int i = 0; i < THREADS; i++) {
        threads[i] = (busy_thread){.f = f, .number = i};
        assert_int_equal(pthread_create(&threads[i].thread, NULL, busy, &threads[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i].thread, NULL);
        assert_int_equal(threads[i].wrong, 0);
    }
    tr_store_stats stats;
    tr_store_get_stats(f->store, &stats);
    assert_int_equal(stats.jobs, THREADS * ROUNDS);
    assert_true(stats.groups < stats.jobs);
    assert_int_equal(stats.audit_seq, good);
    assert_log_is_good(f, good);
    assert_int_equal(count_entries(f, "t%"), good);
    fixture_reopen(f);
    assert_log_is_good(f, good);
    assert_null(f->store->readers->next); /* the threads' connections went with them */
}

/* ---- the queue ---- */

static void a_full_queue_is_busy(void **state) {
    fixture *f = *state;
    gate g;
    task tasks[2];
    step steps[2] = {{.name = "a"}, {.name = "b"}}, third = {.name = "c"};
    tr_store_options options = fixture_options(f, false);
    options.queue_max = 2;
    fixture_close(f);
    assert_ok(f, tr_store_open(&options, &f->store, &f->err));
    gate_shut(&g, f);
    for (int i = 0; i < 2; i++)
        queue_up(f, &tasks[i], step_job, &steps[i], i + 1);
    assert_status(f, tr_store_write(f->store, step_job, &third, &f->err), TR_E_BUSY);
    assert_int_equal(third.calls, 0);
    gate_open(&g);
    for (int i = 0; i < 2; i++) {
        pthread_join(tasks[i].thread, NULL);
        assert_int_equal(tasks[i].status, TR_OK);
    }
    assert_ok(f, tr_store_write(f->store, step_job, &third, &f->err));
}

static void a_group_has_its_limit(void **state) {
    fixture *f = *state;
    gate g;
    task tasks[5];
    step steps[5] = {{.name = "a"}, {.name = "b"}, {.name = "c"}, {.name = "d"}, {.name = "e"}};
    tr_store_options options = fixture_options(f, false);
    tr_store_stats stats;
    options.group_max = 2;
    fixture_close(f);
    assert_ok(f, tr_store_open(&options, &f->store, &f->err));
    gate_shut(&g, f);
    for (int i = 0; i < 5; i++)
        queue_up(f, &tasks[i], step_job, &steps[i], i + 1);
    gate_open(&g);
    for (int i = 0; i < 5; i++)
        pthread_join(tasks[i].thread, NULL);
    tr_store_get_stats(f->store, &stats);
    assert_int_equal(stats.groups, 4);
}

static void closing_ends_after_the_queued_jobs(void **state) {
    fixture *f = *state;
    gate g;
    task tasks[3];
    step steps[3] = {{.name = "a"}, {.name = "b"}, {.name = "c"}};
    gate_shut(&g, f);
    for (int i = 0; i < 3; i++)
        queue_up(f, &tasks[i], step_job, &steps[i], i + 1);
    sem_post(&g.open);
    fixture_close(f);
    pthread_join(g.thread, NULL);
    for (int i = 0; i < 3; i++) {
        pthread_join(tasks[i].thread, NULL);
        assert_int_equal(tasks[i].status, TR_OK);
    }
    sem_destroy(&g.open);
    sem_destroy(&g.entered);
    assert_ok(f, fixture_open(f, false));
    assert_true(fixture_has(f, "a") && fixture_has(f, "b") && fixture_has(f, "c"));
}

static tr_status waiting_job(void *context, tr_db *tx, tr_error *err) {
    fixture *f = context;
    step s = {.name = "inner"};
    (void)tx;
    return tr_store_write(f->store, step_job, &s, err);
}

static void a_job_may_not_wait_for_a_job(void **state) {
    fixture *f = *state;
    assert_status(f, tr_store_write(f->store, waiting_job, f, &f->err), TR_E_INTERNAL);
    fixture_put(f, "goes on");
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, fixture_up, fixture_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(a_failed_job_leaves_nothing),
        CASE(a_failed_job_does_not_touch_its_group),
        CASE(a_lock_held_for_a_moment_is_waited_for),
        CASE(what_failed_after_it_wrote_is_awaited_again),
        CASE(nested_jobs_undo_only_themselves),
        CASE(a_failed_job_undoes_what_is_nested),
        CASE(nesting_goes_deep),
        CASE(others_are_run_again_when_a_transaction_is_lost),
        CASE(threads_write_and_fail_together),
        CASE(a_full_queue_is_busy),
        CASE(a_group_has_its_limit),
        CASE(closing_ends_after_the_queued_jobs),
        CASE(a_job_may_not_wait_for_a_job),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
