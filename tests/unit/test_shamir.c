/* Shamir's secret sharing: the field, published vectors, and what k and k - 1 shares give. */
#include "hex.h"

#include "crypto/shamir.h"

#define MOST 16

/* ---- the field ---- */

/* By the definition: polynomials multiplied, then divided by x^8 + x^4 + x^3 + x + 1. */
static uint8_t multiply_plainly(unsigned a, unsigned b) {
    unsigned product = 0;
    for (int i = 0; i < 8; i++) {
        if (b >> i & 1)
            product ^= a << i;
    }
    for (int i = 14; i >= 8; i--) {
        if (product >> i & 1)
            product ^= 0x11bU << (i - 8);
    }
    return (uint8_t)product;
}

static void test_field(void **state) {
    (void)state;
    assert_int_equal(tr_gf256_mul(0x57, 0x83), 0xc1); /* FIPS 197 section 4.2 */
    assert_int_equal(tr_gf256_mul(0x57, 0x13), 0xfe);
    for (unsigned a = 0; a < 256; a++) {
        for (unsigned b = 0; b < 256; b++)
            assert_int_equal(tr_gf256_mul((uint8_t)a, (uint8_t)b), multiply_plainly(a, b));
        assert_int_equal(tr_gf256_mul((uint8_t)a, tr_gf256_inverse((uint8_t)a)), a != 0);
    }
    assert_int_equal(tr_gf256_inverse(0), 0);
}

/* ---- published vectors ---- */

static void test_vectors(void **state) {
    (void)state;
    static const struct {
        size_t k, n;
        const char *secret, *shares[5]; /* at x = 1, 2, ... */
    } vectors[] = {
        /* draft-mcgrew-tss-03, section 9 */
        {2, 2, "7465737400", {"b9fa07e185", "f5409b4511"}},
        /* Botan, src/tests/data/tss/recovery.vec, the case M = 3, N = 5 */
        {3,
         5,
         "476a6636f9b0caa39a7053add55b04822ed0bd456309187b",
         {"0773d64642dc18a85158f91d69546202854bc9ed910e9173",
          "74ac6503a0a6f54dfe9bd135cc759a06b214625d8da2f5ec",
          "34b5d5731bca274635b37b85707afc86198f16f57fa57ce4",
          "db009b259b8982a9db67552714c770db64cac422e0e66464",
          "9b192b5520e550a2104fff97a8c8165bcf51b08a12e1ed6c"}},
    };
    for (size_t v = 0; v < sizeof vectors / sizeof vectors[0]; v++) {
        size_t n = vectors[v].n, k = vectors[v].k;
        tr_secret expected = TR_SECRET_INIT, all[5] = {0}, got = TR_SECRET_INIT;
        hex_secret(vectors[v].secret, &expected);
        for (size_t i = 0; i < n; i++)
            hex_secret(vectors[v].shares[i], &all[i]);
        for (unsigned chosen = 0; chosen < 1U << n; chosen++) { /* every set of k or more */
            uint8_t x[5];
            tr_secret y[5];
            size_t count = 0;
            for (size_t i = 0; i < n; i++) {
                if (chosen >> i & 1) {
                    x[count] = (uint8_t)(i + 1);
                    y[count++] = all[i];
                }
            }
            if (count < k)
                continue;
            assert_int_equal(tr_shamir_value(x, y, count, 0, &got, NULL), TR_OK);
            assert_int_equal(got.len, expected.len);
            assert_memory_equal(got.data, expected.data, got.len);
            for (size_t i = 0; i < n; i++) { /* the polynomial gives the other shares, too */
                assert_int_equal(tr_shamir_value(x, y, count, (uint8_t)(i + 1), &got, NULL), TR_OK);
                assert_memory_equal(got.data, all[i].data, got.len);
            }
        }
        for (size_t i = 0; i < n; i++)
            tr_secret_clear(&all[i]);
        tr_secret_clear(&expected);
        tr_secret_clear(&got);
    }
}

/* ---- k shares give the secret ---- */

