/* The log: what changed since a snapshot is cut into segments, each of one committed moment, about every
 * second, so that a lost disk takes a second with it and a restore can stop at any of these moments.
 *
 * Which pages changed the store knows while it is open (store/moment.h). When that is not certain, after a
 * start or a fault, the log ends there and a new snapshot begins another one. A segment that could not be put
 * in place is cut anew under its number, with what changed meanwhile. No snapshot's moment lies between a
 * segment's and the end of its writing: so "behind segment n" is true of all of it.
 */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "vault/snapshots_internal.h"

#define LOGGED    (TR_IN_VAULT | TR_IN_AUDIT)
#define LOOK_MS   50  /* how often the shipper looks whether something changed */
#define CUT_MS    700 /* a segment at most that often, unless much has changed: the writing takes time too */
#define CUT_PAGES 256 /* much: 1 MiB */
#define RETRY_MS  2000
#define DAY_MS    ((int64_t)86400000)
#define DATABASES 2

/* ---- where a snapshot is in it ---- */

/* With the log's mutex held. Before a log has begun, what was noted of changes is of no use. */
static tr_status begin_log(tr_vault *vault, const tr_uuid *id, tr_moment **moment, tr_error *err) {
    tr_snapshots *state = vault->snapshots;
    tr_status st =
        tr_moment_begin_changed(vault->store, LOGGED | TR_BY_MANY, &state->log_changed, moment, err);
    tr_changed_clear(&state->log_changed, LOGGED);
    if (st != TR_OK)
        return st;
    const tr_moment_info *about = tr_moment_about(*moment);
    state->log_on = true;
    state->log = *id;
    state->log_number = 0;
    state->log_at = about->at;
    state->log_behind_at = 0;
    state->reached_number = 0;
    state->reached_at = about->at;
    memset(state->log_previous, 0, sizeof state->log_previous);
    for (size_t i = 0; i < about->count; i++)
        state->log_pages[i] = about->databases[i].pages;
    return TR_OK;
}

tr_status tr_log_moment(tr_vault *vault, const tr_uuid *id, tr_moment **moment, tr_snapshot_head *head,
                        tr_error *err) {
    tr_snapshots *state = vault->snapshots;
    tr_status st = TR_OK;
    pthread_mutex_lock(&state->log_mutex);
    if (state->shipping && !state->log_on)
        st = begin_log(vault, id, moment, err);
    else
        st = tr_moment_begin(vault->store, LOGGED | TR_BY_MANY, moment, err);
    if (st == TR_OK)
        tr_snapshot_describe(vault, tr_moment_about(*moment), TR_SNAPSHOT_FULL, id, head);
    if (st == TR_OK && state->log_on) {
        head->log = state->log;
        head->log_number = state->log_number;
        head->created_ms = head->created_ms > state->log_at ? head->created_ms : state->log_at;
    }
    pthread_mutex_unlock(&state->log_mutex);
    return st;
}

void tr_log_forget(tr_vault *vault, const tr_uuid *id) {
    tr_snapshots *state = vault->snapshots;
    pthread_mutex_lock(&state->log_mutex);
    if (state->log_on && tr_uuid_equal(&state->log, id))
        state->log_on = false;
    pthread_mutex_unlock(&state->log_mutex);
}

bool tr_snapshots_log(tr_vault *vault, tr_log_state *out) {
    tr_snapshots *state = vault->snapshots;
    pthread_mutex_lock(&state->log_mutex);
    const bool on = state->log_on;
    *out = (tr_log_state){state->log, state->reached_number, state->reached_at, 0};
    if (state->log_behind_at)
        out->behind_ms = tr_monotonic_ms() - state->log_behind_at;
    if (state->reached_number < state->log_number && tr_now_ms() - state->reached_at > out->behind_ms)
        out->behind_ms = tr_now_ms() - state->reached_at; /* some is in the spool only */
    pthread_mutex_unlock(&state->log_mutex);
    return on;
}

bool tr_log_cut(tr_vault *vault, tr_log_state *cut) {
    tr_snapshots *state = vault->snapshots;
    pthread_mutex_lock(&state->log_mutex);
    const bool on = state->log_on;
    *cut = (tr_log_state){state->log, state->log_number, state->log_at, 0};
    pthread_mutex_unlock(&state->log_mutex);
    return on;
}

void tr_log_reached(tr_vault *vault, const tr_log_state *cut) {
    tr_snapshots *state = vault->snapshots;
    pthread_mutex_lock(&state->log_mutex);
    if (state->log_on && tr_uuid_equal(&state->log, &cut->id) && cut->number > state->reached_number) {
        state->reached_number = cut->number;
        state->reached_at = cut->at;
    }
    pthread_mutex_unlock(&state->log_mutex);
}

