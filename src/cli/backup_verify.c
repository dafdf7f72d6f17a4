/* tresor backup verify: a file, or a snapshot in the backup by its id. */
#include "cli/backup_verify.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/json_write.h"
#include "cli/options.h"
#include "cli/unlock.h"
#include "vault/restore_fetch.h"
#include "vault/snapshot_unpack.h"
#include "vault/vault.h"

/* The folder of a path, or the one above that. */
static void folder_above(const char *path, char *out, size_t size) {
    (void)snprintf(out, size, "%s", path);
    char *slash = strrchr(out, '/');
    if (slash)
        slash[slash == out ? 1 : 0] = '\0';
    else
        (void)snprintf(out, size, ".");
}

static bool has_ring(const tr_config *config) {
    char path[600];
    return tr_config_path(config, TR_RING, path, sizeof path, NULL) == TR_OK && access(path, F_OK) == 0;
}

static tr_status find_ring(tr_config *config, const char *file, tr_error *err) {
    char above[512];
    if (has_ring(config))
        return TR_OK;
    folder_above(file, config->data, sizeof config->data);
    if (has_ring(config))
        return TR_OK;
    (void)snprintf(above, sizeof above, "%s", config->data);
    if (strcmp(above, ".") == 0)
        (void)snprintf(config->data, sizeof config->data, "..");
    else
        folder_above(above, config->data, sizeof config->data);
    return has_ring(config) ? TR_OK
                            : tr_fail(err, TR_E_CONFIG, "data", "there is no keyring to open it with");
}

static tr_status open_ring(tr_config *config, const char *file, const tr_option_list *shares,
                           tr_keyring **ring, tr_error *err) {
    tr_secret passphrase = TR_SECRET_INIT;
    tr_status st = TR_OK;
    TR_TRY(find_ring(config, file, err));
    TR_TRY(tr_cli_unlock(config, shares, &passphrase, err));
    st = tr_vault_ring(config, &passphrase, ring, err);
out:
    tr_secret_clear(&passphrase);
    return st;
}

typedef struct verdict {
    tr_snapshot_head head;
    tr_snapshot_counts counts;
    bool ok;
} verdict;

static tr_status print_verdict(const verdict *v, const tr_error *why, tr_error *err) {
    tr_buf out = TR_BUF_INIT;
    tr_jw_open(&out, NULL, '{');
    tr_jw_bool(&out, "ok", v->ok);
    tr_jw_uuid(&out, "id", &v->head.id);
    tr_jw_text(&out, "kind", tr_snapshot_kind_name(v->head.kind));
    tr_jw_time(&out, "created_at", v->head.created_ms);
    tr_jw_number(&out, "pages", (int64_t)v->counts.pages);
    tr_jw_text(&out, "reason", v->ok ? NULL : why->what);
    tr_jw_close(&out, '}');
    return tr_cli_write_line(&out, TR_OK, err);
}

/* A snapshot of the data is restored with those that it is put upon, which lie beside it. */
static tr_status try_chain(tr_keyring *ring, const char *file, const char *scratch, verdict *v,
                           tr_error *err) {
    char folder[512], above[520];
    tr_target *target = NULL;
    tr_chain chain = {0};
    tr_status st = TR_OK;
    folder_above(file, folder, sizeof folder);
    (void)snprintf(above, sizeof above, "%s/..", folder);
    TR_TRY(tr_target_open(above, false, &target, err));
    TR_TRY(tr_chain_of(target, &v->head.vault, &v->head.id, &chain, err));
    st = tr_chain_try(ring, target, &chain, scratch, NULL, &v->head, &v->counts, err);
out:
    tr_chain_free(&chain);
    tr_target_close(target);
    return st;
}

/* Any other is read: copies of keys, segments of a log, and a full one that lies somewhere else. */
static tr_status try_file(tr_keyring *ring, const char *file, const char *scratch, verdict *v,
                          tr_error *err) {
    tr_target_source *source = NULL;
    tr_status st = TR_OK;
    if (access(scratch, F_OK) == 0)
        return tr_fail(err, TR_E_EXISTS, scratch, "is there already: name a folder that can be made");
    TR_TRY(tr_target_read_path(file, &source, err));
    TR_TRY(tr_snapshot_peek(tr_target_source_read, source, &v->head, err));
    TR_TRY(tr_target_rewind(source, err));
    if (v->head.kind == TR_SNAPSHOT_INCREMENTAL)
        st = try_chain(ring, file, scratch, v, err);
    else if (v->head.kind == TR_SNAPSHOT_FULL)
        st = tr_snapshot_try(ring, source, scratch, NULL, &v->head, &v->counts, err);
    else
        st = tr_snapshot_verify(ring, source, &v->head, &v->counts, err);
out:
    tr_target_source_close(source);
    return st;
}

