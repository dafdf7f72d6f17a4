/* tresor audit: check the log's chain. */
#include <stdio.h>
#include <string.h>

#include "base/encode.h"
#include "base/json_write.h"
#include "cli/cli.h"
#include "cli/options.h"
#include "cli/unlock.h"
#include "vault/vault.h"

static const char help[] =
    "Walk the audit log's whole hash chain and compare its end with what the vault knows. Works beside a "
    "running server.\n"
    "\n"
    "Usage: tresor audit verify [--share-file FILE]... [SETTING...]\n"
    "\n"
    "Prints {\"ok\",\"entries\",\"bad_seq\",\"reason\",\"head\"}: how many entries are good, the first that "
    "was altered, is\n"
    "missing or is out of order, what is wrong with it, and the hash of the last good one.\n"
    "\n"
    "  --share-file FILE  a share of a split keyring; without it they are read from stdin, one a line\n";

static void write_verdict(tr_buf *out, const tr_audit_verdict *verdict) {
    char head[2 * sizeof verdict->head + 1];
    tr_hex_encode(verdict->head, sizeof verdict->head, head);
    tr_jw_open(out, NULL, '{');
    tr_jw_bool(out, "ok", verdict->ok);
    tr_jw_number(out, "entries", verdict->entries);
    if (verdict->bad_seq > 0)
        tr_jw_number(out, "bad_seq", verdict->bad_seq);
    else
        tr_jw_text(out, "bad_seq", NULL);
    tr_jw_text(out, "reason", verdict->ok ? NULL : verdict->reason);
    tr_jw_text(out, "head", head);
    tr_jw_close(out, '}');
    tr_buf_putc(out, '\n');
}

/* A log whose file cannot be read to its end is no better than one whose chain is broken. */
static bool is_log_damaged(tr_status st, const tr_error *err, tr_audit_verdict *verdict) {
    if (st != TR_E_CORRUPT || strncmp(err->where, "audit.db", 8) != 0)
        return false;
    verdict->ok = false;
    if (!verdict->reason[0])
        snprintf(verdict->reason, sizeof verdict->reason, "%.*s", (int)sizeof verdict->reason - 1, err->what);
    return true;
}

static int run(int argc, char **argv) {
    tr_option_list shares = {.count = 0};
    const tr_option options[] = {{.name = "--share-file", .list = &shares}};
    tr_command_line line = {.options = options,
                            .option_count = 1,
                            .word_count = 1,
                            .usage = "tresor audit verify [--share-file FILE]... [SETTING...]"};
    tr_config config;
    tr_secret passphrase = TR_SECRET_INIT;
    tr_audit_verdict verdict = {0};
    tr_buf out = TR_BUF_INIT;
    tr_error err = {0};
    tr_status st = tr_options_read(argc, argv, &line, &config, &err);
    if (st == TR_OK && strcmp(line.words[0], "verify") != 0)
        return tr_cli_usage("audit: usage: %s", line.usage);
    if (st == TR_OK)
        st = tr_cli_unlock(&config, &shares, &passphrase, &err);
    if (st == TR_OK)
        st = tr_vault_verify_audit(&config, &passphrase, &verdict, &err);
    tr_secret_clear(&passphrase);
    if (st != TR_OK && !is_log_damaged(st, &err, &verdict))
        return tr_cli_report(&err);
    write_verdict(&out, &verdict);
    tr_exit code = out.failed ? TR_EXIT_FAILURE : tr_cli_print(out.data, out.len);
    tr_buf_clear(&out);
    return code == TR_EXIT_OK && !verdict.ok ? TR_EXIT_AUDIT : code;
}

const tr_cli_command tr_cli_audit = {
    .name = "audit",
    .meaning = "verify the audit log",
    .help = help,
    .settings = true,
    .run = run,
};
