#include "vault/restore.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json_write.h"
#include "vault/databases.h"
#include "vault/restore_fetch.h"
#include "vault/restore_replay.h"
#include "vault/snapshot_unpack.h"

#define SCRATCH_ENDING ".restoring"
#define FETCHED_ENDING ".fetched"

typedef struct restoring {
    const tr_restore *how;
    tr_restore_result *result;
    tr_config at; /* as how->config, with the scratch folder */
    int lock;
    bool made, fetched;
    char from[sizeof((tr_config *)0)->data + 16]; /* the backup folder, or what was fetched */
    tr_target *target;
    tr_target_source *keys, *key_changes; /* the second may be NULL */
    tr_chain chain;
    tr_keyring *ring;
    tr_secret passphrase;
} restoring;

/* ---- the folder ---- */

/* Absent, or an empty folder. */
static tr_status check_free(const char *folder, tr_error *err) {
    DIR *list = opendir(folder);
    bool empty = true;
    if (!list)
        return errno == ENOENT    ? TR_OK
               : errno == ENOTDIR ? tr_fail(err, TR_E_EXISTS, folder, "there is a file of this name")
                                  : tr_fail_errno(err, folder, "cannot look into the folder");
    for (const struct dirent *entry; empty && (entry = readdir(list));)
        empty = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
    closedir(list);
    return empty ? TR_OK
                 : tr_fail(err, TR_E_EXISTS, folder, "the folder is not empty: nothing is overwritten");
}

/* A restore that was cut off may have left its own; one that runs has its lock. */
static tr_status make_scratch(restoring *r, tr_error *err) {
    const char *folder = r->how->config->data;
    size_t len = strlen(folder);
    tr_status st = TR_OK;
    r->at = *r->how->config;
    r->at.backup_dir[0] = r->at.backup_s3_url[0] = '\0'; /* what is done here is no change to the backup */
    while (len > 1 && folder[len - 1] == '/')
        len--;
    int n = snprintf(r->at.data, sizeof r->at.data, "%.*s" SCRATCH_ENDING, (int)len, folder);
    if (n < 0 || (size_t)n >= sizeof r->at.data)
        return tr_fail(err, TR_E_CONFIG, "data", "the folder's name is too long");
    if (access(r->at.data, F_OK) == 0) {
        TR_TRY(tr_store_lock(r->at.data, &r->lock, err));
        tr_store_unlock(r->lock);
        r->lock = -1;
    }
    TR_TRY(tr_scratch_make(r->at.data, err));
    r->made = true;
    st = tr_store_lock(r->at.data, &r->lock, err);
out:
    return st;
}

static tr_status flush(const char *path, tr_error *err) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    tr_status st = fd >= 0 && fsync(fd) == 0 ? TR_OK : tr_fail_errno(err, path, "cannot flush");
    if (fd >= 0)
        close(fd);
    return st;
}

static tr_status flush_parent(const char *path, tr_error *err) {
    char parent[sizeof((tr_config *)0)->data];
    (void)snprintf(parent, sizeof parent, "%s", path);
    size_t len = strlen(parent);
    while (len > 1 && parent[len - 1] == '/')
        parent[--len] = '\0';
    char *slash = strrchr(parent, '/');
    if (slash)
        slash[slash == parent ? 1 : 0] = '\0';
    return flush(slash ? parent : ".", err);
}

/* A rename takes the place of an empty folder, and of nothing else. */
static tr_status put_in_place(const restoring *r, tr_error *err) {
    const char *folder = r->how->config->data;
    tr_status st = flush(r->at.data, err);
    if (st == TR_OK && rename(r->at.data, folder) != 0)
        st = errno == ENOTEMPTY || errno == EEXIST
                 ? tr_fail(err, TR_E_EXISTS, folder,
                           "the folder is not empty any more: nothing is overwritten")
                 : tr_fail_errno(err, folder, "cannot give the new folder its name");
    return st == TR_OK ? flush_parent(folder, err) : st;
}

/* ---- the sources ---- */

/* Into a folder first: so each object travels once, and what was verified is what is unpacked. */
static tr_status fetch(restoring *r, tr_error *err) {
    tr_s3 *s3 = NULL;
    tr_target *store = NULL;
    tr_status st = TR_OK;
    const size_t len = strlen(r->at.data) - strlen(SCRATCH_ENDING);
    if (r->how->from) {
        if ((size_t)snprintf(r->from, sizeof r->from, "%s", r->how->from) >= sizeof r->from)
            return tr_fail(err, TR_E_CONFIG, "--from", "the folder's name is too long");
        return TR_OK;
    }
    (void)snprintf(r->from, sizeof r->from, "%.*s" FETCHED_ENDING, (int)len, r->at.data);
    r->fetched = true;
    TR_TRY(tr_backup_open(r->how->config, &s3, &store, err));
    st = tr_backup_fetch(store, r->how->snapshot, r->how->at, r->from, err);
out:
    tr_target_close(store);
    tr_s3_free(s3);
    return st;
}

