/* Making, checking, listing and dropping snapshots. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "vault/audit.h"
#include "vault/snapshot_keep.h"
#include "vault/snapshot_unpack.h"
#include "vault/snapshots_internal.h"

tr_status tr_snapshot_has_target(const tr_vault *vault, tr_error *err) {
    return tr_config_has_backup(vault->config)
               ? TR_OK
               : tr_fail(err, TR_E_CONFLICT, NULL,
                         "there is no backup: neither backup_dir nor backup_s3_url is set");
}

const char *tr_snapshot_place(const tr_vault *vault) {
    const tr_config *c = vault->config;
    return c->backup_dir[0] ? c->backup_dir : c->backup_s3_url;
}

bool tr_snapshot_can_wait(const tr_vault *vault, tr_status st) {
    return st == TR_E_IO && vault->snapshots->spool;
}

tr_status tr_snapshot_open_target(tr_vault *vault, bool write, tr_target **out, tr_error *err) {
    tr_status st = tr_snapshot_has_target(vault, err);
    *out = NULL;
    if (st == TR_OK && vault->snapshots->store)
        return tr_target_open_store(vault->snapshots->store, vault->snapshots->spool, out, err);
    return st == TR_OK ? tr_target_open(vault->config->backup_dir, write, out, err) : st;
}

tr_status tr_snapshot_name(const tr_uuid *id, char name[64], tr_error *err) {
    char text[TR_UUID_TEXT];
    tr_uuid_format(id, text);
    return snprintf(name, 64, TR_TARGET_SNAPSHOTS "/%s" TR_TARGET_ENDING, text) < 64
               ? TR_OK
               : tr_fail(err, TR_E_INTERNAL, NULL, "a snapshot's name is too long");
}

/* ---- list ---- */

struct listing {
    const tr_vault *vault;
    tr_target *target;
    tr_snapshot_item *items;
    size_t count, room;
};

static tr_status add_item(struct listing *l, const tr_snapshot_item *item, tr_error *err) {
    if (l->count == l->room) {
        size_t room = l->room ? l->room * 2 : 16;
        tr_snapshot_item *grown = realloc(l->items, room * sizeof *grown);
        if (!grown)
            return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
        l->items = grown;
        l->room = room;
    }
    l->items[l->count++] = *item;
    return TR_OK;
}

/* One that was removed meanwhile, or is damaged, or is something else, is passed over. */
static tr_status look_at(void *context, const char *name, tr_error *err) {
    struct listing *l = context;
    char own[64] = "";
    tr_target_source *source = NULL;
    tr_snapshot_item item = {.bytes = 0, .spooled = tr_target_spooled(l->target, name)};
    tr_status st = tr_target_read(l->target, name, &source, err);
    if (st == TR_OK) {
        item.bytes = tr_target_size(source);
        st = tr_snapshot_peek(tr_target_source_read, source, &item.head, err);
    }
    tr_target_source_close(source);
    if (st == TR_E_NOT_FOUND || st == TR_E_CORRUPT || st == TR_E_CONFIG)
        return TR_OK;
    if (st == TR_OK)
        st = tr_snapshot_name(&item.head.id, own, err);
    if (st != TR_OK || strcmp(own, name) != 0 ||
        (item.head.kind != TR_SNAPSHOT_FULL && item.head.kind != TR_SNAPSHOT_INCREMENTAL) ||
        !tr_uuid_equal(&item.head.vault, &l->vault->id))
        return st;
    return add_item(l, &item, err);
}

static int by_time(const void *a, const void *b) {
    const tr_snapshot_head *x = &((const tr_snapshot_item *)a)->head,
                           *y = &((const tr_snapshot_item *)b)->head;
    if (x->created_ms != y->created_ms)
        return x->created_ms < y->created_ms ? -1 : 1;
    return memcmp(x->id.bytes, y->id.bytes, sizeof x->id.bytes);
}

/* One that was uploaded while it was listed is named twice. */
static size_t once_each(tr_snapshot_item *items, size_t count) {
    size_t left = 0;
    for (size_t i = 0; i < count; i++) {
        if (left == 0 || !tr_uuid_equal(&items[left - 1].head.id, &items[i].head.id))
            items[left++] = items[i];
    }
    return left;
}

tr_status tr_snapshot_items(tr_vault *vault, tr_target *target, tr_snapshot_item **items, size_t *count,
                            tr_error *err) {
    struct listing l = {.vault = vault, .target = target};
    tr_status st = tr_target_list(target, look_at, &l, err);
    if (st != TR_OK) {
        free(l.items);
        l.items = NULL;
        l.count = 0;
    }
    if (l.count > 1)
        qsort(l.items, l.count, sizeof *l.items, by_time);
    *items = l.items;
    *count = once_each(l.items, l.count);
    return st;
}

