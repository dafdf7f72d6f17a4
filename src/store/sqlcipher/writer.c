/* The writer: it runs the queued jobs in groups, one at a time. While a group is flushed the next one
 * gathers, so there is no delay to wait for company, and a flush serves as many as came.
 *
 * A thread that comes when no group runs, runs one itself: to wake another thread and to be woken takes two
 * processors out of their sleep, which for a single request is a good part of its time. What has gathered
 * meanwhile is for the writer's own thread, and so are checkpoints and folds.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "store/sqlcipher/engine.h"

#define GROUP_MAX 256
#define GROUP_TOP 1024 /* the turns of one group must fit into the ring (turns.c) */
#define QUEUE_MAX 4096
#define CAREFUL   64 /* groups after one that had to be run again: what failed there may come once more */

typedef struct tr_job { /* on the stack of the caller, who waits for `done` */
    tr_job_fn fn;       /* NULL: a checkpoint */
    void *context;
    tr_status status;
    tr_error err;
    bool culprit; /* SQLite undid the transaction in it: not run again */
    bool leads;   /* its own caller runs it */
    sem_t done;
    struct tr_job *next;
} tr_job;

struct tr_writer {
    pthread_t thread;
    tr_checkpointer *checkpointer;
    tr_changes *changes;
    tr_group *group;
    bool broken; /* the last commit failed: recover first */
    int careful; /* how many groups are still to be run with savepoints */
    bool twice;
    int group_max, queue_max;
    tr_job **jobs; /* room for a group; this and what is above belong to who runs one */

    pthread_mutex_t mutex; /* what follows */
    pthread_cond_t wake;
    bool running; /* a group, by the thread `runner` */
    pthread_t runner;
    bool sleeping; /* the writer's thread, until it is signalled */
    tr_job *first, **last;
    int queued;
    bool stopping;
    tr_store_stats stats;
};

/* ---- the group ---- */

/* Tests ask for it: whatever is run boldly is run once more, as after a failure. What a job leaves behind
 * from its first run shows then. */
static bool all_twice(void) {
#ifdef TR_TEST_HOOKS
    return getenv("TR_TEST_ALL_TWICE") != NULL;
#else
    return false;
#endif
}

/* false: the transaction was lost in one of the jobs, which is now marked, or needs care. */
static bool run_jobs(tr_writer *w, tr_job **jobs, size_t count) {
    w->group->bold = w->careful == 0;
    for (size_t i = 0; i < count; i++) {
        tr_job *job = jobs[i];
        if (job->culprit)
            continue;
        job->err = (tr_error){0};
        job->status = tr_group_run(w->group, job->fn, job->context, &job->err);
        if (w->group->lost) {
            job->culprit = !w->group->wants_care;
            return false;
        }
    }
    w->group->wants_care = w->group->bold && w->twice;
    return !w->group->wants_care;
}

static bool any_damaged(const tr_group *group) {
    for (int i = 0; i < TR_DB_COUNT; i++) {
        if (group->tx.conns[i].damaged)
            return true;
    }
    return false;
}

static tr_status reopen(tr_writer *w, tr_error *err) {
    tr_status st = tr_group_reopen(w->group, err);
    tr_changes_lose(w->changes, w->group);
    return st;
}

static tr_status start_over(tr_writer *w, tr_error *err) {
    if (w->group->wants_care)
        w->careful = w->twice ? 1 : CAREFUL;
    if (any_damaged(w->group))
        return reopen(w, err);
    tr_group_abort(w->group);
    return TR_OK;
}

static tr_status recover(tr_writer *w, tr_error *err) {
    tr_status st = reopen(w, err);
    if (st == TR_OK)
        st = tr_group_reconcile(w->group, err);
    w->broken = st != TR_OK;
    return st;
}

static tr_status commit(tr_writer *w, bool fold, tr_error *err, int64_t *took_us) {
    int64_t begun = tr_monotonic_us();
    tr_status st = tr_group_commit(w->group, fold, err);
    *took_us = tr_monotonic_us() - begun;
    return st;
}

