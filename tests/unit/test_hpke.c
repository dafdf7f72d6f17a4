/* HPKE, RFC 9180, and X25519 below it. */
#include "hex.h"

#include <openssl/err.h>

#include "crypto/hpke.h"

/* The CFRG's test-vectors.json, to which RFC 9180 appendix A refers: mode 0, KEM 32, KDF 1, AEAD 2, first
 * encryption. The appendix itself prints this KEM with AES-128-GCM and ChaCha20Poly1305 only. */
#define INFO      "4f6465206f6e2061204772656369616e2055726e"
#define EPHEMERAL "179d4b53b6365c45b600c4163b61d95cbc2f4d9e36f1695558dce265ab8bab11"
#define ENC       "6c93e09869df3402d7bf231bf540fadd35cd56be14f97178f0954db94b7fc256"
#define PRIVATE   "497b4502664cfea5d5af0b39934dac72242a74f8480451e1aee7d6a53320333d"
#define PUBLIC    "430f4b9859665145a6b1ba274024487bd66f03a2dd577d7753c68d7d7d00c00c"
#define AAD       "436f756e742d30"
#define PLAIN     "4265617574792069732074727574682c20747275746820626561757479"
#define CIPHERTEXT                                                                                           \
    "e5d84cd531cfb583096e7cfa9641bd3079cf3a91cda813c52deb5f512be9931980a41de125a925cdad859d5b7a"

typedef struct vector {
    tr_secret ephemeral, private_key;
    uint8_t public_key[32], info_bytes[64], aad_bytes[64], plain_bytes[64], sealed_bytes[128];
    tr_bytes info, aad, plain, sealed;
} vector;

static int setup(void **state) {
    static vector v;
    hex_secret(EPHEMERAL, &v.ephemeral);
    hex_secret(PRIVATE, &v.private_key);
    assert_int_equal(hex_bytes(PUBLIC, v.public_key, 32), 32);
    v.info = (tr_bytes){v.info_bytes, hex_bytes(INFO, v.info_bytes, sizeof v.info_bytes)};
    v.aad = (tr_bytes){v.aad_bytes, hex_bytes(AAD, v.aad_bytes, sizeof v.aad_bytes)};
    v.plain = (tr_bytes){v.plain_bytes, hex_bytes(PLAIN, v.plain_bytes, sizeof v.plain_bytes)};
    v.sealed = (tr_bytes){v.sealed_bytes, hex_bytes(ENC CIPHERTEXT, v.sealed_bytes, sizeof v.sealed_bytes)};
    *state = &v;
    return 0;
}

static int teardown(void **state) {
    vector *v = *state;
    tr_secret_clear(&v->ephemeral);
    tr_secret_clear(&v->private_key);
    return 0;
}

static void test_known_answer(void **state) {
    vector *v = *state;
    tr_buf out = TR_BUF_INIT;
    tr_secret back = TR_SECRET_INIT;
    uint8_t public_key[32];
    assert_int_equal(tr_hpke_public(&v->private_key, public_key, NULL), TR_OK);
    assert_hex(public_key, 32, PUBLIC);
    tr_buf_puts(&out, "before");
    assert_int_equal(tr_hpke_seal_with(&v->ephemeral, v->public_key, v->info, v->aad, v->plain, &out, NULL),
                     TR_OK);
    assert_memory_equal(out.data, "before", 6);
    assert_hex(out.data + 6, out.len - 6, ENC CIPHERTEXT);
    assert_int_equal(tr_hpke_open(&v->private_key, v->info, v->aad, v->sealed, &back, NULL), TR_OK);
    assert_hex(back.data, back.len, PLAIN);
    tr_secret_clear(&back);
    tr_buf_clear(&out);
}

/* RFC 7748 section 6.1: the public keys of the two. */
static void test_x25519(void **state) {
    (void)state;
    const char *pairs[][2] = {{"77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a",
                               "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"},
                              {"5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb",
                               "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"}};
    for (size_t i = 0; i < 2; i++) {
        tr_secret key = TR_SECRET_INIT;
        uint8_t public_key[32];
        hex_secret(pairs[i][0], &key);
        assert_int_equal(tr_hpke_public(&key, public_key, NULL), TR_OK);
        assert_hex(public_key, 32, pairs[i][1]);
        tr_secret_clear(&key);
    }
}