static tr_status verify(tr_config *config, const char *file, const char *scratch,
                        const tr_option_list *shares, tr_error *err) {
    char beside[PATH_MAX];
    verdict v = {.ok = false};
    tr_error why = {0};
    tr_keyring *ring = NULL;
    if ((size_t)snprintf(beside, sizeof beside, "%s.scratch", file) >= sizeof beside)
        return tr_fail(err, TR_E_CONFIG, NULL, "the file's name is too long");
    tr_status st = open_ring(config, file, shares, &ring, err);
    if (st == TR_OK)
        st = try_file(ring, file, scratch ? scratch : beside, &v, &why);
    else
        why = *err;
    tr_keyring_close(ring);
    v.ok = st == TR_OK;
    if (st == TR_OK || st == TR_E_CORRUPT) {
        tr_status printed = print_verdict(&v, &why, err);
        st = st == TR_OK ? printed : st;
    }
    if (st != TR_OK && why.status == st)
        *err = why;
    return st;
}

/* ---- one in the backup that the settings name ---- */

/* Without a data folder the keyring is the backup's, fetched into a folder of its own. */
static tr_status fetch_ring(tr_config *config, tr_target *target, const char *folder, tr_error *err) {
    tr_target *to = NULL;
    tr_status st = TR_OK;
    if (has_ring(config))
        return TR_OK;
    TR_TRY(tr_scratch_make(folder, err));
    TR_TRY(tr_target_open(folder, false, &to, err));
    TR_TRY(tr_backup_fetch_one(target, TR_RING, to, err));
    (void)snprintf(config->data, sizeof config->data, "%s", folder);
out:
    tr_target_close(to);
    return st;
}

static tr_status try_stored(tr_keyring *ring, tr_target *target, const tr_uuid *id, const char *scratch,
                            verdict *v, tr_error *err) {
    char name[TR_CHAIN_NAME], text[TR_UUID_TEXT];
    tr_target_source *source = NULL;
    tr_chain chain = {0};
    tr_status st = TR_OK;
    tr_uuid_format(id, text);
    (void)snprintf(name, sizeof name, TR_TARGET_SNAPSHOTS "/%s" TR_TARGET_ENDING, text);
    TR_TRY(tr_target_read(target, name, &source, err));
    TR_TRY(tr_snapshot_peek(tr_target_source_read, source, &v->head, err));
    TR_TRY(tr_chain_of(target, &v->head.vault, id, &chain, err));
    st = tr_chain_try(ring, target, &chain, scratch, NULL, &v->head, &v->counts, err);
out:
    tr_target_source_close(source);
    tr_chain_free(&chain);
    return st;
}

static tr_status verify_stored(tr_config *config, const tr_uuid *id, const char *scratch,
                               const tr_option_list *shares, tr_error *err) {
    char text[TR_UUID_TEXT], own[TR_UUID_TEXT + 16], fetched[TR_UUID_TEXT + 16];
    verdict v = {.ok = false};
    tr_s3 *store = NULL;
    tr_target *target = NULL;
    tr_keyring *ring = NULL;
    tr_error why = {0};
    tr_status st = TR_OK;
    tr_uuid_format(id, text);
    (void)snprintf(own, sizeof own, "%s.scratch", text);
    (void)snprintf(fetched, sizeof fetched, "%s.keyring", text);
    if (access(scratch ? scratch : own, F_OK) == 0)
        return tr_fail(err, TR_E_EXISTS, scratch ? scratch : own,
                       "is there already: name a folder that can be made");
    TR_TRY(tr_backup_open(config, &store, &target, &why));
    TR_TRY(fetch_ring(config, target, fetched, &why));
    TR_TRY(open_ring(config, fetched, shares, &ring, &why));
    st = try_stored(ring, target, id, scratch ? scratch : own, &v, &why);
    v.ok = st == TR_OK;
    if (v.ok || st == TR_E_CORRUPT) {
        tr_status printed = print_verdict(&v, &why, err);
        st = v.ok ? printed : st;
    }
out:
    tr_keyring_close(ring);
    tr_target_close(target);
    tr_s3_free(store);
    (void)tr_scratch_remove(fetched, NULL);
    if (st != TR_OK && why.status == st)
        *err = why;
    return st;
}

tr_exit tr_cli_backup_verify(int argc, char **argv) {
    tr_option_list shares = {.count = 0};
    const char *scratch = NULL;
    const tr_option options[] = {{.name = "--share-file", .list = &shares},
                                 {.name = "--scratch", .value = &scratch}};
    tr_command_line line = {.options = options,
                            .option_count = sizeof options / sizeof *options,
                            .word_count = 1,
                            .usage = "tresor backup verify FILE|ID [OPTION...] [SETTING...]"};
    tr_config config;
    tr_uuid id;
    tr_error err = {0};
    tr_status st = tr_options_read(argc, argv, &line, &config, &err);
    if (st == TR_OK)
        st = tr_uuid_parse(line.words[0], strlen(line.words[0]), &id)
                 ? verify_stored(&config, &id, scratch, &shares, &err)
                 : verify(&config, line.words[0], scratch, &shares, &err);
    return st == TR_OK ? TR_EXIT_OK : tr_cli_report(&err);
}