static void run_group(tr_writer *w, tr_job **jobs, size_t count) {
    tr_error err = {0};
    int64_t took_us = 0;
    tr_status st = w->broken ? recover(w, &err) : TR_OK;
    while (st == TR_OK && !run_jobs(w, jobs, count))
        st = start_over(w, &err);
    if (st == TR_OK)
        st = commit(w, count == 0, &err, &took_us);
    if (st != TR_OK) {
        tr_group_abort(w->group);
        w->broken = true;
    }
    w->careful -= w->careful > 0;
    uint64_t failures = 0;
    for (size_t i = 0; i < count; i++) {
        if (st != TR_OK) {
            jobs[i]->status = st;
            jobs[i]->err = err;
        }
        failures += jobs[i]->status != TR_OK;
    }
    pthread_mutex_lock(&w->mutex);
    w->stats.groups += count > 0;
    w->stats.jobs += count;
    w->stats.failures += failures;
    w->stats.commit_us += (uint64_t)took_us;
    w->stats.audit_seq = (uint64_t)w->group->head.seq;
    w->stats.failed = st != TR_OK;
    pthread_mutex_unlock(&w->mutex);
}

/* What fails in it is its own: the next job finds connections that are well. */
static void run_checkpoint(tr_writer *w, tr_job *job) {
    job->status = tr_checkpoint_truncate(w->checkpointer, w->group, &job->err);
    w->broken |= any_damaged(w->group);
}

/* ---- one at a time ---- */

/* With the mutex: the next jobs, a checkpoint alone, or jobs up to the next checkpoint; and nobody else runs
 * any until `finish`. */
static size_t begin(tr_writer *w) {
    size_t count = 0;
    w->running = true;
    w->runner = pthread_self();
    while (w->first && count < (size_t)w->group_max) {
        if (!w->first->fn && count > 0)
            break;
        tr_job *job = w->first;
        w->jobs[count++] = job;
        w->first = job->next;
        w->queued--;
        if (!job->fn)
            break;
    }
    if (!w->first)
        w->last = &w->first;
    return count;
}

static void run(tr_writer *w, size_t count) {
    bool checkpoint = count > 0 && !w->jobs[0]->fn;
    if (checkpoint)
        run_checkpoint(w, w->jobs[0]);
    else
        run_group(w, w->jobs, count);
    for (size_t i = 0; i < count; i++) {
        if (!w->jobs[i]->leads) /* else it is on this thread's stack */
            sem_post(&w->jobs[i]->done);
    }
    if (checkpoint)
        return;
    tr_changes_after_group(w->changes, w->group);
    tr_checkpointer_after_group(w->checkpointer, w->group);
}

static void finish(tr_writer *w) {
    bool due = !w->broken && tr_turns_due_us(w->group->turns) != 0;
    pthread_mutex_lock(&w->mutex);
    w->running = false;
    if (w->first || w->stopping || (due && w->sleeping))
        pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->mutex);
}

/* ---- the thread ---- */

/* With the mutex. False: the vault must not wait any longer for what the log knows. */
static bool wait_for_jobs(tr_writer *w) {
    int64_t due_us = w->running || w->broken ? 0 : tr_turns_due_us(w->group->turns);
    struct timespec due = {.tv_sec = due_us / 1000000, .tv_nsec = due_us % 1000000 * 1000};
    w->sleeping = due_us == 0;
    int rc = due_us == 0 ? pthread_cond_wait(&w->wake, &w->mutex)
                         : pthread_cond_clockwait(&w->wake, &w->mutex, CLOCK_MONOTONIC, &due);
    w->sleeping = false;
    return w->running || rc != ETIMEDOUT;
}

/* 0: there are none, and it is time to fold, or the end. */
static size_t take(tr_writer *w) {
    pthread_mutex_lock(&w->mutex);
    while ((w->running || (!w->first && !w->stopping)) && wait_for_jobs(w)) {
    }
    size_t count = begin(w);
    pthread_mutex_unlock(&w->mutex);
    return count;
}

/* Nobody asks for anything any more, and the vault knows what the log knows. */
static bool is_over(tr_writer *w) {
    pthread_mutex_lock(&w->mutex);
    bool stopping = w->stopping;
    pthread_mutex_unlock(&w->mutex);
    return stopping && (w->broken || tr_turns_due_us(w->group->turns) == 0);
}

static void *run_thread(void *context) {
    tr_writer *w = context;
    bool over = false;
    while (!over) {
        size_t count = take(w);
        over = count == 0 && is_over(w);
        if (!over)
            run(w, count);
        finish(w);
    }
    return NULL;
}

