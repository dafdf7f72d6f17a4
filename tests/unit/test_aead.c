/* XAES-256-GCM, AES-256-GCM below it and the sealed form above it. */
#include "hex.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <pthread.h>

#include "crypto/aead.h"
#include "crypto/gcm.h"

/* ---- AES-256-GCM: the test cases 13 to 16 of the GCM specification that NIST published ---- */

static void gcm_is(const char *key_hex, const char *nonce_hex, const char *ad_hex, const char *plain_hex,
                   const char *sealed_hex) {
    uint8_t key[32], nonce[12], ad[64], plain[128], out[160], back[160];
    assert_int_equal(hex_bytes(key_hex, key, sizeof key), 32);
    assert_int_equal(hex_bytes(nonce_hex, nonce, sizeof nonce), 12);
    const tr_bytes a = {ad, hex_bytes(ad_hex, ad, sizeof ad)};
    const tr_bytes p = {plain, hex_bytes(plain_hex, plain, sizeof plain)};
    assert_int_equal(tr_gcm_encrypt(key, nonce, &a, 1, p, out, NULL), TR_OK);
    assert_hex(out, p.len + TR_GCM_TAG_LEN, sealed_hex);
    assert_int_equal(tr_gcm_decrypt(key, nonce, &a, 1, (tr_bytes){out, p.len + TR_GCM_TAG_LEN}, back, NULL),
                     TR_OK);
    assert_memory_equal(back, plain, p.len);
    out[0] ^= 1;
    assert_int_equal(tr_gcm_decrypt(key, nonce, &a, 1, (tr_bytes){out, p.len + TR_GCM_TAG_LEN}, back, NULL),
                     TR_E_CORRUPT);
}

static void test_gcm(void **state) {
    (void)state;
    const char *zero = "0000000000000000000000000000000000000000000000000000000000000000";
    const char *key = "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308";
    const char *nonce = "cafebabefacedbaddecaf888";
    gcm_is(zero, "000000000000000000000000", "-", "-", "530f8afbc74536b9a963b4f1c4cb738b");
    gcm_is(zero, "000000000000000000000000", "-", "00000000000000000000000000000000",
           "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919");
    gcm_is(key, nonce, "-",
           "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525"
           "b16aedf5aa0de657ba637b391aafd255",
           "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838"
           "c5f61e6393ba7a0abcc9f662898015adb094dac5d93471bdec1a502270e3cc6c");
    gcm_is(key, nonce, "feedfacedeadbeeffeedfacedeadbeefabaddad2",
           "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525"
           "b16aedf5aa0de657ba637b39",
           "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838"
           "c5f61e6393ba7a0abcc9f66276fc6ece0f4e1768cddf8853bb2d551b");
}

/* ---- XAES-256-GCM: https://c2sp.org/XAES-256-GCM, "Test vectors" ---- */

static void xaes_is(uint8_t key_byte, const char *ad, const char *sealed_hex) {
    tr_secret key = TR_SECRET_INIT;
    tr_buf out = TR_BUF_INIT;
    assert_int_equal(tr_secret_alloc(&key, 32, NULL), TR_OK);
    memset(key.data, key_byte, 32);
    assert_int_equal(tr_xaes256gcm_encrypt(&key, (const uint8_t *)"ABCDEFGHIJKLMNOPQRSTUVWX", text_bytes(ad),
                                           text_bytes("XAES-256-GCM"), &out, NULL),
                     TR_OK);
    assert_hex(out.data, out.len, sealed_hex);
    tr_buf_clear(&out);
    tr_secret_clear(&key);
}

static void test_xaes(void **state) {
    (void)state;
    xaes_is(1, "", "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271");
    xaes_is(3, "c2sp.org/XAES-256-GCM", "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d");
}

