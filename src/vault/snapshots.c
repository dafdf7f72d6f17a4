#include "vault/snapshots.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "vault/drill.h"
#include "vault/keys.h"
#include "vault/snapshot_unpack.h"
#include "vault/snapshots_internal.h"

#define BUSY           "a snapshot is being made, verified or restored for trial: wait for its end"
#define FIRST_DRILL_MS ((int64_t)10 * 60 * 1000)
#define DRILL_AGAIN_MS ((int64_t)24 * 3600 * 1000) /* after one that failed */
#define RETRY_MS       ((int64_t)5 * 60 * 1000)    /* after a scheduled snapshot that failed */
#define END_MS         5000 /* for what is on its way to a store when the process is to stop */

/* ---- the state ---- */

static tr_status open_store(tr_snapshots *state, const tr_config *config, tr_error *err) {
    if (!config->backup_s3_url[0])
        return TR_OK;
    tr_status st = tr_s3_new(config, &state->store, err);
    return st == TR_OK ? tr_spool_new(config->backup_spool, config->backup_spool_bytes, &state->spool, err)
                       : st;
}

tr_status tr_snapshots_new(const tr_config *config, tr_snapshots **out, tr_error *err) {
    tr_snapshots *state = calloc(1, sizeof *state);
    *out = NULL;
    tr_status st =
        state ? tr_monotonic_cond(&state->changed, err) : tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    if (st != TR_OK) {
        free(state);
        return st;
    }
    pthread_mutex_init(&state->mutex, NULL);
    pthread_mutex_init(&state->log_mutex, NULL);
    state->begun_at = tr_monotonic_ms();
    st = open_store(state, config, err);
    if (st == TR_OK)
        *out = state;
    else
        tr_snapshots_free(state);
    return st;
}

void tr_snapshots_end(tr_vault *vault) {
    tr_snapshots *state = vault->snapshots;
    pthread_mutex_lock(&state->mutex);
    state->stop = true;
    if (state->store)
        tr_s3_end(state->store, END_MS);
    pthread_cond_broadcast(&state->changed);
    pthread_mutex_unlock(&state->mutex);
}

void tr_snapshots_free(tr_snapshots *state) {
    if (!state)
        return;
    pthread_cond_destroy(&state->changed);
    pthread_mutex_destroy(&state->mutex);
    pthread_mutex_destroy(&state->log_mutex);
    tr_spool_free(state->spool);
    tr_s3_free(state->store);
    tr_changed_clear(&state->keys_changed, TR_IN_KEYS);
    tr_changed_clear(&state->log_changed, TR_IN_VAULT | TR_IN_AUDIT);
    free(state);
}

void tr_snapshots_join(tr_vault *vault) {
    tr_snapshots *state = vault->snapshots;
    if (!state)
        return;
    tr_snapshots_end(vault);
    if (state->joinable)
        pthread_join(state->thread, NULL);
    state->joinable = false;
    tr_log_join(vault);
    tr_spool_join(vault);
}

/* ---- what is there ---- */

/* *away may be NULL: then a store that is away is a failure. */
static tr_status list(tr_vault *vault, tr_snapshot_item **items, size_t *count, bool *away, tr_error *err) {
    tr_target *target = NULL;
    tr_error why = {0};
    *items = NULL;
    *count = 0;
    tr_status st = tr_snapshot_open_target(vault, false, &target, &why);
    if (st == TR_OK)
        st = tr_snapshot_items(vault, target, items, count, &why);
    if (st == TR_OK)
        tr_snapshot_remember(vault, *items, *count);
    if (away)
        *away = tr_snapshot_can_wait(vault, st);
    if (away && *away)
        st = tr_snapshot_items(vault, tr_spool_target(vault->snapshots->spool), items, count, &why);
    for (size_t i = 0; away && *away && i < *count; i++)
        (*items)[i].spooled = true;
    tr_target_close(target);
    if (st != TR_OK && err)
        *err = why;
    return st;
}

tr_status tr_snapshots_list(tr_vault *vault, tr_snapshot_item **items, size_t *count, tr_error *err) {
    bool away;
    return list(vault, items, count, &away, err);
}

