/* Who runs an erasure's steps: one thread each, and one round of cleaning for all that wait for it. */
#include "vault/erasure.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "vault/datakeys.h"
#include "vault/erasure_steps.h"
#include "vault/keys_internal.h"
#include "vault/tokens.h"

#define PAUSE_MIN  50 /* after a round that readers kept from its end, ms; then twice as long each time */
#define PAUSE_MAX  1600
#define REST_PER   1    /* a rest is so many times as long as its round took */
#define RESUME_MS  5000 /* of one call of tr_erasures_resume */
#define RESUME_MAX 32   /* erasures that share a round there */

typedef struct claim { /* on the stack of the thread that runs the erasure's steps */
    tr_uuid subject;
    struct claim *next;
} claim;

struct tr_erasures {
    pthread_mutex_t mutex;  /* what follows */
    pthread_cond_t changed; /* a claim or a round ended, or all is to end */
    claim *claims;
    uint64_t begun, done; /* rounds of cleaning; done: the newest that succeeded */
    bool cleaning;
    int64_t pause;      /* after the last round, if readers kept it from its end */
    int64_t not_before; /* the next one */
    bool stop;
    tr_uuid after; /* the sweep's own: where it is in the table */
    bool in_pass, left;
};

tr_status tr_erasures_new(tr_erasures **out, tr_error *err) {
    tr_erasures *work = calloc(1, sizeof *work);
    tr_status st =
        work ? tr_monotonic_cond(&work->changed, err) : tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    *out = NULL;
    if (st != TR_OK) {
        free(work);
        return st;
    }
    pthread_mutex_init(&work->mutex, NULL);
    *out = work;
    return TR_OK;
}

void tr_erasures_free(tr_erasures *work) {
    if (!work)
        return;
    pthread_cond_destroy(&work->changed);
    pthread_mutex_destroy(&work->mutex);
    free(work);
}

void tr_erasures_end(tr_vault *vault) {
    tr_erasures *work = vault->erasures;
    pthread_mutex_lock(&work->mutex);
    work->stop = true;
    pthread_cond_broadcast(&work->changed);
    pthread_mutex_unlock(&work->mutex);
}

/* ---- waiting, with the mutex held ---- */

static bool is_late(const tr_erasures *work, int64_t until) {
    return work->stop || tr_monotonic_ms() >= until;
}

/* For a change, or until then. */
static void wait_until(tr_erasures *work, int64_t until) {
    struct timespec at = {.tv_sec = until / 1000, .tv_nsec = (long)(until % 1000) * 1000000};
    (void)pthread_cond_timedwait(&work->changed, &work->mutex, &at);
}

/* ---- claims: one thread an erasure ---- */

static bool is_claimed(const tr_erasures *work, const tr_uuid *subject) {
    for (const claim *c = work->claims; c; c = c->next) {
        if (tr_uuid_equal(&c->subject, subject))
            return true;
    }
    return false;
}

static void add_claim(tr_erasures *work, claim *c) {
    c->next = work->claims;
    work->claims = c;
}

/* Wait for whoever is at it. False: that one is at it still. */
static bool take_claim(tr_erasures *work, claim *c, int64_t until) {
    pthread_mutex_lock(&work->mutex);
    while (is_claimed(work, &c->subject) && !is_late(work, until))
        wait_until(work, until);
    bool mine = !is_claimed(work, &c->subject);
    if (mine)
        add_claim(work, c);
    pthread_mutex_unlock(&work->mutex);
    return mine;
}

static void drop_claim(tr_erasures *work, const claim *c) {
    pthread_mutex_lock(&work->mutex);
    for (claim **place = &work->claims; *place; place = &(*place)->next) {
        if (*place == c) {
            *place = c->next;
            break;
        }
    }
    pthread_cond_broadcast(&work->changed);
    pthread_mutex_unlock(&work->mutex);
}

/* ---- rounds: whoever comes while one runs shares the next ---- */

/* When the next one may begin: writers wait while one runs, so there is a rest after it, and a longer one
 * each time when readers kept it from its end. */
static void plan_next(tr_erasures *work, bool succeeded, int64_t took) {
    int64_t rest = REST_PER * took;
    if (!succeeded)
        rest = work->pause = work->pause ? work->pause * 2 : PAUSE_MIN;
    else
        work->pause = 0;
    if (rest > PAUSE_MAX)
        rest = PAUSE_MAX;
    if (work->pause > PAUSE_MAX)
        work->pause = PAUSE_MAX;
    work->not_before = tr_monotonic_ms() + rest;
}

/* With the mutex held, given back meanwhile. */
static tr_status run_round(tr_vault *vault, tr_error *err) {
    tr_erasures *work = vault->erasures;
    uint64_t number = ++work->begun;
    int64_t began = tr_monotonic_ms();
    work->cleaning = true;
    pthread_mutex_unlock(&work->mutex);
    tr_status st = tr_erasure_clean(vault, err);
    pthread_mutex_lock(&work->mutex);
    work->cleaning = false;
    if (st == TR_OK)
        work->done = number;
    plan_next(work, st == TR_OK, tr_monotonic_ms() - began);
    pthread_cond_broadcast(&work->changed);
    return st;
}

