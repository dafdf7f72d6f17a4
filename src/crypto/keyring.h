/* The keyring: versions of the master key (key-encryption key), and the wrapped keys of the databases.
 *
 * A master key never leaves the keyring: callers hand it keys to wrap and unwrap (RFC 5649). What keeps the
 * master keys is a provider: `file` (a passphrase), `split` (k of n shares) or `pkcs11` (an HSM, which they
 * never leave). DIR/keyring, mode 0600, is one JSON document
 *   {"format":"tresor-keyring-1","provider":"file","current":2,
 *    "kdf":{"name":"scrypt","ln":17,"r":8,"p":1,"salt":"..."},
 *    "masters":[{"version":1,"created":"...","key":"<KWP under the scrypt key>"}],
 *    "keys":{"vault.db":{"master":2,"wrapped":"..."},"keys.db":{...},"audit.db":{...}},
 *    "recovery":"<X25519 public key, when set>",
 *    "seal":"<HMAC-SHA-256 over the sorted JSON without this member and `checksum`, key by HKDF from the
 * scrypt key>", "checksum":"<SHA-256 over the sorted JSON without this member: tells damage from a wrong
 * passphrase>"} sorted by name, without spaces and with one newline at the end, written to a temporary file,
 * fsynced, renamed, and the folder fsynced: old or new, never half. `kdf` and the masters' entries are the
 * provider's. A change that cannot be saved is no change, neither in the file nor in memory. One keyring may
 * be used by many threads; a change hinders them only for the moment in which it takes effect.
 */
#ifndef TR_CRYPTO_KEYRING_H
#define TR_CRYPTO_KEYRING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/secret.h"
#include "crypto/hash.h"

#define TR_SHARES_MAX 16

typedef struct tr_keyring tr_keyring;

typedef struct tr_master_info {
    uint32_t version;
    int64_t created_ms;
    bool current;
} tr_master_info;

/* How a new ring keeps its master keys. */
typedef struct tr_keyring_spec {
    const char *provider;        /* "file", "pkcs11" or "split" */
    const tr_secret *passphrase; /* file: the passphrase; pkcs11: the token's user PIN; split: NULL */
    const char *pkcs11_module;   /* path of the PKCS#11 library */
    const char *pkcs11_token;    /* token label */
    int shares, threshold;       /* split: n and k, 2 <= k <= n <= TR_SHARES_MAX */
    tr_secret *share_texts;      /* split: room for n, each TR_SECRET_INIT; each becomes one printable share
                                    (a text without NUL) that the caller clears; all empty after a failure */
} tr_keyring_spec;

/* What opening needs. */
typedef struct tr_keyring_need {
    char provider[16];
    uint32_t current;      /* the newest version of the master key in it */
    int shares, threshold; /* split */
    char pkcs11_module[512];
    char pkcs11_token[64];
} tr_keyring_need;

/* ---- making and opening ---- */

/* A new ring without database keys; its first master key has version `first` (1 for a new vault).
 * TR_E_EXISTS if the file is there. */
tr_status tr_keyring_create(const char *path, const tr_keyring_spec *spec, uint32_t first, tr_keyring **out,
                            tr_error *err);
/* The same with provider `file` and version 1. */
tr_status tr_keyring_create_file(const char *path, const tr_secret *passphrase, tr_keyring **out,
                                 tr_error *err);
/* What opening needs, without opening it. Errors as of tr_keyring_open_file. */
tr_status tr_keyring_peek(const char *path, tr_keyring_need *need, tr_error *err);
/* `passphrase` is the passphrase, the PIN, or what tr_keyring_combine gave. TR_E_WRONG_KEY: it does not open
 * the ring; TR_E_CORRUPT: damaged; TR_E_CONFIG: missing or not private (others may read it); TR_E_HSM: the
 * PKCS#11 module or token is missing or fails. */
tr_status tr_keyring_open_file(const char *path, const tr_secret *passphrase, tr_keyring **out,
                               tr_error *err);
void tr_keyring_close(tr_keyring *ring);

/* split: is this one of the ring's shares? *number is which (1 to n). TR_E_CONFIG, and err->what says which:
 * mistyped (a share has its own check), of another ring, or made up. */
tr_status tr_keyring_check_share(const char *path, const tr_secret *share_text, int *number, tr_error *err);
/* split: k share texts (or more) into the secret that tr_keyring_open_file takes as passphrase. TR_E_CONFIG:
 * too few, one twice, or what tr_keyring_check_share refuses. */
