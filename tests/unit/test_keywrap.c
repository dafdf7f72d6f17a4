/* AES key wrap with padding, RFC 5649. */
#include "hex.h"

#include <openssl/err.h>
#include <openssl/evp.h>

#include "crypto/keywrap.h"

/* Wycheproof's 256-bit cases. */
static void test_vectors(void **state) {
    (void)state;
    char line[4096], *field[4];
    int seen = 0;
    FILE *file = open_vectors("kwp-256.txt");
    while (next_vector(file, line, sizeof line, field, 4)) {
        tr_secret kek = TR_SECRET_INIT, key = TR_SECRET_INIT, back = TR_SECRET_INIT;
        uint8_t wrapped[128];
        const size_t n = hex_bytes(field[3], wrapped, sizeof wrapped);
        const bool valid = strcmp(field[0], "valid") == 0;
        hex_secret(field[1], &kek);
        hex_secret(field[2], &key);
        assert_int_equal(tr_keyunwrap(&kek, (tr_bytes){wrapped, n}, &back, NULL),
                         valid ? TR_OK : TR_E_CORRUPT);
        assert_int_equal(ERR_peek_error(), 0); /* nothing left for the next TLS call to trip over */
        if (valid) {
            tr_buf out = TR_BUF_INIT;
            assert_hex(back.data, back.len, field[2]);
            assert_int_equal(tr_keywrap(&kek, &key, &out, NULL), TR_OK);
            assert_hex(out.data, out.len, field[3]);
            tr_buf_clear(&out);
        }
        tr_secret_clear(&kek);
        tr_secret_clear(&key);
        tr_secret_clear(&back);
        seen++;
    }
    fclose(file);
    assert_true(seen > 30);
}

static void test_nist_vectors(void **state) {
    (void)state;
    char line[4096], *field[3];
    int seen = 0;
    FILE *file = open_vectors("kwp-256-nist.txt");
    while (next_vector(file, line, sizeof line, field, 3)) {
        tr_secret kek = TR_SECRET_INIT, key = TR_SECRET_INIT, back = TR_SECRET_INIT;
        tr_buf out = TR_BUF_INIT;
        hex_secret(field[0], &kek);
        hex_secret(field[1], &key);
        assert_int_equal(tr_keywrap(&kek, &key, &out, NULL), TR_OK);
        assert_hex(out.data, out.len, field[2]);
        assert_int_equal(tr_keyunwrap(&kek, (tr_bytes){out.data, out.len}, &back, NULL), TR_OK);
        assert_hex(back.data, back.len, field[1]);
        tr_buf_clear(&out);
        tr_secret_clear(&kek);
        tr_secret_clear(&key);
        tr_secret_clear(&back);
        seen++;
    }
    fclose(file);
    assert_int_equal(seen, 12);
}

static void openssl_wraps(const char *cipher_name, const char *kek_hex, const char *key_hex,
                          const char *wrapped_hex) {
    EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, cipher_name, NULL);
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    uint8_t kek[32], key[64], out[80];
    int n = 0;
    hex_bytes(kek_hex, kek, sizeof kek);
    const size_t len = hex_bytes(key_hex, key, sizeof key);
    EVP_CIPHER_CTX_set_flags(ctx, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
    assert_int_equal(EVP_EncryptInit_ex2(ctx, cipher, kek, NULL, NULL), 1);
    assert_int_equal(EVP_EncryptUpdate(ctx, out, &n, key, (int)len), 1);
    assert_hex(out, (size_t)n, wrapped_hex);
    EVP_CIPHER_CTX_free(ctx);
    EVP_CIPHER_free(cipher);
}

/* RFC 5649 section 6 has 192-bit wrapping keys only, and RFC 3394 (sections 4.1 and 4.6) has no padding; so
 * they are held against the library that does our 256-bit wrapping. */