/* Changes that are put upon another copy are of no use: it was renewed since. */
static tr_status open_key_changes(restoring *r, const tr_snapshot_head *keys, tr_error *err) {
    tr_snapshot_head head;
    tr_status st = tr_target_read(r->target, TR_TARGET_KEY_CHANGES, &r->key_changes, err);
    if (st == TR_OK)
        st = tr_snapshot_peek(tr_target_source_read, r->key_changes, &head, err);
    if (st == TR_OK)
        st = tr_target_rewind(r->key_changes, err);
    if (st == TR_OK && !tr_uuid_equal(&head.base, &keys->id)) {
        tr_target_source_close(r->key_changes);
        r->key_changes = NULL;
    }
    return st == TR_E_NOT_FOUND ? TR_OK : st;
}

/* The copy of the keys says whose backup it is. */
static tr_status open_sources(restoring *r, tr_error *err) {
    tr_snapshot_head keys;
    tr_status st = TR_OK;
    TR_TRY(tr_target_open(r->from, false, &r->target, err));
    st = tr_target_read(r->target, TR_TARGET_KEYS, &r->keys, err);
    if (st == TR_E_NOT_FOUND)
        st = tr_fail(err, st, r->from, "there is no " TR_TARGET_KEYS " in it: it is no backup of a vault");
    if (st == TR_OK)
        st = tr_snapshot_peek(tr_target_source_read, r->keys, &keys, err);
    if (st == TR_OK)
        st = tr_target_rewind(r->keys, err);
    if (st != TR_OK)
        goto out;
    TR_TRY(open_key_changes(r, &keys, err));
    st = tr_backup_choose(r->target, &keys.vault, r->how->snapshot, r->how->at, &r->chain, err);
out:
    return st;
}

static tr_status open_ring(restoring *r, tr_error *err) {
    char ring[700], recovery[720];
    (void)snprintf(ring, sizeof ring, "%s/" TR_RING, r->from);
    (void)snprintf(recovery, sizeof recovery, "%s" TR_RING_RECOVERY, ring);
    return r->how->open_ring(r->how->context, &r->at, ring, recovery, &r->passphrase, &r->ring, err);
}

/* Which of the files it is. */
static tr_status in_file(tr_status st, const char *file, tr_error *err) {
    if (st != TR_OK && err && !err->where[0])
        (void)snprintf(err->where, sizeof err->where, "%s", file);
    return st;
}

static tr_status verify(restoring *r, tr_error *err) {
    tr_restore_result *result = r->result;
    tr_snapshot_head keys, last;
    tr_snapshot_counts counts = {0};
    tr_status st = TR_OK;
    TR_TRY(in_file(tr_snapshot_unpack(r->ring, r->keys, r->key_changes, NULL, &keys, NULL, err),
                   TR_TARGET_KEYS, err));
    TR_TRY(tr_target_rewind(r->keys, err));
    if (r->key_changes)
        TR_TRY(tr_target_rewind(r->key_changes, err));
    TR_TRY(tr_chain_verify(r->ring, r->target, &r->chain, &last, &counts, err));
    result->head = r->chain.items[r->chain.count - 1].head;
    result->segments = (int64_t)(tr_chain_length(&r->chain) - r->chain.count);
    result->reached_at = last.created_ms;
    result->pages = counts.pages;
    result->keys_at = keys.created_ms;
    if ((keys.kind != TR_SNAPSHOT_KEYS && keys.kind != TR_SNAPSHOT_KEY_CHANGES) ||
        !tr_uuid_equal(&keys.vault, &last.vault))
        TR_TRY(tr_fail(err, TR_E_CORRUPT, TR_TARGET_KEYS, "it is not the copy of this vault's keys"));
    if (keys.created_ms < result->head.created_ms || keys.created_ms < last.log_keys_ms)
        st = tr_fail(err, TR_E_CORRUPT, TR_TARGET_KEYS,
                     "the copy of the keys is older than the snapshot: keys would be missing");
out:
    return st;
}

/* ---- the databases ---- */

/* A fresh one takes the place of the old one in the new keyring. */
static tr_status fresh_key(void *context, const char *database, tr_secret *key, tr_error *err) {
    tr_keyring *ring = context;
    bool has = false;
    tr_status st = tr_keyring_named_has_next(ring, database, &has);
    if (st != TR_OK)
        return tr_fail(err, TR_E_CORRUPT, database, "the keyring knows no such database");
    if (has)
        TR_TRY(tr_keyring_named_drop_next(ring, database, err));
    TR_TRY(tr_keyring_named_next(ring, database, key, err));
    st = tr_keyring_named_promote(ring, database, err);
out:
    return st;
}

static tr_status unpack(restoring *r, tr_error *err) {
    const tr_unpack how = {.folder = r->at.data, .key = fresh_key, .context = r->ring};
    tr_snapshot_head head;
    tr_status st = tr_chain_unpack(r->ring, r->target, &r->chain, &how, &head, err);
    return st == TR_OK ? tr_snapshot_unpack(r->ring, r->keys, r->key_changes, &how, &head, NULL, err) : st;
}