tr_status tr_snapshots_get(tr_vault *vault, const tr_uuid *id, tr_snapshot_item *item, tr_error *err) {
    tr_snapshot_item *items = NULL;
    size_t count = 0;
    bool away = false;
    tr_status st = list(vault, &items, &count, &away, err);
    if (st == TR_OK)
        st = TR_E_NOT_FOUND;
    for (size_t i = 0; st == TR_E_NOT_FOUND && i < count; i++) {
        if (tr_uuid_equal(&items[i].head.id, id)) {
            *item = items[i];
            st = TR_OK;
        }
    }
    free(items);
    if (st == TR_E_NOT_FOUND && away)
        return tr_fail(err, TR_E_IO, tr_snapshot_place(vault), "the backup store cannot be asked for it now");
    return st == TR_E_NOT_FOUND ? tr_fail(err, st, NULL, "there is no such snapshot") : st;
}

tr_status tr_snapshots_may_remove(tr_vault *vault, const tr_uuid *id, tr_error *err) {
    char other[TR_UUID_TEXT];
    tr_snapshot_item *items = NULL;
    size_t count = 0;
    bool away = false; /* what is put upon one in the spool is there too */
    tr_status st = list(vault, &items, &count, &away, err);
    for (size_t i = 0; st == TR_OK && i < count; i++) {
        if (!tr_uuid_equal(&items[i].head.base, id))
            continue;
        tr_uuid_format(&items[i].head.id, other);
        st =
            tr_fail(err, TR_E_CONFLICT, NULL, "the snapshot %s is put upon it: remove that one first", other);
    }
    free(items);
    return st;
}

tr_status tr_snapshots_remove(tr_vault *vault, const tr_uuid *id, tr_error *err) {
    char name[64];
    tr_target *target = NULL;
    tr_snapshot_item item;
    tr_status st = TR_OK;
    TR_TRY(tr_snapshots_get(vault, id, &item, err));
    TR_TRY(tr_snapshots_may_remove(vault, id, err));
    TR_TRY(tr_snapshot_name(id, name, err));
    TR_TRY(tr_snapshot_open_target(vault, false, &target, err));
    st = tr_target_remove(target, name, err);
out:
    tr_target_close(target);
    if (st == TR_OK) {
        pthread_mutex_lock(&vault->snapshots->mutex);
        vault->snapshots->looked = false;
        pthread_mutex_unlock(&vault->snapshots->mutex);
    }
    return st;
}

bool tr_snapshots_newest(tr_vault *vault, tr_snapshot_item *item, size_t *count) {
    tr_snapshots *state = vault->snapshots;
    pthread_mutex_lock(&state->mutex);
    bool known = state->looked && state->count > 0;
    *count = state->count;
    if (known)
        *item = state->newest;
    pthread_mutex_unlock(&state->mutex);
    return known;
}

/* ---- tasks ---- */

tr_status tr_snapshots_sweep(const tr_config *config, tr_error *err) {
    static const char *const folders[] = {TR_SNAPSHOT_SCRATCH, TR_DRILL_SCRATCH};
    char path[600];
    tr_status st = TR_OK;
    for (size_t i = 0; st == TR_OK && i < sizeof folders / sizeof *folders; i++) {
        st = tr_config_path(config, folders[i], path, sizeof path, err);
        if (st == TR_OK)
            st = tr_scratch_remove(path, err);
    }
    return st;
}

static const struct {
    const char *event; /* of the log */
    tr_status (*run)(tr_vault *vault, tr_snapshot_work *work, tr_error *err);
} tasks[TR_SNAPSHOT_TASKS] = {[TR_SNAPSHOT_MAKE] = {"snapshot.make", tr_snapshot_make},
                              [TR_SNAPSHOT_VERIFY] = {"snapshot.verify", tr_snapshot_check},
                              [TR_SNAPSHOT_DRILL] = {"snapshot.drill", tr_drill_run}};

