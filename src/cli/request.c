/* tresor request: check what the vault signed about a request of a data subject. */
#include <limits.h>
#include <string.h>

#include "base/json_write.h"
#include "cli/cli.h"
#include "cli/fetch.h"
#include "cli/files.h"
#include "cli/options.h"
#include "cli/package.h"
#include "vault/receipt.h"

#define RECEIPT_MAX ((size_t)1024 * 1024)
#define KEYS_MAX    ((size_t)1024 * 1024)

static const char help[] =
    "Check a receipt, or a package with a person's data, by the vault's published keys. Needs no vault, and "
    "with --keys\n"
    "no network.\n"
    "\n"
    "Usage: tresor request verify FILE (--keys FILE | --url URL [--ca FILE]) [--passphrase-file FILE]\n"
    "\n"
    "FILE is what GET /v1/requests/{id}/receipt answered (or DELETE /v1/subjects/{id}), or the ZIP of\n"
    "GET /v1/requests/{id}/package or GET /v1/subjects/{id}/export. Prints {\"ok\",\"what\",\"reason\",...}: "
    "of a "
    "receipt what was\n"
    "signed, of a package its manifest and how many files and bytes were found good.\n"
    "\n"
    "  --keys FILE             the keys: what GET /v1/about answered, or a JWK set (RFC 7517)\n"
    "  --url URL               ask the server for its keys: says what this server would say now\n"
    "  --ca FILE               the certificate or authority to trust [the system's authorities]\n"
    "  --passphrase-file FILE  of an encrypted package\n";

struct arguments {
    const char *keys, *url, *ca, *passphrase_file;
};

/* ---- the keys ---- */

static tr_status fetch_keys(const struct arguments *a, tr_buf *text, tr_error *err) {
    char room[PATH_MAX];
    long status = 0;
    tr_client_options server = {.url = a->url};
    tr_status st = a->ca ? tr_client_authority(a->ca, NULL, room, sizeof room, &server.ca, err) : TR_OK;
    if (st == TR_OK)
        st = tr_fetch(&server, "/v1/about", KEYS_MAX, text, &status, err);
    if (st == TR_OK && status != 200)
        st = tr_fail(err, TR_E_IO, a->url, "answered %ld instead of its keys", status);
    return st;
}

static tr_status load_keys(const struct arguments *a, cJSON **jwks, tr_error *err) {
    const char *from = a->keys ? a->keys : a->url;
    tr_buf text = TR_BUF_INIT;
    tr_status st = a->keys ? tr_file_read(a->keys, KEYS_MAX, &text, NULL, err) : fetch_keys(a, &text, err);
    if (st == TR_OK && tr_json_parse(text.data ? text.data : "", text.len, jwks, NULL) != TR_OK)
        st = tr_fail(err, TR_E_CONFIG, from, "holds no keys: it is no JSON");
    if (st == TR_OK) {
        const cJSON *inner = tr_json_member(*jwks, "signing_keys");
        if (!cJSON_IsArray(tr_json_member(inner ? inner : *jwks, "keys")))
            st = tr_fail(err, TR_E_CONFIG, from, "holds no JWK set");
    }
    tr_buf_clear(&text);
    return st;
}

/* ---- the verdict ---- */

/* A text that is not good is an answer, not a failure of the command. */
static bool is_verdict(tr_status st) {
    return st == TR_OK || st == TR_E_CORRUPT || st == TR_E_NOT_FOUND || st == TR_E_MALFORMED;
}

static void begin_verdict(tr_buf *out, const char *what, tr_status st, const tr_error *err) {
    tr_jw_open(out, NULL, '{');
    tr_jw_bool(out, "ok", st == TR_OK);
    tr_jw_text(out, "what", what);
    tr_jw_text(out, "reason", st == TR_OK ? NULL : err->what);
    tr_jw_text(out, "where", st == TR_OK || !err->where[0] ? NULL : err->where);
}

