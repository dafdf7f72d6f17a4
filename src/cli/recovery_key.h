/* Files of the offline recovery key: one line of text each, with a check of its own, for a mistyped public
 * key would seal the keyring for nobody. "tresor-recovery-private-1:" or "tresor-recovery-public-1:", then
 * base64url of the 32 bytes and the first 4 of their SHA-256.
 */
#ifndef TR_CLI_RECOVERY_KEY_H
#define TR_CLI_RECOVERY_KEY_H

#include <stdint.h>

#include "base/secret.h"

/* Make a key pair in two new files, `path` (0600) and `path`.pub. TR_E_EXISTS when one is there. */
tr_status tr_recovery_key_make(const char *path, tr_error *err);
/* TR_E_CONFIG when the file holds none, or a damaged one. */
tr_status tr_recovery_key_public(const char *path, uint8_t public_key[32], tr_error *err);
tr_status tr_recovery_key_private(const char *path, tr_secret *private_key, tr_error *err);

#endif
