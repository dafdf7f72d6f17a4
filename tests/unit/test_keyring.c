/* The keyring: its file, its errors, its threads. scrypt runs at a low cost here, but for the one test that
 * says so. */
#include "hex.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "crypto/keyring_provider.h"
#include "crypto/keywrap.h"

#define LN 4

static char folder[] = "/tmp/tresor-keyring-XXXXXX";
static char path[64];
static tr_secret passphrase, wrong;

static int set_up(void **state) {
    (void)state;
    if (!mkdtemp(folder))
        return -1;
    (void)snprintf(path, sizeof path, "%s/keyring", folder);
    return tr_secret_copy(&passphrase, "correct horse", 13, NULL) == TR_OK &&
                   tr_secret_copy(&wrong, "wrong horse", 11, NULL) == TR_OK
               ? 0
               : -1;
}

static int tear_down(void **state) {
    (void)state;
    tr_secret_clear(&passphrase);
    tr_secret_clear(&wrong);
    return rmdir(folder);
}

static int remove_file(void **state) {
    (void)state;
    return unlink(path) == 0 || errno == ENOENT ? 0 : -1;
}

static tr_keyring *create(void) {
    tr_keyring *ring = NULL;
    tr_error err = {0};
    assert_int_equal(tr_keyring_create_file_ln(path, &passphrase, LN, &ring, &err), TR_OK);
    assert_non_null(ring);
    return ring;
}

static tr_keyring *open_ring(void) {
    tr_keyring *ring = NULL;
    tr_error err = {0};
    tr_status st = tr_keyring_open_file(path, &passphrase, &ring, &err);
    if (st != TR_OK)
        print_error("%s: %s: %s\n", tr_status_slug(st), err.where, err.what);
    assert_int_equal(st, TR_OK);
    return ring;
}

static void refused(const tr_secret *with, tr_status expected) {
    tr_keyring *ring = (tr_keyring *)&passphrase;
    tr_error err = {0};
    assert_int_equal(tr_keyring_open_file(path, with, &ring, &err), expected);
    assert_null(ring);
    assert_int_equal(err.status, expected);
    assert_string_not_equal(err.what, "");
}

static size_t load(char *text, size_t room) {
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    size_t n = fread(text, 1, room, file);
    fclose(file);
    return n;
}

static void store(const char *text, size_t n) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, n), n);
    close(fd);
}

/* A ring with two named keys. */
static void make_example(void) {
    tr_keyring *ring = create();
    tr_secret key = TR_SECRET_INIT;
    assert_int_equal(tr_keyring_named_key(ring, "vault.db", true, &key, NULL), TR_OK);
    assert_int_equal(tr_keyring_named_key(ring, "audit.db", true, &key, NULL), TR_OK);
    tr_secret_clear(&key);
    tr_keyring_close(ring);
}

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

static void store_with_checksum(cJSON *document) {
    uint8_t hash[TR_SHA256_LEN];
    char hex[65];
    tr_buf text = TR_BUF_INIT;
    cJSON_DeleteItemFromObject(document, "checksum");
    assert_int_equal(tr_json_print_sorted(document, &text, NULL), TR_OK);
    assert_int_equal(tr_sha256(&(tr_bytes){text.data, text.len}, 1, hash, NULL), TR_OK);
    tr_hex_encode(hash, sizeof hash, hex);
    cJSON_AddStringToObject(document, "checksum", hex);
    tr_buf_reset(&text);
    assert_int_equal(tr_json_print_sorted(document, &text, NULL), TR_OK);
    tr_buf_putc(&text, '\n');
    store(text.data, text.len);
    tr_buf_clear(&text);
}

/* Apply a merge patch to the example's document. */
static void tampered(const char *patch_text, tr_status expected) {
    char text[8192];
    cJSON *document = NULL, *patch = NULL;
    (void)unlink(path);
    make_example();
    assert_int_equal(tr_json_parse(text, load(text, sizeof text), &document, NULL), TR_OK);
    assert_int_equal(tr_json_parse(patch_text, strlen(patch_text), &patch, NULL), TR_OK);
    assert_int_equal(tr_json_merge_patch(&document, patch, NULL), TR_OK);
    store_with_checksum(document);
    refused(&passphrase, expected);
    cJSON_Delete(document);
    cJSON_Delete(patch);
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
        {"{\"provider\":\"pkcs11\"}", TR_E_CONFIG},
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

/* ---- failing writes ---- */

static void test_failed_save_changes_nothing(void **state) {
    (void)state;
    char before[8192], after[8192];
    struct rlimit old, small;
    tr_keyring *ring = create();
    tr_secret key = TR_SECRET_INIT, again = TR_SECRET_INIT;
    size_t n = load(before, sizeof before);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = (struct rlimit){100, old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    tr_status st = tr_keyring_named_key(ring, "vault.db", true, &key, NULL);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
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

#define RING_TEST(name) cmocka_unit_test_setup_teardown(name, remove_file, remove_file)

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
        RING_TEST(test_wrong_passphrase),
        RING_TEST(test_every_changed_byte_is_damage),
        RING_TEST(test_every_truncation_is_damage),
        RING_TEST(test_tampering),
        RING_TEST(test_one_master_of_two_damaged),
        RING_TEST(test_failed_save_changes_nothing),
        RING_TEST(test_no_folder),
        RING_TEST(test_leftover_of_a_crash_is_swept),
        RING_TEST(test_many_named_keys),
        RING_TEST(test_threads),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
