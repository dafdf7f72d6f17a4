/* Which pages changed between two moments, and databases that are brought from one to the next by them. */
#include "base/clock.h"
#include "test_store_jobs.h"

enum { ALL_OF_THEM = TR_IN_VAULT | TR_IN_KEYS | TR_IN_AUDIT };

typedef struct copy {
    fixture *f;
    char dir[80];
    tr_secret key;
    tr_pages *pages;
    uint32_t seen;
} copy;

static tr_status copy_page(void *context, const tr_db_page *page, tr_error *err) {
    copy *c = context;
    c->seen++;
    return tr_pages_write(c->pages, page->number, page->content, err);
}

static void copy_begin(copy *c, fixture *f, tr_moment *moment) {
    *c = (copy){.f = f};
    (void)snprintf(c->dir, sizeof c->dir, "%s/copy", f->dir);
    assert_int_equal(mkdir(c->dir, 0700), 0);
    assert_ok(f, tr_secret_random(&c->key, 32, &f->err));
    assert_ok(f, tr_pages_open(c->dir, &tr_moment_about(moment)->databases[0], &c->key, &c->pages, &f->err));
    assert_ok(f, tr_moment_read(moment, copy_page, c, &f->err));
}

static void copy_end(copy *c) {
    char command[100];
    tr_pages_free(c->pages);
    tr_secret_clear(&c->key);
    (void)snprintf(command, sizeof command, "rm -r %s", c->dir);
    assert_int_equal(system(command), 0);
}

/* How many values the copy has, by a connection of its own. */
static int64_t values_in(copy *c) {
    const tr_secret *keys[TR_DB_COUNT] = {[TR_DB_VAULT] = &c->key};
    tr_source source = {0};
    tr_conn conn;
    int64_t count = 0;
    assert_ok(c->f, tr_source_set(&source, c->dir, keys, &c->f->err));
    assert_ok(c->f, tr_conn_open(&source, TR_DB_VAULT, TR_READ, &conn, &c->f->err));
    assert_ok(c->f, tr_conn_pragma_int(&conn, "SELECT count(*) FROM meta WHERE name LIKE 'value %'", &count,
                                       &c->f->err));
    tr_conn_close(&conn);
    tr_source_clear(&source);
    return count;
}

struct put_many {
    int from, to;
};

static tr_status put_many(void *context, tr_db *tx, tr_error *err) {
    const struct put_many *p = context;
    uint8_t filler[900];
    char name[32];
    tr_status st = TR_OK;
    for (int i = p->from; i < p->to && st == TR_OK; i++) {
        memset(filler, i & 0xff, sizeof filler);
        (void)snprintf(name, sizeof name, "value %08d", i);
        st = tr_meta_put(tx, name, (tr_bytes){filler, sizeof filler}, err);
    }
    return st;
}

static void put(fixture *f, int from, int to) {
    struct put_many job = {from, to};
    assert_ok(f, tr_store_write(f->store, put_many, &job, &f->err));
}

/* The first question is answered with "I do not know", the next ones with what changed and nothing else. */
static void what_changed_is_known_from_the_first_question_on(void **state) {
    fixture *f = *state;
    tr_changed changed = {0};
    tr_moment *moment = NULL;
    put(f, 0, 100);
    assert_ok(f, tr_moment_begin_changed(f->store, TR_IN_VAULT, &changed, &moment, &f->err));
    tr_moment_end(moment);
    assert_true(tr_changed_unsure(&changed, TR_IN_VAULT));
    tr_changed_clear(&changed, ALL_OF_THEM);
    assert_int_equal(tr_store_changed_pages(f->store, TR_IN_VAULT), 0);
    assert_ok(f, tr_moment_begin_changed(f->store, TR_IN_VAULT, &changed, &moment, &f->err));
    tr_moment_end(moment);
    assert_int_equal(tr_changed_count(&changed, ALL_OF_THEM), 0);
    assert_false(tr_changed_unsure(&changed, TR_IN_VAULT));
    put(f, 200, 201); /* the first one counts what is in the WAL already */
    assert_ok(f, tr_moment_begin_changed(f->store, TR_IN_VAULT, &changed, &moment, &f->err));
    tr_moment_end(moment);
    assert_true(tr_changed_count(&changed, TR_IN_VAULT) > 0);
    tr_changed_clear(&changed, ALL_OF_THEM);
    put(f, 100, 101);
    fixture_append(f, "{\"n\":1}"); /* after this group's end the pages of the one before are noted */
    uint64_t waiting = tr_store_changed_pages(f->store, TR_IN_VAULT);
    assert_true(waiting > 0 && waiting < 20);
    assert_ok(f, tr_moment_begin_changed(f->store, TR_IN_VAULT, &changed, &moment, &f->err));
    tr_moment_end(moment);
    assert_true(tr_changed_count(&changed, TR_IN_VAULT) > 0 && tr_changed_count(&changed, TR_IN_VAULT) < 20);
    tr_changed_clear(&changed, ALL_OF_THEM);
}