tr_status tr_keyring_combine(const char *path, const tr_secret *share_texts, size_t count,
                             tr_secret *passphrase, tr_error *err);

const char *tr_keyring_provider_name(tr_keyring *ring);

/* ---- master keys ---- */

uint32_t tr_keyring_current(tr_keyring *ring);
/* Write up to `room` entries, oldest first; *count is how many there are. */
void tr_keyring_list(tr_keyring *ring, tr_master_info *out, size_t room, size_t *count);

/* Wrap under the current version; *version says which that was. */
tr_status tr_keyring_wrap(tr_keyring *ring, const tr_secret *key, tr_buf *wrapped, uint32_t *version,
                          tr_error *err);
/* TR_E_CORRUPT if it does not verify; TR_E_NOT_FOUND if the ring has no such version. */
tr_status tr_keyring_unwrap(tr_keyring *ring, uint32_t version, tr_bytes wrapped, tr_secret *key,
                            tr_error *err);

/* A new master key becomes current, one version above; the named keys are wrapped again by it. TR_E_CONFLICT
 * when the ring is full: versions must be retired first. */
tr_status tr_keyring_rotate(tr_keyring *ring, uint32_t *version, tr_error *err);
/* Destroy a version. TR_E_CONFLICT when it is current or wraps a named key, TR_E_NOT_FOUND when there is none
 * (any more). The caller has made sure that no data key needs it. TR_E_HSM: the version is still listed, but
 * not to be relied on; retire it again. */
tr_status tr_keyring_retire(tr_keyring *ring, uint32_t version, tr_error *err);

/* ---- named keys: of the databases ---- */

/* The named key ("vault.db", "keys.db", "audit.db"): made and saved when absent and `create`, else unwrapped.
 * TR_E_NOT_FOUND when absent and not `create`. */
tr_status tr_keyring_named_key(tr_keyring *ring, const char *name, bool create, tr_secret *key,
                               tr_error *err);
/* The version that wraps it, for listings; TR_E_NOT_FOUND when there is no such key. */
tr_status tr_keyring_named_master(tr_keyring *ring, const char *name, uint32_t *version, tr_error *err);

/* Rekeying a database: a named key's successor ("<name>.next" in the document) is made when absent, read,
 * and at last takes the name's place (the old key is gone then), or is dropped. TR_E_NOT_FOUND when there is
 * no such key, or no successor to promote or drop. */
tr_status tr_keyring_named_next(tr_keyring *ring, const char *name, tr_secret *key, tr_error *err);
tr_status tr_keyring_named_has_next(tr_keyring *ring, const char *name, bool *has);
tr_status tr_keyring_named_promote(tr_keyring *ring, const char *name, tr_error *err);
tr_status tr_keyring_named_drop_next(tr_keyring *ring, const char *name, tr_error *err);

/* For moving to another provider: `to` takes over all named keys of `from` (those it has are replaced), and
 * the recovery key where its provider can; one save. When the file of `to` then takes another name, its
 * `.recovery` must, too (first: a recovery file that knows too much is better than one that lacks a key). */
tr_status tr_keyring_copy_named(tr_keyring *from, tr_keyring *to, tr_error *err);

/* ---- recovery ---- */

/* Each save from now on, and this call, also write `path`.recovery: the ring's content encrypted (HPKE, RFC
 * 9180) to this X25519 public key. TR_E_CONFIG for pkcs11, whose keys never leave the HSM: its own backup is
 * the recovery. */
tr_status tr_keyring_set_recovery(tr_keyring *ring, const uint8_t public_key[32], tr_error *err);
/* The public key that was set. */
void tr_keyring_get_recovery(tr_keyring *ring, uint8_t public_key[32], bool *set);
/* From the recovery file and the private key: a new ring at `path` by `spec` with the same master versions,
 * named keys and recovery key. TR_E_WRONG_KEY: of another private key; TR_E_CORRUPT: damaged; TR_E_EXISTS:
 * there is a ring at `path`; TR_E_CONFIG: missing, or the provider cannot take keys from outside. */
tr_status tr_keyring_recover(const char *recovery_path, const tr_secret *private_key, const char *path,
                             const tr_keyring_spec *spec, tr_keyring **out, tr_error *err);

#endif
