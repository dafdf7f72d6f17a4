/* The recovery file: a keyring comes back from it and the offline key, and from nothing else. */
#include "keyring_fixture.h"

#include <sys/stat.h>

#include "crypto/hpke.h"

static tr_secret private_key, other_key;
static uint8_t public_key[TR_HPKE_KEY_LEN];
static char recovery[96], lost[96], lost_recovery[112];

static int set_up_keys(void **state) {
    uint8_t unused[TR_HPKE_KEY_LEN];
    if (set_up(state) != 0)
        return -1;
    (void)snprintf(recovery, sizeof recovery, "%s.recovery", path);
    (void)snprintf(lost, sizeof lost, "%s-recovered", path);
    (void)snprintf(lost_recovery, sizeof lost_recovery, "%s.recovery", lost);
    return tr_hpke_keypair(&private_key, public_key, NULL) == TR_OK &&
                   tr_hpke_keypair(&other_key, unused, NULL) == TR_OK
               ? 0
               : -1;
}

static int tear_down_keys(void **state) {
    tr_secret_clear(&private_key);
    tr_secret_clear(&other_key);
    return tear_down(state);
}

static int remove_all(void **state) {
    (void)unlink(lost);
    (void)unlink(lost_recovery);
    return remove_file(state);
}

/* What a vault keeps of a ring: a wrapped data key, and the databases' keys. */
typedef struct vault {
    tr_secret key, named;
    tr_buf wrapped;
} vault;

/* Versions 1 and 2, a named key, recovery; the data key is under version 1. */
static tr_keyring *make_vault(vault *v) {
    uint32_t version = 0;
    *v = (vault){0};
    tr_keyring *ring = create();
    assert_int_equal(tr_secret_random(&v->key, 32, NULL), TR_OK);
    assert_int_equal(tr_keyring_wrap(ring, &v->key, &v->wrapped, &version, NULL), TR_OK);
    assert_int_equal(version, 1);
    assert_int_equal(tr_keyring_set_recovery(ring, public_key, NULL), TR_OK);
    assert_int_equal(tr_keyring_named_key(ring, "vault.db", true, &v->named, NULL), TR_OK);
    assert_int_equal(tr_keyring_rotate(ring, &version, NULL), TR_OK);
    return ring;
}

static void drop_vault(vault *v) {
    tr_secret_clear(&v->key);
    tr_secret_clear(&v->named);
    tr_buf_clear(&v->wrapped);
}

static void check_vault(tr_keyring *ring, const vault *v, tr_status old_key) {
    tr_secret key = TR_SECRET_INIT;
    assert_int_equal(tr_keyring_unwrap(ring, 1, (tr_bytes){v->wrapped.data, v->wrapped.len}, &key, NULL),
                     old_key);
    if (old_key == TR_OK)
        assert_memory_equal(key.data, v->key.data, 32);
    assert_int_equal(tr_keyring_named_key(ring, "vault.db", false, &key, NULL), TR_OK);
    assert_memory_equal(key.data, v->named.data, 32);
    tr_secret_clear(&key);
}

static tr_status recover_split(const tr_secret *key, tr_keyring **ring, tr_secret texts[2], tr_error *err) {
    tr_keyring_spec spec = {.provider = "split", .shares = 2, .threshold = 2, .share_texts = texts};
    return tr_keyring_recover(recovery, key, lost, &spec, ring, err);
}

static void refuse_recovery(const tr_secret *key, tr_status expected) {
    tr_keyring *ring = (tr_keyring *)&private_key;
    tr_secret texts[2] = {0};
    tr_error err = {0};
    assert_int_equal(recover_split(key, &ring, texts, &err), expected);
    assert_null(ring);
    assert_null(texts[0].data);
    assert_int_equal(err.status, expected);
    assert_string_not_equal(err.what, "");
    assert_int_equal(access(lost, F_OK), -1);
    assert_int_equal(access(lost_recovery, F_OK), -1);
}

static size_t load_from(const char *name, char *text, size_t room) {
    FILE *file = fopen(name, "r");
    assert_non_null(file);
    size_t n = fread(text, 1, room, file);
    fclose(file);
    return n;
}

/* ---- it comes back ---- */

