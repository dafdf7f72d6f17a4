/* A keyring whose master keys are in an HSM: SoftHSM, from making it to every way in which it does not open.
 */
#include "pkcs11_fixture.h"

#include <pthread.h>

#include "base/json.h"

/* ---- its life ---- */

static void test_life(void **state) {
    (void)state;
    tr_keyring *ring = create();
    tr_secret first = TR_SECRET_INIT, second = TR_SECRET_INIT, named = TR_SECRET_INIT, again = TR_SECRET_INIT;
    tr_buf by_first = TR_BUF_INIT, by_second = TR_BUF_INIT;
    uint32_t version = 0;
    assert_string_equal(tr_keyring_provider_name(ring), "pkcs11");
    assert_int_equal(tr_keyring_named_key(ring, "vault.db", true, &named, NULL), TR_OK);
    wrap_one(ring, &first, &by_first, &version);
    assert_int_equal(version, 1);
    assert_int_equal(tr_keyring_rotate(ring, &version, NULL), TR_OK);
    assert_int_equal(version, 2);
    wrap_one(ring, &second, &by_second, &version);
    assert_int_equal(version, 2);
    tr_keyring_close(ring);
    ring = open_ring(); /* C_Finalize and C_Initialize */
    tr_keyring *beside = open_ring();
    tr_keyring_close(ring);
    ring = beside; /* still logged in */
    assert_int_equal(tr_keyring_current(ring), 2);
    unwraps_to(ring, 1, &by_first, &first);
    unwraps_to(ring, 2, &by_second, &second);
    assert_int_equal(tr_keyring_named_key(ring, "vault.db", false, &again, NULL), TR_OK);
    assert_memory_equal(again.data, named.data, 32);
    assert_int_equal(unwrap_status(ring, 1, &by_second, &again, NULL), TR_E_CORRUPT);
    assert_int_equal(keys_in_token(), 3);
    assert_int_equal(tr_keyring_retire(ring, 1, NULL), TR_OK);
    assert_int_equal(keys_in_token(), 2); /* gone from the token: nobody can open what it wrapped */
    assert_int_equal(unwrap_status(ring, 1, &by_first, &again, NULL), TR_E_NOT_FOUND);
    tr_keyring_close(ring);
    ring = open_ring();
    unwraps_to(ring, 2, &by_second, &second);
    tr_keyring_close(ring);
    tr_secret_clear(&first);
    tr_secret_clear(&second);
    tr_secret_clear(&named);
    tr_secret_clear(&again);
    tr_buf_clear(&by_first);
    tr_buf_clear(&by_second);
}

static void test_keys_never_leave_the_token(void **state) {
    (void)state;
    static const struct {
        CK_ATTRIBUTE_TYPE type;
        CK_BBOOL master, seal;
    } expected[] = {{CKA_SENSITIVE, 1, 1},   {CKA_ALWAYS_SENSITIVE, 1, 1},
                    {CKA_EXTRACTABLE, 0, 0}, {CKA_NEVER_EXTRACTABLE, 1, 1},
                    {CKA_LOCAL, 1, 1},       {CKA_PRIVATE, 1, 1},
                    {CKA_WRAP, 1, 0},        {CKA_UNWRAP, 1, 0},
                    {CKA_ENCRYPT, 0, 0},     {CKA_DECRYPT, 0, 0},
                    {CKA_SIGN, 0, 1},        {CKA_DERIVE, 0, 0}};
    CK_OBJECT_HANDLE keys[4];
    CK_MECHANISM mechanism = {CKM_AES_KEY_WRAP_PAD, NULL, 0};
    uint8_t bytes[64];
    tr_keyring *ring = create();
    look at = look_in();
    assert_int_equal(find_keys(&at, keys, 4), 2);
    for (size_t i = 0; i < 2; i++) {
        CK_KEY_TYPE type = 0;
        CK_ATTRIBUTE kind = {CKA_KEY_TYPE, &type, sizeof type}, value = {CKA_VALUE, bytes, sizeof bytes};
        CK_ULONG len = sizeof bytes;
        assert_int_equal(softhsm->C_GetAttributeValue(at.session, keys[i], &kind, 1), CKR_OK);
        assert_int_equal(softhsm->C_GetAttributeValue(at.session, keys[i], &value, 1),
                         CKR_ATTRIBUTE_SENSITIVE);
        assert_int_not_equal(softhsm->C_WrapKey(at.session, &mechanism, keys[0], keys[i], bytes, &len),
                             CKR_OK);
        assert_int_not_equal(softhsm->C_WrapKey(at.session, &mechanism, keys[1], keys[i], bytes, &len),
                             CKR_OK);
        for (size_t k = 0; k < sizeof expected / sizeof expected[0]; k++) {
            CK_BBOOL flag = 2;
            CK_ATTRIBUTE one = {expected[k].type, &flag, sizeof flag};
            assert_int_equal(softhsm->C_GetAttributeValue(at.session, keys[i], &one, 1), CKR_OK);
            assert_int_equal(flag, type == CKK_AES ? expected[k].master : expected[k].seal);
        }
    }
    look_away(&at);
    tr_keyring_close(ring);
}

