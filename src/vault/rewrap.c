/* Wrapping data keys again after a rotation, on the sweep's thread. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "vault/erasure.h"
#include "vault/keys_internal.h"
#include "vault/outbox.h"
#include "vault/retention.h"
#include "vault/snapshots.h"

#define BATCH     100
#define SLICE_MS  20000 /* then the sweep has its turn again */
#define PAUSE_PER 4     /* a pause is so many times as long as its batch took */
#define PAUSE_MIN 10000 /* us */
#define PAUSE_MAX 2000000
#define DAY_MS    INT64_C(86400000)

/* In vault.db: the newest version by which all keys were wrapped, as the audit log says. Absent: the first
 * one. */
static const char complete_name[] = "keys.rewrapped";

typedef struct stale_key {
    tr_uuid subject;
    char name[32]; /* of the vault's own; "": a subject's */
    uint32_t was, master;
    tr_buf old, fresh;
    bool failed; /* its master key does not open it, or is not there */
} stale_key;

typedef struct batch {
    tr_vault *vault;
    stale_key *keys;
    size_t count, room;
    uint32_t current;
    int64_t written, failed;
} batch;

static void batch_clear(batch *b) {
    for (size_t i = 0; i < b->count; i++) {
        tr_buf_clear(&b->keys[i].old);
        tr_buf_clear(&b->keys[i].fresh);
    }
    free(b->keys);
}

/* ---- read ---- */

static tr_status add(batch *b, stale_key **out, uint32_t was, tr_bytes wrapped, tr_error *err) {
    if (b->count == b->room) {
        size_t room = b->room ? b->room * 2 : 64;
        stale_key *grown = realloc(b->keys, room * sizeof *grown);
        if (!grown)
            return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
        b->keys = grown;
        b->room = room;
    }
    stale_key *key = &b->keys[b->count++];
    *key = (stale_key){.was = was};
    tr_buf_append(&key->old, wrapped.data, wrapped.len);
    *out = key;
    return tr_buf_ok(&key->old, err);
}

static tr_status add_subject(void *context, const tr_uuid *subject, uint32_t was, tr_bytes wrapped,
                             tr_error *err) {
    stale_key *key = NULL;
    tr_status st = add(context, &key, was, wrapped, err);
    if (key)
        key->subject = *subject;
    return st;
}

static tr_status add_named(void *context, const char *name, uint32_t was, tr_bytes wrapped, tr_error *err) {
    batch *b = context;
    stale_key *key = NULL;
    if (was == b->current)
        return TR_OK;
    tr_status st = add(b, &key, was, wrapped, err);
    if (key)
        (void)snprintf(key->name, sizeof key->name, "%s", name);
    return st;
}

/* ---- unwrap and wrap: no lock of the store is held meanwhile ---- */

static tr_status wrap_again(batch *b, tr_error *err) {
    tr_secret plain = TR_SECRET_INIT;
    tr_status st = TR_OK;
    for (size_t i = 0; st == TR_OK && i < b->count; i++) {
        stale_key *key = &b->keys[i];
        st =
            tr_keyring_unwrap(b->vault->ring, key->was, (tr_bytes){key->old.data, key->old.len}, &plain, err);
        key->failed = st == TR_E_CORRUPT || st == TR_E_NOT_FOUND;
        b->failed += key->failed;
        if (st == TR_OK)
            st = tr_keyring_wrap(b->vault->ring, &plain, &key->fresh, &key->master, err);
        else if (key->failed) /* the others must not wait for it */
            st = TR_OK;
    }
    tr_secret_clear(&plain);
    return st;
}

/* ---- write ---- */

/* A key that is gone, or was wrapped meanwhile by a version that is no longer current, is left alone. */
static tr_status write_job(void *context, tr_db *tx, tr_error *err) {
    batch *b = context;
    uint32_t current = tr_keyring_current(b->vault->ring);
    tr_status st = TR_OK;
    b->written = 0;
    for (size_t i = 0; st == TR_OK && i < b->count; i++) {
        const stale_key *key = &b->keys[i];
        tr_bytes fresh = {key->fresh.data, key->fresh.len};
        if (key->failed || key->master != current)
            continue;
        st = key->name[0] ? tr_named_key_rewrap(tx, key->name, key->was, key->master, fresh, err)
                          : tr_key_rewrap(tx, &key->subject, key->was, key->master, fresh, err);
        b->written += st == TR_OK;
        st = st == TR_E_NOT_FOUND ? TR_OK : st;
    }
    return st;
}

