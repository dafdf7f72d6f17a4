/* Secrets. The locked heap is set up in a child, because a process has one. */
#include "hex.h"

#include <fcntl.h>
#include <openssl/crypto.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[] = "/tmp/tresor-secret-XXXXXX";
static char path[64];

static int set_up(void **state) {
    (void)state;
    if (!mkdtemp(folder))
        return -1;
    (void)snprintf(path, sizeof path, "%s/secret", folder);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    (void)unlink(path);
    return rmdir(folder);
}

static void test_life(void **state) {
    (void)state;
    static const uint8_t zero[32];
    tr_secret s = TR_SECRET_INIT, other = TR_SECRET_INIT;
    tr_secret_clear(&s);
    assert_int_equal(tr_secret_alloc(&s, 32, NULL), TR_OK);
    assert_memory_equal(s.data, zero, 32);
    assert_int_equal(tr_secret_random(&s, 32, NULL), TR_OK);
    assert_memory_not_equal(s.data, zero, 32);
    assert_int_equal(tr_secret_copy(&other, s.data, s.len, NULL), TR_OK);
    assert_true(tr_equal_ct(s.data, other.data, 32));
    assert_int_equal(tr_secret_copy(&s, s.data, 16, NULL), TR_OK); /* of itself */
    assert_int_equal(s.len, 16);
    assert_memory_equal(s.data, other.data, 16);
    assert_int_equal(tr_secret_alloc(&s, 0, NULL), TR_OK);
    assert_int_equal(s.len, 0);
    tr_secret_clear(&s);
    tr_secret_clear(&s);
    assert_null(s.data);
    tr_secret_clear(&other);
}

static void test_wipe_and_compare(void **state) {
    (void)state;
    char a[] = "secret", b[] = "secreT";
    assert_true(tr_equal_ct(a, "secret", 6));
    assert_false(tr_equal_ct(a, b, 6));
    assert_true(tr_equal_ct(a, b, 5));
    tr_wipe(a, sizeof a);
    for (size_t i = 0; i < sizeof a; i++)
        assert_int_equal(a[i], 0);
    tr_wipe(NULL, 0);
}

static void write_file(const char *bytes, size_t n) {
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, n, file), n);
    fclose(file);
}

static void from_file_is(const char *content, size_t n, const char *expected, size_t len) {
    tr_secret s = TR_SECRET_INIT;
    write_file(content, n);
    assert_int_equal(tr_secret_from_file(&s, path, NULL), TR_OK);
    assert_int_equal(s.len, len);
    assert_memory_equal(s.data, expected, len);
    tr_secret_clear(&s);
}

static void test_from_file(void **state) {
    (void)state;
    static char large[70000];
    from_file_is("secret", 6, "secret", 6);
    from_file_is("secret\n", 7, "secret", 6);
    from_file_is("secret\r\n", 8, "secret", 6);
    from_file_is("secret\n\n", 8, "secret\n", 7);
    from_file_is(" se\0cret ", 9, " se\0cret ", 9);
    memset(large, 'x', sizeof large);
    from_file_is(large, 65536, large, 65536);
    from_file_is(large, 65535, large, 65535);
}

static void file_refused(void) {
    tr_secret s = TR_SECRET_INIT;
    tr_error err = {0};
    assert_int_equal(tr_secret_from_file(&s, path, &err), TR_E_CONFIG);
    assert_string_equal(err.where, path);
    assert_null(s.data);
}

static void test_from_file_refuses(void **state) {
    (void)state;
    static char large[70000];
    (void)unlink(path);
    file_refused();
    write_file("", 0);
    file_refused();
    write_file("\n", 1);
    file_refused();
    write_file("\r\n", 2);
    file_refused();
    write_file(large, sizeof large);
    file_refused();
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkdir(path, 0700), 0);
    file_refused();
    assert_int_equal(rmdir(path), 0);
}

static void *feed(void *unused) {
    (void)unused;
    int fd = open(path, O_WRONLY);
    bool good = fd >= 0 && write(fd, "from a ", 7) == 7 && write(fd, "pipe\n", 5) == 5;
    close(fd);
    return good ? path : NULL;
}

static void test_from_pipe(void **state) {
    (void)state;
    pthread_t thread;
    void *good = NULL;
    tr_secret s = TR_SECRET_INIT;
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(pthread_create(&thread, NULL, feed, NULL), 0);
    assert_int_equal(tr_secret_from_file(&s, path, NULL), TR_OK);
    assert_int_equal(pthread_join(thread, &good), 0);
    assert_non_null(good);
    assert_int_equal(s.len, 11);
    assert_memory_equal(s.data, "from a pipe", 11);
    tr_secret_clear(&s);
    assert_int_equal(unlink(path), 0);
}

/* What the child finds wrong, or 0. */
static int locked_heap_faults(void) {
    tr_secret s = TR_SECRET_INIT;
    struct rlimit core;
    if (tr_secret_heap_locked() || tr_secret_init_heap(65536, NULL) != TR_OK)
        return 1;
    if (prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != 0 || getrlimit(RLIMIT_CORE, &core) != 0 || core.rlim_cur != 0)
        return 2;
    if (tr_secret_alloc(&s, 32, NULL) != TR_OK || !CRYPTO_secure_allocated(s.data))
        return 3;
    tr_secret_clear(&s);
    if (CRYPTO_secure_used() != 0)
        return 4;
    /* A heap that is full says so, and goes on. */
    if (tr_secret_alloc(&s, 200000, NULL) != TR_E_NOMEM || s.data || tr_secret_alloc(&s, 32, NULL) != TR_OK)
        return 5;
    tr_secret_clear(&s);
    return 0;
}

static void test_locked_heap(void **state) {
    (void)state;
    int status = 0;
    pid_t child = fork();
    if (child == 0)
        _exit(locked_heap_faults());
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_locked_heap), /* first: the child must be the first to use OpenSSL */
        cmocka_unit_test(test_life),        cmocka_unit_test(test_wipe_and_compare),
        cmocka_unit_test(test_from_file),   cmocka_unit_test(test_from_file_refuses),
        cmocka_unit_test(test_from_pipe),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
