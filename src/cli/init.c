/* tresor init: a new vault. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/encode.h"
#include "base/json_write.h"
#include "cli/cli.h"
#include "cli/files.h"
#include "cli/options.h"
#include "vault/vault.h"

#define PASSPHRASE_BYTES 32

static const char help[] = "Make the data folder with its keyring and databases, and print the first "
                           "operator's, officer's and auditor's uid and\n"
                           "one-time password as one line of JSON: keep it in a file of mode 0600, for "
                           "`tresor token sign-in --credentials FILE`.\n"
                           "\n"
                           "Usage: tresor init [SETTING...]\n"
                           "\n"
                           "The keyring is sealed with a passphrase from TRESOR_KEYRING or from the file "
                           "that keyring_file names. Where neither is\n"
                           "given, a random one is made in DIR/keyring.passphrase: keep a copy of it "
                           "elsewhere, for without it nothing can be read.\n";

/* What init made before the vault, to be removed when the vault cannot be made. */
struct made {
    bool folder, passphrase;
    char path[600];
};

static tr_status make_folder(const tr_config *config, struct made *made, tr_error *err) {
    made->folder = mkdir(config->data, 0700) == 0;
    if (!made->folder && errno != EEXIST)
        return tr_fail_errno(err, config->data, "cannot make the data folder");
    return TR_OK;
}

static tr_status make_passphrase(struct made *made, tr_error *err) {
    tr_secret random = TR_SECRET_INIT, text = TR_SECRET_INIT;
    size_t len = TR_BASE64URL_LEN(PASSPHRASE_BYTES);
    tr_status st = tr_secret_random(&random, PASSPHRASE_BYTES, err);
    if (st == TR_OK)
        st = tr_secret_alloc(&text, len + 1, err);
    if (st == TR_OK) {
        tr_base64url_encode(random.data, random.len, (char *)text.data);
        text.data[len] = '\n';
        st = tr_file_create(made->path, text.data, len + 1, err);
        made->passphrase = st == TR_OK;
    }
    tr_secret_clear(&text);
    tr_secret_clear(&random);
    return st == TR_E_EXISTS ? TR_OK
                             : st; /* put there on purpose, or by an init that was killed: it is used */
}

static bool is_passphrase_given(const tr_config *config) {
    const char *variable = getenv("TRESOR_KEYRING");
    return (variable && *variable) || config->keyring_file[0];
}

static tr_status make_vault(const tr_config *config, struct made *made, tr_first_credentials *first,
                            tr_error *err) {
    tr_secret passphrase = TR_SECRET_INIT;
    tr_status st = make_folder(config, made, err);
    if (st == TR_OK && !is_passphrase_given(config)) {
        st = tr_config_path(config, "keyring.passphrase", made->path, sizeof made->path, err);
        if (st == TR_OK)
            st = make_passphrase(made, err);
    }
    if (st == TR_OK)
        st = tr_cli_passphrase(config, &passphrase, err);
    if (st == TR_OK)
        st = tr_vault_init(config, &passphrase, first, err);
    tr_secret_clear(&passphrase);
    if (st == TR_OK)
        return TR_OK;
    if (made->passphrase)
        (void)unlink(made->path);
    if (made->folder)
        (void)rmdir(config->data); /* only when it is empty */
    return st;
}

static tr_exit print_credentials(const tr_first_credentials *first) {
    tr_buf out = TR_BUF_INIT;
    tr_jw_open(&out, NULL, '{');
    for (size_t i = 0; i < sizeof first->items / sizeof *first->items; i++) {
        tr_jw_open(&out, first->items[i].role, '{');
        tr_jw_text(&out, "uid", first->items[i].uid);
        tr_jw_text(&out, "password", first->items[i].password);
        tr_jw_close(&out, '}');
    }
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
    tr_command_line line = {.usage = "tresor init [SETTING...]"};
    tr_config config;
    struct made made = {0};
    tr_first_credentials first = {0};
    tr_error err = {0};
    tr_status st = tr_options_read(argc, argv, &line, &config, &err);
    if (st == TR_OK)
        st = make_vault(&config, &made, &first, &err);
    tr_exit code = st == TR_OK ? print_credentials(&first) : tr_cli_report(&err);
    tr_wipe(&first, sizeof first);
    return code;
}

const tr_cli_command tr_cli_init = {
    .name = "init",
    .meaning = "make a new vault",
    .help = help,
    .settings = true,
    .run = run,
};