/* 10,000 random messages: the inputs are one SHAKE-128 stream, the outputs are hashed with another. */
static void test_xaes_accumulated(void **state) {
    (void)state;
    enum { ROUNDS = 10000, MOST = 32 + 24 + 2 * 256 };
    uint8_t *stream = malloc((size_t)ROUNDS * MOST), hash[32];
    EVP_MD_CTX *inputs = EVP_MD_CTX_new(), *outputs = EVP_MD_CTX_new();
    tr_secret key = TR_SECRET_INIT;
    tr_buf out = TR_BUF_INIT;
    const uint8_t *at = stream;
    assert_non_null(stream);
    assert_int_equal(EVP_DigestInit_ex(inputs, EVP_shake128(), NULL), 1);
    assert_int_equal(EVP_DigestFinalXOF(inputs, stream, (size_t)ROUNDS * MOST), 1);
    assert_int_equal(EVP_DigestInit_ex(outputs, EVP_shake128(), NULL), 1);
    for (int i = 0; i < ROUNDS; i++) {
        assert_int_equal(tr_secret_copy(&key, at, 32, NULL), TR_OK);
        const uint8_t *nonce = at + 32;
        const tr_bytes plain = {at + 57, at[56]};
        const tr_bytes ad = {at + 57 + plain.len + 1, at[57 + plain.len]};
        at = (const uint8_t *)ad.data + ad.len;
        tr_buf_reset(&out);
        assert_int_equal(tr_xaes256gcm_encrypt(&key, nonce, ad, plain, &out, NULL), TR_OK);
        assert_int_equal(EVP_DigestUpdate(outputs, out.data, out.len), 1);
    }
    assert_int_equal(EVP_DigestFinalXOF(outputs, hash, sizeof hash), 1);
    assert_hex(hash, sizeof hash, "e6b9edf2df6cec60c8cbd864e2211b597fb69a529160cd040d56c0c210081939");
    EVP_MD_CTX_free(inputs);
    EVP_MD_CTX_free(outputs);
    tr_buf_clear(&out);
    tr_secret_clear(&key);
    free(stream);
}

/* ---- the sealed form ---- */

static tr_secret key;
static const tr_bytes parts[] = {{"subject", 7}, {"record", 6}, {"", 0}};

static int make_key(void **state) {
    (void)state;
    return tr_secret_random(&key, TR_AEAD_KEY_LEN, NULL) == TR_OK ? 0 : -1;
}

static int drop_key(void **state) {
    (void)state;
    tr_secret_clear(&key);
    return 0;
}

static void test_round_trip(void **state) {
    (void)state;
    static char plain[70000];
    const size_t lengths[] = {0, 1, 15, 16, 17, 400, sizeof plain};
    memset(plain, 'p', sizeof plain);
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        tr_buf sealed = TR_BUF_INIT, back = TR_BUF_INIT;
        tr_buf_puts(&sealed, "before");
        tr_buf_puts(&back, "before");
        assert_int_equal(tr_aead_seal(&key, parts, 3, (tr_bytes){plain, lengths[i]}, &sealed, NULL), TR_OK);
        assert_int_equal(sealed.len, 6 + lengths[i] + TR_AEAD_OVERHEAD);
        assert_int_equal(
            tr_aead_open(&key, parts, 3, (tr_bytes){sealed.data + 6, sealed.len - 6}, &back, NULL), TR_OK);
        assert_int_equal(back.len, 6 + lengths[i]);
        assert_memory_equal(back.data, "before", 6);
        assert_memory_equal(back.data + 6, plain, lengths[i]);
        assert_int_equal(back.data[back.len], '\0');
        tr_buf_clear(&sealed);
        tr_buf_clear(&back);
    }
}

/* The form as aead.h describes it: version, nonce, then XAES-256-GCM over the parts, each after its length.
 */
static void test_sealed_form(void **state) {
    (void)state;
    tr_buf sealed = TR_BUF_INIT, raw = TR_BUF_INIT;
    const char ad[] =
        "\0\0\0\0\0\0\0\x07subject\0\0\0\0\0\0\0\x06record\0\0\0\0\0\0\0"; /* and the literal's own NUL */
    assert_int_equal(tr_aead_seal(&key, parts, 3, text_bytes("hello"), &sealed, NULL), TR_OK);
    assert_int_equal(sealed.data[0], 1);
    assert_int_equal(tr_xaes256gcm_encrypt(&key, (const uint8_t *)sealed.data + 1, (tr_bytes){ad, sizeof ad},
                                           text_bytes("hello"), &raw, NULL),
                     TR_OK);
    assert_int_equal(sealed.len, 25 + raw.len);
    assert_memory_equal(sealed.data + 25, raw.data, raw.len);
    tr_buf_clear(&sealed);
    tr_buf_clear(&raw);
}

static void refused(const tr_secret *with, const tr_bytes *ad, size_t count, tr_bytes sealed) {
    tr_buf back = TR_BUF_INIT;
    tr_error err = {0};
    tr_buf_puts(&back, "kept");
    assert_int_equal(tr_aead_open(with, ad, count, sealed, &back, &err), TR_E_CORRUPT);
    assert_int_equal(err.status, TR_E_CORRUPT);
    assert_int_equal(back.len, 4);
    assert_string_equal(back.data, "kept");
    assert_int_equal(ERR_peek_error(), 0); /* nothing left for the next TLS call to trip over */
    tr_buf_clear(&back);
}