static void check_sharing(size_t k, size_t n) {
    tr_secret secret = TR_SECRET_INIT, shares[MOST] = {0}, got = TR_SECRET_INIT;
    assert_int_equal(tr_secret_random(&secret, 32, NULL), TR_OK);
    assert_int_equal(tr_shamir_split(&secret, k, n, shares, NULL), TR_OK);
    for (size_t first = 0; first < n; first++) { /* k shares from each place on, downwards and around */
        uint8_t x[MOST];
        tr_secret y[MOST];
        for (size_t i = 0; i < k; i++) {
            size_t at = (first + n - i) % n;
            x[i] = (uint8_t)(at + 1);
            y[i] = shares[at];
        }
        assert_int_equal(tr_shamir_value(x, y, k, 0, &got, NULL), TR_OK);
        assert_memory_equal(got.data, secret.data, 32);
        assert_int_equal(tr_shamir_value(x, y, k - 1, 0, &got, NULL), TR_OK);
        assert_memory_not_equal(got.data, secret.data, 32);
    }
    for (size_t i = 0; i < n; i++) {
        assert_memory_not_equal(shares[i].data, secret.data, 32);
        tr_secret_clear(&shares[i]);
    }
    tr_secret_clear(&secret);
    tr_secret_clear(&got);
}

static void test_every_size(void **state) {
    (void)state;
    for (size_t n = 2; n <= MOST; n++) {
        for (size_t k = 2; k <= n; k++)
            check_sharing(k, n);
    }
}

/* Every subset of k out of 6. */
static void test_every_subset(void **state) {
    (void)state;
    enum { N = 6 };
    for (size_t k = 2; k <= N; k++) {
        tr_secret secret = TR_SECRET_INIT, shares[N] = {0}, got = TR_SECRET_INIT;
        assert_int_equal(tr_secret_random(&secret, 32, NULL), TR_OK);
        assert_int_equal(tr_shamir_split(&secret, k, N, shares, NULL), TR_OK);
        for (unsigned chosen = 0; chosen < 1U << N; chosen++) {
            uint8_t x[N];
            tr_secret y[N];
            size_t count = 0;
            for (size_t i = 0; i < N; i++) {
                if (chosen >> i & 1) {
                    x[count] = (uint8_t)(i + 1);
                    y[count++] = shares[i];
                }
            }
            if (count == 0)
                continue;
            assert_int_equal(tr_shamir_value(x, y, count, 0, &got, NULL), TR_OK);
            if (count >= k)
                assert_memory_equal(got.data, secret.data, 32);
            else
                assert_memory_not_equal(got.data, secret.data, 32);
        }
        for (size_t i = 0; i < N; i++)
            tr_secret_clear(&shares[i]);
        tr_secret_clear(&secret);
        tr_secret_clear(&got);
    }
}

/* ---- k - 1 shares give nothing ---- */

/* Of one byte, over all secrets and all polynomials: whatever k - 1 shares say, each of the 256 secrets comes
 * from equally many polynomials, here one. So the shares' distribution is the same for every secret. */
static void test_two_of_n_hide_exactly(void **state) {
    (void)state;
    for (unsigned x = 1; x <= 255; x += 7) {
        static uint8_t seen[256][256]; /* [value of the share][secret] */
        memset(seen, 0, sizeof seen);
        for (unsigned secret = 0; secret < 256; secret++) {
            for (unsigned a = 0; a < 256; a++) {
                uint8_t coefficients[2] = {(uint8_t)secret, (uint8_t)a};
                seen[tr_gf256_polynomial(coefficients, 2, (uint8_t)x)][secret]++;
            }
        }
        for (unsigned value = 0; value < 256; value++) {
            for (unsigned secret = 0; secret < 256; secret++)
                assert_int_equal(seen[value][secret], 1);
        }
    }
}

static void test_three_of_n_hide_exactly(void **state) {
    (void)state;
    static const uint8_t pairs[][2] = {{1, 2}, {3, 16}};
    static const uint8_t secrets[] = {0, 1, 0x80, 0xff};
    static uint8_t seen[256][256]; /* [value of the one share][of the other] */
    for (size_t p = 0; p < 2; p++) {
        for (size_t s = 0; s < sizeof secrets; s++) {
            memset(seen, 0, sizeof seen);
            for (unsigned a = 0; a < 256; a++) {
                for (unsigned b = 0; b < 256; b++) {
                    uint8_t coefficients[3] = {secrets[s], (uint8_t)a, (uint8_t)b};
                    seen[tr_gf256_polynomial(coefficients, 3, pairs[p][0])]
                        [tr_gf256_polynomial(coefficients, 3, pairs[p][1])]++;
                }
            }
            for (unsigned one = 0; one < 256; one++) {
                for (unsigned other = 0; other < 256; other++)
                    assert_int_equal(seen[one][other], 1);
            }
        }
    }
}