static void test_session_objects_do_not_stay(void **state) {
    (void)state;
    tr_keyring *ring = create();
    tr_secret key = TR_SECRET_INIT;
    tr_buf wrapped = TR_BUF_INIT;
    uint32_t version = 0;
    for (int i = 0; i < 20; i++) {
        wrap_one(ring, &key, &wrapped, &version);
        unwraps_to(ring, version, &wrapped, &key);
        wrapped.data[0] ^= 1;
        assert_int_equal(unwrap_status(ring, version, &wrapped, &key, NULL), TR_E_CORRUPT);
    }
    assert_int_equal(keys_in_token(), 2);
    tr_keyring_close(ring);
    tr_secret_clear(&key);
    tr_buf_clear(&wrapped);
}

/* ---- RFC 5649 ---- */

static void import_key(const char *hex, const char *id) {
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_KEY_TYPE type = CKK_AES;
    CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
    uint8_t value[32];
    CK_ULONG len = hex_bytes(hex, value, sizeof value);
    CK_OBJECT_HANDLE handle;
    char text[32];
    (void)snprintf(text, sizeof text, "%s", id);
    CK_ATTRIBUTE template[] = {{CKA_CLASS, &class, sizeof class},
                               {CKA_KEY_TYPE, &type, sizeof type},
                               {CKA_TOKEN, &yes, 1},
                               {CKA_PRIVATE, &yes, 1},
                               {CKA_SENSITIVE, &yes, 1},
                               {CKA_EXTRACTABLE, &no, 1},
                               {CKA_WRAP, &yes, 1},
                               {CKA_UNWRAP, &yes, 1},
                               {CKA_ID, text, strlen(text)},
                               {CKA_VALUE, value, len}};
    look at = look_in();
    assert_int_equal(softhsm->C_CreateObject(at.session, template, 10, &handle), CKR_OK);
    look_away(&at);
}

static void wraps_as(tr_p11_token *token, const char *id, const char *key_hex, const char *wrapped_hex) {
    tr_p11_key master = {.id_len = strlen(id)};
    tr_secret key = TR_SECRET_INIT, back = TR_SECRET_INIT;
    tr_buf wrapped = TR_BUF_INIT;
    CK_MECHANISM_TYPE wrap = 0;
    memcpy(master.id, id, master.id_len);
    hex_secret(key_hex, &key);
    assert_int_equal(tr_p11_choose(token, &wrap, NULL), TR_OK);
    assert_int_equal(tr_p11_wrap(token, wrap, &master, &key, &wrapped, NULL, NULL), TR_OK);
    assert_hex(wrapped.data, wrapped.len, wrapped_hex);
    assert_int_equal(
        tr_p11_unwrap(token, wrap, &master, (tr_bytes){wrapped.data, wrapped.len}, &back, NULL, NULL), TR_OK);
    assert_hex(back.data, back.len, key_hex);
    tr_secret_clear(&key);
    tr_secret_clear(&back);
    tr_buf_clear(&wrapped);
}

