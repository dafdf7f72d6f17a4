/* The keyring's file, damaged and tampered with, and the wrong passphrase. */
#include "keyring_fixture.h"

static void test_wrong_passphrase(void **state) {
    (void)state;
    tr_secret empty = TR_SECRET_INIT;
    make_example();
    refused(&wrong, TR_E_WRONG_KEY);
    refused(&empty, TR_E_CONFIG);
    tr_keyring_close(open_ring());
}

static void test_every_changed_byte_is_damage(void **state) {
    (void)state;
    static const unsigned char changes[] = {1, 2, 4, 8, 16, 32, 64, 128, 255};
    char text[8192];
    make_example();
    size_t n = load(text, sizeof text);
    assert_true(n > 500 && n < sizeof text);
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < sizeof changes; k++) {
            text[i] ^= (char)changes[k];
            store(text, n);
            refused(&passphrase, TR_E_CORRUPT);
            text[i] ^= (char)changes[k];
        }
    }
    store(text, n);
    tr_keyring_close(open_ring());
}

static void test_every_truncation_is_damage(void **state) {
    (void)state;
    static char text[1200000];
    make_example();
    size_t n = load(text, sizeof text);
    for (size_t i = 0; i < n; i++) {
        store(text, i);
        refused(&passphrase, TR_E_CORRUPT);
    }
    for (const char *more = "\n {x"; *more; more++) {
        text[n] = *more;
        store(text, n + 1);
        refused(&passphrase, TR_E_CORRUPT);
    }
    memset(text + n, ' ', sizeof text - n);
    store(text, sizeof text);
    refused(&passphrase, TR_E_CORRUPT);
}

/* ---- somebody who knows the format changes it, and makes the checksum anew ---- */

/* With a patch of the example's document. */
static void tampered(const char *patch, tr_status expected) {
    (void)unlink(path);
    make_example();
    patch_file(patch);
    refused(&passphrase, expected);
}

static void test_tampering(void **state) {
    (void)state;
    static const struct {
        const char *patch;
        tr_status expected;
    } cases[] = {
        {"{\"seal\":\"0000000000000000000000000000000000000000000000000000000000000000\"}", TR_E_CORRUPT},
        {"{\"seal\":\"\"}", TR_E_CORRUPT},
        {"{\"seal\":null}", TR_E_CORRUPT},
        {"{\"seal\":7}", TR_E_CORRUPT},
        {"{\"keys\":{\"audit.db\":null}}", TR_E_CORRUPT},
        {"{\"keys\":{\"vault.db\":{\"master\":2}}}", TR_E_CORRUPT},
        {"{\"keys\":{\"vault.db\":{\"wrapped\":\"AAAA\"}}}", TR_E_CORRUPT},
        {"{\"keys\":{\"vault.db\":{\"wrapped\":\"!\"}}}", TR_E_CORRUPT},
        {"{\"keys\":[]}", TR_E_CORRUPT},
        {"{\"keys\":null}", TR_E_CORRUPT},
        {"{\"more\":1}", TR_E_CORRUPT},
        {"{\"current\":2}", TR_E_CORRUPT},
        {"{\"current\":0}", TR_E_CORRUPT},
        {"{\"current\":4294967297}", TR_E_CORRUPT},
        {"{\"masters\":[]}", TR_E_CORRUPT},
        {"{\"masters\":[1]}", TR_E_CORRUPT},
        {"{\"masters\":{}}", TR_E_CORRUPT},
        {"{\"masters\":[{\"version\":1,\"created\":\"yesterday\",\"key\":\"AAAA\"}]}", TR_E_CORRUPT},
        {"{\"masters\":[{\"version\":1,\"created\":\"2026-01-01T00:00:00.000Z\"}]}", TR_E_CORRUPT},
        {"{\"kdf\":{\"name\":\"none\"}}", TR_E_CORRUPT},
        {"{\"kdf\":{\"ln\":40}}", TR_E_CORRUPT}, /* must not ask for 128 TiB */
        {"{\"kdf\":{\"ln\":0}}", TR_E_CORRUPT},
        {"{\"kdf\":{\"r\":1000000}}", TR_E_CORRUPT},
        {"{\"kdf\":{\"p\":1000000}}", TR_E_CORRUPT},
        {"{\"kdf\":{\"salt\":\"AAAA\"}}", TR_E_CORRUPT},
        {"{\"kdf\":null}", TR_E_CORRUPT},
        /* Nothing opens any more, as with a wrong passphrase: who changes these cannot be told from who
           mistypes. */
        {"{\"kdf\":{\"ln\":5}}", TR_E_WRONG_KEY},
        {"{\"kdf\":{\"salt\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}}", TR_E_WRONG_KEY},
        {"{\"format\":\"tresor-keyring-2\"}", TR_E_CONFIG},
        {"{\"provider\":\"pkcs11\"}", TR_E_CORRUPT},
        {"{\"provider\":\"split\"}", TR_E_CORRUPT},
        {"{\"provider\":\"paper\"}", TR_E_CONFIG},
        {"{\"recovery\":\"AAAA\"}", TR_E_CORRUPT},
        {"{\"recovery\":1}", TR_E_CORRUPT},
        {"{\"recovery\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}", TR_E_CORRUPT},
        {"{\"provider\":null}", TR_E_CONFIG},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        tampered(cases[i].patch, cases[i].expected);
}

/* A second master key's entry that does not open, while the first does. */
static void test_one_master_of_two_damaged(void **state) {
    (void)state;
    char text[8192];
    cJSON *document = NULL;
    make_example();
    assert_int_equal(tr_json_parse(text, load(text, sizeof text), &document, NULL), TR_OK);
    cJSON *masters = cJSON_GetObjectItem(document, "masters");
    cJSON *second = cJSON_Duplicate(cJSON_GetArrayItem(masters, 0), true);
    cJSON_ReplaceItemInObject(second, "version", cJSON_CreateNumber(2));
    cJSON_ReplaceItemInObject(second, "key",
                              cJSON_CreateString("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"));
    cJSON_AddItemToArray(masters, second);
    store_with_checksum(document);
    refused(&passphrase, TR_E_CORRUPT);
    refused(&wrong, TR_E_WRONG_KEY);
    cJSON_Delete(document);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        RING_TEST(test_wrong_passphrase),           RING_TEST(test_every_changed_byte_is_damage),
        RING_TEST(test_every_truncation_is_damage), RING_TEST(test_tampering),
        RING_TEST(test_one_master_of_two_damaged),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