/* ---- the end ---- */

struct ending {
    tr_vault *vault;
    const tr_master_info *masters;
    size_t count;
    uint32_t current;
    bool clean;
};

/* Asked inside a job: what was being registered under an older version when the table was read is seen here.
 */
static tr_status end_job(void *context, tr_db *tx, tr_error *err) {
    struct ending *e = context;
    uint32_t complete = 0;
    bool in_use = false;
    char detail[48];
    tr_status st = TR_OK;
    e->current = tr_keyring_current(e->vault->ring);
    for (size_t i = 0; st == TR_OK && !in_use && i < e->count; i++) {
        if (e->masters[i].version != e->current)
            st = tr_key_in_use(tx, e->masters[i].version, &in_use, err);
    }
    e->clean = st == TR_OK && !in_use;
    if (e->clean)
        st = tr_version_get(tx, complete_name, &complete, err);
    if (!e->clean || st != TR_OK || complete == e->current)
        return st;
    (void)snprintf(detail, sizeof detail, "version %u", e->current);
    tr_event event = {.at = tr_now_ms(), .action = "keys.rewrapped", .outcome = TR_OK, .detail = detail};
    st = tr_version_put(tx, complete_name, e->current, err);
    return st == TR_OK ? tr_event_append(tx, &event, err) : st;
}

static tr_status end_pass(tr_vault *vault, tr_error *err) {
    struct ending e = {.vault = vault};
    tr_master_info *masters = NULL;
    tr_status st = tr_masters_get(vault->ring, &masters, &e.count, err);
    e.masters = masters;
    if (st == TR_OK)
        st = tr_store_write(vault->store, end_job, &e, err);
    if (st == TR_OK && e.clean)
        vault->key_work->clean = e.current;
    if (vault->key_work->pass_failed > 0)
        tr_log(TR_LOG_ERROR, "keys.not_rewrapped", TR_F_NUM("count", vault->key_work->pass_failed),
               TR_F_TEXT("reason", "their master key is missing or does not open them"));
    free(masters);
    return st;
}

/* ---- a batch ---- */

tr_status tr_keys_rewrap_some(tr_vault *vault, int most, bool *done, tr_error *err) {
    tr_key_work *work = vault->key_work;
    tr_db *db = NULL;
    batch b = {.vault = vault, .current = tr_keyring_current(vault->ring)};
    tr_status st = TR_OK;
    *done = !tr_keys_rewrapping(vault);
    if (*done)
        return TR_OK;
    TR_TRY(tr_store_reader(vault->store, &db, err));
    if (!work->in_pass) {
        work->pass_written = work->pass_failed = 0;
        TR_TRY(tr_named_key_list(db, add_named, &b, err));
    }
    const size_t named = b.count;
    TR_TRY(tr_key_list_stale(db, b.current, work->in_pass ? &work->after : NULL, most, add_subject, &b, err));
    TR_TRY(wrap_again(&b, err));
    if (b.count > 0)
        TR_TRY(tr_store_write(vault->store, write_job, &b, err));
    work->pass_written += b.written;
    work->pass_failed += b.failed;
    work->in_pass = b.count - named == (size_t)most;
    if (work->in_pass)
        work->after = b.keys[b.count - 1].subject;
    else
        TR_TRY(end_pass(vault, err));
    *done = !tr_keys_rewrapping(vault);
out:
    batch_clear(&b);
    return st;
}

/* ---- what the sweep does ---- */

/* True when the time is over, false when the vault is to stop. */
static bool pause_us(tr_key_work *work, int64_t us) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    int64_t ns = until.tv_nsec + us % 1000000 * 1000;
    until.tv_sec += us / 1000000 + ns / 1000000000;
    until.tv_nsec = ns % 1000000000;
    pthread_mutex_lock(&work->mutex);
    while (!work->stop && pthread_cond_timedwait(&work->stopped, &work->mutex, &until) == 0) {
    }
    bool go_on = !work->stop;
    pthread_mutex_unlock(&work->mutex);
    return go_on;
}