/* A key known outside, in the token: what crypto/keywrap makes with it, which is held against the RFC's
 * vectors. (SoftHSM pads a key to a multiple of 8 bytes itself, so that another length would not be the
 * RFC's.) */
static void test_wraps_as_rfc_5649(void **state) {
    (void)state;
    static const char kek_hex[] = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    tr_p11_token *token = NULL;
    tr_secret kek = TR_SECRET_INIT, key = TR_SECRET_INIT;
    tr_buf wrapped = TR_BUF_INIT;
    char key_hex[129], wrapped_hex[257];
    import_key(kek_hex, "known");
    hex_secret(kek_hex, &kek);
    assert_int_equal(tr_p11_token_open(module, LABEL, &pin, &token, NULL), TR_OK);
    for (size_t len = 8; len <= 64; len += 8) {
        tr_buf_reset(&wrapped);
        assert_int_equal(tr_secret_random(&key, len, NULL), TR_OK);
        assert_int_equal(tr_keywrap(&kek, &key, &wrapped, NULL), TR_OK);
        tr_hex_encode(key.data, key.len, key_hex);
        tr_hex_encode(wrapped.data, wrapped.len, wrapped_hex);
        wraps_as(token, "known", key_hex, wrapped_hex);
    }
    tr_p11_token_close(token);
    tr_secret_clear(&kek);
    tr_secret_clear(&key);
    tr_buf_clear(&wrapped);
}

static void test_wrapped_keys_that_are_none(void **state) {
    (void)state;
    tr_keyring *ring = create();
    tr_secret key = TR_SECRET_INIT, back = TR_SECRET_INIT;
    tr_buf wrapped = TR_BUF_INIT;
    uint32_t version = 0;
    wrap_one(ring, &key, &wrapped, &version);
    for (size_t i = 0; i < wrapped.len; i++) {
        wrapped.data[i] ^= 0x10;
        assert_int_equal(unwrap_status(ring, version, &wrapped, &back, NULL), TR_E_CORRUPT);
        wrapped.data[i] ^= 0x10;
    }
    for (size_t len = 0; len < wrapped.len; len++)
        assert_int_equal(tr_keyring_unwrap(ring, version, (tr_bytes){wrapped.data, len}, &back, NULL),
                         TR_E_CORRUPT);
    assert_null(back.data);
    assert_int_equal(unwrap_status(ring, version + 1, &wrapped, &back, NULL), TR_E_NOT_FOUND);
    unwraps_to(ring, version, &wrapped, &key);
    tr_keyring_close(ring);
    tr_secret_clear(&key);
    tr_buf_clear(&wrapped);
}

/* ---- many threads ---- */

typedef struct user {
    tr_keyring *ring;
    bool failed;
} user;

static void *use(void *argument) {
    user *me = argument;
    tr_secret key = TR_SECRET_INIT, back = TR_SECRET_INIT;
    bool good = tr_secret_random(&key, 32, NULL) == TR_OK;
    for (int i = 0; good && i < 100; i++) {
        tr_buf wrapped = TR_BUF_INIT;
        uint32_t version = 0;
        good = tr_keyring_wrap(me->ring, &key, &wrapped, &version, NULL) == TR_OK &&
               unwrap_status(me->ring, version, &wrapped, &back, NULL) == TR_OK && back.len == 32 &&
               memcmp(key.data, back.data, 32) == 0;
        tr_buf_clear(&wrapped);
    }
    me->failed = !good;
    tr_secret_clear(&key);
    tr_secret_clear(&back);
    return NULL;
}

static void test_threads(void **state) {
    (void)state;
    enum { COUNT = 8 };
    pthread_t threads[COUNT];
    user users[COUNT];
    tr_keyring *ring = create();
    uint32_t version = 0;
    for (int i = 0; i < COUNT; i++) {
        users[i] = (user){.ring = ring};
        assert_int_equal(pthread_create(&threads[i], NULL, use, &users[i]), 0);
    }
    for (int i = 0; i < 5; i++) /* rotates under their hands */
        assert_int_equal(tr_keyring_rotate(ring, &version, NULL), TR_OK);
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_false(users[i].failed);
    }
    assert_int_equal(keys_in_token(), 7);
    tr_keyring_close(ring);
    tr_keyring_close(open_ring());
}

