/* The pages of a moment, and a database that is made of them. */
#include <pthread.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "test_store_jobs.h"

typedef struct copy {
    fixture *f;
    char dir[80];
    tr_secret keys[TR_DB_COUNT];
    const tr_moment_info *info;
    tr_pages *pages;
    size_t database; /* that is being written */
    uint32_t seen;
    uint8_t sum[32];
} copy;

static const tr_secret *key_of(const copy *c, const char *name) {
    tr_db_kind kind = TR_DB_VAULT;
    assert_int_equal(tr_db_kind_of(name, &kind, NULL), TR_OK);
    return &c->keys[kind];
}

static void end_pages(copy *c) {
    if (c->pages)
        assert_ok(c->f, tr_pages_finish(c->pages, &c->f->err));
    tr_pages_free(c->pages);
    c->pages = NULL;
}

static tr_status copy_page(void *context, const tr_db_page *page, tr_error *err) {
    copy *c = context;
    if (page->number == 1) {
        end_pages(c);
        const tr_moment_database *about = &c->info->databases[page->database];
        assert_ok(c->f, tr_pages_open(c->dir, about, key_of(c, about->name), &c->pages, &c->f->err));
    }
    c->seen++;
    return tr_pages_write(c->pages, page->number, page->content, err);
}

static void copy_begin(copy *c, fixture *f) {
    *c = (copy){.f = f};
    (void)snprintf(c->dir, sizeof c->dir, "%s/copy", f->dir);
    assert_int_equal(mkdir(c->dir, 0700), 0);
    for (int i = 0; i < TR_DB_COUNT; i++)
        assert_ok(f, tr_secret_random(&c->keys[i], 32, &f->err));
}

static void copy_end(copy *c) {
    char command[100];
    tr_pages_free(c->pages);
    for (int i = 0; i < TR_DB_COUNT; i++)
        tr_secret_clear(&c->keys[i]);
    (void)snprintf(command, sizeof command, "rm -r %s", c->dir);
    assert_int_equal(system(command), 0);
}

/* All three databases of a moment, as a store of their own. */
static tr_store *copy_open(copy *c, tr_moment *moment) {
    tr_store *store = NULL;
    c->info = tr_moment_about(moment);
    assert_ok(c->f, tr_moment_read(moment, copy_page, c, &c->f->err));
    end_pages(c);
    const tr_store_options options = {.data_dir = c->dir,
                                      .vault_key = &c->keys[TR_DB_VAULT],
                                      .keys_key = &c->keys[TR_DB_KEYS],
                                      .audit_key = &c->keys[TR_DB_AUDIT]};
    assert_ok(c->f, tr_store_open(&options, &store, &c->f->err));
    return store;
}

enum { ALL_OF_THEM = TR_IN_VAULT | TR_IN_KEYS | TR_IN_AUDIT | TR_BY_MANY };

static bool has(fixture *f, tr_store *store, const char *name) {
    tr_db *db = NULL;
    tr_buf value = TR_BUF_INIT;
    assert_ok(f, tr_store_reader(store, &db, &f->err));
    tr_status st = tr_meta_get(db, name, &value, &f->err);
    tr_buf_clear(&value);
    return st == TR_OK;
}