tr_status tr_writer_start(tr_checkpointer *checkpointer, tr_changes *changes, tr_group *group, int group_max,
                          int queue_max, tr_writer **out, tr_error *err) {
    tr_writer *w = calloc(1, sizeof *w);
    *out = NULL;
    if (!w)
        return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    w->checkpointer = checkpointer;
    w->changes = changes;
    w->group = group;
    w->group_max = group_max > 0 ? group_max : GROUP_MAX;
    if (w->group_max > GROUP_TOP)
        w->group_max = GROUP_TOP;
    w->queue_max = queue_max > 0 ? queue_max : QUEUE_MAX;
    w->twice = all_twice();
    w->last = &w->first;
    w->stats.audit_seq = (uint64_t)group->head.seq;
    w->jobs = calloc((size_t)w->group_max, sizeof(tr_job *));
    pthread_mutex_init(&w->mutex, NULL);
    pthread_cond_init(&w->wake, NULL);
    if (!w->jobs || pthread_create(&w->thread, NULL, run_thread, w) != 0) {
        pthread_cond_destroy(&w->wake);
        pthread_mutex_destroy(&w->mutex);
        free(w->jobs);
        free(w);
        return tr_fail(err, TR_E_NOMEM, NULL, "cannot start the writer");
    }
    *out = w;
    return TR_OK;
}

void tr_writer_stop(tr_writer *w) {
    if (!w)
        return;
    pthread_mutex_lock(&w->mutex);
    w->stopping = true;
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->mutex);
    pthread_join(w->thread, NULL);
    pthread_cond_destroy(&w->wake);
    pthread_mutex_destroy(&w->mutex);
    free(w->jobs);
    free(w);
}

/* ---- callers ---- */

/* With the mutex. */
static tr_status may_queue(const tr_writer *w, tr_error *err) {
    if (w->running && pthread_equal(pthread_self(), w->runner))
        return tr_fail(err, TR_E_INTERNAL, NULL, "a job must not wait for another one");
    if (w->stopping)
        return tr_fail(err, TR_E_DRAINING, NULL, "the store is closing");
    if (w->queued >= w->queue_max)
        return tr_fail(err, TR_E_BUSY, NULL, "too many writes are waiting");
    return TR_OK;
}

/* *count: how many jobs, this one first, the caller is to run; 0: somebody else does. */
static tr_status enqueue(tr_writer *w, tr_job *job, size_t *count, tr_error *err) {
    *count = 0;
    pthread_mutex_lock(&w->mutex);
    tr_status st = may_queue(w, err);
    if (st == TR_OK) {
        job->leads = job->fn && !w->running && !w->first;
        *w->last = job;
        w->last = &job->next;
        w->queued++;
        if (job->leads)
            *count = begin(w);
        else if (!w->running)
            pthread_cond_signal(&w->wake);
    }
    pthread_mutex_unlock(&w->mutex);
    return st;
}

static tr_status submit(tr_writer *w, tr_job_fn fn, void *context, tr_error *err) {
    tr_job job = {.fn = fn, .context = context};
    size_t count;
    sem_init(&job.done, 0, 0);
    tr_status st = enqueue(w, &job, &count, err);
    if (count > 0) {
        run(w, count);
        finish(w);
    } else if (st == TR_OK) {
        while (sem_wait(&job.done) != 0 && errno == EINTR) {
        }
    }
    if (st == TR_OK) {
        st = job.status;
        if (st != TR_OK && err)
            *err = job.err;
    }
    sem_destroy(&job.done);
    return st;
}

tr_status tr_writer_submit(tr_writer *w, tr_job_fn fn, void *context, tr_error *err) {
    return fn ? submit(w, fn, context, err) : tr_fail(err, TR_E_INTERNAL, NULL, "a job without a function");
}

tr_status tr_writer_checkpoint(tr_writer *w, tr_error *err) {
    return submit(w, NULL, NULL, err);
}

void tr_writer_stats(tr_writer *w, tr_store_stats *out) {
    pthread_mutex_lock(&w->mutex);
    *out = w->stats;
    out->queued = w->queued;
    pthread_mutex_unlock(&w->mutex);
}
