/* tresor init: a new vault. */
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json_write.h"
#include "cli/cli.h"
#include "cli/first_start.h"
#include "cli/options.h"
#include "cli/provider.h"
#include "vault/vault.h"

static const char help[] = "Make the data folder with its keyring and databases, and print the first "
                           "operator's, officer's and auditor's "
                           "uid and\n"
                           "one-time password as one line of JSON: keep it in a file of mode 0600, for "
                           "`tresor token sign-in --credentials "
                           "FILE`.\n"
                           "\n"
                           "Usage: tresor init [--provider PROVIDER] [OPTION...] [SETTING...]\n"
                           "\n"
                           "  --provider PROVIDER  what keeps the master keys [file]\n"
                           "\nProviders:\n" TR_PROVIDER_HELP "\n"
                           "The passphrase (pkcs11: the PIN) comes from TRESOR_KEYRING, from the file that "
                           "keyring_file names, or from the "
                           "systemd\n"
                           "credential tresor-keyring. Where none is given, provider file gets a random one "
                           "in DIR/keyring.passphrase: keep a "
                           "copy of\n"
                           "it elsewhere, for without it nothing can be read.\n";

typedef struct arguments {
    tr_provider_options provider;
    tr_keyring_spec spec;
    tr_secret share_texts[TR_SHARES_MAX];
} arguments;

static tr_status make_vault(const tr_config *config, arguments *a, tr_first_credentials *first,
                            tr_error *err) {
    char passphrase_file[600] = ""; /* made here, to be removed when the vault cannot be made */
    bool folder = false;
    tr_secret passphrase = TR_SECRET_INIT;
    tr_status st = TR_OK;
    TR_TRY(tr_provider_spec(&a->provider, a->share_texts, &a->spec, err));
    folder = mkdir(config->data, 0700) == 0;
    if (!folder && errno != EEXIST)
        TR_TRY(tr_fail_errno(err, config->data, "cannot make the data folder"));
    TR_TRY(tr_provider_passphrase(config, &a->spec, &passphrase, passphrase_file, err));
    if (a->spec.shares == 0)
        a->spec.passphrase = &passphrase;
    st = tr_vault_init(config, &a->spec, first, err);
out:
    tr_secret_clear(&passphrase);
    a->spec.passphrase = NULL;
    if (st != TR_OK && passphrase_file[0])
        (void)unlink(passphrase_file);
    if (st != TR_OK && folder)
        (void)rmdir(config->data); /* only when it is empty */
    return st;
}

static tr_exit print_credentials(const tr_first_credentials *first, const tr_keyring_spec *spec) {
    tr_buf out = TR_BUF_INIT;
    tr_jw_open(&out, NULL, '{');
    tr_first_write(&out, first);
    tr_provider_write_shares(&out, spec);
    tr_jw_close(&out, '}');
    tr_buf_putc(&out, '\n');
    tr_exit code = out.failed ? TR_EXIT_FAILURE : tr_cli_print(out.data, out.len);
    tr_buf_clear(&out);
    if (code != TR_EXIT_OK)
        (void)tr_cli_usage(
            "the vault is made, but nobody knows its first passwords: remove the data folder and init again");
    return code;
}

static int run(int argc, char **argv) {
    arguments a = {.provider = {.provider = NULL}};
    const tr_option options[] = {{.name = "--provider", .value = &a.provider.provider},
                                 TR_PROVIDER_OPTIONS(a.provider)};
    tr_command_line line = {.options = options,
                            .option_count = sizeof options / sizeof *options,
                            .usage = "tresor init [--provider PROVIDER] [OPTION...] [SETTING...]"};
    tr_config config;
    tr_first_credentials first = {0};
    tr_error err = {0};
    tr_status st = tr_options_read(argc, argv, &line, &config, &err);
    if (st == TR_OK)
        st = make_vault(&config, &a, &first, &err);
    tr_exit code = st == TR_OK ? print_credentials(&first, &a.spec) : tr_cli_report(&err);
    tr_wipe(&first, sizeof first);
    tr_provider_clear_shares(a.share_texts);
    return code;
}

const tr_cli_command tr_cli_init = {
    .name = "init",
    .meaning = "make a new vault",
    .help = help,
    .settings = true,
    .run = run,
};