static void test_every_flip_and_truncation(void **state) {
    (void)state;
    tr_buf sealed = TR_BUF_INIT;
    assert_int_equal(tr_aead_seal(&key, parts, 3, text_bytes("a payload of some length"), &sealed, NULL),
                     TR_OK);
    for (size_t i = 0; i < sealed.len; i++) {
        for (int bit = 0; bit < 8; bit++) {
            sealed.data[i] ^= (char)(1 << bit);
            refused(&key, parts, 3, (tr_bytes){sealed.data, sealed.len});
            sealed.data[i] ^= (char)(1 << bit);
        }
        refused(&key, parts, 3, (tr_bytes){sealed.data, i});
    }
    tr_buf_putc(&sealed, 'x');
    refused(&key, parts, 3, (tr_bytes){sealed.data, sealed.len});
    tr_buf_clear(&sealed);
}

static void test_other_key_and_other_parts(void **state) {
    (void)state;
    tr_buf sealed = TR_BUF_INIT;
    tr_secret other = TR_SECRET_INIT;
    assert_int_equal(tr_secret_random(&other, 32, NULL), TR_OK);
    assert_int_equal(tr_aead_seal(&key, parts, 3, text_bytes("payload"), &sealed, NULL), TR_OK);
    const tr_bytes whole = {sealed.data, sealed.len};
    const tr_bytes moved[] = {{"subjectr", 8}, {"ecord", 5}, {"", 0}}; /* the same bytes, cut elsewhere */
    const tr_bytes swapped[] = {{"record", 6}, {"subject", 7}, {"", 0}};
    refused(&other, parts, 3, whole);
    refused(&key, moved, 3, whole);
    refused(&key, swapped, 3, whole);
    refused(&key, parts, 2, whole);
    refused(&key, NULL, 0, whole);
    tr_secret_clear(&other);
    tr_buf_clear(&sealed);
}

static void test_nonces_differ(void **state) {
    (void)state;
    enum { COUNT = 500 };
    static uint8_t nonces[COUNT][24];
    for (int i = 0; i < COUNT; i++) {
        tr_buf sealed = TR_BUF_INIT;
        assert_int_equal(tr_aead_seal(&key, NULL, 0, text_bytes("same"), &sealed, NULL), TR_OK);
        memcpy(nonces[i], sealed.data + 1, 24);
        for (int j = 0; j < i; j++)
            assert_memory_not_equal(nonces[i], nonces[j], 12); /* even the half that makes the key */
        tr_buf_clear(&sealed);
    }
}

static void test_limits(void **state) {
    (void)state;
    tr_buf out = TR_BUF_INIT;
    tr_secret short_key = TR_SECRET_INIT;
    tr_bytes many[17] = {{NULL, 0}};
    tr_buf_puts(&out, "kept");
    assert_int_equal(tr_secret_random(&short_key, 31, NULL), TR_OK);
    assert_int_equal(tr_aead_seal(&short_key, NULL, 0, text_bytes("x"), &out, NULL), TR_E_INTERNAL);
    assert_int_equal(tr_aead_seal(&key, many, 17, text_bytes("x"), &out, NULL), TR_E_INTERNAL);
    assert_int_equal(tr_aead_seal(&key, NULL, 0, (tr_bytes){"x", TR_AEAD_MAX_PLAINTEXT + 1}, &out, NULL),
                     TR_E_TOO_LARGE);
    assert_string_equal(out.data, "kept");
    assert_int_equal(out.len, 4);
    tr_secret_clear(&short_key);
    tr_buf_clear(&out);
}

static void *seal_many(void *failed) {
    bool good = true;
    for (int i = 0; good && i < 500; i++) {
        tr_buf sealed = TR_BUF_INIT, back = TR_BUF_INIT;
        good = tr_aead_seal(&key, parts, 3, text_bytes("payload"), &sealed, NULL) == TR_OK &&
               tr_aead_open(&key, parts, 3, (tr_bytes){sealed.data, sealed.len}, &back, NULL) == TR_OK &&
               strcmp(back.data, "payload") == 0;
        tr_buf_clear(&sealed);
        tr_buf_clear(&back);
    }
    *(bool *)failed = !good;
    return NULL;
}

static void test_threads(void **state) {
    (void)state;
    pthread_t threads[4];
    bool failed[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, seal_many, &failed[i]), 0);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_false(failed[i]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gcm),
        cmocka_unit_test(test_xaes),
        cmocka_unit_test(test_xaes_accumulated),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_sealed_form),
        cmocka_unit_test(test_every_flip_and_truncation),
        cmocka_unit_test(test_other_key_and_other_parts),
        cmocka_unit_test(test_nonces_differ),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, make_key, drop_key);
}
