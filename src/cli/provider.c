#include "cli/provider.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/encode.h"
#include "base/json_write.h"
#include "cli/cli.h"
#include "cli/files.h"
#include "cli/options.h"

#define PASSPHRASE_BYTES 32

/* Options of one provider make no sense for another. */
static tr_status only_for(const char *provider, const char *of, const char *name, const char *value,
                          tr_error *err) {
    bool wanted = strcmp(provider, of) == 0;
    if (wanted && (!value || !*value))
        return tr_fail(err, TR_E_CONFIG, name, "provider %s needs it", provider);
    if (!wanted && value)
        return tr_fail(err, TR_E_CONFIG, name, "is for provider %s", of);
    return TR_OK;
}

static tr_status read_counts(const tr_provider_options *o, tr_keyring_spec *spec, tr_error *err) {
    long n = 0, k = 0;
    tr_status st = tr_option_number("--shares", o->shares, 2, TR_SHARES_MAX, &n, err);
    if (st == TR_OK)
        st = tr_option_number("--threshold", o->threshold, 2, n, &k, err);
    spec->shares = (int)n;
    spec->threshold = (int)k;
    return st;
}

tr_status tr_provider_spec(const tr_provider_options *o, tr_secret share_texts[TR_SHARES_MAX],
                           tr_keyring_spec *spec, tr_error *err) {
    const char *p = o->provider ? o->provider : "file";
    tr_status st = TR_OK;
    *spec = (tr_keyring_spec){.provider = p, .pkcs11_module = o->module, .pkcs11_token = o->token};
    if (strcmp(p, "file") != 0 && strcmp(p, "pkcs11") != 0 && strcmp(p, "split") != 0)
        return tr_fail(err, TR_E_CONFIG, "provider", "must be file, pkcs11 or split");
    TR_TRY(only_for(p, "pkcs11", "--pkcs11-module", o->module, err));
    TR_TRY(only_for(p, "pkcs11", "--pkcs11-token", o->token, err));
    TR_TRY(only_for(p, "split", "--shares", o->shares, err));
    TR_TRY(only_for(p, "split", "--threshold", o->threshold, err));
    if (o->shares) {
        spec->share_texts = share_texts;
        st = read_counts(o, spec, err);
    }
out:
    return st;
}

void tr_provider_write_shares(tr_buf *out, const tr_keyring_spec *spec) {
    if (spec->shares == 0)
        return;
    tr_jw_open(out, "shares", '[');
    for (int i = 0; i < spec->shares; i++) {
        if (i > 0)
            tr_buf_putc(out, ',');
        tr_buf_json_string(out, (const char *)spec->share_texts[i].data, spec->share_texts[i].len);
    }
    tr_jw_close(out, ']');
}

void tr_provider_clear_shares(tr_secret share_texts[TR_SHARES_MAX]) {
    for (int i = 0; i < TR_SHARES_MAX; i++)
        tr_secret_clear(&share_texts[i]);
}

tr_status tr_provider_make_passphrase(const char *path, bool *made, tr_error *err) {
    tr_secret random = TR_SECRET_INIT, text = TR_SECRET_INIT;
    size_t len = TR_BASE64URL_LEN(PASSPHRASE_BYTES);
    tr_status st = tr_secret_random(&random, PASSPHRASE_BYTES, err);
    if (st == TR_OK)
        st = tr_secret_alloc(&text, len + 1, err);
    if (st == TR_OK) {
        tr_base64url_encode(random.data, random.len, (char *)text.data);
        text.data[len] = '\n';
        st = tr_file_create(path, text.data, len + 1, err);
        *made = st == TR_OK;
    }
    tr_secret_clear(&text);
    tr_secret_clear(&random);
    return st == TR_E_EXISTS ? TR_OK : st; /* put there on purpose, or by a run that was killed: it is used */
}

tr_status tr_provider_passphrase(const tr_config *config, const tr_keyring_spec *spec, tr_secret *passphrase,
                                 char made[600], tr_error *err) {
    char path[600];
    bool fresh = false;
    tr_status st = tr_config_path(config, "keyring.passphrase", path, sizeof path, err);
    made[0] = '\0';
    if (st != TR_OK || strcmp(spec->provider, "split") == 0)
        return st;
    bool given = tr_config_passphrase_given(config);
    if (!given && strcmp(spec->provider, "pkcs11") == 0 && access(path, F_OK) != 0)
        return tr_fail(err, TR_E_CONFIG, "keyring_file",
                       "give the token's user PIN in this file or in TRESOR_KEYRING");
    if (!given && strcmp(spec->provider, "file") == 0)
        st = tr_provider_make_passphrase(path, &fresh, err);
    if (fresh)
        memcpy(made, path, sizeof path);
    return st == TR_OK ? tr_cli_passphrase(config, passphrase, err) : st;
}

tr_status tr_provider_print_shares(const tr_keyring_spec *spec, tr_error *err) {
    tr_buf out = TR_BUF_INIT;
    if (spec->shares == 0)
        return TR_OK;
    tr_jw_open(&out, NULL, '{');
    tr_provider_write_shares(&out, spec);
    tr_jw_close(&out, '}');
    return tr_cli_write_line(&out, TR_OK, err);
}
