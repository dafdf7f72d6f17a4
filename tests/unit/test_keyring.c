/* The keyring: what it is for, its file, failing writes, threads. */
#include "keyring_fixture.h"

#include <pthread.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/json.h"
#include "crypto/keywrap.h"

/* ---- what it is for ---- */

static void test_wrap_and_unwrap(void **state) {
    (void)state;
    tr_keyring *ring = create();
    tr_secret key = TR_SECRET_INIT, back = TR_SECRET_INIT;
    tr_buf wrapped = TR_BUF_INIT;
    uint32_t version = 0;
    assert_int_equal(tr_keyring_current(ring), 1);
    assert_int_equal(tr_secret_random(&key, 32, NULL), TR_OK);
    assert_int_equal(tr_keyring_wrap(ring, &key, &wrapped, &version, NULL), TR_OK);
    assert_int_equal(version, 1);
    assert_int_equal(wrapped.len, TR_WRAPPED_KEY_LEN);
    tr_keyring_close(ring);
    ring = open_ring(); /* the master key is the same one after the file was read again */
    assert_int_equal(tr_keyring_unwrap(ring, 1, (tr_bytes){wrapped.data, wrapped.len}, &back, NULL), TR_OK);
    assert_int_equal(back.len, 32);
    assert_memory_equal(back.data, key.data, 32);
    assert_int_equal(tr_keyring_unwrap(ring, 2, (tr_bytes){wrapped.data, wrapped.len}, &back, NULL),
                     TR_E_NOT_FOUND);
    wrapped.data[3] ^= 1;
    assert_int_equal(tr_keyring_unwrap(ring, 1, (tr_bytes){wrapped.data, wrapped.len}, &back, NULL),
                     TR_E_CORRUPT);
    tr_keyring_close(ring);
    tr_keyring_close(NULL);
    tr_secret_clear(&key);
    tr_secret_clear(&back);
    tr_buf_clear(&wrapped);
}

static void test_named_keys(void **state) {
    (void)state;
    tr_keyring *ring = create();
    tr_secret vault = TR_SECRET_INIT, audit = TR_SECRET_INIT, again = TR_SECRET_INIT;
    assert_int_equal(tr_keyring_named_key(ring, "vault.db", false, &vault, NULL), TR_E_NOT_FOUND);
    assert_int_equal(tr_keyring_named_key(ring, "vault.db", true, &vault, NULL), TR_OK);
    assert_int_equal(tr_keyring_named_key(ring, "audit.db", true, &audit, NULL), TR_OK);
    assert_int_equal(vault.len, 32);
    assert_memory_not_equal(vault.data, audit.data, 32);
    assert_int_equal(tr_keyring_named_key(ring, "vault.db", true, &again, NULL), TR_OK);
    assert_memory_equal(vault.data, again.data, 32);
    tr_keyring_close(ring);
    ring = open_ring();
    assert_int_equal(tr_keyring_named_key(ring, "vault.db", false, &again, NULL), TR_OK);
    assert_memory_equal(vault.data, again.data, 32);
    assert_int_equal(tr_keyring_named_key(ring, "audit.db", false, &again, NULL), TR_OK);
    assert_memory_equal(audit.data, again.data, 32);
    tr_keyring_close(ring);
    tr_secret_clear(&vault);
    tr_secret_clear(&audit);
    tr_secret_clear(&again);
}

static void test_list(void **state) {
    (void)state;
    tr_master_info info[2];
    size_t count = 0;
    tr_clock_set_for_test(INT64_C(1790000000123));
    tr_keyring *ring = create();
    tr_clock_set_for_test(0);
    tr_keyring_close(ring);
    ring = open_ring();
    tr_keyring_list(ring, info, 2, &count);
    assert_int_equal(count, 1);
    assert_int_equal(info[0].version, 1);
    assert_true(info[0].current);
    assert_true(info[0].created_ms == INT64_C(1790000000123));
    tr_keyring_list(ring, NULL, 0, &count);
    assert_int_equal(count, 1);
    tr_keyring_close(ring);
}

/* ---- the file ---- */

