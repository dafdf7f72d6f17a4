#include "crypto/shamir.h"

#include <string.h>

#define POLYNOMIAL 0x1bU /* x^8 = x^4 + x^3 + x + 1 */

/* ---- the field ---- */

/* Eight steps whatever the operands are: a bit becomes a mask, never a branch. */
uint8_t tr_gf256_mul(uint8_t a, uint8_t b) {
    unsigned product = 0, shifted = a, bits = b;
    for (int i = 0; i < 8; i++) {
        product ^= shifted & (0U - (bits & 1U));
        shifted = ((shifted << 1) ^ (POLYNOMIAL & (0U - (shifted >> 7)))) & 0xffU;
        bits >>= 1;
    }
    return (uint8_t)product;
}

/* a^254, as the multiplicative group has 255 elements. */
uint8_t tr_gf256_inverse(uint8_t a) {
    uint8_t power = a, result = 1;
    for (int i = 0; i < 7; i++) { /* 254 = 2 + 4 + ... + 128 */
        power = tr_gf256_mul(power, power);
        result = tr_gf256_mul(result, power);
    }
    return result;
}

uint8_t tr_gf256_polynomial(const uint8_t *coefficients, size_t count, uint8_t x) {
    uint8_t value = 0;
    for (size_t i = count; i-- > 0;) /* Horner's rule */
        value = tr_gf256_mul(value, x) ^ coefficients[i];
    return value;
}

/* ---- sharing ---- */

/* The coefficients of one byte after the other: its secret, then k - 1 random ones. The highest may be zero:
 * without that chance k - 1 shares would rule one secret out. */
static tr_status make_coefficients(const tr_secret *secret, size_t k, tr_secret *out, tr_error *err) {
    tr_status st = tr_secret_random(out, secret->len * k, err);
    for (size_t i = 0; st == TR_OK && i < secret->len; i++)
        out->data[i * k] = secret->data[i];
    return st;
}

tr_status tr_shamir_split(const tr_secret *secret, size_t k, size_t n, tr_secret *shares, tr_error *err) {
    tr_secret coefficients = TR_SECRET_INIT;
    tr_status st = TR_OK;
    if (k < 2 || k > n || n > 255 || secret->len == 0)
        return tr_fail(err, TR_E_INTERNAL, NULL, "no such sharing");
    TR_TRY(make_coefficients(secret, k, &coefficients, err));
    for (size_t s = 0; s < n; s++) {
        TR_TRY(tr_secret_alloc(&shares[s], secret->len, err));
        for (size_t i = 0; i < secret->len; i++)
            shares[s].data[i] = tr_gf256_polynomial(coefficients.data + i * k, k, (uint8_t)(s + 1));
    }
out:
    for (size_t s = 0; st != TR_OK && s < n; s++)
        tr_secret_clear(&shares[s]);
    tr_secret_clear(&coefficients);
    return st;
}

/* Lagrange's basis polynomial of point i at `at`; it comes from what is public only. */
static uint8_t weight(const uint8_t *x, size_t count, size_t i, uint8_t at) {
    uint8_t above = 1, below = 1;
    for (size_t j = 0; j < count; j++) {
        if (j == i)
            continue;
        above = tr_gf256_mul(above, at ^ x[j]);
        below = tr_gf256_mul(below, x[i] ^ x[j]);
    }
    return tr_gf256_mul(above, tr_gf256_inverse(below));
}

static bool points_fit(const uint8_t *x, const tr_secret *y, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (y[i].len != y[0].len || memchr(x + i + 1, x[i], count - i - 1))
            return false;
    }
    return count > 0 && y[0].len > 0;
}

tr_status tr_shamir_value(const uint8_t *x, const tr_secret *y, size_t count, uint8_t at, tr_secret *value,
                          tr_error *err) {
    if (!points_fit(x, y, count))
        return tr_fail(err, TR_E_INTERNAL, NULL, "these shares do not go together");
    tr_status st = tr_secret_alloc(value, y[0].len, err);
    for (size_t i = 0; st == TR_OK && i < count; i++) {
        uint8_t factor = weight(x, count, i, at);
        for (size_t b = 0; b < value->len; b++)
            value->data[b] ^= tr_gf256_mul(factor, y[i].data[b]);
    }
    return st;
}
