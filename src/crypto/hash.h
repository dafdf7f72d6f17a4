/* SHA-256 (FIPS 180-4), HMAC-SHA-256 (RFC 2104, FIPS 198-1) and HKDF-SHA-256 (RFC 5869), through OpenSSL's
 * EVP. */
#ifndef TR_CRYPTO_HASH_H
#define TR_CRYPTO_HASH_H

#include <stddef.h>
#include <stdint.h>

#include "base/secret.h"

#define TR_SHA256_LEN 32

typedef struct tr_bytes {
    const void *data;
    size_t len;
} tr_bytes;

/* Hash the concatenation of `count` parts. The caller makes the parts' boundaries unambiguous. */
tr_status tr_sha256(const tr_bytes *parts, size_t count, uint8_t out[TR_SHA256_LEN], tr_error *err);

/* A running hash, for streams. Free with tr_hash_free (NULL is fine). */
typedef struct tr_hash tr_hash;
tr_status tr_hash_new(tr_hash **out, tr_error *err);
tr_status tr_hash_update(tr_hash *h, const void *bytes, size_t len, tr_error *err);
/* Finish, and start anew for the next stream. */
tr_status tr_hash_final(tr_hash *h, uint8_t out[TR_SHA256_LEN], tr_error *err);
void tr_hash_free(tr_hash *h);

tr_status tr_hmac_sha256(const tr_secret *key, const tr_bytes *parts, size_t count,
                         uint8_t out[TR_SHA256_LEN], tr_error *err);

/* Extract-and-expand: `len` bytes (at most 255 * 32) for the purpose that `info` names. */
tr_status tr_hkdf_sha256(const tr_secret *key, tr_bytes salt, tr_bytes info, size_t len, tr_secret *out,
                         tr_error *err);

/* Fill with bytes from the CSPRNG (RAND_bytes): for nonces, salts and tokens. */
tr_status tr_random(void *bytes, size_t len, tr_error *err);

#endif
