/* Public-key encryption of small things (keys, keyrings) to an offline key: HPKE, RFC 9180, base mode, single
 * shot, with DHKEM(X25519, HKDF-SHA256), HKDF-SHA256 and AES-256-GCM.
 *
 * Sealed form: the encapsulated key, 32 bytes | ciphertext | tag, 16 bytes. Every message has an ephemeral
 * key of its own, so its AES-GCM key and nonce are used once.
 *
 * Base mode says nothing about who sealed: anyone who has the public key can make a sealed message. What must
 * come from the vault itself needs its own seal inside.
 */
#ifndef TR_CRYPTO_HPKE_H
#define TR_CRYPTO_HPKE_H

#include "base/buf.h"
#include "base/secret.h"
#include "crypto/hash.h"

#define TR_HPKE_KEY_LEN  32 /* of a private key, a public key and an encapsulated key (X25519, RFC 7748) */
#define TR_HPKE_OVERHEAD (32 + 16)
#define TR_HPKE_MAX      ((size_t)1024 * 1024) /* bytes of plaintext */

/* A fresh key pair. */
tr_status tr_hpke_keypair(tr_secret *private_key, uint8_t public_key[TR_HPKE_KEY_LEN], tr_error *err);
/* The public key of a private key. TR_E_WRONG_KEY when it is not 32 bytes. */
tr_status tr_hpke_public(const tr_secret *private_key, uint8_t public_key[TR_HPKE_KEY_LEN], tr_error *err);

/* Append the sealed form to *out. TR_E_WRONG_KEY when the public key is none that can be used: a point of
 * small order, with which the shared secret would be zero (RFC 9180 section 7.1.4). */
tr_status tr_hpke_seal(const uint8_t public_key[TR_HPKE_KEY_LEN], tr_bytes info, tr_bytes aad, tr_bytes plain,
                       tr_buf *out, tr_error *err);
/* TR_E_CORRUPT: the length or the encapsulated key cannot be. TR_E_WRONG_KEY: it does not verify: another
 * private key, other info or associated data, or damage (which of them cannot be told). *plain is then as it
 * was. */
tr_status tr_hpke_open(const tr_secret *private_key, tr_bytes info, tr_bytes aad, tr_bytes sealed,
                       tr_secret *plain, tr_error *err);

/* For known-answer tests: tr_hpke_seal with a given ephemeral private key, which must never be used twice. */
tr_status tr_hpke_seal_with(const tr_secret *ephemeral, const uint8_t public_key[TR_HPKE_KEY_LEN],
                            tr_bytes info, tr_bytes aad, tr_bytes plain, tr_buf *out, tr_error *err);

#endif
