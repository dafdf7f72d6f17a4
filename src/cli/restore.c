/* tresor restore: make a vault from its snapshots, or open one whose keyring is lost. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json_write.h"
#include "base/log.h"
#include "cli/cli.h"
#include "cli/files.h"
#include "cli/options.h"
#include "cli/provider.h"
#include "cli/recovery_key.h"
#include "cli/unlock.h"
#include "vault/recovery.h"
#include "vault/restore.h"

static const char help[] =
    "Make a vault from its snapshots, or open one whose keyring is lost.\n"
    "\n"
    "Usage: tresor restore --from DIR [--snapshot ID] [--at TIME] [OPTION...] --data NEWDIR [SETTING...]\n"
    "       tresor restore --recovery-key FILE [--provider PROVIDER] [OPTION...] [SETTING...]\n"
    "\n"
    "--from: DIR is the backup folder, or the word s3 for the store that backup_s3_* name. The newest "
    "snapshot in the backup folder with all of the log behind it (setting backup_log), or "
    "the one "
    "named, alone.\n"
    "--at: the newest before that time, and the log up to it; a segment that is missing is named and nothing "
    "is made. NEWDIR must be empty or absent: "
    "nothing is "
    "ever\n"
    "overwritten. All files are verified before anything is written. Persons who were erased since then do "
    "not come "
    "back, and no\n"
    "session does. What the backup's keyring is opened with comes from TRESOR_KEYRING or the file that "
    "keyring_file "
    "names, or is\n"
    "shares; with --recovery-key a new keyring is made of the backup's keyring.recovery. Prints the report, "
    "which is "
    "in\n"
    "NEWDIR/restore-report.json too: "
    "{\"snapshot\",\"created_at\",\"segments\",\"reached_at\",\"keys_at\",\"pages\",\"audit_entries\","
    "\"subjects\",\n"
    "\"erased\":{\"by_ledger\",\"without_key\",\"to_complete\"},\"sessions_ended\"}.\n"
    "\n"
    "--recovery-key alone: the vault in the data folder gets a new keyring from DIR/keyring.recovery, which "
    "`tresor keys recovery`\n"
    "keeps. Offline; no other process may have the folder. It takes the place of the old one once it has "
    "been seen "
    "to open the\n"
    "databases; until then nothing is changed. Prints {\"provider\",\"version\"}, the current master key's.\n"
    "\n"
    "What seals a new keyring comes from TRESOR_KEYRING or the file that keyring_file names; where neither "
    "is given, "
    "provider file\n"
    "gets a random passphrase in DIR/keyring.passphrase (one that is there already is used). With provider "
    "split, a "
    "line\n"
    "{\"shares\":[...]} comes first.\n"
    "\n"
    "  --from DIR           the backup folder, or s3\n"
    "  --snapshot ID        which one [the newest]\n"
    "  --at TIME            the moment, such as 2026-03-01T02:00:00Z [the newest that can be reached]\n"
    "  --share-file FILE    a share of the backup's split keyring; without it they are read from stdin, one "
    "a line\n"
    "  --recovery-key FILE  what `tresor keys recovery-keypair --out FILE` made\n"
    "  --provider PROVIDER  how a new keyring keeps the master keys [file]\n"
    "\nProviders:\n" TR_PROVIDER_HELP
    "  The keys of an HSM are in no recovery file: its own backup is the recovery.\n";

typedef struct arguments {
    tr_provider_options provider;
    const char *key_file;
    tr_keyring_spec spec;
    tr_secret share_texts[TR_SHARES_MAX];
    const char *from, *snapshot, *at;
    tr_option_list shares;
} arguments;

/* The result is printed before the new ring takes its place: whoever did not see the shares could not open
 * it. */
static tr_status print_shares(void *context, tr_error *err) {
    const arguments *a = context;
    return tr_provider_print_shares(&a->spec, err);
}

static tr_status restore(const tr_config *config, arguments *a, uint32_t *version, tr_error *err) {
    char made[600] = "";
    tr_secret private_key = TR_SECRET_INIT, passphrase = TR_SECRET_INIT;
    tr_status st = TR_OK;
    TR_TRY(tr_provider_spec(&a->provider, a->share_texts, &a->spec, err));
    TR_TRY(tr_recovery_key_private(a->key_file, &private_key, err));
    TR_TRY(tr_provider_passphrase(config, &a->spec, &passphrase, made, err));
    if (a->spec.shares == 0)
        a->spec.passphrase = &passphrase;
    const tr_recovery recovery = {
        .private_key = &private_key, .spec = &a->spec, .made = print_shares, .context = a};
    st = tr_vault_recover(config, &recovery, version, err);
out:
    if (st != TR_OK && made[0])
        (void)unlink(made);
    tr_secret_clear(&private_key);
    tr_secret_clear(&passphrase);
    return st;
}

/* ---- from a backup ---- */

static tr_status copy_file(const char *from, const char *to, tr_error *err) {
    tr_buf content = TR_BUF_INIT;
    tr_status st = tr_file_read(from, (size_t)1024 * 1024, &content, NULL, err);
    if (st == TR_OK)
        st = tr_file_create(to, content.data, content.len, err);
    tr_buf_clear(&content);
    return st;
}

/* Whatever a folder holds that is being made, nobody has put a passphrase into it. */
static tr_status unlock_copy(const arguments *a, const tr_config *at, const char *path, tr_secret *passphrase,
                             tr_error *err) {
    tr_keyring_need need;
    tr_status st = tr_keyring_peek(path, &need, err);
    if (st == TR_OK && strcmp(need.provider, "split") != 0 && !tr_config_passphrase_given(at))
        st = tr_fail(err, TR_E_CONFIG, "keyring_file",
                     "the passphrase of the backup's keyring is needed: here or in TRESOR_KEYRING");
    return st == TR_OK ? tr_cli_unlock(at, &a->shares, passphrase, err) : st;
}

