/* tresor keys: what is done to keys beside the API. */
#include <stdio.h>
#include <string.h>

#include "base/encode.h"
#include "base/json_write.h"
#include "cli/keys_commands.h"
#include "cli/options.h"
#include "cli/provider.h"
#include "cli/recovery_key.h"
#include "cli/unlock.h"
#include "vault/recovery.h"
#include "vault/rekey.h"

static const char help[] =
    "Keys: open a sealed server, give the databases new keys, move the keys to another provider, prepare for "
    "their loss.\n"
    "\n"
    "Usage: tresor keys unseal [--share-file FILE] [SETTING...]\n"
    "       tresor keys rekey [--share-file FILE]... [SETTING...]\n"
    "       tresor keys migrate --to PROVIDER [OPTION...] [SETTING...]\n"
    "       tresor keys recovery --public-key FILE [--share-file FILE]... [SETTING...]\n"
    "       tresor keys recovery-keypair --out FILE\n"
    "\n"
    "Versions of the master key are listed, rotated and retired by an operator, online:\n"
    "  tresor call GET /v1/keys;  tresor call POST /v1/keys/rotate;  tresor call DELETE /v1/keys/VERSION\n"
    "\n"
    "unseal           send one share (from stdin, without echo at a terminal) to the server of this folder, "
    "which "
    "waits for it;\n"
    "                 prints {\"accepted\",\"number\",\"given\",\"missing\"}. Each person runs it with the "
    "own share\n"
    "rekey            new keys for vault.db, keys.db and audit.db. Offline: every page is written anew, and "
    "the "
    "server's threads,\n"
    "                 each with a connection of its own, would see the key change under them. Needs as much "
    "free "
    "room as the\n"
    "                 largest database. Cut off at any point, the vault opens as before; run it again for "
    "the rest\n"
    "migrate          move the master keys to another provider. Offline. Cut off, it is to be run again with "
    "the "
    "same options:\n"
    "                 the server does not start in between\n"
    "recovery         from now on DIR/keyring.recovery holds the keyring, encrypted to this public key. "
    "Offline\n"
    "recovery-keypair make that key: FILE (private: store it away from the vault) and FILE.pub\n"
    "\n"
    "  --share-file FILE  a share of a split keyring; without it they are read from stdin, one a line\n"
    "  --to PROVIDER      migrate: file, pkcs11 or split\n"
    "  --new-keyring-file FILE  migrate: the new passphrase or PIN (or TRESOR_KEYRING_NEW)\n"
    "  --new-share-file FILE    migrate, when it is run again and the shares were printed: a share of the "
    "new keyring\n"
    "\nProviders:\n" TR_PROVIDER_HELP;

/* ---- rekey ---- */

typedef struct done_list {
    const char *names[8];
    size_t count;
} done_list;

static void note_done(void *context, const char *database) {
    done_list *list = context;
    if (list->count < sizeof list->names / sizeof *list->names)
        list->names[list->count++] = database;
}

static tr_exit print_done(const done_list *list) {
    tr_buf out = TR_BUF_INIT;
    tr_jw_open(&out, NULL, '{');
    tr_jw_open(&out, "rekeyed", '[');
    for (size_t i = 0; i < list->count; i++)
        tr_jw_text(&out, NULL, list->names[i]);
    tr_jw_close(&out, ']');
    tr_jw_close(&out, '}');
    tr_buf_putc(&out, '\n');
    tr_exit code = out.failed ? TR_EXIT_FAILURE : tr_cli_print(out.data, out.len);
    tr_buf_clear(&out);
    return code;
}

