/* Guarded memory: sizes, wiping, threads, what the kernel is told, and that OpenSSL and SQLite use it. */
#include "hex.h"

#include <openssl/evp.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/guarded.h"
#include "store/sqlcipher/memory.h"

#ifdef __has_feature
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) && !defined(SANITIZED)
#define SANITIZED 1
#endif

static int set_up(void **state) {
    (void)state;
    return tr_guarded_init(NULL) == TR_OK && tr_guarded_init(NULL) == TR_OK ? 0 : -1;
}

static void test_sizes(void **state) {
    (void)state;
    assert_null(tr_guarded_alloc(0));
    tr_guarded_free(NULL);
    for (size_t len = 1; len < 200000; len += len < 3000 ? 1 : 997) {
        uint8_t *block = tr_guarded_alloc(len);
        assert_non_null(block);
        assert_int_equal((uintptr_t)block % 16, 0);
        const size_t size = tr_guarded_size(block);
        assert_true(size >= len);
        assert_int_equal(size, tr_guarded_roundup(len));
        assert_int_equal(tr_guarded_roundup(size), size);
        if (len > 128)
            assert_true(size <= len + len / 4 + 1);
        memset(block, 0xA5, size);
        tr_guarded_free(block);
    }
    assert_null(tr_guarded_alloc(SIZE_MAX));
    assert_null(tr_guarded_alloc(TR_GUARDED_MAX + 1));
}

/* Blocks of one size do not overlap, whatever the order in which they come and go. */
static void test_blocks_are_apart(void **state) {
    (void)state;
    enum { COUNT = 3000 };
    static uint8_t *blocks[COUNT];
    const size_t lengths[] = {16, 48, 500, 2048, 2049, 32768, 40000};
    for (size_t l = 0; l < sizeof lengths / sizeof *lengths; l++) {
        const size_t len = lengths[l];
        const int count = len > 3000 ? 100 : COUNT;
        for (int round = 0; round < 3; round++) {
            for (int i = 0; i < count; i++) {
                if (blocks[i])
                    continue;
                blocks[i] = tr_guarded_alloc(len);
                assert_non_null(blocks[i]);
                memset(blocks[i], i % 251, len);
            }
            for (int i = 0; i < count; i++) {
                for (size_t at = 0; at < len; at += len / 16)
                    assert_int_equal(blocks[i][at], i % 251);
                if (round < 2 && (i * 7 + round) % 3 == 0) {
                    tr_guarded_free(blocks[i]);
                    blocks[i] = NULL;
                }
            }
        }
        for (int i = 0; i < count; i++) {
            tr_guarded_free(blocks[i]);
            blocks[i] = NULL;
        }
    }
}

static void test_resize(void **state) {
    (void)state;
    uint8_t *block = tr_guarded_realloc(NULL, 10);
    assert_non_null(block);
    for (size_t i = 0; i < 10; i++)
        block[i] = (uint8_t)i;
    const size_t steps[] = {11, 400, 5000, 70000, 300000, 70000, 5000, 400, 10};
    for (size_t s = 0; s < sizeof steps / sizeof *steps; s++) {
        block = tr_guarded_realloc(block, steps[s]);
        assert_non_null(block);
        assert_true(tr_guarded_size(block) >= steps[s]);
        for (size_t i = 0; i < 10; i++)
            assert_int_equal(block[i], i);
    }
    assert_null(tr_guarded_realloc(block, SIZE_MAX)); /* and keeps what was there */
    assert_int_equal(block[9], 9);
    assert_null(tr_guarded_realloc(block, 0));
}

#ifndef SANITIZED

/* Does the mapping of this address have the flag ("dd": not in dumps, "lo": locked)? */
static bool has_flag(const void *address, const char *flag) {
    char line[1024], wanted[8];
    bool inside = false, found = false;
    FILE *file = fopen("/proc/self/smaps", "r");
    assert_non_null(file);
    (void)snprintf(wanted, sizeof wanted, " %s", flag);
    while (!found && fgets(line, sizeof line, file)) {
        unsigned long low, high;
        char rest;
        if (sscanf(line, "%lx-%lx%c", &low, &high, &rest) == 3 && rest == ' ')
            inside = (uintptr_t)address >= low && (uintptr_t)address < high;
        else if (inside && strncmp(line, "VmFlags:", 8) == 0)
            found = strstr(line, wanted) != NULL;
    }
    fclose(file);
    return found;
}

/* Reading what was freed is the test; the memory stays mapped. The first bytes hold the list of free blocks.
 */