/* With the mutex held. */
static void note_end(tr_snapshots *state, const tr_snapshot_work *work) {
    state->last[work->task] = *work;
    state->running = false;
    if (work->task == TR_SNAPSHOT_VERIFY) {
        state->verified[state->verified_next] = *work;
        state->verified_next = (state->verified_next + 1) % TR_VERIFIED_MAX;
        state->verified_count += state->verified_count < TR_VERIFIED_MAX;
    }
    if (work->task == TR_SNAPSHOT_MAKE && work->err.status != TR_OK)
        state->try_after = tr_monotonic_ms() + RETRY_MS;
    pthread_cond_broadcast(&state->changed);
}

static tr_status run_task(tr_vault *vault, tr_snapshot_work *work, tr_error *err) {
    tr_snapshots *state = vault->snapshots;
    work->err = (tr_error){0};
    tr_status st = tasks[work->task].run(vault, work, &work->err);
    work->err.status = st;
    work->ended_at = tr_now_ms();
    tr_log(st == TR_OK ? TR_LOG_INFO : TR_LOG_ERROR, tasks[work->task].event,
           TR_F_TEXT("status", tr_status_slug(st)), TR_F_TEXT("reason", st == TR_OK ? NULL : work->err.what),
           TR_F_TEXT("where", st == TR_OK ? NULL : work->err.where), TR_F_NUM("pages", work->pages),
           TR_F_NUM("bytes", work->bytes), TR_F_NUM("ms", work->ended_at - work->begun_at));
    if (st != TR_OK && err)
        *err = work->err;
    pthread_mutex_lock(&state->mutex);
    note_end(state, work);
    pthread_mutex_unlock(&state->mutex);
    return st;
}

static void *task_main(void *context) {
    tr_vault *vault = context;
    tr_snapshots *state = vault->snapshots;
    tr_snapshot_work work = {0};
    pthread_mutex_lock(&state->mutex);
    for (int i = 0; i < TR_SNAPSHOT_TASKS; i++) {
        if (state->has[i] && state->last[i].ended_at == 0)
            work = state->last[i];
    }
    pthread_mutex_unlock(&state->mutex);
    (void)run_task(vault, &work, NULL);
    return NULL;
}

/* With the mutex held. */
static tr_status may_begin(const tr_vault *vault, tr_error *err) {
    const tr_snapshots *state = vault->snapshots;
    tr_status st = tr_snapshot_has_target(vault, err);
    if (st == TR_OK && state->stop)
        st = tr_fail(err, TR_E_DRAINING, NULL, "the vault is shutting down");
    if (st == TR_OK && state->running)
        st = tr_fail(err, TR_E_CONFLICT, NULL, BUSY);
    return st;
}

tr_status tr_snapshots_may_begin(tr_vault *vault, tr_error *err) {
    pthread_mutex_lock(&vault->snapshots->mutex);
    tr_status st = may_begin(vault, err);
    pthread_mutex_unlock(&vault->snapshots->mutex);
    return st;
}

/* With the mutex held. */
static tr_status take_turn(tr_vault *vault, tr_snapshot_task task, tr_snapshot_want want, const tr_uuid *id,
                           tr_error *err) {
    tr_snapshots *state = vault->snapshots;
    tr_status st = may_begin(vault, err);
    if (st != TR_OK)
        return st;
    state->running = state->has[task] = true;
    state->last[task] = (tr_snapshot_work){.task = task, .want = want, .id = *id, .begun_at = tr_now_ms()};
    return TR_OK;
}

tr_status tr_snapshots_begin(tr_vault *vault, tr_snapshot_task task, tr_snapshot_want want, const tr_uuid *id,
                             tr_error *err) {
    tr_snapshots *state = vault->snapshots;
    pthread_mutex_lock(&state->mutex);
    tr_status st = take_turn(vault, task, want, id, err);
    if (st == TR_OK && state->joinable)
        pthread_join(state->thread, NULL); /* it is at its end */
    if (st == TR_OK) {
        state->joinable = pthread_create(&state->thread, NULL, task_main, vault) == 0;
        if (!state->joinable) {
            state->running = state->has[task] = false;
            st = tr_fail(err, TR_E_NOMEM, NULL, "cannot start a thread");
        }
    }
    pthread_mutex_unlock(&state->mutex);
    return st;
}