/* Through WALs that are begun anew by RESTART, by TRUNCATE and by SQLite itself: a copy that only ever gets
 * what changed stays what the vault is. */
static void a_copy_keeps_up(void **state) {
    fixture *f = *state;
    tr_changed changed = {0};
    tr_moment *moment = NULL;
    copy c;
    int written = 0;
    assert_ok(f, tr_moment_begin_changed(f->store, TR_IN_VAULT, &changed, &moment, &f->err));
    tr_changed_clear(&changed, ALL_OF_THEM);
    copy_begin(&c, f, moment);
    tr_moment_end(moment);
    const int steps[] = {1, 5, 2000, 1, 3000, 40, 1, 1500, 2, 700};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        put(f, written, written + steps[i]);
        put(f, written / 2, written / 2 + 3); /* old ones anew */
        written += steps[i];
        if (i % 3 == 1)
            assert_ok(f, tr_store_checkpoint(f->store, &f->err));
        else if (i % 3 == 2)
            tr_checkpointer_copy(f->store->checkpointer);
        if (i == 4)
            continue; /* what was not asked for waits */
        assert_ok(f, tr_moment_begin_changed(f->store, TR_IN_VAULT, &changed, &moment, &f->err));
        assert_false(tr_changed_unsure(&changed, TR_IN_VAULT));
        assert_ok(f, tr_pages_patch(c.pages, &tr_moment_about(moment)->databases[0], &f->err));
        assert_ok(f, tr_moment_read_changed(moment, &changed, copy_page, &c, &f->err));
        tr_moment_end(moment);
        tr_changed_clear(&changed, ALL_OF_THEM);
    }
    assert_ok(f, tr_pages_finish(c.pages, &f->err));
    assert_int_equal(values_in(&c), written);
    copy_end(&c);
}

static void patches_that_cannot_be_are_refused(void **state) {
    fixture *f = *state;
    uint8_t page[4096] = {0};
    const tr_bytes content = {page, sizeof page};
    tr_moment *moment = NULL;
    copy c;
    put(f, 0, 50);
    assert_ok(f, tr_moment_begin(f->store, TR_IN_VAULT, &moment, &f->err));
    tr_moment_database about = tr_moment_about(moment)->databases[0];
    copy_begin(&c, f, moment);
    tr_moment_end(moment);
    about.pages--;
    assert_status(f, tr_pages_patch(c.pages, &about, &f->err), TR_E_CORRUPT);
    about.pages += 3;
    about.name = "audit.db";
    assert_status(f, tr_pages_patch(c.pages, &about, &f->err), TR_E_CORRUPT);
    about.name = "vault.db";
    assert_ok(f, tr_pages_patch(c.pages, &about, &f->err));
    /* without the first page nobody has said how many there are */
    assert_status(f, tr_pages_write(c.pages, about.pages - 1, content, &f->err), TR_E_CORRUPT);
    assert_ok(f, tr_pages_write(c.pages, 5, content, &f->err));
    assert_status(f, tr_pages_write(c.pages, 5, content, &f->err), TR_E_CORRUPT);
    assert_status(f, tr_pages_write(c.pages, 4, content, &f->err), TR_E_CORRUPT);
    assert_status(f, tr_pages_patch(c.pages, &about, &f->err), TR_E_CORRUPT);
    assert_status(f, tr_pages_finish(c.pages, &f->err), TR_E_CORRUPT);
    copy_end(&c);
}

