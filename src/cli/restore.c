/* tresor restore: open a vault whose keyring is lost. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/json_write.h"
#include "cli/cli.h"
#include "cli/options.h"
#include "cli/provider.h"
#include "cli/recovery_key.h"
#include "vault/recovery.h"

static const char help[] =
    "Open a vault whose keyring is lost, or whose passphrase or shares are: from DIR/keyring.recovery, which "
    "`tresor keys recovery`\n"
    "keeps, and the private recovery key. Offline; no other process may have the folder.\n"
    "\n"
    "Usage: tresor restore --recovery-key FILE [--provider PROVIDER] [OPTION...] [SETTING...]\n"
    "\n"
    "A new keyring takes the place of the old one once it has been seen to open the databases; until then "
    "nothing "
    "is changed.\n"
    "What seals it comes from TRESOR_KEYRING or the file that keyring_file names; where neither is given, "
    "provider "
    "file gets a\n"
    "random passphrase in DIR/keyring.passphrase (one that is there already is used).\n"
    "Prints {\"provider\",\"version\"}, the current master key's; before it, with provider split, a line "
    "{\"shares\":[...]}.\n"
    "\n"
    "  --recovery-key FILE  what `tresor keys recovery-keypair --out FILE` made\n"
    "  --provider PROVIDER  how the new keyring keeps the master keys [file]\n"
    "\nProviders:\n" TR_PROVIDER_HELP
    "  The keys of an HSM are in no recovery file: its own backup is the recovery.\n";

typedef struct arguments {
    tr_provider_options provider;
    const char *key_file;
    tr_keyring_spec spec;
    tr_secret share_texts[TR_SHARES_MAX];
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
    const tr_option options[] = {{.name = "--recovery-key", .value = &a.key_file},
                                 {.name = "--provider", .value = &a.provider.provider},
                                 TR_PROVIDER_OPTIONS(a.provider)};
    tr_command_line line = {.options = options,
                            .option_count = sizeof options / sizeof *options,
                            .usage = "tresor restore --recovery-key FILE [OPTION...] [SETTING...]"};
    tr_config config;
    uint32_t version = 0;
    tr_error err = {0};
    tr_status st = tr_options_read(argc, argv, &line, &config, &err);
    if (st == TR_OK && !a.key_file)
        return tr_cli_usage("restore: usage: %s", line.usage);
    if (st == TR_OK)
        st = restore(&config, &a, &version, &err);
    tr_exit code = st == TR_OK ? print_result(&a, version) : tr_cli_report(&err);
    tr_provider_clear_shares(a.share_texts);
    return code;
}

const tr_cli_command tr_cli_restore = {
    .name = "restore",
    .meaning = "open a vault whose keyring is lost",
    .help = help,
    .settings = true,
    .run = run,
};