static tr_status open_copy(void *context, const tr_config *at, const char *ring, const char *recovery,
                           tr_secret *passphrase, tr_keyring **out, tr_error *err) {
    char path[600];
    tr_status st = TR_OK;
    (void)recovery; /* written anew with each change of the ring */
    TR_TRY(tr_config_path(at, TR_RING, path, sizeof path, err));
    TR_TRY(copy_file(ring, path, err));
    TR_TRY(unlock_copy(context, at, path, passphrase, err));
    st = tr_keyring_open_file(path, passphrase, out, err);
out:
    return st;
}

static tr_status recover_copy(void *context, const tr_config *at, const char *ring, const char *recovery,
                              tr_secret *passphrase, tr_keyring **out, tr_error *err) {
    arguments *a = context;
    char path[600], made[600] = "";
    tr_secret private_key = TR_SECRET_INIT;
    tr_status st = TR_OK;
    (void)ring;
    TR_TRY(tr_config_path(at, TR_RING, path, sizeof path, err));
    TR_TRY(tr_provider_spec(&a->provider, a->share_texts, &a->spec, err));
    TR_TRY(tr_recovery_key_private(a->key_file, &private_key, err));
    TR_TRY(tr_provider_passphrase(at, &a->spec, passphrase, made, err));
    if (a->spec.shares == 0)
        a->spec.passphrase = passphrase;
    TR_TRY(tr_keyring_recover(recovery, &private_key, path, &a->spec, out, err));
    if (a->spec.shares > 0)
        TR_TRY(tr_keyring_combine(path, a->share_texts, (size_t)a->spec.threshold, passphrase, err));
    st = tr_provider_print_shares(&a->spec, err);
out:
    tr_secret_clear(&private_key);
    return st;
}

static tr_exit print_report(const tr_restore_result *result) {
    tr_buf out = TR_BUF_INIT;
    tr_restore_report(result, &out);
    tr_buf_putc(&out, '\n');
    tr_exit code = out.failed ? TR_EXIT_FAILURE : tr_cli_print(out.data, out.len);
    tr_buf_clear(&out);
    return code;
}

static tr_exit from_backup(const tr_config *config, arguments *a) {
    tr_uuid id;
    tr_restore_result result;
    tr_error err = {0};
    tr_restore how = {.config = config,
                      .from = strcmp(a->from, "s3") == 0 ? NULL : a->from,
                      .open_ring = a->key_file ? recover_copy : open_copy,
                      .context = a};
    if (!how.from && !config->backup_s3_url[0])
        return tr_cli_usage("restore: --from s3: the setting backup_s3_url names no store");
    if (a->snapshot && !tr_uuid_parse(a->snapshot, strlen(a->snapshot), &id))
        return tr_cli_usage("restore: --snapshot: is not the id of a snapshot");
    if (a->snapshot)
        how.snapshot = &id;
    how.at = a->snapshot ? 0 : INT64_MAX;
    if (a->at && (!tr_time_parse(a->at, strlen(a->at), &how.at) || how.at <= 0))
        return tr_cli_usage("restore: --at: is no time such as 2026-03-01T02:00:00Z");
    tr_log_set_fd(-1); /* what went wrong is the command's to say */
    return tr_vault_restore(&how, &result, &err) == TR_OK ? print_report(&result) : tr_cli_report(&err);
}

/* ---- all ---- */

static tr_exit print_result(const arguments *a, uint32_t version) {
    tr_buf out = TR_BUF_INIT;
    tr_jw_open(&out, NULL, '{');
    tr_jw_text(&out, "provider", a->spec.provider);
    tr_jw_number(&out, "version", version);
    tr_jw_close(&out, '}');
    tr_buf_putc(&out, '\n');
    tr_exit code = out.failed ? TR_EXIT_FAILURE : tr_cli_print(out.data, out.len);
    tr_buf_clear(&out);
    return code;
}

static int run(int argc, char **argv) {
    arguments a = {.provider = {.provider = NULL}};
    const tr_option options[] = {{.name = "--from", .value = &a.from},
                                 {.name = "--snapshot", .value = &a.snapshot},
                                 {.name = "--at", .value = &a.at},
                                 {.name = "--share-file", .list = &a.shares},
                                 {.name = "--recovery-key", .value = &a.key_file},
                                 {.name = "--provider", .value = &a.provider.provider},
                                 TR_PROVIDER_OPTIONS(a.provider)};
    tr_command_line line = {.options = options,
                            .option_count = sizeof options / sizeof *options,
                            .usage =
                                "tresor restore --from DIR | --recovery-key FILE [OPTION...] [SETTING...]"};
    tr_config config;
    uint32_t version = 0;
    tr_error err = {0};
    tr_status st = tr_options_read(argc, argv, &line, &config, &err);
    if (st == TR_OK && ((!a.key_file && !a.from) || ((a.snapshot || a.at) && !a.from)))
        return tr_cli_usage("restore: usage: %s", line.usage);
    if (st == TR_OK && a.from) {
        tr_exit done = from_backup(&config, &a);
        tr_provider_clear_shares(a.share_texts);
        return done;
    }
    if (st == TR_OK)
        st = restore(&config, &a, &version, &err);
    tr_exit code = st == TR_OK ? print_result(&a, version) : tr_cli_report(&err);
    tr_provider_clear_shares(a.share_texts);
    return code;
}

const tr_cli_command tr_cli_restore = {
    .name = "restore",
    .meaning = "make a vault from its snapshots, or open one whose keyring is lost",
    .help = help,
    .settings = true,
    .run = run,
};
