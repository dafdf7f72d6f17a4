#include "vault/snapshot_spool.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "vault/remove_file.h"
#include "vault/snapshots_internal.h"

struct tr_spool {
    char folder[512];
    int64_t limit;
    _Atomic int64_t bytes, files;
    tr_target *target;
    pthread_mutex_t lanes[TR_LANES]; /* held while one is uploaded */
    bool left[TR_LANES];             /* with the lane's: an upload may have been cut off */
    pthread_mutex_t keys_mutex;      /* what follows */
    uint64_t settled;
    _Atomic uint64_t owed; /* more than `settled`: the store needs a newer copy of the keys */
    _Atomic bool failing, keys_left;
};

/* ---- the folder ---- */

struct counting {
    int64_t bytes, files;
};

/* Parts go; what is whole is counted. */
static tr_status tidy(const char *folder, struct counting *c, tr_error *err) {
    struct stat info;
    DIR *list = opendir(folder);
    if (!list)
        return errno == ENOENT ? TR_OK : tr_fail_errno(err, folder, "cannot look into the spool");
    for (const struct dirent *entry; (entry = readdir(list));) {
        const char *name = entry->d_name;
        if (strncmp(name, ".part-", 6) == 0)
            (void)tr_remove_file(dirfd(list), name);
        else if (fstatat(dirfd(list), name, &info, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(info.st_mode)) {
            c->files++;
            c->bytes += info.st_size;
        }
    }
    closedir(list);
    return TR_OK;
}

struct tidying {
    const tr_spool *spool;
    struct counting *counted;
};

static tr_status tidy_log(void *context, const char *name, tr_error *err) {
    const struct tidying *t = context;
    char folder[sizeof t->spool->folder + 128];
    (void)snprintf(folder, sizeof folder, "%s/" TR_TARGET_LOG "/%.100s", t->spool->folder, name);
    return tidy(folder, t->counted, err);
}

static tr_status open_folder(tr_spool *spool, tr_error *err) {
    char snapshots[sizeof spool->folder + 16];
    struct counting root = {0}, c = {0};
    struct tidying t = {spool, &c};
    tr_status st = TR_OK;
    if (mkdir(spool->folder, 0700) != 0 && errno != EEXIST)
        return tr_fail_errno(err, spool->folder, "cannot make the spool");
    TR_TRY(tr_target_open(spool->folder, true, &spool->target, err));
    (void)snprintf(snapshots, sizeof snapshots, "%s/" TR_TARGET_SNAPSHOTS, spool->folder);
    TR_TRY(tidy(spool->folder, &root, err));
    TR_TRY(tidy(snapshots, &c, err));
    TR_TRY(tr_target_folders(spool->target, TR_TARGET_LOG, tidy_log, &t, err));
    spool->bytes = c.bytes;
    spool->files = c.files;
out:
    return st;
}

tr_status tr_spool_new(const char *folder, int64_t limit, tr_spool **out, tr_error *err) {
    tr_spool *spool = calloc(1, sizeof *spool);
    *out = NULL;
    if (!spool)
        return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    (void)snprintf(spool->folder, sizeof spool->folder, "%s", folder);
    spool->limit = limit;
    spool->keys_left = true;
    spool->owed = 1; /* nobody knows how new the store's copy is */
    for (int i = 0; i < TR_LANES; i++) {
        spool->left[i] = true;
        pthread_mutex_init(&spool->lanes[i], NULL);
    }
    pthread_mutex_init(&spool->keys_mutex, NULL);
    tr_status st = open_folder(spool, err);
    if (st == TR_OK)
        *out = spool;
    else
        tr_spool_free(spool);
    return st;
}

void tr_spool_free(tr_spool *spool) {
    if (!spool)
        return;
    tr_target_close(spool->target);
    for (int i = 0; i < TR_LANES; i++)
        pthread_mutex_destroy(&spool->lanes[i]);
    pthread_mutex_destroy(&spool->keys_mutex);
    free(spool);
}

tr_target *tr_spool_target(const tr_spool *spool) {
    return spool->target;
}

tr_status tr_spool_take(tr_spool *spool, int64_t bytes, tr_error *err) {
    if (atomic_fetch_add(&spool->bytes, bytes) + bytes <= spool->limit)
        return TR_OK;
    spool->bytes -= bytes;
    return tr_fail(
        err, TR_E_DISK_FULL, spool->folder,
        "the spool is full: what waits for the backup store, and this, is more than backup_spool_bytes");
}

void tr_spool_give(tr_spool *spool, int64_t bytes) {
    spool->bytes -= bytes;
}

void tr_spool_count(tr_spool *spool, int more) {
    spool->files += more;
}

_Atomic bool *tr_spool_keys_left(tr_spool *spool) {
    return &spool->keys_left;
}

void tr_spool_now(const tr_spool *spool, int64_t *files, int64_t *bytes) {
    *files = spool->files;
    *bytes = spool->bytes;
}

bool tr_snapshots_spool(tr_vault *vault, tr_spool_state *out) {
    const tr_snapshots *state = vault->snapshots;
    *out = (tr_spool_state){0};
    if (!state->spool)
        return false;
    tr_spool_now(state->spool, &out->files, &out->bytes);
    out->away = tr_s3_failing(state->store, &out->why);
    return true;
}

/* ---- what waits ---- */

struct waiting {
    char (*names)[TR_CHAIN_NAME];
    size_t count, room;
    tr_target *target;
};

static tr_status add_name(void *context, const char *name, tr_error *err) {
    struct waiting *w = context;
    if (w->count == w->room) {
        const size_t room = w->room ? w->room * 2 : 16;
        char(*grown)[TR_CHAIN_NAME] = realloc(w->names, room * sizeof *grown);
        if (!grown)
            return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
        w->names = grown;
        w->room = room;
    }
    if (strlen(name) < sizeof w->names[0])
        (void)snprintf(w->names[w->count++], sizeof w->names[0], "%s", name);
    return TR_OK;
}

static tr_status add_log(void *context, const char *log, tr_error *err) {
    const struct waiting *w = context;
    char folder[TR_CHAIN_NAME];
    (void)snprintf(folder, sizeof folder, TR_TARGET_LOG "/%.80s", log);
    return tr_target_list_in(w->target, folder, add_name, context, err);
}

static int by_name(const void *a, const void *b) {
    return strcmp(a, b);
}

/* Ids and numbers are in order of time. */
static tr_status find_waiting(const tr_spool *spool, tr_spool_lane lane, struct waiting *w, tr_error *err) {
    *w = (struct waiting){.target = spool->target};
    tr_status st = lane == TR_LANE_LOG ? tr_target_folders(spool->target, TR_TARGET_LOG, add_log, w, err)
                                       : tr_target_list(spool->target, add_name, w, err);
    if (st == TR_OK && w->count > 1)
        qsort(w->names, w->count, sizeof w->names[0], by_name);
    return st;
}

/* ---- the keys ---- */

void tr_spool_owe_keys(tr_vault *vault) {
    vault->snapshots->spool->owed++;
}

/* The next copy of the keys is to be as new as what waits, though the clock was put back. */
static tr_status raise_keys(tr_vault *vault, const struct waiting *w, tr_error *err) {
    tr_snapshots *state = vault->snapshots;
    tr_status st = TR_OK;
    for (size_t i = 0; st == TR_OK && i < w->count; i++) {
        tr_target_source *source = NULL;
        tr_snapshot_head head;
        st = tr_target_read(w->target, w->names[i], &source, err);
        const bool known =
            st == TR_OK && tr_snapshot_peek(tr_target_source_read, source, &head, NULL) == TR_OK;
        tr_target_source_close(source);
        if (st == TR_E_NOT_FOUND) /* it was removed */
            st = TR_OK;
        if (!known)
            continue;
        const int64_t at = head.log_keys_ms > head.created_ms ? head.log_keys_ms : head.created_ms;
        pthread_mutex_lock(&state->mutex);
        state->keys_at = state->keys_at > at ? state->keys_at : at;
        pthread_mutex_unlock(&state->mutex);
    }
    return st;
}

static tr_status settle_keys(tr_vault *vault, tr_error *err) {
    tr_spool *spool = vault->snapshots->spool;
    struct waiting w = {0};
    tr_status st = TR_OK;
    pthread_mutex_lock(&spool->keys_mutex);
    const uint64_t owed = spool->owed;
    if (spool->settled < owed) {
        for (int lane = 0; st == TR_OK && lane < TR_LANES; lane++) {
            st = find_waiting(spool, (tr_spool_lane)lane, &w, err);
            if (st == TR_OK)
                st = raise_keys(vault, &w, err);
            free(w.names);
        }
        if (st == TR_OK)
            st = tr_snapshots_renew_keys(vault, err);
        if (st == TR_OK)
            spool->settled = owed;
    }
    pthread_mutex_unlock(&spool->keys_mutex);
    return st;
}

/* ---- upload ---- */

static tr_status put(const tr_spool *spool, tr_s3 *store, const char *name, int64_t *size, tr_error *err) {
    char path[sizeof spool->folder + TR_CHAIN_NAME + 2];
    struct stat info;
    (void)snprintf(path, sizeof path, "%s/%s", spool->folder, name);
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? TR_E_NOT_FOUND : tr_fail_errno(err, path, "cannot be opened");
    tr_status st = fstat(fd, &info) == 0 ? TR_OK : tr_fail_errno(err, path, "cannot be read");
    if (st == TR_OK)
        st = tr_s3_put_file(store, name, fd, info.st_size, false, err);
    *size = st == TR_OK ? info.st_size : 0;
    close(fd);
    return st;
}

/* Who removed it from the spool while it was sent wants it to be nowhere. */
static tr_status upload(tr_spool *spool, tr_s3 *store, const char *name, tr_error *err) {
    int64_t size = 0;
    tr_status st = put(spool, store, name, &size, err);
    if (st != TR_OK)
        return st == TR_E_NOT_FOUND ? TR_OK : st;
    st = tr_target_remove(spool->target, name, err);
    if (st == TR_E_NOT_FOUND)
        return tr_s3_delete(store, name, err);
    if (st == TR_OK) {
        tr_spool_give(spool, size);
        tr_spool_count(spool, -1);
    }
    return st;
}

static tr_status upload_all(tr_vault *vault, tr_spool_lane lane, const struct waiting *w, tr_error *err) {
    static const char *const folders[TR_LANES] = {TR_TARGET_SNAPSHOTS "/", TR_TARGET_LOG "/"};
    tr_spool *spool = vault->snapshots->spool;
    tr_s3 *store = vault->snapshots->store;
    tr_status st = TR_OK;
    TR_TRY(settle_keys(vault, err));
    if (spool->left[lane])
        TR_TRY(tr_s3_abort_uploads(store, folders[lane], err));
    for (size_t i = 0; st == TR_OK && i < w->count; i++)
        st = upload(spool, store, w->names[i], err);
out:
    spool->left[lane] = st != TR_OK;
    return st;
}

static void say(tr_spool *spool, tr_status st, const tr_error *err) {
    const bool was = spool->failing;
    spool->failing = st != TR_OK;
    if (st != TR_OK && !was)
        tr_log(TR_LOG_ERROR, "spool.waiting", TR_F_TEXT("status", tr_status_slug(st)),
               TR_F_TEXT("reason", err->what), TR_F_TEXT("where", err->where),
               TR_F_NUM("files", spool->files), TR_F_NUM("bytes", spool->bytes));
    if (st == TR_OK && was)
        tr_log(TR_LOG_INFO, "spool.uploaded");
}

/* The folders of logs that have ended, where they are empty. */
static tr_status remove_ended(void *context, const char *log, tr_error *err) {
    tr_vault *vault = context;
    char folder[TR_CHAIN_NAME];
    tr_log_state now;
    tr_uuid id;
    (void)err;
    if (!tr_uuid_parse(log, strlen(log), &id) ||
        (tr_snapshots_log(vault, &now) && tr_uuid_equal(&now.id, &id)))
        return TR_OK;
    (void)snprintf(folder, sizeof folder, TR_TARGET_LOG "/%.80s", log);
    tr_target_remove_folder(vault->snapshots->spool->target, folder);
    return TR_OK;
}

tr_status tr_spool_flush(tr_vault *vault, tr_spool_lane lane, tr_error *err) {
    tr_spool *spool = vault->snapshots->spool;
    struct waiting w = {0};
    tr_error why = {0};
    tr_log_state cut;
    if (!spool)
        return TR_OK;
    pthread_mutex_lock(&spool->lanes[lane]);
    const bool on = lane == TR_LANE_LOG && tr_log_cut(vault, &cut);
    tr_status st = find_waiting(spool, lane, &w, &why);
    const bool some = w.count > 0;
    if (st == TR_OK && some)
        st = upload_all(vault, lane, &w, &why);
    if (st == TR_OK && on)
        tr_log_reached(vault, &cut);
    if (st == TR_OK && some && lane == TR_LANE_LOG)
        st = tr_target_folders(spool->target, TR_TARGET_LOG, remove_ended, vault, &why);
    if (some)
        say(spool, st, &why);
    pthread_mutex_unlock(&spool->lanes[lane]);
    free(w.names);
    if (st != TR_OK && err)
        *err = why;
    return st;
}

/* ---- the uploader ---- */

static bool wait_a_second(tr_snapshots *state) {
    const int64_t until = tr_monotonic_ms() + 1000;
    const struct timespec at = {.tv_sec = until / 1000, .tv_nsec = (long)(until % 1000) * 1000000};
    pthread_mutex_lock(&state->mutex);
    while (!state->stop && pthread_cond_timedwait(&state->changed, &state->mutex, &at) == 0) {
    }
    const bool go_on = !state->stop;
    pthread_mutex_unlock(&state->mutex);
    return go_on;
}

static void *upload_on(void *context) {
    tr_vault *vault = context;
    const tr_snapshots *state = vault->snapshots;
    while (wait_a_second(vault->snapshots)) {
        if (state->spool->files == 0 || tr_s3_away(state->store))
            continue;
        (void)tr_spool_flush(vault, TR_LANE_SNAPSHOTS, NULL);
        (void)tr_spool_flush(vault, TR_LANE_LOG, NULL);
    }
    return NULL;
}

tr_status tr_spool_begin(tr_vault *vault, tr_error *err) {
    tr_snapshots *state = vault->snapshots;
    if (!state->spool)
        return TR_OK;
    state->uploading = pthread_create(&state->uploader, NULL, upload_on, vault) == 0;
    return state->uploading ? TR_OK : tr_fail(err, TR_E_NOMEM, NULL, "cannot start a thread");
}

void tr_spool_join(tr_vault *vault) {
    tr_snapshots *state = vault->snapshots;
    if (state->uploading)
        pthread_join(state->uploader, NULL);
    state->uploading = false;
}
