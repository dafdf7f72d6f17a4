/* What opens a keyring: a passphrase, a token's PIN, or the shares of several people. */
#ifndef TR_CLI_UNLOCK_H
#define TR_CLI_UNLOCK_H

#include "base/config.h"
#include "base/secret.h"
#include "cli/options.h"
#include "crypto/keyring.h"

/* The texts of the shares come from `files`, and where none are given from stdin, one a line (asked for
 * without echo at a terminal). TR_E_SHARES: too few; TR_E_WRONG_KEY names the one that does not belong to the
 * ring. */
tr_status tr_cli_shares(const char *ring_path, const tr_keyring_need *need, const tr_option_list *files,
                        tr_secret *passphrase, tr_error *err);
/* TR_E_CONFIG when the folder holds no vault. */
tr_status tr_cli_has_vault(const tr_config *config, tr_error *err);
/* What opens the vault's keyring, of whatever provider. TR_E_CONFIG when the folder holds none. `share_files`
 * may be NULL. */
tr_status tr_cli_unlock(const tr_config *config, const tr_option_list *share_files, tr_secret *passphrase,
                        tr_error *err);
/* Read one share: from the file, or (NULL) from stdin. `prompt` is shown at a terminal. TR_E_SHARES when
 * there is none. */
tr_status tr_cli_read_share(const char *file, const char *prompt, tr_secret *share, tr_error *err);

#endif