/* ---- a segment ---- */

struct cut {
    tr_snapshot_writer *writer;
    tr_target_file *file;
    tr_hash *hash;
};

static tr_status write_hashed(void *context, tr_bytes bytes, tr_error *err) {
    const struct cut *cut = context;
    tr_status st = tr_target_write(cut->file, bytes, err);
    return st == TR_OK ? tr_hash_update(cut->hash, bytes.data, bytes.len, err) : st;
}

static tr_status write_page(void *context, const tr_db_page *page, tr_error *err) {
    const struct cut *cut = context;
    return tr_snapshot_writer_page(cut->writer, page->database, page->number, page->content, err);
}

/* Pages behind the old end travel in any case. False: this is no continuation of what was shipped. */
static bool add_grown(tr_snapshots *state, const tr_moment_info *about) {
    static const int places[DATABASES] = {0, 2}; /* in a tr_changed: vault.db, audit.db */
    bool good = !tr_changed_unsure(&state->log_changed, LOGGED) && about->count == DATABASES;
    for (size_t i = 0; good && i < DATABASES; i++) {
        good = about->databases[i].pages >= state->log_pages[i];
        for (uint32_t page = state->log_pages[i] + 1; good && page <= about->databases[i].pages; page++)
            tr_page_set_add(&state->log_changed.sets[places[i]], page);
        if (good && about->databases[i].pages > state->log_pages[i])
            tr_page_set_add(&state->log_changed.sets[places[i]], 1);
    }
    return good && !tr_changed_unsure(&state->log_changed, LOGGED);
}

static void describe(tr_vault *vault, const tr_moment_info *about, tr_snapshot_head *head) {
    const tr_snapshots *state = vault->snapshots;
    const tr_uuid id = tr_uuid_new();
    tr_snapshot_describe(vault, about, TR_SNAPSHOT_SEGMENT, &id, head);
    head->log = state->log;
    head->log_number = state->log_number + 1;
    head->created_ms = head->created_ms > state->log_at ? head->created_ms : state->log_at;
    memcpy(head->log_previous, state->log_previous, sizeof head->log_previous);
}

static void note_segment(tr_snapshots *state, const tr_snapshot_head *head, const uint8_t sum[TR_SHA256_LEN],
                         int64_t behind_at) {
    state->log_number = head->log_number;
    state->log_at = head->created_ms;
    memcpy(state->log_previous, sum, sizeof state->log_previous);
    for (size_t i = 0; i < head->database_count; i++)
        state->log_pages[i] = head->databases[i].pages;
    state->log_behind_at = behind_at;
    tr_changed_clear(&state->log_changed, LOGGED);
}

static tr_status begin_file(tr_target *target, const tr_snapshot_head *head, struct cut *cut, tr_error *err) {
    char name[TR_CHAIN_NAME], folder[TR_CHAIN_NAME];
    tr_status st = TR_OK;
    tr_segment_name(&head->log, head->log_number, name);
    memcpy(folder, name, sizeof folder);
    *strrchr(folder, '/') = '\0';
    TR_TRY(tr_target_folder(target, TR_TARGET_LOG, err));
    TR_TRY(tr_target_folder(target, folder, err));
    TR_TRY(tr_hash_new(&cut->hash, err));
    st = tr_target_begin(target, name, &cut->file, err);
out:
    return st;
}

/* A segment that goes into the spool without them says that it needs keys as new as itself. */
static tr_status ship_keys(tr_vault *vault, tr_target *target, tr_snapshot_head *head, tr_error *err) {
    tr_error why = {0};
    tr_status st = tr_snapshot_ship_keys(vault, target, &head->log_keys_ms, &why);
    if (tr_snapshot_can_wait(vault, st)) {
        tr_spool_owe_keys(vault);
        head->log_keys_ms = head->created_ms;
        return TR_OK;
    }
    if (st != TR_OK && err)
        *err = why;
    return st;
}