/* ---- what does not open, or is not made ---- */

static void test_wrong_pin(void **state) {
    (void)state;
    tr_secret empty = TR_SECRET_INIT, longer = TR_SECRET_INIT;
    tr_keyring *ring = create();
    assert_int_equal(tr_secret_copy(&longer, "12345", 5, NULL), TR_OK);
    refused(&wrong_pin, TR_E_WRONG_KEY, "PIN"); /* also beside a keyring that is logged in */
    refused(&longer, TR_E_WRONG_KEY, "PIN");
    tr_keyring_close(ring);
    refused(&wrong_pin, TR_E_WRONG_KEY, "PIN");
    refused(&empty, TR_E_CONFIG, "PIN");
    tr_keyring_close(open_ring());
    tr_secret_clear(&longer);
}

static void not_created(tr_keyring_spec spec, tr_status expected, const char *names) {
    tr_keyring *ring = NULL;
    tr_error err = {0};
    tr_status st = tr_keyring_create(path, &spec, 1, &ring, &err);
    if (st != expected || !strstr(err.what, names))
        print_error("%s: %s: %s\n", tr_status_slug(st), err.where, err.what);
    assert_int_equal(st, expected);
    assert_non_null(strstr(err.what, names));
    assert_null(ring);
    assert_int_equal(access(path, F_OK), -1);
}

static void test_spec(void **state) {
    (void)state;
    tr_keyring_spec spec = spec_of(&pin, LABEL);
    char other[80];
    not_created(spec_of(&pin, "another"), TR_E_HSM, "no token");
    not_created(spec_of(&pin, "0123456789012345678901234567890123"), TR_E_CONFIG, "label");
    not_created(spec_of(&pin, NULL), TR_E_CONFIG, "label");
    not_created(spec_of(&wrong_pin, LABEL), TR_E_WRONG_KEY, "PIN");
    not_created(spec_of(NULL, LABEL), TR_E_CONFIG, "PIN");
    spec.pkcs11_module = NULL;
    not_created(spec, TR_E_CONFIG, "module");
    spec.pkcs11_module = "libsofthsm2.so";
    not_created(spec, TR_E_CONFIG, "path");
    spec.pkcs11_module = "/usr/lib/none/libnone.so";
    not_created(spec, TR_E_HSM, "missing");
    spec.pkcs11_module = "/tmp";
    not_created(spec, TR_E_HSM, "not a file");
    (void)snprintf(other, sizeof other, "%s/softhsm2.conf", folder);
    assert_int_equal(chmod(other, 0644), 0);
    spec.pkcs11_module = other;
    not_created(spec, TR_E_HSM, "cannot be loaded");
    (void)snprintf(other, sizeof other, "%s/writable.so", folder);
    run("cp -L %s %s && chmod 0666 %s", TRESOR_SOFTHSM, other, other);
    not_created(spec, TR_E_CONFIG, "nobody else");
    run("cp -L $(ldconfig -p | sed -n 's/.*libpthread.so.0 .*=> //p' | head -1) %s && chmod 0644 %s", other,
        other);
    not_created(spec, TR_E_HSM, "not a PKCS#11 module");
    assert_int_equal(unlink(other), 0);
    assert_int_equal(keys_in_token(), 0);
}

static void test_two_tokens_of_one_name(void **state) {
    (void)state;
    make_token("twin");
    make_token("twin");
    not_created(spec_of(&pin, "twin"), TR_E_HSM, "2 tokens");
}

static void test_token_is_gone(void **state) {
    (void)state;
    tr_keyring_close(create());
    run("mv %s/tokens %s/away && mkdir %s/tokens", folder, folder, folder);
    refused(&pin, TR_E_HSM, "no token");
    run("rmdir %s/tokens && mv %s/away %s/tokens", folder, folder, folder);
    tr_keyring_close(open_ring());
}