static void test_recover_to_shares(void **state) {
    (void)state;
    vault v;
    tr_secret texts[2] = {0}, secret = TR_SECRET_INIT;
    uint8_t got[32];
    bool set = false;
    tr_master_info before[2], after[2];
    size_t count = 0;
    tr_keyring *ring = make_vault(&v);
    tr_keyring_list(ring, before, 2, &count);
    tr_keyring_close(ring);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(recover_split(&private_key, &ring, texts, NULL), TR_OK);
    for (int again = 0; again < 2; again++) {
        assert_string_equal(tr_keyring_provider_name(ring), "split");
        check_vault(ring, &v, TR_OK);
        tr_keyring_list(ring, after, 2, &count);
        assert_int_equal(count, 2);
        for (size_t i = 0; i < 2; i++) {
            assert_int_equal(after[i].version, before[i].version);
            assert_true(after[i].created_ms == before[i].created_ms);
            assert_int_equal(after[i].current, before[i].current);
        }
        tr_keyring_get_recovery(ring, got, &set);
        assert_true(set);
        assert_memory_equal(got, public_key, 32);
        tr_keyring_close(ring);
        assert_int_equal(tr_keyring_combine(lost, texts, 2, &secret, NULL), TR_OK);
        assert_int_equal(tr_keyring_open_file(lost, &secret, &ring, NULL), TR_OK);
    }
    tr_keyring_close(ring);
    assert_int_equal(access(lost_recovery, F_OK), 0);
    drop_vault(&v);
    tr_secret_clear(&texts[0]);
    tr_secret_clear(&texts[1]);
    tr_secret_clear(&secret);
}

/* A forgotten passphrase: the file is moved aside, and comes back under another one, in the same place. */
static void test_recover_to_another_passphrase(void **state) {
    (void)state;
    vault v;
    tr_keyring_spec spec = {.provider = "file", .passphrase = &wrong};
    tr_keyring *ring = make_vault(&v);
    tr_keyring_close(ring);
    assert_int_equal(tr_keyring_recover(recovery, &private_key, path, &spec, &ring, NULL), TR_E_EXISTS);
    assert_null(ring);
    tr_keyring_close(open_ring());
    assert_int_equal(unlink(path), 0);
    assert_int_equal(tr_keyring_recover(recovery, &private_key, path, &spec, &ring, NULL), TR_OK);
    check_vault(ring, &v, TR_OK);
    tr_keyring_close(ring);
    refused(&passphrase, TR_E_WRONG_KEY);
    assert_int_equal(tr_keyring_open_file(path, &wrong, &ring, NULL), TR_OK);
    check_vault(ring, &v, TR_OK);
    tr_keyring_close(ring);
    drop_vault(&v);
}

static void test_every_save_is_in_it(void **state) {
    (void)state;
    vault v;
    tr_secret next = TR_SECRET_INIT, texts[2] = {0};
    uint32_t version = 0;
    tr_keyring *back = NULL, *ring = make_vault(&v);
    tr_keyring_close(ring);
    ring = open_ring(); /* the recovery key is in the document */
    assert_int_equal(tr_keyring_rotate(ring, &version, NULL), TR_OK);
    assert_int_equal(version, 3);
    assert_int_equal(tr_keyring_named_next(ring, "vault.db", &next, NULL), TR_OK);
    assert_int_equal(tr_keyring_named_promote(ring, "vault.db", NULL), TR_OK);
    tr_secret_clear(&v.named);
    v.named = next;
    assert_int_equal(tr_keyring_retire(ring, 1, NULL), TR_OK);
    tr_keyring_close(ring);
    assert_int_equal(recover_split(&private_key, &back, texts, NULL), TR_OK);
    assert_int_equal(tr_keyring_current(back), 3);
    check_vault(back, &v, TR_E_NOT_FOUND); /* what was destroyed does not come back */
    tr_keyring_close(back);
    drop_vault(&v);
    tr_secret_clear(&texts[0]);
    tr_secret_clear(&texts[1]);
}

static void test_another_recovery_key(void **state) {
    (void)state;
    vault v;
    uint8_t other_public[TR_HPKE_KEY_LEN];
    tr_secret texts[2] = {0};
    tr_keyring *ring = make_vault(&v);
    assert_int_equal(tr_hpke_public(&other_key, other_public, NULL), TR_OK);
    assert_int_equal(tr_keyring_set_recovery(ring, other_public, NULL), TR_OK);
    tr_keyring_close(ring);
    refuse_recovery(&private_key, TR_E_WRONG_KEY);
    assert_int_equal(recover_split(&other_key, &ring, texts, NULL), TR_OK);
    check_vault(ring, &v, TR_OK);
    tr_keyring_close(ring);
    drop_vault(&v);
    tr_secret_clear(&texts[0]);
    tr_secret_clear(&texts[1]);
}

