/* Passwords: scrypt (RFC 7914) with N=2^15, r=8, p=1 (32 MiB), 128-bit salt, stored as
 * "$scrypt$ln=15,r=8,p=1$<salt base64url>$<hash base64url>" so that the cost can rise later. */
#ifndef TR_CRYPTO_PASSWORD_H
#define TR_CRYPTO_PASSWORD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/secret.h"
#include "crypto/hash.h"

#define TR_PASSWORD_HASH_MAX 128
#define TR_PASSWORD_MIN                                                                                      \
    12 /* code points, for a password that a person chooses (NIST SP 800-63B: 8 or more) */
#define TR_PASSWORD_MAX 1024 /* bytes */

/* At most two hashes run at once (64 MiB); others wait their turn; more than 64 waiting: TR_E_BUSY. */
tr_status tr_password_hash(const char *password, size_t len, char out[TR_PASSWORD_HASH_MAX], tr_error *err);
/* *match says whether it is the password. `stored` NULL: does the same work and says no, so that an unknown
 * uid costs what a known one costs. A damaged `stored` gives TR_E_CORRUPT. */
tr_status tr_password_check(const char *stored, const char *password, size_t len, bool *match, tr_error *err);
/* A one-time password: 24 characters from an alphabet without look-alikes (>= 118 bits), NUL-terminated. */
tr_status tr_password_generate(char out[32], tr_error *err);
/* scrypt itself: for the keyring and for known-answer tests. */
tr_status tr_scrypt(tr_bytes password, tr_bytes salt, uint64_t n, uint32_t r, uint32_t p, size_t len,
                    tr_secret *out, tr_error *err);

#endif