static void test_rfc_vectors_of_the_library(void **state) {
    (void)state;
    const char *kek = "5840df6e29b02af1ab493b705bf16ea1ae8338f4dcc176a8";
    openssl_wraps("AES-192-WRAP-PAD", kek, "c37b7e6492584340bed12207808941155068f738",
                  "138bdeaa9b8fa7fc61f97742e72248ee5ae6ae5360d1ae6a5f54f373fa543b6a");
    openssl_wraps("AES-192-WRAP-PAD", kek, "466f7250617369", "afbeb0f07dfbf5419200f2ccb50bb24f");
    openssl_wraps("AES-128-WRAP", "000102030405060708090a0b0c0d0e0f", "00112233445566778899aabbccddeeff",
                  "1fa68b0a8112b447aef34bd8fb5a7b829d3e862371d2cfe5");
    openssl_wraps("AES-256-WRAP", "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
                  "00112233445566778899aabbccddeeff000102030405060708090a0b0c0d0e0f",
                  "28c9f404c4b810f4cbccb35cfb87f8263f5786e2d80ed326cbc7f0e71a99f43bfb988b9b7a02dd21");
}

static void test_every_flip_and_truncation(void **state) {
    (void)state;
    tr_secret kek = TR_SECRET_INIT, key = TR_SECRET_INIT, back = TR_SECRET_INIT;
    tr_buf out = TR_BUF_INIT;
    assert_int_equal(tr_secret_random(&kek, 32, NULL), TR_OK);
    assert_int_equal(tr_secret_random(&key, 32, NULL), TR_OK);
    tr_buf_puts(&out, "before");
    assert_int_equal(tr_keywrap(&kek, &key, &out, NULL), TR_OK);
    assert_int_equal(out.len, 6 + TR_WRAPPED_KEY_LEN);
    uint8_t *wrapped = (uint8_t *)out.data + 6;
    assert_int_equal(tr_keyunwrap(&kek, (tr_bytes){wrapped, TR_WRAPPED_KEY_LEN}, &back, NULL), TR_OK);
    assert_int_equal(back.len, 32);
    assert_memory_equal(back.data, key.data, 32);
    for (size_t i = 0; i < TR_WRAPPED_KEY_LEN; i++) {
        wrapped[i] ^= 0x10;
        assert_int_equal(tr_keyunwrap(&kek, (tr_bytes){wrapped, TR_WRAPPED_KEY_LEN}, &back, NULL),
                         TR_E_CORRUPT);
        wrapped[i] ^= 0x10;
        assert_int_equal(tr_keyunwrap(&kek, (tr_bytes){wrapped, i}, &back, NULL), TR_E_CORRUPT);
    }
    assert_memory_equal(back.data, key.data, 32); /* a failure leaves what was there */
    tr_secret_clear(&kek);
    tr_secret_clear(&key);
    tr_secret_clear(&back);
    tr_buf_clear(&out);
}

static void test_limits(void **state) {
    (void)state;
    tr_secret kek = TR_SECRET_INIT, key = TR_SECRET_INIT, back = TR_SECRET_INIT;
    tr_buf out = TR_BUF_INIT;
    assert_int_equal(tr_secret_random(&kek, 32, NULL), TR_OK);
    assert_int_equal(tr_keywrap(&kek, &key, &out, NULL), TR_E_INTERNAL); /* empty */
    assert_int_equal(tr_secret_random(&key, 4096, NULL), TR_OK);
    assert_int_equal(tr_keywrap(&kek, &key, &out, NULL), TR_OK);
    assert_int_equal(tr_keyunwrap(&kek, (tr_bytes){out.data, out.len}, &back, NULL), TR_OK);
    assert_int_equal(back.len, 4096);
    assert_int_equal(tr_secret_random(&kek, 16, NULL), TR_OK); /* AES-128: not for us */
    assert_int_equal(tr_keywrap(&kek, &key, &out, NULL), TR_E_INTERNAL);
    assert_int_equal(tr_keyunwrap(&kek, (tr_bytes){out.data, out.len}, &back, NULL), TR_E_INTERNAL);
    tr_secret_clear(&kek);
    tr_secret_clear(&key);
    tr_secret_clear(&back);
    tr_buf_clear(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_nist_vectors),
        cmocka_unit_test(test_rfc_vectors_of_the_library),
        cmocka_unit_test(test_every_flip_and_truncation),
        cmocka_unit_test(test_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