static tr_status cut_segment(tr_vault *vault, tr_target *target, tr_error *err) {
    tr_snapshots *state = vault->snapshots;
    const int64_t begun_at = tr_monotonic_ms();
    uint8_t sum[TR_SHA256_LEN];
    struct cut cut = {NULL, NULL, NULL};
    tr_moment *moment = NULL;
    tr_snapshot_head head;
    tr_status st = TR_OK;
    TR_TRY(tr_moment_begin_changed(vault->store, LOGGED, &state->log_changed, &moment, err));
    if (!add_grown(state, tr_moment_about(moment))) {
        state->log_on = false;
        goto out;
    }
    describe(vault, tr_moment_about(moment), &head);
    TR_TRY(ship_keys(vault, target, &head, err));
    TR_TRY(begin_file(target, &head, &cut, err));
    TR_TRY(tr_snapshot_writer_open(vault->ring, &head, write_hashed, &cut, &cut.writer, err));
    TR_TRY(tr_moment_read_changed(moment, &state->log_changed, write_page, &cut, err));
    TR_TRY(tr_snapshot_writer_close(cut.writer, NULL, err));
    tr_moment_end(moment);
    moment = NULL;
    TR_TRY(tr_hash_final(cut.hash, sum, err));
    st = tr_target_commit(cut.file, err);
    cut.file = NULL;
    if (st == TR_OK)
        note_segment(state, &head, sum, tr_store_changed_pages(vault->store, LOGGED) ? begun_at : 0);
out:
    tr_moment_end(moment);
    tr_snapshot_writer_free(cut.writer);
    tr_target_abort(cut.file);
    tr_hash_free(cut.hash);
    return st;
}

static tr_status cut_now(tr_vault *vault, tr_error *err) {
    tr_snapshots *state = vault->snapshots;
    tr_target *target = NULL;
    tr_log_state cut;
    tr_status st = tr_snapshot_open_target(vault, true, &target, err);
    pthread_mutex_lock(&state->log_mutex);
    if (st == TR_OK && state->log_on)
        st = cut_segment(vault, target, err);
    pthread_mutex_unlock(&state->log_mutex);
    tr_target_close(target);
    if (state->spool)
        (void)tr_spool_flush(vault, TR_LANE_LOG, NULL); /* it says itself what waits */
    else if (st == TR_OK && tr_log_cut(vault, &cut))
        tr_log_reached(vault, &cut);
    return st;
}

/* ---- the shipper ---- */

struct shipper {
    tr_vault *vault;
    int64_t cut_at, try_at; /* monotonic */
    bool failing, ending;
};

static void say(struct shipper *s, tr_status st, const tr_error *err) {
    if (st != TR_OK && !s->failing)
        tr_log(TR_LOG_ERROR, "log.failing", TR_F_TEXT("status", tr_status_slug(st)),
               TR_F_TEXT("reason", err->what), TR_F_TEXT("where", err->where));
    if (st == TR_OK && s->failing)
        tr_log(TR_LOG_INFO, "log.resumed");
    s->failing = st != TR_OK;
    s->try_at = st == TR_OK ? 0 : tr_monotonic_ms() + RETRY_MS;
}

static bool is_due(const struct shipper *s) {
    tr_snapshots *state = s->vault->snapshots;
    const uint64_t pages = tr_store_changed_pages(s->vault->store, LOGGED);
    pthread_mutex_lock(&state->log_mutex);
    const bool behind = tr_changed_count(&state->log_changed, LOGGED) > 0; /* a segment failed */
    if ((pages > 0 || behind) && state->log_behind_at == 0)
        state->log_behind_at = tr_monotonic_ms();
    pthread_mutex_unlock(&state->log_mutex);
    if (pages == 0 && !behind)
        return false;
    return s->ending || behind || pages >= CUT_PAGES || tr_monotonic_ms() >= s->cut_at + CUT_MS;
}

static void look(struct shipper *s) {
    tr_error err = {0};
    tr_log_state log;
    tr_status st = TR_OK;
    if (tr_monotonic_ms() < s->try_at && !s->ending)
        return;
    if (tr_snapshots_log(s->vault, &log)) {
        if (!is_due(s))
            return;
        s->cut_at = tr_monotonic_ms();
        st = cut_now(s->vault, &err);
        say(s, st, &err);
        return;
    }
    const tr_uuid id = tr_uuid_new();
    if (!s->ending)
        (void)tr_snapshots_begin(s->vault, TR_SNAPSHOT_MAKE, TR_WANT_AS_SET, &id, &err);
    s->try_at = tr_monotonic_ms() + RETRY_MS; /* its own failure is said by the task */
}

/* False: it is time to end. */
static bool wait_a_little(tr_snapshots *state) {
    const int64_t until = tr_monotonic_ms() + LOOK_MS;
    const struct timespec at = {.tv_sec = until / 1000, .tv_nsec = (long)(until % 1000) * 1000000};
    pthread_mutex_lock(&state->mutex);
    while (!state->stop && pthread_cond_timedwait(&state->changed, &state->mutex, &at) == 0) {
    }
    const bool go_on = !state->stop;
    pthread_mutex_unlock(&state->mutex);
    return go_on;
}

static void *ship(void *context) {
    struct shipper s = {.vault = context};
    do {
        look(&s);
        tr_store_rest(s.vault->store);
    } while (wait_a_little(s.vault->snapshots));
    s.ending = true;
    look(&s);
    return NULL;
}