static tr_status verify_receipt(const cJSON *jwks, const tr_buf *text, tr_buf *out, tr_error *err) {
    cJSON *receipt = NULL;
    tr_error why = {0};
    tr_status st = tr_receipt_verify(jwks, text->data ? text->data : "", text->len, &receipt, &why);
    tr_status wrote = TR_OK;
    if (is_verdict(st)) {
        begin_verdict(out, "receipt", st, &why);
        if (receipt)
            wrote = tr_jw_tree(out, "receipt", receipt, err);
        tr_jw_close(out, '}');
    } else if (err) {
        *err = why;
    }
    cJSON_Delete(receipt);
    return wrote == TR_OK ? st : wrote;
}

static tr_status verify_package(const cJSON *jwks, const char *path, const struct arguments *a, tr_buf *out,
                                tr_error *err) {
    tr_secret passphrase = TR_SECRET_INIT;
    tr_package_facts facts = {0};
    tr_error why = {0};
    tr_status wrote = TR_OK;
    tr_status st = a->passphrase_file ? tr_secret_from_file(&passphrase, a->passphrase_file, &why) : TR_OK;
    if (st == TR_OK)
        st = tr_package_verify(path, a->passphrase_file ? &passphrase : NULL, jwks, &facts, &why);
    if (is_verdict(st)) {
        begin_verdict(out, "package", st, &why);
        tr_jw_number(out, "files", facts.files);
        tr_jw_number(out, "bytes", facts.bytes);
        if (st == TR_OK) {
            tr_jw_text(out, "kid", facts.kid);
            cJSON_DeleteItemFromObjectCaseSensitive(facts.manifest, "files");
            wrote = tr_jw_tree(out, "manifest", facts.manifest, err);
        }
        tr_jw_close(out, '}');
    } else if (err) {
        *err = why;
    }
    cJSON_Delete(facts.manifest);
    tr_secret_clear(&passphrase);
    return wrote == TR_OK ? st : wrote;
}

static tr_status verify(const char *path, const struct arguments *a, tr_buf *out, tr_error *err) {
    cJSON *jwks = NULL;
    tr_buf text = TR_BUF_INIT;
    bool is_zip = false;
    tr_status st = TR_OK;
    TR_TRY(load_keys(a, &jwks, err));
    TR_TRY(tr_package_probe(path, &is_zip, err));
    if (is_zip) {
        st = verify_package(jwks, path, a, out, err);
    } else {
        TR_TRY(tr_file_read(path, RECEIPT_MAX, &text, NULL, err));
        st = verify_receipt(jwks, &text, out, err);
    }
out:
    tr_buf_clear(&text);
    cJSON_Delete(jwks);
    return st;
}

static int run(int argc, char **argv) {
    struct arguments a = {0};
    const tr_option options[] = {{.name = "--keys", .value = &a.keys},
                                 {.name = "--url", .value = &a.url},
                                 {.name = "--ca", .value = &a.ca},
                                 {.name = "--passphrase-file", .value = &a.passphrase_file}};
    tr_command_line line = {
        .options = options,
        .option_count = sizeof options / sizeof *options,
        .word_count = 2,
        .usage = "tresor request verify FILE (--keys FILE | --url URL [--ca FILE]) [--passphrase-file FILE]"};
    tr_buf out = TR_BUF_INIT;
    tr_error err = {0};
    tr_status st = tr_options_read(argc, argv, &line, NULL, &err);
    if (st != TR_OK)
        return tr_cli_report(&err);
    if (strcmp(line.words[0], "verify") != 0)
        return tr_cli_usage("request: usage: %s", line.usage);
    if (!a.keys == !a.url || (a.ca && !a.url))
        return tr_cli_usage("request: give either --keys FILE or --url URL (with --ca FILE if it is needed)");
    st = verify(line.words[1], &a, &out, &err);
    tr_buf_putc(&out, '\n');
    tr_exit code = TR_EXIT_OK;
    if (!is_verdict(st) || out.len < 2)
        code = tr_cli_report(&err);
    else if (tr_buf_ok(&out, &err) != TR_OK || tr_cli_write(out.data, out.len, &err) != TR_OK)
        code = tr_cli_report(&err);
    else if (st != TR_OK)
        code = TR_EXIT_UNPROVEN;
    tr_buf_clear(&out);
    return code;
}

const tr_cli_command tr_cli_request = {
    .name = "request",
    .meaning = "verify a receipt or a package",
    .help = help,
    .run = run,
};