static tr_status run_here(tr_vault *vault, tr_snapshot_task task, tr_snapshot_want want, const tr_uuid *id,
                          tr_error *err) {
    tr_snapshots *state = vault->snapshots;
    tr_snapshot_work work = {0};
    pthread_mutex_lock(&state->mutex);
    tr_status st = take_turn(vault, task, want, id, err);
    if (st == TR_OK)
        work = state->last[task];
    pthread_mutex_unlock(&state->mutex);
    return st == TR_OK ? run_task(vault, &work, err) : st;
}

tr_status tr_snapshots_make(tr_vault *vault, tr_snapshot_want want, const tr_uuid *id, tr_error *err) {
    return run_here(vault, TR_SNAPSHOT_MAKE, want, id, err);
}

tr_status tr_snapshots_drill(tr_vault *vault, tr_error *err) {
    const tr_uuid id = tr_uuid_new();
    return run_here(vault, TR_SNAPSHOT_DRILL, TR_WANT_AS_SET, &id, err);
}

bool tr_snapshots_wait(tr_vault *vault, tr_snapshot_task task, const tr_uuid *id, int64_t wait_ms,
                       tr_snapshot_work *work) {
    tr_snapshots *state = vault->snapshots;
    int64_t until = tr_monotonic_ms() + wait_ms;
    const struct timespec at = {.tv_sec = until / 1000, .tv_nsec = (long)(until % 1000) * 1000000};
    bool is, ended;
    pthread_mutex_lock(&state->mutex);
    for (;;) {
        is = state->has[task] && tr_uuid_equal(&state->last[task].id, id);
        ended = is && state->last[task].ended_at != 0;
        if (!is || ended || state->stop || tr_monotonic_ms() >= until)
            break;
        (void)pthread_cond_timedwait(&state->changed, &state->mutex, &at);
    }
    if (ended)
        *work = state->last[task];
    pthread_mutex_unlock(&state->mutex);
    return ended;
}

bool tr_snapshots_last(tr_vault *vault, tr_snapshot_task task, tr_snapshot_work *work) {
    tr_snapshots *state = vault->snapshots;
    pthread_mutex_lock(&state->mutex);
    bool has = state->has[task];
    if (has)
        *work = state->last[task];
    pthread_mutex_unlock(&state->mutex);
    return has;
}

bool tr_snapshots_verified(tr_vault *vault, const tr_uuid *id, tr_snapshot_work *work) {
    tr_snapshots *state = vault->snapshots;
    bool found = false;
    pthread_mutex_lock(&state->mutex);
    for (size_t i = 1; !found && i <= state->verified_count; i++) {
        const tr_snapshot_work *one =
            &state->verified[(state->verified_next + TR_VERIFIED_MAX - i) % TR_VERIFIED_MAX];
        found = tr_uuid_equal(&one->id, id);
        if (found)
            *work = *one;
    }
    pthread_mutex_unlock(&state->mutex);
    return found;
}

/* ---- the schedule ---- */

static tr_status look(tr_vault *vault, tr_error *err) {
    tr_snapshot_item *items = NULL;
    size_t count = 0;
    bool away = false;
    tr_status st = list(vault, &items, &count, &away, err);
    if (st == TR_OK && away && count > 0)
        tr_snapshot_remember(vault, items, count);
    free(items);
    return st;
}

/* A snapshot from the future counts as none: the clock was put back. */
static bool is_due(tr_vault *vault) {
    tr_snapshot_item newest;
    size_t count = 0;
    int64_t now = tr_now_ms(), every = vault->config->backup_every_s * 1000;
    if (!tr_snapshots_newest(vault, &newest, &count))
        return true;
    return newest.head.created_ms > now + every || newest.head.created_ms + every <= now;
}

static bool keys_are_stale(tr_vault *vault) {
    tr_snapshots *state = vault->snapshots;
    pthread_mutex_lock(&state->mutex);
    bool stale = state->keys_master != 0 && state->keys_master != tr_keyring_current(vault->ring);
    pthread_mutex_unlock(&state->mutex);
    return stale && !tr_keys_rewrapping(vault);
}

/* The first comes soon after the first snapshot, when somebody is still looking; one that failed is repeated
 * the day after, if not before. While the log waits for a snapshot, that one comes first. */
