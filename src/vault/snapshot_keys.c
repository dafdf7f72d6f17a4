/* The copy of the keys, and the writing of any snapshot's file. */
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
};

static tr_status write_page(void *context, size_t database, uint32_t number, tr_bytes content,
                            tr_error *err) {
    const struct writing *w = context;
    if (w->state->stop)
        return tr_fail(err, TR_E_DRAINING, NULL, "the vault is shutting down");
    return tr_snapshot_writer_page(w->writer, database, number, content, err);
}

tr_status tr_snapshot_write(tr_vault *vault, tr_target *target, const char *name, tr_moment *moment,
                            tr_snapshot_head *head, tr_target_file **file, tr_error *err) {
    struct writing w = {.state = vault->snapshots};
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

tr_status tr_snapshot_guard(tr_vault *vault, tr_target *target, int64_t *keys_at, tr_error *err) {
    tr_target_source *source = NULL;
    tr_snapshot_head head;
    bool known = tr_target_read(target, TR_TARGET_KEYS, &source, NULL) == TR_OK &&
                 tr_snapshot_peek(tr_target_source_read, source, &head, NULL) == TR_OK;
    tr_target_source_close(source);
    *keys_at = known ? head.created_ms : 0;
    return known && !tr_uuid_equal(&head.vault, &vault->id)
               ? tr_fail(err, TR_E_CONFLICT, vault->config->backup_dir,
                         "the backup folder holds another vault's snapshots: give each vault its own")
               : TR_OK;
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

/* The keyring is copied after the keys were read and before they are in place: so it always knows the master
 * keys that wrap them. */
tr_status tr_snapshot_write_keys(tr_vault *vault, tr_error *err) {
    tr_snapshots *state = vault->snapshots;
    const tr_uuid id = tr_uuid_new();
    tr_target *target = NULL;
    tr_target_file *file = NULL;
    tr_moment *moment = NULL;
    tr_snapshot_head head;
    int64_t not_before = 0;
    tr_status st = TR_OK;
    TR_TRY(tr_target_open(vault->config->backup_dir, true, &target, err));
    TR_TRY(tr_snapshot_guard(vault, target, &not_before, err));
    TR_TRY(tr_moment_begin(vault->store, TR_IN_KEYS, &moment, err));
    tr_snapshot_describe(vault, tr_moment_about(moment), TR_SNAPSHOT_KEYS, &id, &head);
    pthread_mutex_lock(&state->mutex);
    not_before = not_before > state->keys_at ? not_before : state->keys_at;
    pthread_mutex_unlock(&state->mutex);
    head.created_ms = head.created_ms > not_before ? head.created_ms : not_before; /* clocks are put back */
    TR_TRY(tr_snapshot_write(vault, target, TR_TARGET_KEYS, moment, &head, &file, err));
    tr_moment_end(moment);
    moment = NULL;
    TR_TRY(copy_ring(vault->config, target, err));
    st = tr_target_commit(file, err);
    file = NULL;
    if (st == TR_OK) {
        pthread_mutex_lock(&state->mutex);
        state->keys_at = head.created_ms;
        state->keys_master = head.master;
        pthread_mutex_unlock(&state->mutex);
    }
out:
    tr_target_abort(file);
    tr_moment_end(moment);
    tr_target_close(target);
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
    if (!vault->config->backup_dir[0])
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
