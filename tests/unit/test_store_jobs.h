/* Jobs of a known form, and a way to put several into one group: for the tests of the writer. */
#ifndef TEST_STORE_JOBS_H
#define TEST_STORE_JOBS_H

#include <sched.h>

#include "test_store_fixture.h"

/* ---- several jobs in one group: a gate job holds the writer while the others queue up ---- */

typedef struct gate {
    fixture *f;
    sem_t entered, open;
    pthread_t thread;
} gate;

static inline tr_status gate_job(void *context, tr_db *tx, tr_error *err) {
    gate *g = context;
    (void)tx, (void)err;
    sem_post(&g->entered);
    sem_wait(&g->open);
    return TR_OK;
}

static inline void *gate_thread(void *context) {
    gate *g = context;
    (void)tr_store_write(g->f->store, gate_job, g, NULL);
    return NULL;
}

static inline void gate_shut(gate *g, fixture *f) {
    g->f = f;
    sem_init(&g->entered, 0, 0);
    sem_init(&g->open, 0, 0);
    assert_int_equal(pthread_create(&g->thread, NULL, gate_thread, g), 0);
    sem_wait(&g->entered);
}

static inline void gate_open(gate *g) {
    sem_post(&g->open);
    pthread_join(g->thread, NULL);
    sem_destroy(&g->open);
    sem_destroy(&g->entered);
}

typedef struct task { /* a write in a thread of its own */
    fixture *f;
    tr_job_fn fn;
    void *context;
    tr_status status;
    tr_error err;
    pthread_t thread;
} task;

static inline void *task_thread(void *context) {
    task *t = context;
    t->status = tr_store_write(t->f->store, t->fn, t->context, &t->err);
    return NULL;
}

static inline void start_task(fixture *f, task *t, tr_job_fn fn, void *context) {
    *t = (task){.f = f, .fn = fn, .context = context};
    assert_int_equal(pthread_create(&t->thread, NULL, task_thread, t), 0);
}

/* Start it and wait until it is the queue's `place`-th. */
static inline void queue_up(fixture *f, task *t, tr_job_fn fn, void *context, int place) {
    tr_store_stats stats;
    start_task(f, t, fn, context);
    do {
        sched_yield();
        tr_store_get_stats(f->store, &stats);
    } while (stats.queued < place);
}

static inline int64_t count_entries(fixture *f, const char *like) {
    tr_query q;
    int64_t n = 0;
    assert_ok(f, tr_query_begin(fixture_reader(f), TR_DB_AUDIT,
                                "SELECT count(*) FROM entries WHERE entry LIKE ?1", &q, &f->err));
    tr_bind_text(&q, 1, like);
    assert_ok(f, tr_query_int(&q, &n, &f->err));
    return n;
}

static inline void assert_log_is_good(fixture *f, int64_t entries) {
    tr_audit_verdict verdict;
    assert_ok(f, tr_audit_verify(fixture_reader(f), &verdict, &f->err));
    if (!verdict.ok)
        fail_msg("%s", verdict.reason);
    if (entries >= 0)
        assert_int_equal(verdict.entries, entries);
}

/* ---- single jobs ---- */

typedef struct step {
    const char *name;
    tr_status end_with;
    int calls;
} step;

/* Writes a value and an entry of that name, then ends as it is told to. */
static inline tr_status step_job(void *context, tr_db *tx, tr_error *err) {
    step *s = context;
    tr_status st = TR_OK;
    s->calls++;
    TR_TRY(tr_meta_put(tx, s->name, text_bytes("x"), err));
    TR_TRY(tr_audit_append(tx, 1, NULL, text_bytes(s->name), err));
    if (s->end_with != TR_OK)
        st = tr_fail(err, s->end_with, s->name, "as told");
out:
    return st;
}

#endif