/* A round that begins from now on. *clean: it succeeded in time. */
static tr_status share_round(tr_vault *vault, int64_t until, bool *clean, tr_error *err) {
    tr_erasures *work = vault->erasures;
    tr_status st = TR_OK;
    pthread_mutex_lock(&work->mutex);
    uint64_t wanted = work->begun + 1;
    while (st == TR_OK && work->done < wanted && !is_late(work, until)) {
        if (work->cleaning)
            wait_until(work, until);
        else if (tr_monotonic_ms() < work->not_before)
            wait_until(work, work->not_before < until ? work->not_before : until);
        else
            st = run_round(vault, err);
        if (st == TR_E_BUSY)
            st = TR_OK;
    }
    *clean = work->done >= wanted;
    pthread_mutex_unlock(&work->mutex);
    return st;
}

/* ---- one erasure ---- */

void tr_erasure_filed(tr_vault *vault, const tr_uuid *subject) {
    tr_datakey_forget(vault, subject);
    tr_session_forget(vault, subject, NULL);
}

struct limit {
    tr_erasures *work;
    int64_t until;
};

static bool late(void *context) {
    const struct limit *limit = context;
    pthread_mutex_lock(&limit->work->mutex);
    bool is = is_late(limit->work, limit->until);
    pthread_mutex_unlock(&limit->work->mutex);
    return is;
}

static tr_status run_all(tr_vault *vault, const tr_uuid *subject, int64_t until, bool *done, tr_error *err) {
    struct limit limit = {vault->erasures, until};
    bool ready = false;
    tr_status st = tr_erasure_prepare(vault, subject, late, &limit, &ready, err);
    if (st == TR_OK && ready)
        st = share_round(vault, until, &ready, err);
    if (st == TR_OK && ready)
        st = tr_erasure_complete(vault, subject, err);
    *done = (st == TR_OK && ready) || st == TR_E_NOT_FOUND;
    return st == TR_E_NOT_FOUND ? TR_OK : st;
}

tr_status tr_erasure_finish(tr_vault *vault, const tr_uuid *subject, int64_t wait_ms, bool *done,
                            tr_error *err) {
    int64_t until = tr_monotonic_ms() + wait_ms;
    claim mine = {.subject = *subject};
    *done = false;
    if (!take_claim(vault->erasures, &mine, until))
        return TR_OK;
    tr_status st = run_all(vault, subject, until, done, err);
    drop_claim(vault->erasures, &mine);
    if (!*done)
        tr_vault_wake(vault);
    return st;
}

/* ---- those that nobody is at ---- */

struct page {
    tr_erasures *work;
    claim claims[RESUME_MAX];
    bool ready[RESUME_MAX];
    size_t count; /* claimed */
    size_t seen;
    tr_uuid last;
};

/* With the mutex held. */
static tr_status claim_row(void *context, const tr_erasure *row, tr_error *err) {
    struct page *page = context;
    (void)err;
    page->seen++;
    page->last = row->subject;
    if (is_claimed(page->work, &row->subject))
        return TR_OK;
    claim *c = &page->claims[page->count++];
    c->subject = row->subject;
    add_claim(page->work, c);
    return TR_OK;
}

static tr_status claim_page(tr_vault *vault, struct page *page, tr_error *err) {
    tr_erasures *work = vault->erasures;
    tr_db *db = NULL;
    *page = (struct page){.work = work};
    tr_status st = tr_store_reader(vault->store, &db, err);
    if (st != TR_OK)
        return st;
    pthread_mutex_lock(&work->mutex);
    st = tr_erasure_list(db, work->in_pass ? &work->after : NULL, RESUME_MAX, claim_row, page, err);
    pthread_mutex_unlock(&work->mutex);
    work->in_pass = st == TR_OK && page->seen == RESUME_MAX;
    work->after = page->last;
    return st;
}

static void log_failure(const tr_error *err) {
    tr_log(TR_LOG_WARN, "erasure.failed", TR_F_TEXT("status", tr_status_slug(err->status)),
           TR_F_TEXT("reason", err->what));
}

/* One that fails does not keep the others waiting. */
static void run_page(tr_vault *vault, struct page *page, int64_t until) {
    struct limit limit = {vault->erasures, until};
    bool clean = false;
    size_t ready = 0;
    tr_error err = {0};
    for (size_t i = 0; i < page->count; i++) {
        const tr_uuid *subject = &page->claims[i].subject;
        tr_erasure_filed(vault, subject);
        tr_status st = tr_erasure_prepare(vault, subject, late, &limit, &page->ready[i], &err);
        vault->erasures->left |= st == TR_OK && !page->ready[i];
        ready += page->ready[i];
        if (st != TR_OK && st != TR_E_NOT_FOUND)
            log_failure(&err);
    }
    if (ready && share_round(vault, until, &clean, &err) != TR_OK)
        log_failure(&err);
    else
        vault->erasures->left |= ready && !clean;
    for (size_t i = 0; clean && i < page->count; i++) {
        if (page->ready[i] && tr_erasure_complete(vault, &page->claims[i].subject, &err) != TR_OK)
            log_failure(&err);
    }
}

tr_status tr_erasures_resume(tr_vault *vault, bool *more, tr_error *err) {
    tr_erasures *work = vault->erasures;
    struct limit limit = {work, tr_monotonic_ms() + RESUME_MS};
    struct page page;
    tr_status st = TR_OK;
    if (!work->in_pass)
        work->left = false;
    do {
        st = claim_page(vault, &page, err);
        if (st == TR_OK)
            run_page(vault, &page, limit.until);
        for (size_t i = 0; i < page.count; i++)
            drop_claim(work, &page.claims[i]);
    } while (st == TR_OK && work->in_pass && !late(&limit));
    *more = work->in_pass || work->left;
    return st;
}
