/* The keyring: versions of the master key (key-encryption key), and the wrapped keys of the databases.
 *
 * A master key never leaves the keyring: callers hand it keys to wrap and unwrap (RFC 5649), so that a
 * provider whose keys stay inside an HSM fits behind the same interface (struct tr_keyring_provider in
 * keyring_provider.h). Provider `file`: DIR/keyring, mode 0600, one JSON document
 *   {"format":"tresor-keyring-1","provider":"file","current":2,
 *    "kdf":{"name":"scrypt","ln":17,"r":8,"p":1,"salt":"..."},
 *    "masters":[{"version":1,"created":"...","key":"<KWP under the scrypt key>"}],
 *    "keys":{"vault.db":{"master":2,"wrapped":"..."},"keys.db":{...},"audit.db":{...}},
 *    "seal":"<HMAC-SHA-256 over the sorted JSON without this member and `checksum`, key by HKDF from the
 * scrypt key>", "checksum":"<SHA-256 over the sorted JSON without this member: tells damage from a wrong
 * passphrase>"} sorted by name, without spaces and with one newline at the end, written to a temporary file,
 * fsynced, renamed, and the folder fsynced: old or new, never half. One keyring may be used by many threads.
 */
#ifndef TR_CRYPTO_KEYRING_H
#define TR_CRYPTO_KEYRING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/secret.h"
#include "crypto/hash.h"

typedef struct tr_keyring tr_keyring;

typedef struct tr_master_info {
    uint32_t version;
    int64_t created_ms;
    bool current;
} tr_master_info;

/* Make a new keyring file with master key version 1 and no database keys. TR_E_EXISTS if the file is there.
 */
tr_status tr_keyring_create_file(const char *path, const tr_secret *passphrase, tr_keyring **out,
                                 tr_error *err);
/* TR_E_WRONG_KEY: the passphrase does not open it; TR_E_CORRUPT: damaged; TR_E_CONFIG: missing or not private
 * (others may read it). */
tr_status tr_keyring_open_file(const char *path, const tr_secret *passphrase, tr_keyring **out,
                               tr_error *err);
void tr_keyring_close(tr_keyring *ring);

uint32_t tr_keyring_current(tr_keyring *ring);
/* Write up to `room` entries, oldest first; *count is how many there are. */
void tr_keyring_list(tr_keyring *ring, tr_master_info *out, size_t room, size_t *count);

/* Wrap under the current version; *version says which that was. */
tr_status tr_keyring_wrap(tr_keyring *ring, const tr_secret *key, tr_buf *wrapped, uint32_t *version,
                          tr_error *err);
/* TR_E_CORRUPT if it does not verify; TR_E_NOT_FOUND if the ring has no such version. */
tr_status tr_keyring_unwrap(tr_keyring *ring, uint32_t version, tr_bytes wrapped, tr_secret *key,
                            tr_error *err);

/* The named key ("vault.db", "keys.db", "audit.db"): made and saved when absent and `create`, else unwrapped.
 * TR_E_NOT_FOUND when absent and not `create`. */
tr_status tr_keyring_named_key(tr_keyring *ring, const char *name, bool create, tr_secret *key,
                               tr_error *err);

#endif
