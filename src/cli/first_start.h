/* tresor serve with the setting init: a vault is made where the data folder holds none. */
#ifndef TR_CLI_FIRST_START_H
#define TR_CLI_FIRST_START_H

#include "base/buf.h"
#include "base/config.h"
#include "vault/vault.h"

#define TR_FIRST_CREDENTIALS                                                                                 \
    "first-credentials.json" /* in the data folder, 0600, as `tresor init` prints it */

/* Make DIR, when it is missing, and in it a vault sealed by a passphrase, unless it holds one; *made says so.
 * Killed at any moment, the next call goes on: it is there whole, with the credentials in their file, or not
 * at all. TR_E_EXISTS: there are files of a vault without a keyring, which nothing overwrites. */
tr_status tr_first_start(const tr_config *config, bool *made, tr_error *err);
/* The credentials as members of an open JSON object. */
void tr_first_write(tr_buf *out, const tr_first_credentials *first);

#endif