static void test_master_key_is_gone(void **state) {
    (void)state;
    tr_keyring *ring = create();
    tr_secret key = TR_SECRET_INIT, back = TR_SECRET_INIT;
    tr_buf by_first = TR_BUF_INIT, by_second = TR_BUF_INIT;
    uint32_t version = 0;
    tr_error err = {0};
    wrap_one(ring, &key, &by_first, &version);
    assert_int_equal(tr_keyring_rotate(ring, &version, NULL), TR_OK);
    wrap_one(ring, &key, &by_second, &version);
    destroy_keys("-v1");
    assert_int_equal(unwrap_status(ring, 1, &by_first, &back, &err), TR_E_HSM);
    assert_non_null(strstr(err.what, "version 1"));
    unwraps_to(ring, 2, &by_second, &key);
    tr_keyring_close(ring);
    refused(&pin, TR_E_HSM, "version 1");
    tr_secret_clear(&key);
    tr_buf_clear(&by_first);
    tr_buf_clear(&by_second);
}

static void test_retiring_what_is_gone(void **state) {
    (void)state;
    tr_keyring *ring = create();
    uint32_t version = 0;
    assert_int_equal(tr_keyring_rotate(ring, &version, NULL), TR_OK);
    destroy_keys("-v1");
    assert_int_equal(tr_keyring_retire(ring, 1, NULL), TR_OK);
    tr_keyring_close(ring);
    tr_keyring_close(open_ring());
}

static void test_seal_key_is_gone(void **state) {
    (void)state;
    tr_keyring_close(create());
    destroy_keys("-seal");
    refused(&pin, TR_E_HSM, "seal");
}

static void test_failed_creation_leaves_nothing_in_the_token(void **state) {
    (void)state;
    tr_keyring_spec spec = spec_of(&pin, LABEL);
    tr_keyring *ring = NULL;
    tr_keyring_close(create());
    assert_int_equal(keys_in_token(), 2);
    assert_int_equal(tr_keyring_create(path, &spec, 1, &ring, NULL), TR_E_EXISTS);
    assert_null(ring);
    assert_int_equal(keys_in_token(), 2);
    assert_int_equal(tr_keyring_create("/tmp/none/keyring", &spec, 1, &ring, NULL), TR_E_IO);
    assert_int_equal(keys_in_token(), 2);
    tr_keyring_close(open_ring());
}

/* ---- the document ---- */

static cJSON *read_document(void) {
    char text[8192];
    cJSON *document = NULL;
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    size_t n = fread(text, 1, sizeof text, file);
    fclose(file);
    assert_int_equal(tr_json_parse(text, n, &document, NULL), TR_OK);
    return document;
}

/* As somebody who knows the format: with a new checksum. */
static void tamper(const char *patch_text) {
    cJSON *document = read_document(), *patch = NULL;
    uint8_t hash[TR_SHA256_LEN];
    char hex[65];
    tr_buf text = TR_BUF_INIT;
    assert_int_equal(tr_json_parse(patch_text, strlen(patch_text), &patch, NULL), TR_OK);
    assert_int_equal(tr_json_merge_patch(&document, patch, NULL), TR_OK);
    cJSON_DeleteItemFromObject(document, "checksum");
    assert_int_equal(tr_json_print_sorted(document, &text, NULL), TR_OK);
    assert_int_equal(tr_sha256(&(tr_bytes){text.data, text.len}, 1, hash, NULL), TR_OK);
    tr_hex_encode(hash, sizeof hash, hex);
    cJSON_AddStringToObject(document, "checksum", hex);
    tr_buf_reset(&text);
    assert_int_equal(tr_json_print_sorted(document, &text, NULL), TR_OK);
    tr_buf_putc(&text, '\n');
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(text.data, 1, text.len, file), text.len);
    assert_int_equal(fclose(file), 0);
    tr_buf_clear(&text);
    cJSON_Delete(document);
    cJSON_Delete(patch);
}