tr_exit tr_keys_rekey(int argc, char **argv) {
    tr_option_list shares = {.count = 0};
    const tr_option options[] = {{.name = "--share-file", .list = &shares}};
    tr_command_line line = {.options = options,
                            .option_count = 1,
                            .usage = "tresor keys rekey [--share-file FILE]... [SETTING...]"};
    tr_config config;
    tr_secret passphrase = TR_SECRET_INIT;
    done_list done = {.count = 0};
    tr_error err = {0};
    tr_status st = tr_options_read(argc, argv, &line, &config, &err);
    if (st == TR_OK)
        st = tr_cli_unlock(&config, &shares, &passphrase, &err);
    if (st == TR_OK)
        st = tr_vault_rekey(&config, &passphrase, note_done, &done, &err);
    tr_secret_clear(&passphrase);
    return st == TR_OK ? print_done(&done) : tr_cli_report(&err);
}

/* ---- recovery ---- */

tr_exit tr_keys_recovery(int argc, char **argv) {
    tr_option_list shares = {.count = 0};
    const char *file = NULL;
    const tr_option options[] = {{.name = "--public-key", .value = &file},
                                 {.name = "--share-file", .list = &shares}};
    tr_command_line line = {.options = options,
                            .option_count = sizeof options / sizeof *options,
                            .usage =
                                "tresor keys recovery --public-key FILE [--share-file FILE]... [SETTING...]"};
    tr_config config;
    uint8_t public_key[32];
    tr_secret passphrase = TR_SECRET_INIT;
    tr_error err = {0};
    tr_status st = tr_options_read(argc, argv, &line, &config, &err);
    if (st == TR_OK && !file)
        return tr_cli_usage("keys recovery: usage: %s", line.usage);
    if (st == TR_OK)
        st = tr_recovery_key_public(file, public_key, &err);
    if (st == TR_OK)
        st = tr_cli_unlock(&config, &shares, &passphrase, &err);
    if (st == TR_OK)
        st = tr_vault_set_recovery(&config, &passphrase, public_key, &err);
    tr_secret_clear(&passphrase);
    return st == TR_OK ? tr_cli_print("{\"recovery\":true}\n", 18) : tr_cli_report(&err);
}

tr_exit tr_keys_recovery_keypair(int argc, char **argv) {
    const char *file = NULL;
    const tr_option options[] = {{.name = "--out", .value = &file}};
    tr_command_line line = {
        .options = options, .option_count = 1, .usage = "tresor keys recovery-keypair --out FILE"};
    tr_buf out = TR_BUF_INIT;
    tr_error err = {0};
    tr_status st = tr_options_read(argc, argv, &line, NULL, &err);
    if (st == TR_OK && !file)
        return tr_cli_usage("keys recovery-keypair: usage: %s", line.usage);
    if (st == TR_OK)
        st = tr_recovery_key_make(file, &err);
    if (st != TR_OK)
        return tr_cli_report(&err);
    tr_buf_puts(&out, "{\"private\":");
    tr_buf_json_string(&out, file, strlen(file));
    tr_buf_puts(&out, "}\n");
    tr_exit code = out.failed ? TR_EXIT_FAILURE : tr_cli_print(out.data, out.len);
    tr_buf_clear(&out);
    return code;
}

/* ---- all ---- */

static const struct {
    const char *name;
    tr_exit (*run)(int argc, char **argv);
} commands[] = {
    {"unseal", tr_keys_unseal},
    {"rekey", tr_keys_rekey},
    {"migrate", tr_keys_migrate},
    {"recovery", tr_keys_recovery},
    {"recovery-keypair", tr_keys_recovery_keypair},
};

static int run(int argc, char **argv) {
    for (size_t i = 0; argc > 0 && i < sizeof commands / sizeof *commands; i++) {
        if (strcmp(commands[i].name, argv[0]) == 0)
            return commands[i].run(argc - 1, argv + 1);
    }
    return tr_cli_usage("keys: what is to be done? unseal, rekey, migrate, recovery or recovery-keypair; "
                        "`tresor keys --help` says more");
}

const tr_cli_command tr_cli_keys = {
    .name = "keys",
    .meaning = "unseal, rekey, move or recover keys",
    .help = help,
    .settings = true,
    .run = run,
};