void tr_snapshot_remember(tr_vault *vault, const tr_snapshot_item *items, size_t count) {
    tr_snapshots *state = vault->snapshots;
    pthread_mutex_lock(&state->mutex);
    state->looked = true;
    state->count = count;
    if (count > 0)
        state->newest = items[count - 1];
    pthread_mutex_unlock(&state->mutex);
}

/* ---- make ---- */

/* Whatever a snapshot that is kept is put upon is kept too. Bases are older, and so before it in the list. */
static void keep_bases(const tr_snapshot_item *items, size_t count, bool *kept) {
    for (size_t i = count; i > 0; i--) {
        for (size_t base = 0; kept[i - 1] && base < count; base++)
            kept[base] |= tr_uuid_equal(&items[base].head.id, &items[i - 1].head.base);
    }
}

static tr_status drop_old(tr_vault *vault, tr_target *target, tr_error *err) {
    const tr_config *c = vault->config;
    const tr_keep rule = {c->backup_keep_last, c->backup_keep_daily, c->backup_keep_weekly,
                          c->backup_keep_monthly};
    char name[64];
    tr_snapshot_item *items = NULL;
    int64_t *times = NULL;
    bool *kept = NULL;
    size_t count = 0, left = 0;
    tr_status st = TR_OK;
    TR_TRY(tr_snapshot_items(vault, target, &items, &count, err));
    times = calloc(count + 1, sizeof *times);
    kept = calloc(count + 1, sizeof *kept);
    if (!times || !kept)
        TR_TRY(tr_fail(err, TR_E_NOMEM, NULL, "out of memory"));
    for (size_t i = 0; i < count; i++)
        times[i] = items[i].head.created_ms;
    tr_snapshots_choose(times, count, &rule, kept);
    keep_bases(items, count, kept);
    for (size_t i = 0; i < count; i++) {
        if (kept[i]) {
            items[left++] = items[i];
            continue;
        }
        TR_TRY(tr_snapshot_name(&items[i].head.id, name, err));
        st = tr_target_remove(target, name, err);
        if (st != TR_OK && st != TR_E_NOT_FOUND)
            goto out;
    }
    tr_snapshot_remember(vault, items, left);
    st = tr_log_drop(vault, target, items, left, err);
out:
    free(items);
    free(times);
    free(kept);
    return st;
}

static void note_progress(tr_snapshot_work *work, const tr_moment_info *about, const tr_target_file *file) {
    work->pages = 0;
    for (size_t i = 0; i < about->count; i++)
        work->pages += about->databases[i].pages;
    work->bytes = tr_target_written(file);
}

/* Full, or upon the snapshot that the marks are of. */
static tr_status choose_kind(tr_vault *vault, tr_target *target, const tr_page_marks *marks,
                             tr_snapshot_want want, tr_snapshot_head *head, tr_error *err) {
    tr_chain chain = {0};
    tr_uuid base;
    if (want == TR_WANT_FULL || !tr_page_marks_base(marks, &base) || !tr_page_marks_fit(marks, head))
        return TR_OK;
    tr_status st = tr_chain_of(target, &vault->id, &base, &chain, err);
    if (st == TR_OK &&
        (want == TR_WANT_INCREMENTAL || (int64_t)chain.count < vault->config->backup_full_every)) {
        head->kind = TR_SNAPSHOT_INCREMENTAL;
        head->base = base;
    }
    tr_chain_free(&chain);
    /* It is in no order any more, or gone, or nobody can look. */
    return st == TR_E_NOT_FOUND || st == TR_E_CORRUPT || tr_snapshot_can_wait(vault, st) ? TR_OK : st;
}

/* Before the snapshot is listed: a subject in it has its key in the copy, unless it was erased since. What
 * goes into the spool is listed as good once the store has it, and the copy before it. */
static tr_status renew_keys(tr_vault *vault, tr_error *err) {
    tr_error why = {0};
    if (vault->snapshots->store)
        tr_s3_try_again(vault->snapshots->store);
    tr_status st = tr_snapshots_renew_keys(vault, &why);
    if (tr_snapshot_can_wait(vault, st)) {
        tr_spool_owe_keys(vault);
        return TR_OK;
    }
    if (st != TR_OK && err)
        *err = why;
    return st;
}

