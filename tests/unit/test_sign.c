/* Ed25519, RFC 8032. */
#include "hex.h"

#include <openssl/err.h>

#include "crypto/sign.h"

static bool verifies(const uint8_t public_key[32], tr_bytes message, const uint8_t signature[64]) {
    bool good = true;
    assert_int_equal(tr_sign_verify(public_key, message, signature, &good, NULL), TR_OK);
    assert_int_equal(ERR_peek_error(), 0); /* nothing left for the next TLS call to trip over */
    return good;
}

static void test_vectors(void **state) {
    (void)state;
    char line[4096], *field[4];
    int seen = 0;
    FILE *file = open_vectors("ed25519.txt");
    while (next_vector(file, line, sizeof line, field, 4)) {
        tr_secret seed = TR_SECRET_INIT;
        uint8_t message[1024], public_key[32], signature[64];
        hex_secret(field[0], &seed);
        const tr_bytes text = {message, hex_bytes(field[2], message, sizeof message)};
        assert_int_equal(tr_sign_public(&seed, public_key, NULL), TR_OK);
        assert_hex(public_key, sizeof public_key, field[1]);
        assert_int_equal(tr_sign(&seed, text, signature, NULL), TR_OK);
        assert_hex(signature, sizeof signature, field[3]);
        assert_true(verifies(public_key, text, signature));
        tr_secret_clear(&seed);
        seen++;
    }
    fclose(file);
    assert_int_equal(seen, 5);
}

static void test_every_flip(void **state) {
    (void)state;
    uint8_t public_key[32], signature[64];
    char message[] = "checkpoint 17";
    const tr_bytes text = {message, strlen(message)};
    tr_secret seed = TR_SECRET_INIT;
    assert_int_equal(tr_sign_keypair(&seed, public_key, NULL), TR_OK);
    assert_int_equal(tr_sign(&seed, text, signature, NULL), TR_OK);
    assert_true(verifies(public_key, text, signature));
    for (size_t i = 0; i < sizeof signature; i++) {
        signature[i] ^= 0x20;
        assert_false(verifies(public_key, text, signature));
        signature[i] ^= 0x20;
    }
    for (size_t i = 0; i < sizeof public_key; i++) {
        public_key[i] ^= 0x20;
        assert_false(verifies(public_key, text, signature));
        public_key[i] ^= 0x20;
    }
    for (size_t i = 0; i < text.len; i++) {
        message[i] ^= 0x20;
        assert_false(verifies(public_key, text, signature));
        message[i] ^= 0x20;
    }
    assert_false(verifies(public_key, (tr_bytes){message, text.len - 1}, signature));
    assert_false(verifies(public_key, (tr_bytes){NULL, 0}, signature));
    assert_true(verifies(public_key, text, signature));
    tr_secret_clear(&seed);
}

/* RFC 8032 section 5.1.7: S must be below the group's order L, or a signature could be changed into another
 * good one (S + L). */
static void test_malleable_signature(void **state) {
    (void)state;
    static const uint8_t order[32] = {0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7,
                                      0xa2, 0xde, 0xf9, 0xde, 0x14, 0,    0,    0,    0,    0,    0,
                                      0,    0,    0,    0,    0,    0,    0,    0,    0,    0x10};
    uint8_t public_key[32], signature[64];
    tr_secret seed = TR_SECRET_INIT;
    unsigned carry = 0;
    assert_int_equal(tr_sign_keypair(&seed, public_key, NULL), TR_OK);
    assert_int_equal(tr_sign(&seed, text_bytes("receipt"), signature, NULL), TR_OK);
    for (size_t i = 0; i < 32; i++) {
        carry += signature[32 + i] + order[i];
        signature[32 + i] = (uint8_t)carry;
        carry >>= 8;
    }
    assert_false(verifies(public_key, text_bytes("receipt"), signature));
    tr_secret_clear(&seed);
}

static void test_seed_length(void **state) {
    (void)state;
    uint8_t public_key[32], signature[64];
    tr_secret seed = TR_SECRET_INIT;
    assert_int_equal(tr_sign_public(&seed, public_key, NULL), TR_E_WRONG_KEY);
    assert_int_equal(tr_secret_random(&seed, 33, NULL), TR_OK);
    assert_int_equal(tr_sign(&seed, text_bytes("x"), signature, NULL), TR_E_WRONG_KEY);
    tr_secret_clear(&seed);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_every_flip),
        cmocka_unit_test(test_malleable_signature),
        cmocka_unit_test(test_seed_length),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
