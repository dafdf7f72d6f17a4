/* Authenticated encryption of payloads: XAES-256-GCM (C2SP, built from AES-256-GCM of SP 800-38D and the
 * CMAC-based KDF of SP 800-108r1): a 192-bit random nonce per message, half of which derives a one-message
 * AES-256-GCM key.
 *
 * Why not plain AES-256-GCM: with random 96-bit nonces SP 800-38D allows 2^32 messages a key, counted over
 * the whole life of the key, restores of older snapshots included. With 192 random bits there is nothing to
 * count: 2^80 messages a key at a collision risk of 2^-32.
 *
 * Sealed form: version byte 0x01 | nonce[24] | ciphertext | tag[16].
 */
#ifndef TR_CRYPTO_AEAD_H
#define TR_CRYPTO_AEAD_H

#include "base/buf.h"
#include "base/secret.h"
#include "crypto/hash.h"

#define TR_AEAD_KEY_LEN       32
#define TR_AEAD_OVERHEAD      (1 + 24 + 16)
#define TR_AEAD_MAX_PLAINTEXT ((size_t)64 * 1024 * 1024)

/* Append the sealed form of `plain` to *out. The associated data is the concatenation of `ad` parts, each
 * bound with its length (8 bytes, big endian, before each part), so that no two lists of parts give the same
 * associated data. */
tr_status tr_aead_seal(const tr_secret *key, const tr_bytes *ad, size_t ad_count, tr_bytes plain, tr_buf *out,
                       tr_error *err);
/* Append the plaintext to *out; TR_E_CORRUPT (and nothing appended) if anything does not verify. */
tr_status tr_aead_open(const tr_secret *key, const tr_bytes *ad, size_t ad_count, tr_bytes sealed,
                       tr_buf *out, tr_error *err);

/* For known-answer tests: the C2SP construction itself with a given nonce and raw associated data; out is
 * ciphertext | tag. */
tr_status tr_xaes256gcm_encrypt(const tr_secret *key, const uint8_t nonce[24], tr_bytes ad, tr_bytes plain,
                                tr_buf *out, tr_error *err);

#endif