static void test_file_is_private_and_holds_no_key(void **state) {
    (void)state;
    char text[8192];
    struct stat info;
    tr_keyring *ring = create();
    tr_secret key = TR_SECRET_INIT;
    assert_int_equal(tr_keyring_named_key(ring, "vault.db", true, &key, NULL), TR_OK);
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 07777, 0600);
    assert_int_equal(info.st_nlink, 1);
    size_t n = load(text, sizeof text);
    assert_null(memmem(text, n, "correct horse", 13));
    assert_null(memmem(text, n, key.data, key.len));
    char base64[TR_BASE64URL_LEN(32) + 1], hex[65];
    tr_base64url_encode(key.data, 32, base64);
    tr_hex_encode(key.data, 32, hex);
    assert_null(memmem(text, n, base64, 40));
    assert_null(memmem(text, n, hex, 64));
    tr_secret_clear(&key);
    tr_keyring_close(ring);
}

static void test_document(void **state) {
    (void)state;
    char text[8192];
    cJSON *document = NULL;
    make_example();
    size_t n = load(text, sizeof text);
    assert_int_equal(tr_json_parse(text, n, &document, NULL), TR_OK);
    assert_string_equal(tr_json_string(document, "format"), "tresor-keyring-1");
    assert_string_equal(tr_json_string(document, "provider"), "file");
    assert_string_equal(tr_json_string(tr_json_pointer(document, "/kdf"), "name"), "scrypt");
    assert_non_null(tr_json_pointer(document, "/masters/0/key"));
    assert_non_null(tr_json_pointer(document, "/keys/vault.db/wrapped"));
    assert_int_equal(strlen(tr_json_string(document, "seal")), 64);
    cJSON_Delete(document);
}

static void test_default_cost(void **state) {
    (void)state;
    tr_keyring *ring = NULL;
    char text[8192];
    assert_int_equal(tr_keyring_create_file(path, &passphrase, &ring, NULL), TR_OK);
    tr_keyring_close(ring);
    text[load(text, sizeof text - 1)] = '\0';
    assert_non_null(strstr(text, "\"ln\":17"));
    assert_non_null(strstr(text, "\"r\":8"));
    tr_keyring_close(open_ring());
}

static void test_create_never_overwrites(void **state) {
    (void)state;
    char before[8192], after[8192];
    tr_keyring *ring = NULL;
    make_example();
    size_t n = load(before, sizeof before);
    assert_int_equal(tr_keyring_create_file_ln(path, &wrong, LN, &ring, NULL), TR_E_EXISTS);
    assert_null(ring);
    assert_int_equal(load(after, sizeof after), n);
    assert_memory_equal(before, after, n);
}

static void test_missing_or_not_private(void **state) {
    (void)state;
    char other[80];
    refused(&passphrase, TR_E_CONFIG);
    make_example();
    assert_int_equal(chmod(path, 0640), 0);
    refused(&passphrase, TR_E_CONFIG);
    assert_int_equal(chmod(path, 0604), 0);
    refused(&passphrase, TR_E_CONFIG);
    assert_int_equal(chmod(path, 0400), 0);
    tr_keyring_close(open_ring());
    if (geteuid() == 0) {
        assert_int_equal(chown(path, 65534, 65534), 0);
        refused(&passphrase, TR_E_CONFIG);
        assert_int_equal(chown(path, 0, 0), 0);
    }
    (void)snprintf(other, sizeof other, "%s/other", folder);
    assert_int_equal(rename(path, other), 0);
    assert_int_equal(symlink("other", path), 0);
    refused(&passphrase, TR_E_CONFIG);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(unlink(other), 0);
    assert_int_equal(mkfifo(path, 0600), 0); /* must not wait for a writer */
    refused(&passphrase, TR_E_CONFIG);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkdir(path, 0700), 0);
    refused(&passphrase, TR_E_CONFIG);
    assert_int_equal(rmdir(path), 0);
}

/* ---- failing writes ---- */

static void test_failed_save_changes_nothing(void **state) {
    (void)state;
    char before[8192], after[8192];
    tr_keyring *ring = create();
    tr_secret key = TR_SECRET_INIT, again = TR_SECRET_INIT;
    size_t n = load(before, sizeof before);
    break_saves(true);
    tr_status st = tr_keyring_named_key(ring, "vault.db", true, &key, NULL);
    break_saves(false);
    assert_int_equal(st, TR_E_IO);
    assert_null(key.data);
    assert_int_equal(load(after, sizeof after), n);
    assert_memory_equal(before, after, n);
    /* The ring has forgotten the key; the next try makes one and keeps it. tear_down sees that no file was
     * left. */
    assert_int_equal(tr_keyring_named_key(ring, "vault.db", false, &key, NULL), TR_E_NOT_FOUND);
    assert_int_equal(tr_keyring_named_key(ring, "vault.db", true, &key, NULL), TR_OK);
    tr_keyring_close(ring);
    ring = open_ring();
    assert_int_equal(tr_keyring_named_key(ring, "vault.db", false, &again, NULL), TR_OK);
    assert_memory_equal(key.data, again.data, 32);
    tr_keyring_close(ring);
    tr_secret_clear(&key);
    tr_secret_clear(&again);
}