static void test_tampered_document(void **state) {
    (void)state;
    static const struct {
        const char *patch, *names;
        tr_status expected;
    } cases[] = {
        {"{\"keys\":{\"vault.db\":null}}", "seal", TR_E_CORRUPT},
        {"{\"seal\":\"00\"}", "seal", TR_E_CORRUPT},
        {"{\"pkcs11\":{\"extra\":1}}", "seal", TR_E_CORRUPT},
        {"{\"pkcs11\":null}", "damaged", TR_E_CORRUPT},
        {"{\"pkcs11\":{\"module\":\"softhsm.so\"}}", "damaged", TR_E_CORRUPT},
        {"{\"pkcs11\":{\"token\":\"a\\nb\"}}", "damaged", TR_E_CORRUPT},
        {"{\"pkcs11\":{\"ring\":\"0011\"}}", "damaged", TR_E_CORRUPT},
        {"{\"pkcs11\":{\"ring\":\"000102030405060708090a0b0c0d0e0f\"}}", "seal", TR_E_HSM},
        {"{\"pkcs11\":{\"token\":\"another\"}}", "no token", TR_E_HSM},
        {"{\"pkcs11\":{\"module\":\"/usr/lib/none.so\"}}", "missing", TR_E_HSM},
        {"{\"masters\":[{\"version\":1,\"created\":\"2026-01-01T00:00:00.000Z\",\"id\":\"00\"}]}", "damaged",
         TR_E_CORRUPT},
        {"{\"masters\":[{\"version\":1,\"created\":\"2026-01-01T00:00:00.000Z\",\"id\":"
         "\"00000000000000000000000000000000000000000000000000000000\"}]}",
         "version 1", TR_E_HSM},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        tr_secret key = TR_SECRET_INIT;
        destroy_keys("");
        tr_keyring *ring = create();
        assert_int_equal(tr_keyring_named_key(ring, "vault.db", true, &key, NULL), TR_OK);
        tr_secret_clear(&key);
        tr_keyring_close(ring);
        tamper(cases[i].patch);
        refused(&pin, cases[i].expected, cases[i].names);
    }
}

static void test_document_and_need(void **state) {
    (void)state;
    tr_keyring_need need;
    tr_keyring_close(create());
    cJSON *document = read_document();
    assert_string_equal(tr_json_string(tr_json_pointer(document, "/pkcs11"), "module"), module);
    assert_string_equal(tr_json_string(tr_json_pointer(document, "/pkcs11"), "token"), LABEL);
    assert_int_equal(strlen(tr_json_string(tr_json_pointer(document, "/masters/0"), "id")), 56);
    cJSON_Delete(document);
    assert_int_equal(tr_keyring_peek(path, &need, NULL), TR_OK); /* without a PIN */
    assert_string_equal(need.provider, "pkcs11");
    assert_string_equal(need.pkcs11_module, module);
    assert_string_equal(need.pkcs11_token, LABEL);
}

static void test_no_recovery_file(void **state) {
    (void)state;
    static const uint8_t public_key[32] = {9};
    tr_keyring *ring = create();
    assert_int_equal(tr_keyring_set_recovery(ring, public_key, NULL), TR_E_CONFIG);
    tr_keyring_close(ring);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        HSM_TEST(test_life),
        HSM_TEST(test_keys_never_leave_the_token),
        HSM_TEST(test_session_objects_do_not_stay),
        HSM_TEST(test_wraps_as_rfc_5649),
        HSM_TEST(test_wrapped_keys_that_are_none),
        HSM_TEST(test_threads),
        HSM_TEST(test_wrong_pin),
        HSM_TEST(test_spec),
        HSM_TEST(test_two_tokens_of_one_name),
        HSM_TEST(test_token_is_gone),
        HSM_TEST(test_master_key_is_gone),
        HSM_TEST(test_retiring_what_is_gone),
        HSM_TEST(test_seal_key_is_gone),
        HSM_TEST(test_failed_creation_leaves_nothing_in_the_token),
        HSM_TEST(test_tampered_document),
        HSM_TEST(test_document_and_need),
        HSM_TEST(test_no_recovery_file),
    };
    if (softhsm_is_missing())
        return 77;
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