static void test_wiped(void **state) {
    (void)state;
    const size_t lengths[] = {32, 99, 1000, 4368, 30000};
    for (size_t l = 0; l < sizeof lengths / sizeof *lengths; l++) {
        uint8_t *keep = tr_guarded_alloc(lengths[l]), *block = tr_guarded_alloc(lengths[l]);
        memset(block, 0xA5, lengths[l]);
        tr_guarded_free(block);
        for (size_t i = sizeof(void *); i < lengths[l]; i++)
            assert_int_equal(((const volatile uint8_t *)block)[i], 0);
        block = tr_guarded_alloc(lengths[l]);
        memset(block, 0xA5, lengths[l]);
        uint8_t *moved = tr_guarded_realloc(block, 4 * lengths[l]);
        for (size_t i = sizeof(void *); i < lengths[l]; i++)
            assert_int_equal(((const volatile uint8_t *)block)[i], 0);
        tr_guarded_free(moved);
        tr_guarded_free(keep);
    }
}

static void test_what_the_kernel_knows(void **state) {
    (void)state;
    uint8_t *small = tr_guarded_alloc(99), *page = tr_guarded_alloc(4368), *large = tr_guarded_alloc(1000000);
    assert_true(has_flag(small, "dd") && has_flag(page, "dd") && has_flag(large, "dd"));
    if (tr_guarded_locked()) /* mlock can be refused */
        assert_true(has_flag(small, "lo"));
    assert_false(has_flag(&small, "dd"));
    tr_guarded_free(small);
    tr_guarded_free(page);
    tr_guarded_free(large);
}

/* What the child finds wrong, or 0. */
static int openssl_faults(void) {
    if (tr_guarded_openssl(NULL) != TR_OK)
        return 1;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    const bool guarded = ctx && has_flag(ctx, "dd");
    EVP_MD_CTX_free(ctx);
    if (!guarded)
        return 2;
    return tr_guarded_openssl(NULL) == TR_OK ? 0 : 3;
}

/* Memory that OpenSSL has from elsewhere already could not be freed here. */
static int late_openssl_faults(void) {
    EVP_MD_CTX_free(EVP_MD_CTX_new());
    return tr_guarded_openssl(NULL) == TR_E_INTERNAL ? 0 : 4;
}

/* In children, where nothing has used OpenSSL yet. */
static void test_openssl(void **state) {
    (void)state;
    int (*const faults[])(void) = {openssl_faults, late_openssl_faults};
    for (size_t i = 0; i < 2; i++) {
        int status = 0;
        pid_t child = fork();
        if (child == 0)
            _exit(faults[i]());
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
    }
}

static void test_sqlite(void **state) {
    (void)state;
    assert_int_equal(tr_sqlite_memory(NULL), TR_OK);
    assert_int_equal(sqlite3_initialize(), SQLITE_OK);
    void *small = sqlite3_malloc(99), *large = sqlite3_malloc(1000000);
    assert_true(has_flag(small, "dd") && has_flag(large, "dd"));
    sqlite3_free(small);
    sqlite3_free(large);
    assert_int_equal(tr_sqlite_memory(NULL), TR_OK);
}

#endif

/* ---- threads: blocks are handed from one to another ---- */

enum { THREADS = 8, PLACES = 64, ROUNDS = 30000 };
static _Atomic(uint8_t *) places[PLACES];

static char no_memory[] = "no memory", twice[] = "a block was handed out twice";

static void *exchange(void *context) {
    unsigned seed = (unsigned)(uintptr_t)context;
    for (int i = 0; i < ROUNDS; i++) {
        seed = seed * 1103515245u + 12345u;
        const size_t len = 16 + (seed >> 8) % 6000;
        uint8_t *block = tr_guarded_alloc(len);
        if (!block)
            return no_memory;
        const uint8_t mark = (uint8_t)(seed >> 16);
        memset(block, mark, len);
        block[0] = block[len - 1] = mark;
        uint8_t *old = atomic_exchange(&places[seed % PLACES], block);
        if (old) {
            for (size_t at = 1; at < 16; at++) {
                if (old[at] != old[0])
                    return twice;
            }
            tr_guarded_free(old);
        }
    }
    return NULL;
}

static void test_threads(void **state) {
    (void)state;
    pthread_t threads[THREADS];
    for (uintptr_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, exchange, (void *)(i + 1)), 0);
    for (size_t i = 0; i < THREADS; i++) {
        void *fault = NULL;
        assert_int_equal(pthread_join(threads[i], &fault), 0);
        assert_null(fault);
    }
    for (size_t i = 0; i < PLACES; i++)
        tr_guarded_free(places[i]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
#ifndef SANITIZED
        cmocka_unit_test(test_openssl), cmocka_unit_test(test_what_the_kernel_knows),
        cmocka_unit_test(test_wiped),   cmocka_unit_test(test_sqlite),
#endif
        cmocka_unit_test(test_sizes),   cmocka_unit_test(test_blocks_are_apart),
        cmocka_unit_test(test_resize),  cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