/* SQLite never uses the page with byte 2^30. Here that page lies where a small database has it. */
#define LOCK_BYTE 0x60000u
#define LOCK_PAGE (LOCK_BYTE / 4096 + 1)

static int move_lock_byte(void **state) {
    (void)sqlite3_test_control(SQLITE_TESTCTRL_PENDING_BYTE, LOCK_BYTE);
    return fixture_up(state);
}

static int put_lock_byte_back(void **state) {
    const int failed = fixture_down(state);
    (void)sqlite3_test_control(SQLITE_TESTCTRL_PENDING_BYTE, 0x40000000u);
    return failed;
}

static void look_at_copy(copy *c, int values) {
    assert_ok(c->f, tr_pages_finish(c->pages, &c->f->err));
    assert_int_equal(values_in(c), values);
    copy_end(c);
}

static void a_page_that_is_never_used_is_passed_over(void **state) {
    fixture *f = *state;
    tr_changed changed = {0};
    tr_moment *moment = NULL;
    copy c;
    put(f, 0, 20);
    assert_ok(f, tr_moment_begin_changed(f->store, TR_IN_VAULT, &changed, &moment, &f->err));
    assert_true(tr_moment_about(moment)->databases[0].pages < LOCK_PAGE);
    tr_changed_clear(&changed, ALL_OF_THEM);
    copy_begin(&c, f, moment);
    tr_moment_end(moment);
    for (int values = 20; values < 900; values += 293) { /* over it, and then on behind it */
        put(f, values, values + 293);
        assert_ok(f, tr_moment_begin_changed(f->store, TR_IN_VAULT, &changed, &moment, &f->err));
        tr_moment_database about = tr_moment_about(moment)->databases[0];
        assert_true(about.pages > LOCK_PAGE);
        tr_page_set_add(&changed.sets[0],
                        LOCK_PAGE); /* a log adds every page by which a database has grown */
        assert_ok(f, tr_pages_patch(c.pages, &about, &f->err));
        assert_ok(f, tr_moment_read_changed(moment, &changed, copy_page, &c, &f->err));
        tr_moment_end(moment);
        tr_changed_clear(&changed, ALL_OF_THEM);
    }
    look_at_copy(&c, 20 + 4 * 293);
    assert_ok(f, tr_moment_begin(f->store, TR_IN_VAULT | TR_BY_MANY, &moment, &f->err));
    copy_begin(&c, f, moment);
    assert_int_equal(c.seen, tr_moment_about(moment)->databases[0].pages);
    tr_moment_end(moment);
    look_at_copy(&c, 20 + 4 * 293);
}

static void sets_of_pages(void **state) {
    tr_page_set set = {0};
    const uint32_t numbers[] = {1, 8, 9, 4096, 4097, 1000000};
    (void)state;
    assert_int_equal(tr_page_set_next(&set, 0), 0);
    for (size_t i = 6; i > 0; i--) {
        tr_page_set_add(&set, numbers[i - 1]);
        tr_page_set_add(&set, numbers[i - 1]);
    }
    tr_page_set_add(&set, 0);
    assert_int_equal(set.count, 6);
    uint32_t at = 0;
    for (size_t i = 0; i < 6; i++) {
        at = tr_page_set_next(&set, at);
        assert_int_equal(at, numbers[i]);
    }
    assert_int_equal(tr_page_set_next(&set, at), 0);
    free(set.bits);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_changed_is_known_from_the_first_question_on, fixture_up,
                                        fixture_down),
        cmocka_unit_test_setup_teardown(a_copy_keeps_up, fixture_up, fixture_down),
        cmocka_unit_test_setup_teardown(patches_that_cannot_be_are_refused, fixture_up, fixture_down),
        cmocka_unit_test_setup_teardown(a_page_that_is_never_used_is_passed_over, move_lock_byte,
                                        put_lock_byte_back),
        cmocka_unit_test(sets_of_pages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
