/* The options that say how a new keyring keeps its master keys: of init, keys migrate and restore. */
#ifndef TR_CLI_PROVIDER_H
#define TR_CLI_PROVIDER_H

#include "base/buf.h"
#include "base/config.h"
#include "crypto/keyring.h"

typedef struct tr_provider_options {
    const char *provider; /* NULL: file */
    const char *module, *token, *shares, *threshold;
} tr_provider_options;

/* Members of a tr_option table, in the place of one. */
#define TR_PROVIDER_OPTIONS(o)                                                                               \
    {.name = "--pkcs11-module", .value = &(o).module}, {.name = "--pkcs11-token", .value = &(o).token},      \
        {.name = "--shares", .value = &(o).shares}, {                                                        \
        .name = "--threshold", .value = &(o).threshold                                                       \
    }

#define TR_PROVIDER_HELP                                                                                     \
    "  file               sealed by a passphrase\n"                                                          \
    "  pkcs11             an HSM: --pkcs11-module PATH (its library) and --pkcs11-token LABEL; the\n"        \
    "                     passphrase is the token's user PIN. The master keys never leave it\n"              \
    "  split              --shares N --threshold K (2 <= K <= N <= 16): K of N people open it together;\n"   \
    "                     the shares are printed once, as \"shares\":[...], and stand nowhere else\n"

/* Fill *spec, but for the passphrase; share_texts has room for TR_SHARES_MAX. TR_E_CONFIG names an option
 * that is missing, wrong, or of another provider. */
tr_status tr_provider_spec(const tr_provider_options *options, tr_secret share_texts[TR_SHARES_MAX],
                           tr_keyring_spec *spec, tr_error *err);
/* Write "shares":[...] into an open JSON object; nothing for other providers. */
void tr_provider_write_shares(tr_buf *out, const tr_keyring_spec *spec);
/* The same as one JSON object on stdout; nothing when there are none. */
tr_status tr_provider_print_shares(const tr_keyring_spec *spec, tr_error *err);
void tr_provider_clear_shares(tr_secret share_texts[TR_SHARES_MAX]);

/* What seals a new ring: where no source of it is given, provider `file` gets a random one in
 * DIR/keyring.passphrase, and *made says so with its path (room for 600). Nothing for `split`. */
tr_status tr_provider_passphrase(const tr_config *config, const tr_keyring_spec *spec, tr_secret *passphrase,
                                 char made[600], tr_error *err);
/* A random one in the file; *made: it was not there yet. */
tr_status tr_provider_make_passphrase(const char *path, bool *made, tr_error *err);

#endif