static tr_status check_audit(tr_store *store, tr_restore_result *result, tr_error *err) {
    tr_db *db = NULL;
    tr_audit_verdict verdict = {0};
    tr_status st = tr_store_reader(store, &db, err);
    if (st == TR_OK)
        st = tr_audit_verify(db, &verdict, err);
    result->audit_entries = verdict.entries;
    return st == TR_OK && !verdict.ok
               ? tr_fail(err, TR_E_CORRUPT, "audit.db", "the audit log: %s", verdict.reason)
               : st;
}

/* Before anything else opens it: the older data have persons whose keys are gone. */
static tr_status replay(restoring *r, tr_error *err) {
    tr_store *store = NULL;
    tr_status st = TR_OK;
    TR_TRY(tr_databases_open(&r->at, r->ring, &store, err));
    TR_TRY(tr_store_check(store, err));
    TR_TRY(check_audit(store, r->result, err));
    st = tr_restore_replay(store, r->result, err);
out:
    tr_store_close(store);
    return st;
}

static tr_status finish(restoring *r, tr_error *err) {
    tr_vault *vault = NULL;
    tr_keyring_close(r->ring);
    r->ring = NULL;
    int lock = r->lock;
    r->lock = -1; /* the vault's */
    tr_status st = tr_vault_open_locked(&r->at, lock, &r->passphrase, &vault, err);
    if (st == TR_OK)
        st = tr_restore_finish(vault, r->result, err);
    tr_vault_close(vault);
    return st;
}

/* ---- the report ---- */

void tr_restore_report(const tr_restore_result *result, tr_buf *out) {
    char id[TR_UUID_TEXT];
    tr_uuid_format(&result->head.id, id);
    tr_jw_open(out, NULL, '{');
    tr_jw_text(out, "snapshot", id);
    tr_jw_time(out, "created_at", result->head.created_ms);
    tr_jw_number(out, "segments", result->segments);
    tr_jw_time(out, "reached_at", result->reached_at);
    tr_jw_time(out, "keys_at", result->keys_at);
    tr_jw_number(out, "pages", (int64_t)result->pages);
    tr_jw_number(out, "audit_entries", result->audit_entries);
    tr_jw_number(out, "subjects", result->subjects);
    tr_jw_open(out, "erased", '{');
    tr_jw_number(out, "by_ledger", result->erased_by_ledger);
    tr_jw_number(out, "without_key", result->erased_without_key);
    tr_jw_number(out, "to_complete", result->erasures_left);
    tr_jw_close(out, '}');
    tr_jw_number(out, "sessions_ended", result->sessions_ended);
    tr_jw_close(out, '}');
}

static tr_status write_report(const restoring *r, tr_error *err) {
    char path[600];
    tr_buf text = TR_BUF_INIT;
    tr_status st = tr_config_path(&r->at, TR_RESTORE_REPORT, path, sizeof path, err);
    tr_restore_report(r->result, &text);
    tr_buf_putc(&text, '\n');
    if (st == TR_OK)
        st = tr_buf_ok(&text, err);
    int fd = st == TR_OK ? open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600) : -1;
    if (st == TR_OK && (fd < 0 || write(fd, text.data, text.len) != (ssize_t)text.len || fsync(fd) != 0))
        st = tr_fail_errno(err, TR_RESTORE_REPORT, "cannot write the report");
    if (fd >= 0)
        close(fd);
    tr_buf_clear(&text);
    return st;
}

/* ---- all ---- */

tr_status tr_vault_restore(const tr_restore *how, tr_restore_result *result, tr_error *err) {
    restoring *r = calloc(1, sizeof *r);
    tr_status st = TR_OK;
    *result = (tr_restore_result){0};
    if (!r)
        return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    r->how = how;
    r->result = result;
    r->lock = -1;
    TR_TRY(check_free(how->config->data, err));
    TR_TRY(make_scratch(r, err));
    TR_TRY(fetch(r, err));
    TR_TRY(open_sources(r, err));
    TR_TRY(open_ring(r, err));
    TR_TRY(verify(r, err));
    TR_TRY(unpack(r, err));
    TR_TRY(replay(r, err));
    TR_TRY(finish(r, err));
    TR_TRY(write_report(r, err));
    st = put_in_place(r, err);
out:
    tr_keyring_close(r->ring);
    tr_secret_clear(&r->passphrase);
    tr_chain_free(&r->chain);
    tr_target_source_close(r->keys);
    tr_target_source_close(r->key_changes);
    tr_target_close(r->target);
    if (r->fetched)
        (void)tr_fetched_remove(r->from, NULL);
    tr_store_unlock(r->lock);
    if (st != TR_OK && r->made)
        (void)tr_scratch_remove(r->at.data, NULL);
    free(r);
    return st;
}