/* ---- it gives nothing away, and takes nothing wrong ---- */

static void test_file_is_private_and_holds_no_key(void **state) {
    (void)state;
    char text[8192], base64[TR_BASE64URL_LEN(32) + 1];
    struct stat info;
    vault v;
    tr_keyring_close(make_vault(&v));
    size_t n = load_from(recovery, text, sizeof text);
    assert_int_equal(stat(recovery, &info), 0);
    assert_int_equal(info.st_mode & 07777, 0600);
    tr_base64url_encode(v.named.data, 32, base64);
    assert_null(memmem(text, n, v.named.data, 32));
    assert_null(memmem(text, n, base64, 40));
    n = load(text, sizeof text); /* and the ring has the public key only */
    tr_base64url_encode(private_key.data, 32, base64);
    assert_null(memmem(text, n, base64, 40));
    tr_base64url_encode(public_key, 32, base64);
    assert_non_null(memmem(text, n, base64, 40));
    drop_vault(&v);
}

static void test_refused(void **state) {
    (void)state;
    vault v;
    tr_secret empty = TR_SECRET_INIT;
    tr_keyring *ring = NULL;
    tr_keyring_spec spec = {.provider = "pkcs11", .passphrase = &passphrase};
    static const uint8_t small_order[32] = {0};
    refuse_recovery(&private_key, TR_E_CONFIG); /* no file */
    ring = make_vault(&v);
    assert_int_equal(tr_keyring_set_recovery(ring, small_order, NULL), TR_E_WRONG_KEY);
    tr_keyring_close(ring);
    tr_keyring_close(open_ring());
    refuse_recovery(&other_key, TR_E_WRONG_KEY);
    refuse_recovery(&empty, TR_E_WRONG_KEY);
    refuse_recovery(&passphrase, TR_E_WRONG_KEY);
    assert_int_equal(tr_keyring_recover(recovery, &private_key, lost, &spec, &ring, NULL), TR_E_CONFIG);
    assert_null(ring);
    spec = (tr_keyring_spec){.provider = "file", .passphrase = &wrong};
    assert_int_equal(tr_keyring_recover(path, &private_key, lost, &spec, &ring, NULL), TR_E_CONFIG);
    assert_int_equal(chmod(recovery, 0644), 0);
    refuse_recovery(&private_key, TR_E_CONFIG);
    drop_vault(&v);
}

/* What is there stays: the ring, and the recovery file that belongs to it. */
static void test_another_ring_in_the_place(void **state) {
    (void)state;
    char before[8192], after[8192];
    uint8_t other_public[TR_HPKE_KEY_LEN];
    vault v;
    tr_secret texts[2] = {0};
    tr_keyring *ring = NULL;
    assert_int_equal(tr_keyring_create_file_ln(lost, &passphrase, LN, &ring, NULL), TR_OK);
    assert_int_equal(tr_hpke_public(&other_key, other_public, NULL), TR_OK);
    assert_int_equal(tr_keyring_set_recovery(ring, other_public, NULL), TR_OK);
    tr_keyring_close(ring);
    tr_keyring_close(make_vault(&v));
    size_t n = load_from(lost_recovery, before, sizeof before);
    assert_int_equal(recover_split(&private_key, &ring, texts, NULL), TR_E_EXISTS);
    assert_null(ring);
    assert_null(texts[0].data);
    assert_int_equal(load_from(lost_recovery, after, sizeof after), n);
    assert_memory_equal(before, after, n);
    drop_vault(&v);
}

static void test_every_changed_byte_is_damage(void **state) {
    (void)state;
    static const unsigned char changes[] = {1, 16, 32, 128, 255};
    char text[8192];
    vault v;
    tr_keyring_close(make_vault(&v));
    size_t n = load_from(recovery, text, sizeof text);
    assert_true(n > 300 && n < sizeof text);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rename(recovery, path), 0); /* `store` and its like write there */
    (void)snprintf(recovery, sizeof recovery, "%s", path);
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < sizeof changes; k++) {
            text[i] ^= (char)changes[k];
            store(text, n);
            refuse_recovery(&private_key, TR_E_CORRUPT);
            text[i] ^= (char)changes[k];
        }
        store(text, i);
        refuse_recovery(&private_key, TR_E_CORRUPT);
    }
    (void)snprintf(recovery, sizeof recovery, "%s.recovery", path);
    drop_vault(&v);
}