/* It is there; what is older is dropped once the store can be asked for it. */
static tr_status send_and_drop(tr_vault *vault, tr_target *target, const tr_snapshot_head *head,
                               int64_t bytes, tr_error *err) {
    tr_snapshots *state = vault->snapshots;
    tr_status st = tr_spool_flush(vault, TR_LANE_SNAPSHOTS, NULL);
    if (st == TR_OK)
        st = tr_spool_flush(vault, TR_LANE_LOG, NULL);
    if (st == TR_OK)
        return drop_old(vault, target, err);
    pthread_mutex_lock(&state->mutex);
    state->looked = true;
    state->count++;
    state->newest = (tr_snapshot_item){.head = *head, .bytes = bytes, .spooled = true};
    pthread_mutex_unlock(&state->mutex);
    return TR_OK;
}

static tr_status make(tr_vault *vault, tr_snapshot_work *work, tr_error *err) {
    tr_snapshots *state = vault->snapshots;
    char name[64], path[600];
    int64_t keys_at = 0;
    tr_page_marks *marks = NULL;
    tr_target *target = NULL;
    tr_target_file *file = NULL;
    tr_moment *moment = NULL;
    tr_snapshot_head head;
    bool done = false;
    tr_status st = TR_OK;
    TR_TRY(tr_snapshot_name(&work->id, name, err));
    TR_TRY(tr_snapshot_open_target(vault, true, &target, err));
    TR_TRY(tr_snapshot_guard(vault, target, &keys_at, err));
    TR_TRY(tr_target_sweep(target, err));
    TR_TRY(tr_config_path(vault->config, TR_PAGE_MARKS, path, sizeof path, err));
    TR_TRY(tr_page_marks_open(path, vault->ring, &marks, err));
    TR_TRY(tr_log_moment(vault, &work->id, &moment, &head, err));
    TR_TRY(choose_kind(vault, target, marks, work->want, &head, err));
    TR_TRY(tr_page_marks_begin(marks, &head, head.kind == TR_SNAPSHOT_INCREMENTAL, err));
    pthread_mutex_lock(&state->mutex);
    state->keys_at = state->keys_at > head.created_ms ? state->keys_at : head.created_ms;
    pthread_mutex_unlock(&state->mutex);
    TR_TRY(renew_keys(vault, err));
    TR_TRY(tr_snapshot_write(vault, target, name, moment, marks, &head, &file, err));
    note_progress(work, tr_moment_about(moment), file);
    tr_moment_end(moment);
    moment = NULL;
    TR_TRY(tr_target_commit(file, err));
    done = true;
    TR_TRY(tr_page_marks_commit(marks, err));
    st = send_and_drop(vault, target, &head, work->bytes, err);
out:
    if (!done)
        tr_log_forget(vault, &work->id);
    tr_page_marks_close(marks);
    tr_moment_end(moment);
    tr_target_close(target);
    return st;
}

static tr_status log_result(tr_vault *vault, const char *action, const tr_uuid *id, tr_status outcome,
                            tr_error *err) {
    char text[TR_UUID_TEXT];
    tr_uuid_format(id, text);
    const tr_event event = {.at = tr_now_ms(), .action = action, .outcome = outcome, .detail = text};
    return tr_event_write(vault->store, &event, err);
}

tr_status tr_snapshot_make(tr_vault *vault, tr_snapshot_work *work, tr_error *err) {
    tr_status st = make(vault, work, err);
    tr_status logged = log_result(vault, "snapshot.made", &work->id, st, st == TR_OK ? err : NULL);
    return st == TR_OK ? logged : st;
}

/* ---- check ---- */

static tr_status check(tr_vault *vault, tr_snapshot_work *work, tr_error *err) {
    char scratch[600];
    tr_target *target = NULL;
    tr_chain chain = {0};
    tr_snapshot_head head;
    tr_snapshot_counts counts = {0};
    tr_status st = TR_OK;
    TR_TRY(tr_config_path(vault->config, TR_SNAPSHOT_SCRATCH, scratch, sizeof scratch, err));
    TR_TRY(tr_snapshot_open_target(vault, false, &target, err));
    TR_TRY(tr_chain_of(target, &vault->id, &work->id, &chain, err));
    TR_TRY(tr_chain_try(vault->ring, target, &chain, scratch, &vault->snapshots->stop, &head, &counts, err));
    work->pages = (int64_t)counts.pages;
    if (!tr_uuid_equal(&head.id, &work->id) || !tr_uuid_equal(&head.vault, &vault->id))
        st = tr_fail(err, TR_E_CORRUPT, NULL, "it is another snapshot");
out:
    tr_chain_free(&chain);
    tr_target_close(target);
    return st;
}

tr_status tr_snapshot_check(tr_vault *vault, tr_snapshot_work *work, tr_error *err) {
    tr_status st = check(vault, work, err);
    tr_status logged = log_result(vault, "snapshot.checked", &work->id, st, st == TR_OK ? err : NULL);
    return st == TR_OK ? logged : st;
}
