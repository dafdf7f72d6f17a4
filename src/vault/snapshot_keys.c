/* The copy of the keys, and the writing of any snapshot's file. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "vault/snapshots_internal.h"

#define RING_MAX ((size_t)1024 * 1024)

/* ---- a file ---- */

void tr_snapshot_describe(const tr_vault *vault, const tr_moment_info *about, tr_snapshot_kind kind,
                          const tr_uuid *id, tr_snapshot_head *head) {
    *head = (tr_snapshot_head){.id = *id,
                               .kind = kind,
                               .vault = vault->id,
                               .created_ms = about->at,
                               .database_count = about->count,
                               .audit_seq = about->audit_seq};
    memcpy(head->audit_hash, about->audit_hash, sizeof head->audit_hash);
    for (size_t i = 0; i < about->count; i++) {
        tr_snapshot_database *to = &head->databases[i];
        const tr_moment_database *from = &about->databases[i];
        *to = (tr_snapshot_database){
            .page_size = from->page_size, .pages = from->pages, .schema = from->schema};
        strncpy(to->name, from->name, sizeof to->name - 1);
    }
}

struct writing {
    const tr_snapshots *state;
    tr_snapshot_writer *writer;
    tr_page_marks *marks; /* or NULL */
    bool partial;
};

static tr_status write_page(void *context, const tr_db_page *page, tr_error *err) {
    const struct writing *w = context;
    if (w->state->stop)
        return tr_fail(err, TR_E_DRAINING, NULL, "the vault is shutting down");
    bool differs = true;
    tr_status st = w->marks ? tr_page_marks_page(w->marks, page, &differs, err) : TR_OK;
    return st == TR_OK && (differs || !w->partial)
               ? tr_snapshot_writer_page(w->writer, page->database, page->number, page->content, err)
               : st;
}

tr_status tr_snapshot_write(tr_vault *vault, tr_target *target, const char *name, tr_moment *moment,
                            tr_page_marks *marks, tr_snapshot_head *head, tr_target_file **file,
                            tr_error *err) {
    struct writing w = {
        .state = vault->snapshots, .marks = marks, .partial = tr_snapshot_is_partial(head->kind)};
    tr_snapshot_counts counts;
    tr_status st = TR_OK;
    *file = NULL;
    TR_TRY(tr_target_begin(target, name, file, err));
    TR_TRY(tr_snapshot_writer_open(vault->ring, head, tr_target_write, *file, &w.writer, err));
    TR_TRY(tr_moment_read(moment, write_page, &w, err));
    st = tr_snapshot_writer_close(w.writer, &counts, err);
out:
    tr_snapshot_writer_free(w.writer);
    if (st != TR_OK) {
        tr_target_abort(*file);
        *file = NULL;
    }
    return st;
}

/* ---- whose target it is ---- */

static const char place_name[] = "backup.place"; /* in vault.db: where the newest copy of the keys is */

static tr_status is_noted(tr_vault *vault, bool *noted, tr_error *err) {
    const char *folder = tr_snapshot_place(vault);
    tr_buf place = TR_BUF_INIT;
    tr_db *db = NULL;
    tr_status st = tr_store_reader(vault->store, &db, err);
    if (st == TR_OK)
        st = tr_meta_get(db, place_name, &place, err);
    *noted = st == TR_OK && place.len == strlen(folder) && memcmp(place.data, folder, place.len) == 0;
    tr_buf_clear(&place);
    return st == TR_E_NOT_FOUND ? TR_OK : st;
}

static tr_status note_job(void *context, tr_db *tx, tr_error *err) {
    const char *place = context;
    return tr_meta_put(tx, place_name, (tr_bytes){place, strlen(place)}, err);
}

static tr_status note_place(tr_vault *vault, tr_error *err) {
    char place[sizeof vault->config->backup_dir];
    bool *noted = &vault->snapshots->place_noted;
    tr_status st = *noted ? TR_OK : is_noted(vault, noted, err);
    (void)snprintf(place, sizeof place, "%s", tr_snapshot_place(vault));
    if (st == TR_OK && !*noted)
        st = tr_store_write(vault->store, note_job, place, err);
    *noted = st == TR_OK;
    return st;
}

static tr_status check_place(tr_vault *vault, tr_error *err) {
    bool noted = false;
    tr_status st = is_noted(vault, &noted, err);
    return st == TR_OK && noted
               ? tr_fail(err, TR_E_IO, tr_snapshot_place(vault),
                         "the backup %s has lost its copy of the keys: is %s? "
                         "To begin anew in it, make an empty file " TR_TARGET_KEYS " there",
                         vault->snapshots->store ? "store" : "folder",
                         vault->snapshots->store ? "it the right one" : "the right disk mounted")
               : st;
}

