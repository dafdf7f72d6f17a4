/* A keyring in a temporary folder, for the tests of the keyring. scrypt runs at a low cost. */
#ifndef TR_TEST_KEYRING_FIXTURE_H
#define TR_TEST_KEYRING_FIXTURE_H

#include "hex.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/json.h"
#include "crypto/keyring_provider.h"

#define LN 4

static char folder[] = "/tmp/tresor-keyring-XXXXXX";
static char path[64];
static tr_secret passphrase, wrong;

static inline int set_up(void **state) {
    (void)state;
    if (!mkdtemp(folder))
        return -1;
    (void)snprintf(path, sizeof path, "%s/keyring", folder);
    return tr_secret_copy(&passphrase, "correct horse", 13, NULL) == TR_OK &&
                   tr_secret_copy(&wrong, "wrong horse", 11, NULL) == TR_OK
               ? 0
               : -1;
}

static inline int tear_down(void **state) {
    (void)state;
    tr_secret_clear(&passphrase);
    tr_secret_clear(&wrong);
    return rmdir(folder);
}

static inline int remove_file(void **state) {
    char recovery[sizeof path + 16];
    (void)state;
    (void)snprintf(recovery, sizeof recovery, "%s.recovery", path);
    if (unlink(recovery) != 0 && errno != ENOENT)
        return -1;
    return unlink(path) == 0 || errno == ENOENT ? 0 : -1;
}

static inline tr_keyring *create(void) {
    tr_keyring *ring = NULL;
    tr_error err = {0};
    assert_int_equal(tr_keyring_create_file_ln(path, &passphrase, LN, &ring, &err), TR_OK);
    assert_non_null(ring);
    return ring;
}

static inline tr_keyring *open_ring(void) {
    tr_keyring *ring = NULL;
    tr_error err = {0};
    tr_status st = tr_keyring_open_file(path, &passphrase, &ring, &err);
    if (st != TR_OK)
        print_error("%s: %s: %s\n", tr_status_slug(st), err.where, err.what);
    assert_int_equal(st, TR_OK);
    return ring;
}

static inline void refused(const tr_secret *with, tr_status expected) {
    tr_keyring *ring = (tr_keyring *)&passphrase;
    tr_error err = {0};
    assert_int_equal(tr_keyring_open_file(path, with, &ring, &err), expected);
    assert_null(ring);
    assert_int_equal(err.status, expected);
    assert_string_not_equal(err.what, "");
}

static inline size_t load(char *text, size_t room) {
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    size_t n = fread(text, 1, room, file);
    fclose(file);
    return n;
}

static inline void store(const char *text, size_t n) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, n), n);
    close(fd);
}

/* Files cannot grow beyond 100 bytes while this is on: saves fail. */
static inline void break_saves(bool broken) {
    static struct rlimit before;
    struct rlimit small;
    signal(SIGXFSZ, SIG_IGN);
    if (broken)
        assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = (struct rlimit){100, before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, broken ? &small : &before), 0);
}

/* Make the checksum anew, as somebody does who knows the format, and store the document. */
static inline void store_with_checksum(cJSON *document) {
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

/* Apply a merge patch (RFC 7396) to the document in the file. */
static inline void patch_file(const char *patch_text) {
    char text[8192];
    cJSON *document = NULL, *patch = NULL;
    assert_int_equal(tr_json_parse(text, load(text, sizeof text), &document, NULL), TR_OK);
    assert_int_equal(tr_json_parse(patch_text, strlen(patch_text), &patch, NULL), TR_OK);
    assert_int_equal(tr_json_merge_patch(&document, patch, NULL), TR_OK);
    store_with_checksum(document);
    cJSON_Delete(document);
    cJSON_Delete(patch);
}

/* A ring with two named keys. */
static inline void make_example(void) {
    tr_keyring *ring = create();
    tr_secret key = TR_SECRET_INIT;
    assert_int_equal(tr_keyring_named_key(ring, "vault.db", true, &key, NULL), TR_OK);
    assert_int_equal(tr_keyring_named_key(ring, "audit.db", true, &key, NULL), TR_OK);
    tr_secret_clear(&key);
    tr_keyring_close(ring);
}

#define RING_TEST(name) cmocka_unit_test_setup_teardown(name, remove_file, remove_file)

#endif