static bool drill_is_due(tr_vault *vault) {
    tr_snapshots *state = vault->snapshots;
    const int64_t every = vault->config->backup_drill_every_s * 1000, now = tr_now_ms();
    const int64_t soon = every < FIRST_DRILL_MS ? every : FIRST_DRILL_MS;
    tr_snapshot_item newest;
    tr_log_state log;
    tr_drill last;
    size_t count = 0;
    if (every == 0 || (state->shipping && !tr_snapshots_log(vault, &log)))
        return false;
    if (tr_drill_last(vault, &last)) {
        const int64_t pause = last.ok || every < DRILL_AGAIN_MS ? every : DRILL_AGAIN_MS;
        return last.begun_at > now || last.begun_at + pause <= now;
    }
    return tr_snapshots_newest(vault, &newest, &count) &&
           (tr_monotonic_ms() >= state->begun_at + soon || newest.head.created_ms + soon <= now);
}

/* A drill waits for a snapshot that is due, unless none can be made: then it says so. */
static tr_status begin_due(tr_vault *vault, bool reached, tr_error *err) {
    const tr_uuid id = tr_uuid_new();
    const bool make = vault->config->backup_every_s > 0 && is_due(vault);
    tr_snapshot_work last;
    const bool failing = !reached || (tr_snapshots_last(vault, TR_SNAPSHOT_MAKE, &last) && last.err.status);
    tr_status st = TR_OK;
    if ((failing || !make) && drill_is_due(vault))
        st = tr_snapshots_begin(vault, TR_SNAPSHOT_DRILL, TR_WANT_AS_SET, &id, err);
    else if (make && reached)
        st = tr_snapshots_begin(vault, TR_SNAPSHOT_MAKE, TR_WANT_AS_SET, &id, err);
    return st == TR_E_CONFLICT ? TR_OK : st; /* somebody asked for one just now */
}

tr_status tr_snapshots_tend(tr_vault *vault, bool *more, tr_error *err) {
    tr_snapshots *state = vault->snapshots;
    tr_status st = TR_OK;
    (void)more;
    if (!tr_config_has_backup(vault->config))
        return TR_OK;
    pthread_mutex_lock(&state->mutex);
    bool idle = !state->running && !state->stop && tr_monotonic_ms() >= state->try_after;
    bool looked = state->looked;
    pthread_mutex_unlock(&state->mutex);
    if (!idle)
        return TR_OK;
    if (!looked)
        st = look(vault, err);
    if (st == TR_OK && keys_are_stale(vault))
        st = tr_snapshots_renew_keys(vault, err);
    tr_status begun = begin_due(vault, st == TR_OK, st == TR_OK ? err : NULL);
    st = st == TR_OK ? begun : st;
    if (st != TR_OK) {
        pthread_mutex_lock(&state->mutex);
        state->try_after = tr_monotonic_ms() + RETRY_MS;
        pthread_mutex_unlock(&state->mutex);
    }
    return st;
}

/* ---- master keys ---- */

tr_status tr_snapshots_need_master(tr_vault *vault, uint32_t version, tr_error *err) {
    char id[TR_UUID_TEXT];
    tr_snapshots *state = vault->snapshots;
    tr_snapshot_item *items = NULL;
    tr_target *target = NULL;
    size_t count = 0;
    tr_status st = TR_OK;
    if (!tr_config_has_backup(vault->config))
        return TR_OK;
    pthread_mutex_lock(&state->mutex);
    bool running = state->running;
    pthread_mutex_unlock(&state->mutex);
    if (running)
        return tr_fail(err, TR_E_CONFLICT, NULL, BUSY);
    TR_TRY(tr_snapshots_renew_keys(vault, err));
    TR_TRY(list(vault, &items, &count, NULL, err));
    for (size_t i = 0; st == TR_OK && i < count; i++) {
        if (items[i].head.master != version)
            continue;
        tr_uuid_format(&items[i].head.id, id);
        st = tr_fail(err, TR_E_CONFLICT, NULL, "the snapshot %s can be opened by this version only", id);
    }
    if (st == TR_OK)
        st = tr_snapshot_open_target(vault, false, &target, err);
    if (st == TR_OK)
        st = tr_log_needs_master(target, version, err);
out:
    tr_target_close(target);
    free(items);
    return st;
}