static int64_t pause_after(int64_t took_us) {
    int64_t us = took_us * PAUSE_PER;
    return us < PAUSE_MIN ? PAUSE_MIN : us > PAUSE_MAX ? PAUSE_MAX : us;
}

/* Batch by batch, with pauses that leave the machine to the requests. */
static tr_status rewrap(tr_vault *vault, bool *more, tr_error *err) {
    tr_key_work *work = vault->key_work;
    const int64_t end = tr_monotonic_ms() + SLICE_MS;
    tr_status st = TR_OK;
    bool done = false, again = true, go_on = true;
    while (st == TR_OK && !done && again && go_on && tr_monotonic_ms() < end) {
        int64_t begun = tr_monotonic_us();
        st = tr_keys_rewrap_some(vault, BATCH, &done, err);
        /* At the end of a pass that changed nothing, what is left does not open: not again before a minute.
         */
        again = work->in_pass || work->pass_written > 0;
        if (st == TR_OK && !done && again)
            go_on = pause_us(work, pause_after(tr_monotonic_us() - begun));
    }
    *more = st == TR_OK && !done && again && go_on;
    return st;
}

struct rotation {
    uint32_t version;
    const char *detail;
};

static tr_status rotation_job(void *context, tr_db *tx, tr_error *err) {
    struct rotation *r = context;
    tr_event event = {.at = tr_now_ms(), .action = "keys.rotate", .outcome = TR_OK, .detail = r->detail};
    tr_status st = tr_keys_note(tx, r->version, err);
    return st == TR_OK ? tr_event_append(tx, &event, err) : st;
}

/* The age of the current version, ms. */
static tr_status current_age(tr_vault *vault, int64_t *age, tr_error *err) {
    tr_master_info *masters = NULL;
    size_t count = 0;
    tr_status st = tr_masters_get(vault->ring, &masters, &count, err);
    *age = 0;
    for (size_t i = 0; st == TR_OK && i < count; i++) {
        if (masters[i].current)
            *age = tr_now_ms() - masters[i].created_ms;
    }
    free(masters);
    return st;
}

/* Locked. A rotation that was cut off before its entry was durable is left for a while to the client that
 * asked for it and asks again: it is told of this one, and there is no second. */
static tr_status rotate_when_due(tr_vault *vault, tr_error *err) {
    const tr_config *config = vault->config;
    struct rotation r = {.detail = "found: its request was cut off"};
    int64_t age = 0;
    bool unlogged = false;
    tr_status st = tr_keys_unlogged(vault, &r.version, &unlogged, err);
    if (st == TR_OK)
        st = current_age(vault, &age, err);
    if (st != TR_OK)
        return st;
    if (unlogged ? age >= 0 && age < config->token_recovery_ms
                 : config->key_rotation == 0 || age < config->key_rotation * DAY_MS)
        return TR_OK;
    if (!unlogged) {
        r.detail = "scheduled";
        st = tr_keyring_rotate(vault->ring, &r.version, err);
    }
    return st == TR_OK ? tr_store_write(vault->store, rotation_job, &r, err) : st;
}

tr_status tr_keys_tend(tr_vault *vault, bool *more, tr_error *err) {
    tr_error why = {0};
    *more = false;
    tr_keys_lock(vault);
    tr_status st = rotate_when_due(vault, err);
    tr_keys_unlock(vault);
    /* Whatever came of that, what is stale is wrapped again. */
    tr_status after = rewrap(vault, more, &why);
    if (st == TR_OK && after != TR_OK && err)
        *err = why;
    return st == TR_OK ? after : st;
}

void tr_vault_set_wake(tr_vault *vault, void (*wake)(void *), void *context) {
    vault->key_work->wake = wake;
    vault->key_work->wake_context = context;
}

void tr_vault_wake(tr_vault *vault) {
    if (vault->key_work->wake)
        vault->key_work->wake(vault->key_work->wake_context);
}

void tr_vault_end_sweep(tr_vault *vault) {
    tr_key_work *work = vault->key_work;
    tr_erasures_end(vault);
    tr_retention_end(vault);
    tr_snapshots_end(vault);
    tr_outbox_end(vault);
    pthread_mutex_lock(&work->mutex);
    work->stop = true;
    pthread_cond_broadcast(&work->stopped);
    pthread_mutex_unlock(&work->mutex);
}
