/* Passwords and scrypt. */
#include "hex.h"

#include <dlfcn.h>
#include <openssl/core_names.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <pthread.h>
#include <stdatomic.h>

#include "crypto/password.h"

static void scrypt_is(const char *password, const char *salt, uint64_t n, uint32_t r, uint32_t p,
                      const char *hex) {
    tr_secret out = TR_SECRET_INIT;
    assert_int_equal(tr_scrypt(text_bytes(password), text_bytes(salt), n, r, p, 64, &out, NULL), TR_OK);
    assert_hex(out.data, out.len, hex);
    tr_secret_clear(&out);
}

/* RFC 7914 section 12, but for the one that takes 1 GiB. */
static void test_scrypt(void **state) {
    (void)state;
    scrypt_is("", "", 16, 1, 1,
              "77d6576238657b203b19ca42c18a0497f16b4844e3074ae8dfdffa3fede21442"
              "fcd0069ded0948f8326a753a0fc81f17e8d3e0fb2e0d3628cf35e20c38d18906");
    scrypt_is("password", "NaCl", 1024, 8, 16,
              "fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b373162"
              "2eaf30d92e22a3886ff109279d9830dac727afb94a83ee6d8360cbdfa2cc0640");
    scrypt_is("pleaseletmein", "SodiumChloride", 16384, 8, 1,
              "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2"
              "d5432955613f0fcf62d49705242a9af9e61e85dc0d651e40dfcf017b45575887");
}

static void test_scrypt_refuses(void **state) {
    (void)state;
    tr_secret out = TR_SECRET_INIT;
    const tr_bytes x = {"x", 1};
    assert_int_equal(tr_scrypt(x, x, 1000, 8, 1, 32, &out, NULL), TR_E_INTERNAL);
    assert_int_equal(tr_scrypt(x, x, 1, 8, 1, 32, &out, NULL), TR_E_INTERNAL);
    assert_int_equal(tr_scrypt(x, x, 0, 8, 1, 32, &out, NULL), TR_E_INTERNAL);
    assert_int_equal(tr_scrypt(x, x, 16, 0, 1, 32, &out, NULL), TR_E_INTERNAL);
    assert_int_equal(tr_scrypt(x, x, 16, 8, 1, 0, &out, NULL), TR_E_INTERNAL);
}

static bool matches(const char *stored, const char *password) {
    bool match = true;
    assert_int_equal(tr_password_check(stored, password, strlen(password), &match, NULL), TR_OK);
    return match;
}

static void test_hash_and_check(void **state) {
    (void)state;
    char one[TR_PASSWORD_HASH_MAX], two[TR_PASSWORD_HASH_MAX];
    assert_int_equal(tr_password_hash("correct horse battery", 21, one, NULL), TR_OK);
    assert_int_equal(tr_password_hash("correct horse battery", 21, two, NULL), TR_OK);
    assert_memory_equal(one, "$scrypt$ln=15,r=8,p=1$", 22);
    assert_string_not_equal(one, two); /* salted */
    assert_true(matches(one, "correct horse battery"));
    assert_true(matches(two, "correct horse battery"));
    assert_false(matches(one, "correct horse batterx"));
    assert_false(matches(one, "correct horse batter"));
    assert_false(matches(one, ""));
    assert_false(matches(NULL, "correct horse battery"));
}

static atomic_int derivations;
static atomic_ullong work; /* N of the last one */

/* In the place of OpenSSL's, which it calls: every scrypt comes by. */
int EVP_KDF_derive(EVP_KDF_CTX *ctx, unsigned char *key, size_t len, const OSSL_PARAM params[]) {
    int (*real)(EVP_KDF_CTX *, unsigned char *, size_t, const OSSL_PARAM[]) = NULL;
    *(void **)&real = dlsym(RTLD_NEXT, "EVP_KDF_derive");
    const OSSL_PARAM *n = OSSL_PARAM_locate_const(params, OSSL_KDF_PARAM_SCRYPT_N);
    uint64_t value = 0;
    if (n && OSSL_PARAM_get_uint64(n, &value)) { /* not the PBKDF2 that is a part of it */
        work = value;
        derivations++;
    }
    return real(ctx, key, len, params);
}

/* What a sign-in costs, whoever it is for: nobody (NULL: unknown or disabled), a wrong password, the right
 * one. */