tr_status tr_snapshot_guard(tr_vault *vault, tr_target *target, int64_t *keys_at, tr_error *err) {
    tr_target_source *source = NULL;
    tr_snapshot_head head;
    tr_status st = tr_target_read(target, TR_TARGET_KEYS, &source, NULL);
    bool known = st == TR_OK && tr_snapshot_peek(tr_target_source_read, source, &head, NULL) == TR_OK;
    tr_target_source_close(source);
    *keys_at = known ? head.created_ms : 0;
    if (st == TR_E_NOT_FOUND)
        return check_place(vault, err);
    return known && !tr_uuid_equal(&head.vault, &vault->id)
               ? tr_fail(
                     err, TR_E_CONFLICT, tr_snapshot_place(vault),
                     "the backup folder or store holds another vault's snapshots: give each vault its own")
               : TR_OK;
}

tr_status tr_snapshots_check_target(tr_vault *vault, tr_error *err) {
    int64_t keys_at = 0;
    tr_target *target = NULL;
    tr_status st = TR_OK;
    if (!tr_config_has_backup(vault->config))
        return TR_OK;
    TR_TRY(tr_snapshot_open_target(vault, false, &target, err));
    st = tr_snapshot_guard(vault, target, &keys_at, err);
out:
    tr_target_close(target);
    return st;
}

/* ---- the keyring ---- */

static tr_status copy_file(const tr_config *config, tr_target *target, const char *name, tr_error *err) {
    char path[600];
    tr_buf content = TR_BUF_INIT;
    tr_status st = tr_config_path(config, name, path, sizeof path, err);
    if (st == TR_OK)
        st = tr_target_get_path(path, RING_MAX, &content, err);
    if (st == TR_OK)
        st = tr_target_put(target, name, (tr_bytes){content.data, content.len}, err);
    tr_buf_clear(&content);
    return st;
}

static tr_status copy_ring(const tr_config *config, tr_target *target, tr_error *err) {
    tr_status st = copy_file(config, target, TR_RING, err);
    if (st != TR_OK)
        return st;
    st = copy_file(config, target, TR_RING TR_RING_RECOVERY, err);
    if (st != TR_E_NOT_FOUND)
        return st;
    st = tr_target_remove(target, TR_RING TR_RING_RECOVERY, err);
    return st == TR_E_NOT_FOUND ? TR_OK : st;
}

/* ---- the keys ---- */

/* No copy is said to be older than one before it, though clocks are put back. */
static int64_t not_earlier(tr_snapshots *state, int64_t at, int64_t than) {
    pthread_mutex_lock(&state->mutex);
    than = than > state->keys_at ? than : state->keys_at;
    pthread_mutex_unlock(&state->mutex);
    return at > than ? at : than;
}

static void note_keys(tr_snapshots *state, const tr_snapshot_head *head) {
    pthread_mutex_lock(&state->mutex);
    state->keys_at = head->created_ms;
    if (head->kind == TR_SNAPSHOT_KEYS)
        state->keys_master = head->master;
    pthread_mutex_unlock(&state->mutex);
}

/* The keyring is copied after the keys were read and before they are in place: so it always knows the master
 * keys that wrap them. */
static tr_status write_keys(tr_vault *vault, tr_target *target, tr_error *err) {
    tr_snapshots *state = vault->snapshots;
    const tr_uuid id = tr_uuid_new();
    tr_target_file *file = NULL;
    tr_moment *moment = NULL;
    tr_snapshot_head head;
    int64_t not_before = 0;
    tr_status st = TR_OK;
    TR_TRY(tr_snapshot_guard(vault, target, &not_before, err));
    TR_TRY(tr_moment_begin_changed(vault->store, TR_IN_KEYS, state->shipping ? &state->keys_changed : NULL,
                                   &moment, err));
    tr_snapshot_describe(vault, tr_moment_about(moment), TR_SNAPSHOT_KEYS, &id, &head);
    head.created_ms = not_earlier(state, head.created_ms, not_before);
    TR_TRY(tr_snapshot_write(vault, target, TR_TARGET_KEYS, moment, NULL, &head, &file, err));
    tr_moment_end(moment);
    moment = NULL;
    TR_TRY(copy_ring(vault->config, target, err));
    st = tr_target_commit(file, err);
    file = NULL;
    if (st != TR_OK)
        goto out;
    /* What is put upon the copy before has older keys. */
    st = tr_target_remove(target, TR_TARGET_KEY_CHANGES, err);
    st = st == TR_E_NOT_FOUND ? TR_OK : st;
    state->keys_id = st == TR_OK ? head.id : (tr_uuid){0};
    tr_changed_clear(&state->keys_changed, TR_IN_KEYS);
    state->keys_behind = false;
    if (st == TR_OK)
        note_keys(state, &head);
    if (st == TR_OK)
        st = tr_target_remove_part(target, TR_TARGET_KEY_CHANGES, err);
    if (st == TR_OK)
        st = note_place(vault, err);
out:
    tr_target_abort(file);
    tr_moment_end(moment);
    return st;
}

tr_status tr_snapshot_write_keys(tr_vault *vault, tr_error *err) {
    tr_target *target = NULL;
    tr_status st = tr_snapshot_open_target(vault, true, &target, err);
    if (st == TR_OK)
        st = write_keys(vault, target, err);
    tr_target_close(target);
    return st;
}

/* ---- what changed in them ---- */

struct part {
    tr_snapshot_writer *writer;
};