static void test_round_trip(void **state) {
    (void)state;
    const size_t lengths[] = {0, 1, 40, 65536, TR_HPKE_MAX};
    uint8_t public_key[32];
    tr_secret private_key = TR_SECRET_INIT, back = TR_SECRET_INIT;
    uint8_t *plain = malloc(TR_HPKE_MAX + 1);
    assert_non_null(plain);
    memset(plain, 0xA5, TR_HPKE_MAX + 1);
    assert_int_equal(tr_hpke_keypair(&private_key, public_key, NULL), TR_OK);
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        tr_buf one = TR_BUF_INIT, two = TR_BUF_INIT;
        const tr_bytes p = {plain, lengths[i]};
        assert_int_equal(tr_hpke_seal(public_key, text_bytes("ring"), text_bytes(""), p, &one, NULL), TR_OK);
        assert_int_equal(tr_hpke_seal(public_key, text_bytes("ring"), text_bytes(""), p, &two, NULL), TR_OK);
        assert_int_equal(one.len, lengths[i] + TR_HPKE_OVERHEAD);
        assert_memory_not_equal(one.data, two.data, TR_HPKE_KEY_LEN); /* a key of its own each time */
        assert_int_equal(tr_hpke_open(&private_key, text_bytes("ring"), text_bytes(""),
                                      (tr_bytes){one.data, one.len}, &back, NULL),
                         TR_OK);
        assert_int_equal(back.len, lengths[i]);
        assert_memory_equal(back.data, plain, lengths[i]);
        tr_buf_clear(&one);
        tr_buf_clear(&two);
    }
    tr_buf out = TR_BUF_INIT;
    assert_int_equal(tr_hpke_seal(public_key, text_bytes(""), text_bytes(""),
                                  (tr_bytes){plain, TR_HPKE_MAX + 1}, &out, NULL),
                     TR_E_TOO_LARGE);
    assert_int_equal(out.len, 0);
    tr_buf_clear(&out);
    free(plain);
    tr_secret_clear(&private_key);
    tr_secret_clear(&back);
}

static tr_status opens(vector *v, tr_bytes info, tr_bytes aad, tr_bytes sealed) {
    tr_secret back = TR_SECRET_INIT;
    assert_int_equal(tr_secret_copy(&back, "as it was", 9, NULL), TR_OK);
    const tr_status st = tr_hpke_open(&v->private_key, info, aad, sealed, &back, NULL);
    if (st != TR_OK) {
        assert_int_equal(back.len, 9);
        assert_memory_equal(back.data, "as it was", 9);
    }
    assert_int_equal(ERR_peek_error(), 0); /* nothing left for the next TLS call to trip over */
    tr_secret_clear(&back);
    return st;
}

static void test_every_flip_and_truncation(void **state) {
    vector *v = *state;
    uint8_t bytes[128];
    for (size_t i = 0; i < v->sealed.len; i++) {
        memcpy(bytes, v->sealed.data, v->sealed.len);
        bytes[i] ^= 0x04;
        assert_int_equal(opens(v, v->info, v->aad, (tr_bytes){bytes, v->sealed.len}), TR_E_WRONG_KEY);
        const tr_status st = opens(v, v->info, v->aad, (tr_bytes){v->sealed.data, i});
        assert_int_equal(st, i < TR_HPKE_OVERHEAD ? TR_E_CORRUPT : TR_E_WRONG_KEY);
    }
    assert_int_equal(opens(v, text_bytes("other"), v->aad, v->sealed), TR_E_WRONG_KEY);
    assert_int_equal(opens(v, v->info, text_bytes("other"), v->sealed), TR_E_WRONG_KEY);
    assert_int_equal(opens(v, v->aad, v->info, v->sealed), TR_E_WRONG_KEY);
    assert_int_equal(opens(v, v->info, v->aad, v->sealed), TR_OK);
    v->private_key.data[5] ^= 1;
    assert_int_equal(opens(v, v->info, v->aad, v->sealed), TR_E_WRONG_KEY);
    v->private_key.data[5] ^= 1;
    tr_secret short_key = {v->private_key.data, 31}, back = TR_SECRET_INIT;
    assert_int_equal(tr_hpke_open(&short_key, v->info, v->aad, v->sealed, &back, NULL), TR_E_WRONG_KEY);
}

/* Points of small order give an all-zero shared secret whatever the private key is: 0, 1 and one of order 8
 * (RFC 7748 section 6.1, RFC 9180 section 7.1.4). */
static void test_zero_shared_secret(void **state) {
    vector *v = *state;
    const char *points[] = {"0000000000000000000000000000000000000000000000000000000000000000",
                            "0100000000000000000000000000000000000000000000000000000000000000",
                            "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"};
    for (size_t i = 0; i < 3; i++) {
        uint8_t point[32], sealed[128];
        tr_buf out = TR_BUF_INIT;
        hex_bytes(points[i], point, sizeof point);
        assert_int_equal(tr_hpke_seal(point, v->info, v->aad, v->plain, &out, NULL), TR_E_WRONG_KEY);
        assert_int_equal(out.len, 0);
        memcpy(sealed, v->sealed.data, v->sealed.len);
        memcpy(sealed, point, sizeof point);
        assert_int_equal(opens(v, v->info, v->aad, (tr_bytes){sealed, v->sealed.len}), TR_E_CORRUPT);
        tr_buf_clear(&out);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_answer),       cmocka_unit_test(test_x25519),
        cmocka_unit_test(test_round_trip),         cmocka_unit_test(test_every_flip_and_truncation),
        cmocka_unit_test(test_zero_shared_secret),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
