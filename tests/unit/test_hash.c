/* SHA-256, HMAC and HKDF against the standards' own vectors. */
#include "hex.h"

#include <pthread.h>

static void sha256_is(const char *text, const char *hash) {
    uint8_t out[TR_SHA256_LEN];
    const tr_bytes part = text_bytes(text);
    assert_int_equal(tr_sha256(&part, 1, out, NULL), TR_OK);
    assert_hex(out, sizeof out, hash);
}

/* FIPS 180-4, examples of NIST's cryptographic toolkit. */
static void test_sha256(void **state) {
    (void)state;
    sha256_is("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    sha256_is("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    sha256_is("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
              "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

static void test_sha256_parts(void **state) {
    (void)state;
    uint8_t out[TR_SHA256_LEN];
    const tr_bytes parts[] = {{"a", 1}, {NULL, 0}, {"bc", 2}};
    assert_int_equal(tr_sha256(parts, 3, out, NULL), TR_OK);
    assert_hex(out, sizeof out, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_int_equal(tr_sha256(NULL, 0, out, NULL), TR_OK);
    assert_hex(out, sizeof out, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

static void test_running_hash(void **state) {
    (void)state;
    static char many[1000];
    uint8_t out[TR_SHA256_LEN];
    tr_hash *h = NULL;
    memset(many, 'a', sizeof many);
    assert_int_equal(tr_hash_new(&h, NULL), TR_OK);
    for (int round = 0; round < 2; round++) { /* the second shows that final starts anew */
        for (int i = 0; i < 1000; i++)
            assert_int_equal(tr_hash_update(h, many, sizeof many, NULL), TR_OK);
        assert_int_equal(tr_hash_update(h, NULL, 0, NULL), TR_OK);
        assert_int_equal(tr_hash_final(h, out, NULL), TR_OK);
        assert_hex(out, sizeof out, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    }
    tr_hash_free(h);
    tr_hash_free(NULL);
}

static void repeat(char *out, const char *hex, int times) {
    for (*out = '\0'; times > 0; times--)
        strcat(out, hex);
}

static void hmac_is(const char *key_hex, const char *data_hex, const char *mac) {
    tr_secret key = TR_SECRET_INIT;
    uint8_t data[256], out[TR_SHA256_LEN];
    hex_secret(key_hex, &key);
    size_t n = hex_bytes(data_hex, data, sizeof data);
    for (size_t cut = 0; cut <= n; cut += 7) {
        const tr_bytes parts[] = {{data, cut}, {data + cut, n - cut}};
        assert_int_equal(tr_hmac_sha256(&key, parts, 2, out, NULL), TR_OK);
        assert_hex(out, sizeof out, mac);
    }
    tr_secret_clear(&key);
}

static void hmac_of_text_is(const char *key_hex, const char *text, const char *mac) {
    char hex[512];
    tr_hex_encode(text, strlen(text), hex);
    hmac_is(key_hex, hex, mac);
}

/* RFC 4231 sections 4.2 to 4.8 (4.6 truncates, which we never do). */
static void test_hmac(void **state) {
    (void)state;
    char key[300], data[200];
    repeat(key, "0b", 20);
    hmac_of_text_is(key, "Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    hmac_of_text_is("4a656665", "what do ya want for nothing?",
                    "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    repeat(key, "aa", 20);
    repeat(data, "dd", 50);
    hmac_is(key, data, "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe");
    repeat(data, "cd", 50);
    hmac_is("0102030405060708090a0b0c0d0e0f10111213141516171819", data,
            "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b");
    repeat(key, "aa", 131);
    hmac_of_text_is(key, "Test Using Larger Than Block-Size Key - Hash Key First",
                    "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
    hmac_of_text_is(
        key,
        "This is a test using a larger than block-size key and a larger than block-size data. The key "
        "needs to be hashed before being used by the HMAC algorithm.",
        "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2");
}

static void test_hmac_refuses_empty_key(void **state) {
    (void)state;
    tr_secret none = TR_SECRET_INIT;
    uint8_t out[TR_SHA256_LEN];
    assert_int_equal(tr_hmac_sha256(&none, NULL, 0, out, NULL), TR_E_INTERNAL);
}

static void hkdf_is(const char *key_hex, const char *salt_hex, const char *info_hex, const char *okm) {
    tr_secret key = TR_SECRET_INIT, out = TR_SECRET_INIT;
    uint8_t salt[128], info[128];
    hex_secret(key_hex, &key);
    const tr_bytes s = {salt, hex_bytes(salt_hex, salt, sizeof salt)};
    const tr_bytes i = {info, hex_bytes(info_hex, info, sizeof info)};
    assert_int_equal(tr_hkdf_sha256(&key, s, i, strlen(okm) / 2, &out, NULL), TR_OK);
    assert_hex(out.data, out.len, okm);
    /* The key may be the place for the result. */
    assert_int_equal(tr_hkdf_sha256(&key, s, i, strlen(okm) / 2, &key, NULL), TR_OK);
    assert_hex(key.data, key.len, okm);
    tr_secret_clear(&key);
    tr_secret_clear(&out);
}

/* RFC 5869 appendix A.1 to A.3. */
static void test_hkdf(void **state) {
    (void)state;
    const char *ikm = "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b";
    hkdf_is(ikm, "000102030405060708090a0b0c", "f0f1f2f3f4f5f6f7f8f9",
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865");
    hkdf_is("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f"
            "303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f",
            "606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f808182838485868788898a8b8c8d8e8f"
            "909192939495969798999a9b9c9d9e9fa0a1a2a3a4a5a6a7a8a9aaabacadaeaf",
            "b0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedf"
            "e0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff",
            "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09"
            "da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87");
    hkdf_is(ikm, "-", "-",
            "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8");
}

static void test_hkdf_limits(void **state) {
    (void)state;
    tr_secret key = TR_SECRET_INIT, out = TR_SECRET_INIT;
    const tr_bytes none = {NULL, 0};
    hex_secret("0b0b", &key);
    assert_int_equal(tr_hkdf_sha256(&key, none, none, 255 * 32, &out, NULL), TR_OK);
    assert_int_equal(out.len, 255 * 32);
    assert_int_equal(tr_hkdf_sha256(&key, none, none, 255 * 32 + 1, &out, NULL), TR_E_INTERNAL);
    assert_int_equal(out.len, 255 * 32); /* a failure leaves what was there */
    assert_int_equal(tr_hkdf_sha256(&key, none, none, 0, &out, NULL), TR_E_INTERNAL);
    tr_secret_clear(&key);
    tr_secret_clear(&out);
}

static void test_random(void **state) {
    (void)state;
    uint8_t a[32] = {0}, b[32] = {0};
    assert_int_equal(tr_random(a, sizeof a, NULL), TR_OK);
    assert_int_equal(tr_random(b, sizeof b, NULL), TR_OK);
    assert_memory_not_equal(a, b, sizeof a);
}

static void *hash_many(void *failed) {
    tr_secret key = TR_SECRET_INIT;
    uint8_t first[TR_SHA256_LEN], out[TR_SHA256_LEN];
    const tr_bytes part = {"abc", 3};
    bool good = tr_secret_copy(&key, "Jefe", 4, NULL) == TR_OK &&
                tr_hmac_sha256(&key, &part, 1, first, NULL) == TR_OK;
    for (int i = 0; good && i < 2000; i++)
        good = tr_sha256(&part, 1, out, NULL) == TR_OK && out[0] == 0xba &&
               tr_hmac_sha256(&key, &part, 1, out, NULL) == TR_OK && memcmp(out, first, sizeof out) == 0;
    tr_secret_clear(&key);
    *(bool *)failed = !good;
    return NULL;
}

static void test_threads(void **state) {
    (void)state;
    pthread_t threads[4];
    bool failed[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, hash_many, &failed[i]), 0);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_false(failed[i]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sha256),
        cmocka_unit_test(test_sha256_parts),
        cmocka_unit_test(test_running_hash),
        cmocka_unit_test(test_hmac),
        cmocka_unit_test(test_hmac_refuses_empty_key),
        cmocka_unit_test(test_hkdf),
        cmocka_unit_test(test_hkdf_limits),
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