tr_status tr_snapshots_ship(tr_vault *vault, tr_error *err) {
    tr_snapshots *state = vault->snapshots;
    tr_status st = tr_spool_begin(vault, err);
    if (st != TR_OK || !vault->config->backup_log || !tr_config_has_backup(vault->config))
        return st;
    state->shipping = true;
    if (pthread_create(&state->shipper, NULL, ship, vault) == 0)
        return TR_OK;
    state->shipping = false;
    return tr_fail(err, TR_E_NOMEM, NULL, "cannot start a thread");
}

void tr_log_join(tr_vault *vault) {
    tr_snapshots *state = vault->snapshots;
    if (state->shipping)
        pthread_join(state->shipper, NULL);
    state->shipping = false;
}

/* ---- what is not needed any more ---- */

struct dropping {
    tr_vault *vault;
    tr_target *target;
    const tr_snapshot_item *items;
    size_t count;
    int64_t until; /* the segments up to this number of the folder's log go */
};

/* Snapshots that are older than the log is kept need none of it, but the newest. */
static int64_t last_useless(const struct dropping *d, const tr_uuid *log) {
    const int64_t since = tr_now_ms() - d->vault->config->backup_log_days * DAY_MS;
    int64_t useless = INT64_MAX;
    tr_log_state now;
    for (size_t i = 0; i < d->count; i++) {
        const tr_snapshot_head *head = &d->items[i].head;
        if (tr_uuid_equal(&head->log, log) && (head->created_ms >= since || i + 1 == d->count) &&
            head->log_number < useless)
            useless = head->log_number;
    }
    if (useless == INT64_MAX && tr_snapshots_log(d->vault, &now) && tr_uuid_equal(&now.id, log))
        useless = 0; /* its snapshot is being made */
    return useless;
}

static tr_status drop_segment(void *context, const char *name, tr_error *err) {
    const struct dropping *d = context;
    const int64_t number = tr_segment_number(name);
    if (number == 0 || number > d->until)
        return TR_OK;
    tr_status st = tr_target_remove(d->target, name, err);
    return st == TR_E_NOT_FOUND ? TR_OK : st;
}

static void folder_of(const char *log, char folder[TR_CHAIN_NAME]) {
    (void)snprintf(folder, TR_CHAIN_NAME, TR_TARGET_LOG "/%.40s", log);
}

static tr_status drop_of_log(void *context, const char *name, tr_error *err) {
    struct dropping *d = context;
    char folder[TR_CHAIN_NAME];
    tr_uuid log;
    if (!tr_uuid_parse(name, strlen(name), &log))
        return TR_OK;
    d->until = last_useless(d, &log);
    if (d->until == 0)
        return TR_OK;
    folder_of(name, folder);
    tr_status st = tr_target_list_in(d->target, folder, drop_segment, d, err);
    if (st == TR_OK && d->until == INT64_MAX)
        tr_target_remove_folder(d->target, folder);
    return st;
}

tr_status tr_log_drop(tr_vault *vault, tr_target *target, const tr_snapshot_item *items, size_t count,
                      tr_error *err) {
    struct dropping d = {.vault = vault, .target = target, .items = items, .count = count};
    return tr_target_folders(target, TR_TARGET_LOG, drop_of_log, &d, err);
}

/* ---- master keys ---- */

struct search {
    tr_target *target;
    uint32_t version;
};

static tr_status look_at_segment(void *context, const char *name, tr_error *err) {
    const struct search *s = context;
    tr_target_source *source = NULL;
    tr_snapshot_head head;
    tr_status st = tr_target_read(s->target, name, &source, err);
    if (st == TR_OK)
        st = tr_snapshot_peek(tr_target_source_read, source, &head, err);
    tr_target_source_close(source);
    if (st == TR_E_NOT_FOUND || st == TR_E_CORRUPT || st == TR_E_CONFIG)
        return TR_OK;
    return st == TR_OK && head.master == s->version
               ? tr_fail(err, TR_E_CONFLICT, NULL, "%s in the backup can be opened by this version only",
                         name)
               : st;
}

static tr_status look_at_log(void *context, const char *name, tr_error *err) {
    const struct search *s = context;
    char folder[TR_CHAIN_NAME];
    folder_of(name, folder);
    return tr_target_list_in(s->target, folder, look_at_segment, context, err);
}

tr_status tr_log_needs_master(tr_target *target, uint32_t version, tr_error *err) {
    struct search s = {target, version};
    return tr_target_folders(target, TR_TARGET_LOG, look_at_log, &s, err);
}