static void test_no_folder(void **state) {
    (void)state;
    tr_keyring *ring = NULL;
    char nowhere[80];
    (void)snprintf(nowhere, sizeof nowhere, "%s/none/keyring", folder);
    assert_int_equal(tr_keyring_create_file_ln(nowhere, &passphrase, LN, &ring, NULL), TR_E_IO);
    assert_null(ring);
}

static void test_leftover_of_a_crash_is_swept(void **state) {
    (void)state;
    char left[96], other[96];
    make_example();
    (void)snprintf(left, sizeof left, "%s.tmp-0123456789abcdef", path);
    (void)snprintf(other, sizeof other, "%s.passphrase", path);
    assert_int_equal(close(creat(left, 0600)), 0);
    assert_int_equal(close(creat(other, 0600)), 0);
    tr_keyring_close(open_ring());
    assert_int_equal(access(left, F_OK), -1);
    assert_int_equal(access(other, F_OK), 0);
    assert_int_equal(unlink(other), 0);
}

static void test_many_named_keys(void **state) {
    (void)state;
    tr_keyring *ring = create();
    tr_secret key = TR_SECRET_INIT;
    char name[80];
    for (int i = 0; i < 16; i++) {
        (void)snprintf(name, sizeof name, "db-%d", i);
        assert_int_equal(tr_keyring_named_key(ring, name, true, &key, NULL), TR_OK);
    }
    assert_int_equal(tr_keyring_named_key(ring, "one-more", true, &key, NULL), TR_E_INTERNAL);
    memset(name, 'n', sizeof name);
    name[65] = '\0';
    assert_int_equal(tr_keyring_named_key(ring, name, true, &key, NULL), TR_E_INTERNAL);
    tr_keyring_close(ring);
    ring = open_ring();
    assert_int_equal(tr_keyring_named_key(ring, "db-15", false, &key, NULL), TR_OK);
    tr_keyring_close(ring);
    tr_secret_clear(&key);
}

/* ---- threads ---- */

typedef struct user {
    tr_keyring *ring;
    tr_secret named;
    bool failed;
} user;

static void *use(void *argument) {
    user *me = argument;
    tr_secret key = TR_SECRET_INIT, back = TR_SECRET_INIT;
    bool good = tr_secret_random(&key, 32, NULL) == TR_OK &&
                tr_keyring_named_key(me->ring, "vault.db", true, &me->named, NULL) == TR_OK;
    for (int i = 0; good && i < 300; i++) {
        tr_buf wrapped = TR_BUF_INIT;
        uint32_t version = 0;
        good = tr_keyring_wrap(me->ring, &key, &wrapped, &version, NULL) == TR_OK &&
               tr_keyring_unwrap(me->ring, version, (tr_bytes){wrapped.data, wrapped.len}, &back, NULL) ==
                   TR_OK &&
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
    enum { COUNT = 4 };
    pthread_t threads[COUNT];
    user users[COUNT] = {0};
    tr_keyring *ring = create();
    for (int i = 0; i < COUNT; i++) {
        users[i].ring = ring;
        assert_int_equal(pthread_create(&threads[i], NULL, use, &users[i]), 0);
    }
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_false(users[i].failed);
        assert_memory_equal(users[i].named.data, users[0].named.data, 32); /* made once, given to all */
    }
    for (int i = 0; i < COUNT; i++)
        tr_secret_clear(&users[i].named);
    tr_keyring_close(ring);
    tr_keyring_close(open_ring());
}

int main(void) {
    const struct CMUnitTest tests[] = {
        RING_TEST(test_wrap_and_unwrap),
        RING_TEST(test_named_keys),
        RING_TEST(test_list),
        RING_TEST(test_file_is_private_and_holds_no_key),
        RING_TEST(test_document),
        RING_TEST(test_default_cost),
        RING_TEST(test_create_never_overwrites),
        RING_TEST(test_missing_or_not_private),
        RING_TEST(test_failed_save_changes_nothing),
        RING_TEST(test_no_folder),
        RING_TEST(test_leftover_of_a_crash_is_swept),
        RING_TEST(test_many_named_keys),
        RING_TEST(test_threads),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