/* What comes later is not in it, and what it holds is whole. */
static void a_moment_is_copied(void **state) {
    fixture *f = *state;
    tr_moment *moment = NULL;
    tr_audit_verdict verdict = {0};
    tr_db *db = NULL;
    copy c;
    char name[32];
    copy_begin(&c, f);
    for (int i = 0; i < 500; i++) {
        (void)snprintf(name, sizeof name, "value %d", i);
        fixture_put(f, name);
        fixture_append(f, "{\"n\":1}");
    }
    assert_ok(f, tr_moment_begin(f->store, ALL_OF_THEM, &moment, &f->err));
    fixture_put(f, "later");
    fixture_append(f, "{\"n\":2}");
    assert_int_equal(tr_moment_about(moment)->audit_seq, 500);
    tr_store *store = copy_open(&c, moment);
    assert_true(has(f, store, "value 0") && has(f, store, "value 499"));
    assert_false(has(f, store, "later"));
    assert_ok(f, tr_store_check(store, &f->err));
    assert_ok(f, tr_store_reader(store, &db, &f->err));
    assert_ok(f, tr_audit_verify(db, &verdict, &f->err));
    assert_true(verdict.ok);
    assert_int_equal(verdict.entries, 500);
    assert_memory_equal(verdict.head, tr_moment_about(moment)->audit_hash, sizeof verdict.head);
    tr_store_close(store);
    tr_moment_end(moment);
    assert_true(fixture_has(f, "later"));
    copy_end(&c);
}

static tr_status sum_page(void *context, const tr_db_page *page, tr_error *err) {
    copy *c = context;
    c->seen++;
    const tr_bytes parts[] = {{c->sum, sizeof c->sum}, page->content, {page->stamp, sizeof page->stamp}};
    return tr_sha256(parts, 3, c->sum, err);
}

static void sum_of(fixture *f, copy *c) {
    tr_moment *moment = NULL;
    *c = (copy){.f = f};
    assert_ok(f, tr_moment_begin(f->store, ALL_OF_THEM, &moment, &f->err));
    assert_ok(f, tr_moment_read(moment, sum_page, c, &f->err));
    tr_moment_end(moment);
}

/* Else every page would be new each time, and an incremental snapshot as long as a full one. */
static void what_did_not_change_reads_the_same(void **state) {
    fixture *f = *state;
    copy a, b, c;
    fixture_put(f, "one");
    sum_of(f, &a);
    sum_of(f, &b);
    assert_int_equal(a.seen, b.seen);
    assert_memory_equal(a.sum, b.sum, sizeof a.sum);
    fixture_reopen(f);
    fixture_put(f, "two");
    sum_of(f, &c);
    assert_memory_not_equal(a.sum, c.sum, sizeof a.sum);
}

/* ---- beside writers ---- */

#define WRITERS 8

typedef struct pair { /* a vault's value and an audit entry for each */
    fixture *f;
    pthread_t thread;
    int number;
    atomic_bool *stop;
    atomic_llong *slowest_us;
    tr_status status;
} pair;

struct put_both {
    int writer, n;
};

static tr_status put_both(void *context, tr_db *tx, tr_error *err) {
    const struct put_both *p = context;
    char name[32], entry[64];
    uint8_t filler[400];
    memset(filler, p->n & 0xff, sizeof filler);
    (void)snprintf(name, sizeof name, "w%d-%08d", p->writer, p->n);
    (void)snprintf(entry, sizeof entry, "{\"w\":%d,\"n\":%d}", p->writer, p->n);
    tr_status st = tr_meta_put(tx, name, (tr_bytes){filler, sizeof filler}, err);
    return st == TR_OK ? tr_audit_append(tx, 1, NULL, (tr_bytes){entry, strlen(entry)}, err) : st;
}

static void *write_pairs(void *context) {
    pair *p = context;
    struct put_both job = {p->number, 0};
    while (!*p->stop && p->status == TR_OK) {
        int64_t begun = tr_monotonic_us();
        p->status = tr_store_write(p->f->store, put_both, &job, NULL);
        long long took = tr_monotonic_us() - begun, slowest = *p->slowest_us;
        while (took > slowest && !atomic_compare_exchange_weak(p->slowest_us, &slowest, took)) {
        }
        job.n++;
    }
    return NULL;
}

static tr_status count_value(void *context, tr_db *db, int writer, int *values) {
    char name[32];
    tr_buf value = TR_BUF_INIT;
    tr_status st = TR_OK;
    *values = 0;
    (void)context;
    while (st == TR_OK) {
        (void)snprintf(name, sizeof name, "w%d-%08d", writer, *values);
        st = tr_meta_get(db, name, &value, NULL);
        *values += st == TR_OK;
    }
    tr_buf_clear(&value);
    return st == TR_E_NOT_FOUND ? TR_OK : st;
}

