/* A store in a folder of its own, for the tests of store/. */
#ifndef TEST_STORE_FIXTURE_H
#define TEST_STORE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "scratch.h"
#include "store/sqlcipher/engine.h"

typedef struct fixture {
    char dir[64];
    tr_secret keys[TR_DB_COUNT];
    tr_store *store;
    tr_error err;
} fixture;

#define assert_ok(f, call)                                                                                   \
    do {                                                                                                     \
        tr_status got_ = (call);                                                                             \
        if (got_ != TR_OK)                                                                                   \
            fail_msg("%s: %s: %s (%s)", #call, tr_status_slug(got_), (f)->err.what, (f)->err.where);         \
    } while (0)

#define assert_status(f, call, want)                                                                         \
    do {                                                                                                     \
        tr_status got_ = (call);                                                                             \
        if (got_ != (want))                                                                                  \
            fail_msg("%s: %s instead of %s: %s", #call, tr_status_slug(got_), tr_status_slug(want),          \
                     (f)->err.what);                                                                         \
    } while (0)

static inline tr_store_options fixture_options(fixture *f, bool create) {
    return (tr_store_options){.data_dir = f->dir,
                              .vault_key = &f->keys[TR_DB_VAULT],
                              .keys_key = &f->keys[TR_DB_KEYS],
                              .audit_key = &f->keys[TR_DB_AUDIT],
                              .fold_ms = 3600000, /* fixture_tx: the writer sleeps */
                              .create = create};
}

static inline tr_status fixture_open(fixture *f, bool create) {
    tr_store_options options = fixture_options(f, create);
    f->err = (tr_error){0};
    return tr_store_open(&options, &f->store, &f->err);
}

static inline void fixture_close(fixture *f) {
    tr_store_close(f->store);
    f->store = NULL;
}

static inline void fixture_reopen(fixture *f) {
    fixture_close(f);
    assert_ok(f, fixture_open(f, false));
}

static inline int fixture_up_empty(void **state) {
    fixture *f = calloc(1, sizeof *f);
    if (!f)
        return -1;
    if (!scratch(f->dir, sizeof f->dir, "tresor-test"))
        return -1;
    for (int i = 0; i < TR_DB_COUNT; i++) {
        if (tr_secret_random(&f->keys[i], 32, &f->err) != TR_OK)
            return -1;
    }
    *state = f;
    return 0;
}

static inline int fixture_up(void **state) {
    if (fixture_up_empty(state) != 0)
        return -1;
    fixture *f = *state;
    if (fixture_open(f, true) == TR_OK)
        return 0;
    (void)fprintf(stderr, "cannot open: %s\n", f->err.what);
    return -1;
}

static inline int fixture_down(void **state) {
    fixture *f = *state;
    fixture_close(f);
    DIR *dir = opendir(f->dir);
    for (struct dirent *entry; dir && (entry = readdir(dir));)
        (void)unlinkat(dirfd(dir), entry->d_name, 0);
    if (dir)
        closedir(dir);
    (void)rmdir(f->dir);
    for (int i = 0; i < TR_DB_COUNT; i++)
        tr_secret_clear(&f->keys[i]);
    free(f);
    return 0;
}

/* The writer's transaction in the test's own thread, while the writer sleeps: the tests of the tables call
 * the store's functions one by one with it. */
static inline tr_db *fixture_tx(fixture *f) {
    f->store->group.level = 1;
    return &f->store->group.tx;
}

static inline void fixture_commit(fixture *f) {
    assert_ok(f, tr_group_commit(&f->store->group, false, &f->err));
    for (int i = 0; i < TR_DB_COUNT; i++)
        f->store->group.tx.conns[i].savepoints = 0; /* COMMIT ends them */
}

static inline tr_db *fixture_reader(fixture *f) {
    tr_db *db = NULL;
    assert_ok(f, tr_store_reader(f->store, &db, &f->err));
    return db;
}

static inline void fixture_path(const fixture *f, const char *name, char out[128]) {
    (void)snprintf(out, 128, "%s/%s", f->dir, name);
}

/* Only while no store has the file open: closing a file gives SQLite's locks on it back. */
static inline void fixture_copy(const fixture *f, const char *from, const char *to) {
    char source[128], target[128], bytes[65536];
    fixture_path(f, from, source);
    fixture_path(f, to, target);
    int in = open(source, O_RDONLY | O_CLOEXEC),
        out = open(target, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(in >= 0 && out >= 0);
    for (ssize_t n; (n = read(in, bytes, sizeof bytes)) > 0;)
        assert_int_equal(write(out, bytes, (size_t)n), n);
    close(in);
    close(out);
}

/* Flip a byte of a file. */
static inline void fixture_damage(const fixture *f, const char *name, off_t at) {
    char path[128];
    uint8_t byte = 0;
    fixture_path(f, name, path);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= 0x55;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

static inline tr_bytes text_bytes(const char *text) {
    return (tr_bytes){text, strlen(text)};
}

/* ---- jobs ---- */

static inline tr_status append_job(void *context, tr_db *tx, tr_error *err) {
    return tr_audit_append(tx, 1000, NULL, text_bytes(context), err);
}

static inline void fixture_append(fixture *f, const char *entry) {
    char copy[64];
    (void)snprintf(copy, sizeof copy, "%s", entry);
    assert_ok(f, tr_store_write(f->store, append_job, copy, &f->err));
}

static inline tr_status put_job(void *context, tr_db *tx, tr_error *err) {
    return tr_meta_put(tx, context, text_bytes(context), err);
}

static inline bool fixture_has(fixture *f, const char *name) {
    tr_buf value = TR_BUF_INIT;
    tr_status st = tr_meta_get(fixture_reader(f), name, &value, &f->err);
    assert_true(st == TR_OK || st == TR_E_NOT_FOUND);
    tr_buf_clear(&value);
    return st == TR_OK;
}

static inline void fixture_put(fixture *f, const char *name) {
    char copy[64];
    (void)snprintf(copy, sizeof copy, "%s", name);
    assert_ok(f, tr_store_write(f->store, put_job, copy, &f->err));
}

#endif
