/* A file that is written behind has what was put, however that was cut, and a disk that is full shows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "vault/write_behind.h"

#define BLOCK ((size_t)512 * 1024)

static int make_file(void) {
    char path[] = "/tmp/tresor-write-behind-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(unlink(path), 0);
    return fd;
}

static uint8_t *make_bytes(size_t len) {
    uint8_t *bytes = malloc(len + 1);
    assert_non_null(bytes);
    for (size_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)(i * 2654435761u >> 13);
    return bytes;
}

static tr_status put_all(tr_write_behind *w, const uint8_t *bytes, size_t len, size_t piece, tr_error *err) {
    tr_status st = TR_OK;
    for (size_t at = 0; at < len && st == TR_OK; at += piece)
        st = tr_write_behind_put(w, (tr_bytes){bytes + at, len - at < piece ? len - at : piece}, err);
    return st;
}

static void check(size_t len, size_t piece) {
    uint8_t *bytes = make_bytes(len), *got = malloc(len + 1);
    tr_write_behind *w = NULL;
    tr_error err = {0};
    int fd = make_file();
    assert_non_null(got);
    assert_int_equal(tr_write_behind_new(fd, "here", &w, &err), TR_OK);
    assert_int_equal(put_all(w, bytes, len, piece, &err), TR_OK);
    assert_int_equal(tr_write_behind_end(w, &err), TR_OK);
    assert_int_equal(pread(fd, got, len + 1, 0), len);
    assert_memory_equal(got, bytes, len);
    tr_write_behind_free(w);
    close(fd);
    free(bytes);
    free(got);
}

static void what_was_put_is_there(void **state) {
    static const size_t lengths[] = {0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 50 * BLOCK + 77};
    (void)state;
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        check(lengths[i], 65552);
        check(lengths[i], BLOCK);
        check(lengths[i], 3 * BLOCK + 5);
    }
}

static void limit_files(rlim_t bytes) {
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes ? bytes : limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* Whether it is full in the middle, which the thread finds, or at the very end. */
static void fail_at(size_t len, rlim_t full) {
    uint8_t *bytes = make_bytes(len);
    tr_write_behind *w = NULL;
    tr_error err = {0};
    int fd = make_file();
    assert_int_equal(tr_write_behind_new(fd, "here", &w, &err), TR_OK);
    limit_files(full);
    tr_status st = put_all(w, bytes, len, 65552, &err);
    if (st == TR_OK)
        st = tr_write_behind_end(w, &err);
    limit_files(0);
    assert_int_equal(st, TR_E_IO);
    assert_string_equal(err.where, "here");
    tr_write_behind_free(w);
    close(fd);
    free(bytes);
}

static void a_failure_shows(void **state) {
    (void)state;
    fail_at(100, 50);
    fail_at(BLOCK + 100, BLOCK + 50);
    fail_at(3 * BLOCK, BLOCK + 1);
    fail_at(60 * BLOCK, 2 * BLOCK);
}

static void without_an_end(void **state) {
    uint8_t *bytes = make_bytes(5 * BLOCK);
    tr_write_behind *w = NULL;
    int fd = make_file();
    (void)state;
    assert_int_equal(tr_write_behind_new(fd, "here", &w, NULL), TR_OK);
    assert_int_equal(put_all(w, bytes, 5 * BLOCK - 3, 65552, NULL), TR_OK);
    tr_write_behind_free(w);
    tr_write_behind_free(NULL);
    assert_int_equal(lseek(fd, 0, SEEK_END), 4 * BLOCK);
    close(fd);
    free(bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_was_put_is_there),
                                       cmocka_unit_test(a_failure_shows), cmocka_unit_test(without_an_end)};
    (void)signal(SIGXFSZ, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