/* Each writer's values are 0 to n without a gap, and there are as many as the log has entries. */
static void writers_go_on(void **state) {
    fixture *f = *state;
    atomic_bool stop = false;
    atomic_llong slowest = 0;
    pair pairs[WRITERS];
    for (int round = 0; round < 3; round++) {
        stop = false;
        tr_moment *moment = NULL;
        tr_db *db = NULL;
        copy c;
        int64_t sum = 0;
        copy_begin(&c, f);
        for (int i = 0; i < WRITERS; i++) {
            pairs[i] = (pair){.f = f, .number = round * WRITERS + i, .stop = &stop, .slowest_us = &slowest};
            assert_int_equal(pthread_create(&pairs[i].thread, NULL, write_pairs, &pairs[i]), 0);
        }
        usleep(200000);
        assert_ok(f, tr_moment_begin(f->store, ALL_OF_THEM, &moment, &f->err));
        tr_store *store = copy_open(&c, moment);
        stop = true;
        for (int i = 0; i < WRITERS; i++) {
            pthread_join(pairs[i].thread, NULL);
            assert_int_equal(pairs[i].status, TR_OK);
        }
        assert_ok(f, tr_store_reader(store, &db, &f->err));
        for (int i = 0; i < (round + 1) * WRITERS; i++) {
            int values = 0;
            assert_ok(f, count_value(NULL, db, i, &values));
            sum += values;
        }
        assert_int_equal(sum, tr_moment_about(moment)->audit_seq);
        assert_true(sum > 0);
        tr_store_close(store);
        tr_moment_end(moment);
        copy_end(&c);
    }
    print_message("slowest write beside a snapshot: %lld us\n", (long long)slowest);
}

/* ---- what is wrong ---- */

static void faults_are_named(void **state) {
    fixture *f = *state;
    tr_moment *moment = NULL;
    copy c;
    uint8_t page[4096] = {0};
    copy_begin(&c, f);
    fixture_put(f, "value");
    assert_ok(f, tr_moment_begin(f->store, TR_IN_VAULT, &moment, &f->err));
    tr_moment_database about = tr_moment_about(moment)->databases[0];
    assert_string_equal(about.name, "vault.db");
    assert_int_equal(tr_moment_about(moment)->count, 1);
    tr_moment_end(moment);

    about.page_size = 8192;
    assert_status(f, tr_pages_open(c.dir, &about, &c.keys[TR_DB_VAULT], &c.pages, &f->err), TR_E_CORRUPT);
    about.page_size = 4096;
    about.pages = 2;
    assert_ok(f, tr_pages_open(c.dir, &about, &c.keys[TR_DB_VAULT], &c.pages, &f->err));
    assert_status(f, tr_pages_write(c.pages, 2, (tr_bytes){page, sizeof page}, &f->err), TR_E_CORRUPT);
    assert_status(f, tr_pages_write(c.pages, 1, (tr_bytes){page, 100}, &f->err), TR_E_CORRUPT);
    assert_status(f, tr_pages_finish(c.pages, &f->err), TR_E_CORRUPT);
    tr_pages_free(c.pages);
    c.pages = NULL;
    assert_status(f, tr_pages_open(c.dir, &about, &c.keys[TR_DB_VAULT], &c.pages, &f->err), TR_E_EXISTS);
    copy_end(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_moment_is_copied, fixture_up, fixture_down),
        cmocka_unit_test_setup_teardown(what_did_not_change_reads_the_same, fixture_up, fixture_down),
        cmocka_unit_test_setup_teardown(writers_go_on, fixture_up, fixture_down),
        cmocka_unit_test_setup_teardown(faults_are_named, fixture_up, fixture_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