/* Somebody changes it and makes the checksum anew. */
static void test_tampering(void **state) {
    (void)state;
    static const struct {
        const char *patch;
        tr_status expected;
    } cases[] = {
        {"{\"current\":1}", TR_E_CORRUPT},
        {"{\"current\":3}", TR_E_CORRUPT},
        {"{\"keys\":{\"vault.db\":null}}", TR_E_CORRUPT},
        {"{\"masters\":[]}", TR_E_CORRUPT},
        {"{\"masters\":[{\"version\":2,\"created\":\"2026-01-01T00:00:00.000Z\"}]}", TR_E_CORRUPT},
        {"{\"sealed\":null}", TR_E_CORRUPT},
        {"{\"sealed\":\"\"}", TR_E_CORRUPT},
        {"{\"sealed\":\"AAAA\"}", TR_E_CORRUPT},
        {"{\"sealed\":\"!\"}", TR_E_CORRUPT},
        {"{\"sealed\":7}", TR_E_CORRUPT},
        {"{\"recovery\":null}", TR_E_WRONG_KEY},
        {"{\"recovery\":\"CQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}", TR_E_WRONG_KEY},
        {"{\"more\":1}", TR_E_CORRUPT},
        {"{\"format\":\"tresor-recovery-2\"}", TR_E_CONFIG},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        vault v;
        (void)remove_all(NULL);
        tr_keyring_close(make_vault(&v));
        assert_int_equal(unlink(path), 0);
        assert_int_equal(rename(recovery, path), 0);
        patch_file(cases[i].patch);
        assert_int_equal(rename(path, recovery), 0);
        refuse_recovery(&private_key, cases[i].expected);
        drop_vault(&v);
    }
}

/* ---- failing saves ---- */

static void test_failed_saves(void **state) {
    (void)state;
    vault v;
    uint32_t version = 0;
    tr_secret texts[2] = {0};
    tr_keyring *back = NULL, *ring = make_vault(&v);
    break_saves(true);
    assert_int_equal(tr_keyring_rotate(ring, &version, NULL), TR_E_IO);
    refuse_recovery(&private_key, TR_E_IO);
    break_saves(false);
    assert_int_equal(tr_keyring_current(ring), 2);
    check_vault(ring, &v, TR_OK);
    /* The recovery file cannot be written, the keyring could: nothing changes either. */
    assert_int_equal(unlink(recovery), 0);
    assert_int_equal(mkdir(recovery, 0700), 0);
    assert_int_equal(tr_keyring_rotate(ring, &version, NULL), TR_E_IO);
    assert_int_equal(tr_keyring_current(ring), 2);
    check_vault(ring, &v, TR_OK);
    tr_keyring_close(ring);
    ring = open_ring();
    assert_int_equal(tr_keyring_current(ring), 2);
    assert_int_equal(rmdir(recovery), 0);
    assert_int_equal(tr_keyring_rotate(ring, &version, NULL), TR_OK);
    tr_keyring_close(ring);
    assert_int_equal(recover_split(&private_key, &back, texts, NULL), TR_OK);
    assert_int_equal(tr_keyring_current(back), 3);
    check_vault(back, &v, TR_OK);
    tr_keyring_close(back);
    drop_vault(&v);
    tr_secret_clear(&texts[0]);
    tr_secret_clear(&texts[1]);
}

#define RECOVERY_TEST(name) cmocka_unit_test_setup_teardown(name, remove_all, remove_all)

int main(void) {
    const struct CMUnitTest tests[] = {
        RECOVERY_TEST(test_recover_to_shares),
        RECOVERY_TEST(test_recover_to_another_passphrase),
        RECOVERY_TEST(test_every_save_is_in_it),
        RECOVERY_TEST(test_another_recovery_key),
        RECOVERY_TEST(test_file_is_private_and_holds_no_key),
        RECOVERY_TEST(test_refused),
        RECOVERY_TEST(test_another_ring_in_the_place),
        RECOVERY_TEST(test_every_changed_byte_is_damage),
        RECOVERY_TEST(test_tampering),
        RECOVERY_TEST(test_failed_saves),
    };
    return cmocka_run_group_tests(tests, set_up_keys, tear_down_keys);
}
