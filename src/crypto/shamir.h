/* Shamir's secret sharing, byte by byte over GF(2^8) with the polynomial of AES, x^8 + x^4 + x^3 + x + 1
 * (A. Shamir, How to Share a Secret, CACM 22, 1979; the field of FIPS 197 section 4; the same choices as
 * draft-mcgrew-tss-03 and SLIP-0039). A share is the value of a random polynomial of degree k - 1 at x = 1 to
 * n; the secret is its value at 0.
 *
 * Whose bytes are secret: the shares' values, the coefficients, the secret. Which x and how many is not. No
 * branch and no address depends on a secret byte.
 */
#ifndef TR_CRYPTO_SHAMIR_H
#define TR_CRYPTO_SHAMIR_H

#include <stddef.h>
#include <stdint.h>

#include "base/secret.h"

uint8_t tr_gf256_mul(uint8_t a, uint8_t b);
uint8_t tr_gf256_inverse(uint8_t a); /* of 0: 0 */
/* coefficients[0] + coefficients[1] x + ... */
uint8_t tr_gf256_polynomial(const uint8_t *coefficients, size_t count, uint8_t x);

/* Make n shares, 2 <= k <= n <= 255, each as long as the secret; shares[i] is at x = i + 1. All are empty
 * after a failure. */
tr_status tr_shamir_split(const tr_secret *secret, size_t k, size_t n, tr_secret *shares, tr_error *err);
/* The value at `at` of the polynomial through `count` points (x[i], y[i]), the x all different, the y of one
 * length: the secret for at = 0. TR_E_INTERNAL else. */
tr_status tr_shamir_value(const uint8_t *x, const tr_secret *y, size_t count, uint8_t at, tr_secret *value,
                          tr_error *err);

#endif
