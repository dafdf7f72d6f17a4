/* tresor keys migrate: the master keys move to another provider. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json_write.h"
#include "cli/keys_commands.h"
#include "cli/options.h"
#include "cli/provider.h"
#include "cli/unlock.h"
#include "vault/migrate.h"

#define NEW_VARIABLE "TRESOR_KEYRING_NEW"

typedef struct arguments {
    tr_provider_options provider;
    const char *new_file;
    tr_option_list shares, new_shares;
    tr_secret new_passphrase;
    tr_keyring_spec spec;
    tr_secret share_texts[TR_SHARES_MAX];
} arguments;

/* The variable is then no longer in this process's environment. */
static tr_status read_new_passphrase(arguments *a, tr_error *err) {
    char *value = getenv(NEW_VARIABLE);
    tr_status st;
    if (strcmp(a->spec.provider, "split") == 0)
        return a->new_file ? tr_fail(err, TR_E_CONFIG, "--new-keyring-file", "is not for provider split")
                           : TR_OK;
    if (a->new_file)
        st = tr_secret_from_file(&a->new_passphrase, a->new_file, err);
    else if (value && *value)
        st = tr_secret_copy(&a->new_passphrase, value, strlen(value), err);
    else
        st = tr_fail(err, TR_E_CONFIG, "--new-keyring-file",
                     "the new passphrase or PIN is needed: in this file or in " NEW_VARIABLE);
    if (value) {
        tr_wipe(value, strlen(value));
        unsetenv(NEW_VARIABLE);
    }
    a->spec.passphrase = &a->new_passphrase;
    return st;
}

/* For a new ring that has keys in it already: its shares were handed out, and are to be collected. */
static tr_status open_begun(void *context, const char *ring_path, tr_secret *passphrase, tr_error *err) {
    const arguments *a = context;
    tr_keyring_need need;
    if (strcmp(a->spec.provider, "split") != 0)
        return tr_secret_copy(passphrase, a->new_passphrase.data, a->new_passphrase.len, err);
    tr_status st = tr_keyring_peek(ring_path, &need, err);
    if (st == TR_OK)
        fputs("tresor: the shares of the new keyring, please\n", stderr);
    return st == TR_OK ? tr_cli_shares(ring_path, &need, &a->new_shares, passphrase, err) : st;
}

/* Before anything hangs on them. */
static tr_status print_shares(void *context, tr_error *err) {
    const arguments *a = context;
    return tr_provider_print_shares(&a->spec, err);
}

static tr_exit print_result(const arguments *a, uint32_t version, int64_t moved) {
    tr_buf out = TR_BUF_INIT;
    tr_jw_open(&out, NULL, '{');
    tr_jw_text(&out, "provider", a->spec.provider);
    tr_jw_number(&out, "version", version);
    tr_jw_number(&out, "keys_moved", moved);
    tr_jw_close(&out, '}');
    tr_buf_putc(&out, '\n');
    tr_exit code = out.failed ? TR_EXIT_FAILURE : tr_cli_print(out.data, out.len);
    tr_buf_clear(&out);
    return code;
}

/* What the server reads at its next start is the old passphrase, as long as nobody changes that: a token
 * locks itself after a few wrong PINs. */
static void remind(const tr_config *config, const arguments *a) {
    char path[600];
    bool default_file = !tr_config_passphrase_given(config) &&
                        tr_config_path(config, "keyring.passphrase", path, sizeof path, NULL) == TR_OK &&
                        access(path, F_OK) == 0;
    if (strcmp(a->spec.provider, "split") == 0)
        fprintf(stderr, "tresor: the server starts sealed from now on: `tresor keys unseal`\n");
    else
        fprintf(stderr,
                "tresor: before the server is started: the setting keyring_file (or TRESOR_KEYRING) must "
                "give the %s\n",
                strcmp(a->spec.provider, "pkcs11") == 0 ? "token's PIN" : "new passphrase");
    if (default_file)
        fprintf(stderr, "tresor: keyring.passphrase in the data folder opens nothing any more: remove it\n");
}

static tr_status migrate(const tr_config *config, arguments *a, uint32_t *version, int64_t *moved,
                         tr_error *err) {
    tr_secret passphrase = TR_SECRET_INIT;
    tr_status st = tr_provider_spec(&a->provider, a->share_texts, &a->spec, err);
    if (st == TR_OK)
        st = read_new_passphrase(a, err);
    if (st == TR_OK)
        st = tr_cli_unlock(config, &a->shares, &passphrase, err);
    if (st == TR_OK) {
        const tr_migration migration = {.old_passphrase = &passphrase,
                                        .spec = &a->spec,
                                        .new_passphrase = open_begun,
                                        .made = print_shares,
                                        .context = a};
        st = tr_vault_migrate(config, &migration, version, moved, err);
    }
    tr_secret_clear(&passphrase);
    return st;
}

tr_exit tr_keys_migrate(int argc, char **argv) {
    arguments a = {.provider = {.provider = NULL}};
    const tr_option options[] = {{.name = "--to", .value = &a.provider.provider},
                                 TR_PROVIDER_OPTIONS(a.provider),
                                 {.name = "--new-keyring-file", .value = &a.new_file},
                                 {.name = "--share-file", .list = &a.shares},
                                 {.name = "--new-share-file", .list = &a.new_shares}};
    tr_command_line line = {.options = options,
                            .option_count = sizeof options / sizeof *options,
                            .usage = "tresor keys migrate --to PROVIDER [OPTION...] [SETTING...]"};
    tr_config config;
    uint32_t version = 0;
    int64_t moved = 0;
    tr_error err = {0};
    tr_status st = tr_options_read(argc, argv, &line, &config, &err);
    if (st == TR_OK && !a.provider.provider)
        return tr_cli_usage("keys migrate: usage: %s", line.usage);
    if (st == TR_OK)
        st = migrate(&config, &a, &version, &moved, &err);
    tr_exit code = st == TR_OK ? print_result(&a, version, moved) : tr_cli_report(&err);
    if (st == TR_OK)
        remind(&config, &a);
    tr_secret_clear(&a.new_passphrase);
    tr_provider_clear_shares(a.share_texts);
    return code;
}
