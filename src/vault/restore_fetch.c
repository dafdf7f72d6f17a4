#include "vault/restore_fetch.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vault/databases.h"
#include "vault/ring_files.h"
#include "vault/snapshot_unpack.h"

tr_status tr_backup_open(const tr_config *config, tr_s3 **store, tr_target **out, tr_error *err) {
    *store = NULL;
    *out = NULL;
    if (config->backup_dir[0])
        return tr_target_open(config->backup_dir, false, out, err);
    if (!config->backup_s3_url[0])
        return tr_fail(err, TR_E_CONFIG, "backup_s3_url", "is not set, and backup_dir neither");
    tr_status st = tr_s3_new(config, store, err);
    return st == TR_OK ? tr_target_open_store(*store, NULL, out, err) : st;
}

tr_status tr_backup_choose(tr_target *target, const tr_uuid *vault, const tr_uuid *snapshot, int64_t at,
                           tr_chain *chain, tr_error *err) {
    const int64_t until = at ? at : INT64_MAX;
    tr_status st = snapshot ? tr_chain_of(target, vault, snapshot, chain, err)
                            : tr_chain_newest(target, vault, until, chain, err);
    return st == TR_OK && at ? tr_chain_log(target, until, chain, err) : st;
}

/* ---- the folder ---- */

tr_status tr_fetched_remove(const char *folder, tr_error *err) {
    char inner[700], log[600];
    tr_status st = TR_OK;
    (void)snprintf(log, sizeof log, "%.500s/" TR_TARGET_LOG, folder);
    DIR *list = opendir(log);
    for (const struct dirent *entry; list && st == TR_OK && (entry = readdir(list));) {
        (void)snprintf(inner, sizeof inner, "%s/%.90s", log, entry->d_name);
        if (entry->d_name[0] != '.')
            st = tr_scratch_remove(inner, err);
    }
    if (list)
        closedir(list);
    if (st == TR_OK)
        st = tr_scratch_remove(log, err);
    (void)snprintf(inner, sizeof inner, "%.500s/" TR_TARGET_SNAPSHOTS, folder);
    if (st == TR_OK)
        st = tr_scratch_remove(inner, err);
    return st == TR_OK ? tr_scratch_remove(folder, err) : st;
}

static tr_status make_folder(const char *folder, tr_target **out, tr_error *err) {
    tr_status st = tr_fetched_remove(folder, err);
    *out = NULL;
    if (st == TR_OK && mkdir(folder, 0700) != 0)
        st = tr_fail_errno(err, folder, "cannot make the folder");
    return st == TR_OK ? tr_target_open(folder, true, out, err) : st;
}

/* ---- objects ---- */

static tr_status copy(tr_target_source *source, tr_target_file *file, tr_error *err) {
    char room[65536];
    size_t got = 1;
    tr_status st = TR_OK;
    while (st == TR_OK && got > 0) {
        st = tr_target_source_read(source, room, sizeof room, &got, err);
        if (st == TR_OK && got > 0)
            st = tr_target_write(file, (tr_bytes){room, got}, err);
    }
    return st;
}

tr_status tr_backup_fetch_one(tr_target *store, const char *name, tr_target *folder, tr_error *err) {
    tr_target_source *source = NULL;
    tr_target_file *file = NULL;
    tr_status st = TR_OK;
    TR_TRY(tr_target_read(store, name, &source, err));
    TR_TRY(tr_target_begin(folder, name, &file, err));
    TR_TRY(copy(source, file, err));
    st = tr_target_commit(file, err);
    file = NULL;
out:
    tr_target_abort(file);
    tr_target_source_close(source);
    return st;
}

static tr_status fetch_chain(tr_target *store, const tr_chain *chain, tr_target *folder, tr_error *err) {
    char name[TR_CHAIN_NAME], log[TR_CHAIN_NAME];
    tr_status st = TR_OK;
    if (chain->last) {
        tr_segment_name(&chain->log, chain->last, log);
        *strrchr(log, '/') = '\0';
        st = tr_target_folder(folder, TR_TARGET_LOG, err);
        if (st == TR_OK)
            st = tr_target_folder(folder, log, err);
    }
    for (size_t i = 0; st == TR_OK && i < tr_chain_length(chain); i++) {
        tr_chain_name(chain, i, name);
        st = tr_backup_fetch_one(store, name, folder, err);
    }
    return st;
}

/* After the snapshots, which need no newer ones then; and the keyring last, which knows what wraps them. */
static tr_status fetch_keys(tr_target *store, tr_target *folder, tr_error *err) {
    static const struct {
        const char *name;
        bool must;
    } files[] = {{TR_TARGET_KEYS, true},
                 {TR_TARGET_KEY_CHANGES, false},
                 {TR_RING, false}, /* who has the recovery key needs none */
                 {TR_RING TR_RING_RECOVERY, false}};
    tr_status st = TR_OK;
    for (size_t i = 0; st == TR_OK && i < sizeof files / sizeof *files; i++) {
        st = tr_backup_fetch_one(store, files[i].name, folder, err);
        if (st == TR_E_NOT_FOUND && !files[i].must)
            st = TR_OK;
    }
    return st;
}

tr_status tr_backup_fetch(tr_target *store, const tr_uuid *snapshot, int64_t at, const char *folder,
                          tr_error *err) {
    tr_target *to = NULL;
    tr_target_source *keys = NULL;
    tr_chain chain = {0};
    tr_snapshot_head head;
    tr_status st = tr_target_read(store, TR_TARGET_KEYS, &keys, err);
    if (st == TR_E_NOT_FOUND)
        st = tr_fail(err, st, "backup_s3_url",
                     "there is no " TR_TARGET_KEYS " in the store: it has no backup");
    if (st == TR_OK)
        st = tr_snapshot_peek(tr_target_source_read, keys, &head, err);
    if (st != TR_OK)
        goto out;
    TR_TRY(tr_backup_choose(store, &head.vault, snapshot, at, &chain, err));
    TR_TRY(make_folder(folder, &to, err));
    TR_TRY(fetch_chain(store, &chain, to, err));
    st = fetch_keys(store, to, err);
out:
    tr_chain_free(&chain);
    tr_target_source_close(keys);
    tr_target_close(to);
    return st;
}