static void test_the_same_work_for_everybody(void **state) {
    (void)state;
    char stored[TR_PASSWORD_HASH_MAX];
    assert_int_equal(tr_password_hash("correct horse battery", 21, stored, NULL), TR_OK);
    const struct {
        const char *stored, *password;
    } cases[] = {
        {NULL, "correct horse battery"}, {stored, "wrong horse battery"}, {stored, "correct horse battery"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        derivations = 0;
        work = 0;
        (void)matches(cases[i].stored, cases[i].password);
        assert_int_equal(derivations, 1);
        assert_int_equal(work, 1 << 15);
    }
}

/* A cost that was raised or lowered later still verifies: made with the vector of RFC 7914 for N = 1024, cut
 * to 32. */
static void test_other_cost(void **state) {
    (void)state;
    tr_secret hash = TR_SECRET_INIT;
    char text[64], stored[TR_PASSWORD_HASH_MAX];
    assert_int_equal(tr_scrypt(text_bytes("password"), text_bytes("NaClNaCl"), 1024, 8, 2, 32, &hash, NULL),
                     TR_OK);
    tr_base64url_encode(hash.data, hash.len, text);
    (void)snprintf(stored, sizeof stored, "$scrypt$ln=10,r=8,p=2$TmFDbE5hQ2w$%s", text);
    assert_true(matches(stored, "password"));
    assert_false(matches(stored, "Password"));
    tr_secret_clear(&hash);
}

static void test_damaged(void **state) {
    (void)state;
    static const char *const damaged[] = {
        "",
        "$",
        "secret",
        "$argon2id$v=19$m=1,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAA",
        "$scrypt$ln=15,r=8,p=1$",
        "$scrypt$ln=15,r=8,p=1$AAAAAAAAAAAAAAAAAAAAAA",
        "$scrypt$ln=15,r=8,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAA",
        "$scrypt$ln=15,r=8,p=1$AAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "$scrypt$ln=15,r=8,p=1$AAAAAAAAAAAAAAAAAAAAA!$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "$scrypt$ln=15,r=8,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "$scrypt$ln=015,r=8,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "$scrypt$ln= 5,r=8,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "$scrypt$ln=-5,r=8,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "$scrypt$ln=0,r=8,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "$scrypt$ln=20,r=8,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", /* 1 GiB
                                                                                                     */
        "$scrypt$ln=63,r=8,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "$scrypt$ln=15,r=99,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "$scrypt$ln=15,r=8,p=0$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    };
    for (size_t i = 0; i < sizeof damaged / sizeof damaged[0]; i++) {
        bool match = true;
        assert_int_equal(tr_password_check(damaged[i], "password", 8, &match, NULL), TR_E_CORRUPT);
        assert_false(match);
    }
}

static void test_lengths(void **state) {
    (void)state;
    static char longest[TR_PASSWORD_MAX + 1];
    char stored[TR_PASSWORD_HASH_MAX];
    bool match = true;
    memset(longest, 'x', sizeof longest);
    assert_int_equal(tr_password_hash("", 0, stored, NULL), TR_E_VALIDATION);
    assert_int_equal(tr_password_hash(longest, TR_PASSWORD_MAX + 1, stored, NULL), TR_E_VALIDATION);
    assert_int_equal(tr_password_hash(longest, TR_PASSWORD_MAX, stored, NULL), TR_OK);
    assert_int_equal(tr_password_check(stored, longest, TR_PASSWORD_MAX + 1, &match, NULL), TR_OK);
    assert_false(match);
    assert_int_equal(tr_password_check(stored, longest, TR_PASSWORD_MAX, &match, NULL), TR_OK);
    assert_true(match);
}

static void test_generate(void **state) {
    (void)state;
    enum { COUNT = 4000 };
    int seen[256] = {0}, kinds = 0, first = 0;
    char last[32] = "";
    for (int i = 0; i < COUNT; i++) {
        char out[32];
        assert_int_equal(tr_password_generate(out, NULL), TR_OK);
        assert_int_equal(strlen(out), 24);
        assert_null(strpbrk(out, "il1o0"));
        assert_int_equal(strspn(out, "abcdefghijklmnopqrstuvwxyz0123456789"), 24);
        assert_string_not_equal(out, last);
        memcpy(last, out, sizeof out);
        for (const char *c = out; *c; c++) {
            seen[(unsigned char)*c]++;
            first += *c <= 'h' && *c >= 'a';
        }
    }
    for (int c = 0; c < 256; c++)
        kinds += seen[c] > 0;
    assert_int_equal(kinds, 31);
    /* Of 96,000 characters 24,774 are from a to h, give or take 136; without rejection it would be 27,000. */
    assert_in_range(first, 24774 - 7 * 136, 24774 + 7 * 136);
}

/* ---- the gate: 2 run, 64 wait, the next is told to come again ---- */

enum { CALLERS = 80 };
static atomic_int answered, busy;

static void *check_once(void *stored) {
    bool match = false;
    tr_status st = tr_password_check(stored, "password", 8, &match, NULL);
    if (st == TR_OK && match)
        atomic_fetch_add(&answered, 1);
    else if (st == TR_E_BUSY)
        atomic_fetch_add(&busy, 1);
    return NULL;
}

static void test_gate(void **state) {
    (void)state;
    tr_secret hash = TR_SECRET_INIT;
    char text[64], stored[TR_PASSWORD_HASH_MAX];
    pthread_t threads[CALLERS];
    assert_int_equal(tr_scrypt(text_bytes("password"), text_bytes("NaClNaCl"), 4096, 8, 1, 32, &hash, NULL),
                     TR_OK);
    tr_base64url_encode(hash.data, hash.len, text);
    (void)snprintf(stored, sizeof stored, "$scrypt$ln=12,r=8,p=1$TmFDbE5hQ2w$%s", text);
    for (int i = 0; i < CALLERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, check_once, stored), 0);
    for (int i = 0; i < CALLERS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(answered + busy, CALLERS);
    assert_true(answered >= 66);
    assert_true(matches(stored, "password")); /* and the gate is open again */
    tr_secret_clear(&hash);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scrypt),         cmocka_unit_test(test_scrypt_refuses),
        cmocka_unit_test(test_hash_and_check), cmocka_unit_test(test_the_same_work_for_everybody),
        cmocka_unit_test(test_other_cost),     cmocka_unit_test(test_damaged),
        cmocka_unit_test(test_lengths),        cmocka_unit_test(test_generate),
        cmocka_unit_test(test_gate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