/* For k - 1 shares as they were made: every one of the 256 candidates for a byte completes them to exactly
 * one polynomial, which gives these shares. */
static void test_every_candidate_fits(void **state) {
    (void)state;
    for (size_t k = 2; k <= 5; k++) {
        tr_secret secret = TR_SECRET_INIT, shares[5] = {0}, got = TR_SECRET_INIT;
        uint8_t x[5] = {0, 1, 2, 3, 4}; /* the candidate, and k - 1 shares */
        bool next_seen[256] = {false};
        assert_int_equal(tr_secret_random(&secret, 1, NULL), TR_OK);
        assert_int_equal(tr_shamir_split(&secret, k, 5, shares, NULL), TR_OK);
        for (unsigned candidate = 0; candidate < 256; candidate++) {
            uint8_t byte = (uint8_t)candidate;
            tr_secret y[5] = {{&byte, 1}};
            memcpy(y + 1, shares, (k - 1) * sizeof *y);
            assert_int_equal(tr_shamir_value(x, y, k, (uint8_t)k, &got, NULL), TR_OK);
            assert_false(next_seen[got.data[0]]); /* the k-th share would decide, and nothing else does */
            next_seen[got.data[0]] = true;
            assert_int_equal(got.data[0] == shares[k - 1].data[0], candidate == secret.data[0]);
        }
        for (size_t i = 0; i < 5; i++)
            tr_secret_clear(&shares[i]);
        tr_secret_clear(&secret);
        tr_secret_clear(&got);
    }
}

/* The coefficients are uniform: the values of a share, over 64 Ki bytes, too. With 255 degrees of freedom
 * chi-square is above 400 once in 10^7 runs. */
static void test_shares_are_uniform(void **state) {
    (void)state;
    enum { LEN = 65536 };
    for (size_t k = 2; k <= 3; k++) {
        tr_secret secret = TR_SECRET_INIT, shares[3] = {0};
        assert_int_equal(tr_secret_alloc(&secret, LEN, NULL), TR_OK); /* all zero */
        assert_int_equal(tr_shamir_split(&secret, k, 3, shares, NULL), TR_OK);
        for (size_t s = 0; s < 3; s++) {
            double count[256] = {0}, chi = 0;
            for (size_t i = 0; i < LEN; i++)
                count[shares[s].data[i]]++;
            for (size_t v = 0; v < 256; v++)
                chi += (count[v] - 256) * (count[v] - 256) / 256;
            assert_true(chi < 400);
            tr_secret_clear(&shares[s]);
        }
        tr_secret_clear(&secret);
    }
}

/* ---- what cannot be ---- */

static void test_refused(void **state) {
    (void)state;
    tr_secret secret = TR_SECRET_INIT, empty = TR_SECRET_INIT, shares[3] = {0}, got = TR_SECRET_INIT;
    assert_int_equal(tr_secret_random(&secret, 4, NULL), TR_OK);
    assert_int_equal(tr_shamir_split(&secret, 1, 3, shares, NULL), TR_E_INTERNAL);
    assert_int_equal(tr_shamir_split(&secret, 4, 3, shares, NULL), TR_E_INTERNAL);
    assert_int_equal(tr_shamir_split(&secret, 2, 256, shares, NULL), TR_E_INTERNAL);
    assert_int_equal(tr_shamir_split(&empty, 2, 3, shares, NULL), TR_E_INTERNAL);
    assert_null(shares[0].data);
    assert_int_equal(tr_shamir_split(&secret, 2, 3, shares, NULL), TR_OK);
    assert_int_equal(tr_shamir_value((const uint8_t[]){1, 1}, shares, 2, 0, &got, NULL), TR_E_INTERNAL);
    assert_int_equal(tr_shamir_value((const uint8_t[]){1}, shares, 0, 0, &got, NULL), TR_E_INTERNAL);
    shares[1].len = 3;
    assert_int_equal(tr_shamir_value((const uint8_t[]){1, 2}, shares, 2, 0, &got, NULL), TR_E_INTERNAL);
    shares[1].len = 4;
    assert_null(got.data);
    for (size_t i = 0; i < 3; i++)
        tr_secret_clear(&shares[i]);
    tr_secret_clear(&secret);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_field),
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_every_size),
        cmocka_unit_test(test_every_subset),
        cmocka_unit_test(test_two_of_n_hide_exactly),
        cmocka_unit_test(test_three_of_n_hide_exactly),
        cmocka_unit_test(test_every_candidate_fits),
        cmocka_unit_test(test_shares_are_uniform),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