static tr_status write_part(void *context, const tr_db_page *page, tr_error *err) {
    const struct part *p = context;
    return tr_snapshot_writer_page(p->writer, page->database, page->number, page->content, err);
}

/* Upon the copy that is there, in the place of the changes that are. */
static tr_status write_changes(tr_vault *vault, tr_target *target, tr_error *err) {
    tr_snapshots *state = vault->snapshots;
    const tr_uuid id = tr_uuid_new();
    struct part part = {NULL};
    tr_target_file *file = NULL;
    tr_moment *moment = NULL;
    tr_snapshot_head head;
    tr_status st = TR_OK;
    state->keys_behind = true;
    TR_TRY(tr_moment_begin_changed(vault->store, TR_IN_KEYS, &state->keys_changed, &moment, err));
    tr_snapshot_describe(vault, tr_moment_about(moment), TR_SNAPSHOT_KEY_CHANGES, &id, &head);
    head.base = state->keys_id;
    head.created_ms = not_earlier(state, head.created_ms, 0);
    TR_TRY(tr_target_begin(target, TR_TARGET_KEY_CHANGES, &file, err));
    TR_TRY(tr_snapshot_writer_open(vault->ring, &head, tr_target_write, file, &part.writer, err));
    TR_TRY(tr_moment_read_changed(moment, &state->keys_changed, write_part, &part, err));
    TR_TRY(tr_snapshot_writer_close(part.writer, NULL, err));
    tr_moment_end(moment);
    moment = NULL;
    TR_TRY(copy_ring(vault->config, target, err));
    st = tr_target_commit(file, err);
    file = NULL;
    state->keys_behind = st != TR_OK;
    if (st == TR_OK)
        note_keys(state, &head);
out:
    tr_snapshot_writer_free(part.writer);
    tr_target_abort(file);
    tr_moment_end(moment);
    return st;
}

/* More than this part of the whole, and all of it is written again: then the changes are few again. */
#define CHANGES_FEW  64
#define CHANGES_PART 4096 /* bytes of the database for each page */

static bool is_much(tr_vault *vault, uint64_t pages) {
    tr_store_stats stats;
    tr_store_get_stats(vault->store, &stats);
    return pages > CHANGES_FEW && pages > (uint64_t)stats.keys_bytes / CHANGES_PART / 4;
}

static tr_status ship_keys(tr_vault *vault, tr_target *target, tr_error *err) {
    tr_snapshots *state = vault->snapshots;
    const uint64_t waiting = tr_store_changed_pages(vault->store, TR_IN_KEYS);
    const uint64_t pages = tr_changed_count(&state->keys_changed, TR_IN_KEYS);
    if (tr_uuid_is_nil(&state->keys_id) || waiting == UINT64_MAX ||
        tr_changed_unsure(&state->keys_changed, TR_IN_KEYS) || is_much(vault, pages + waiting))
        return write_keys(vault, target, err);
    return waiting > 0 || state->keys_behind ? write_changes(vault, target, err) : TR_OK;
}

tr_status tr_snapshot_ship_keys(tr_vault *vault, tr_target *target, int64_t *at, tr_error *err) {
    tr_snapshots *state = vault->snapshots;
    pthread_mutex_lock(&state->mutex);
    while (state->keys_busy)
        pthread_cond_wait(&state->changed, &state->mutex);
    state->keys_busy = true;
    pthread_mutex_unlock(&state->mutex);
    tr_status st = ship_keys(vault, target, err);
    pthread_mutex_lock(&state->mutex);
    state->keys_busy = false;
    *at = state->keys_at;
    pthread_cond_broadcast(&state->changed);
    pthread_mutex_unlock(&state->mutex);
    return st;
}

/* With the mutex held, given back meanwhile. */
static void renew_for_all(tr_vault *vault) {
    tr_snapshots *state = vault->snapshots;
    uint64_t number = state->keys_wanted;
    tr_error err = {0};
    state->keys_busy = true;
    pthread_mutex_unlock(&state->mutex);
    tr_status st = tr_snapshot_write_keys(vault, &err);
    pthread_mutex_lock(&state->mutex);
    state->keys_busy = false;
    if (st == TR_OK) {
        state->keys_done = number;
    } else {
        state->keys_failed = number;
        state->keys_err = err;
    }
    pthread_cond_broadcast(&state->changed);
}

tr_status tr_snapshots_renew_keys(tr_vault *vault, tr_error *err) {
    tr_snapshots *state = vault->snapshots;
    tr_status st = TR_OK;
    if (!tr_config_has_backup(vault->config))
        return TR_OK;
    pthread_mutex_lock(&state->mutex);
    uint64_t mine = ++state->keys_wanted;
    while (state->keys_done < mine && state->keys_failed < mine) {
        if (state->keys_busy)
            pthread_cond_wait(&state->changed, &state->mutex);
        else
            renew_for_all(vault);
    }
    if (state->keys_done < mine) {
        st = state->keys_err.status;
        if (err)
            *err = state->keys_err;
    }
    pthread_mutex_unlock(&state->mutex);
    return st;
}
