/* Readers: how many there are, and what they may keep of what they read. */
#include <stdatomic.h>
#include <sys/stat.h>

#include "test_store_jobs.h"

/* ---- what is kept holds until it is changed, for each view as it was ---- */

static tr_status put_type(void *context, tr_db *tx, tr_error *err) {
    const int64_t version = *(const int64_t *)context;
    const tr_type type = {.name = "t", .version = version, .schema = "{}", .updated_at = 10 * version};
    return tr_type_put(tx, &type, err);
}

static tr_status drop_type(void *context, tr_db *tx, tr_error *err) {
    (void)context;
    return tr_type_delete(tx, "t", err);
}

static tr_status put_activity(void *context, tr_db *tx, tr_error *err) {
    const tr_activity *row = context;
    return row->version == 1 ? tr_activity_insert(tx, row, err) : tr_activity_update(tx, row, err);
}

static void write_type(fixture *f, int64_t version) {
    assert_ok(f, tr_store_write(f->store, put_type, &version, &f->err));
}

static int64_t type_version(fixture *f) {
    tr_type_stamp stamp = {0};
    assert_ok(f, tr_type_stamp_get(fixture_reader(f), "t", &stamp, &f->err));
    assert_int_equal(stamp.updated_at, 10 * stamp.version);
    return stamp.version;
}

static void a_type_that_changed_is_seen_at_once(void **state) {
    fixture *f = *state;
    tr_type_stamp stamp;
    assert_status(f, tr_type_stamp_get(fixture_reader(f), "t", &stamp, &f->err), TR_E_NOT_FOUND);
    write_type(f, 1);
    for (int64_t version = 2; version < 20; version++) {
        assert_int_equal(type_version(f), version - 1);
        assert_int_equal(type_version(f), version - 1);
        fixture_put(f, "something else");
        assert_int_equal(type_version(f), version - 1);
        write_type(f, version);
        assert_int_equal(type_version(f), version);
    }
    assert_ok(f, tr_store_write(f->store, drop_type, NULL, &f->err));
    assert_status(f, tr_type_stamp_get(fixture_reader(f), "t", &stamp, &f->err), TR_E_NOT_FOUND);
}

/* Whoever is asked for anew gets another number. */
static int64_t asked_for(fixture *f, int key) {
    static const char sql[] = "SELECT abs(random()), ?1";
    char text[16];
    tr_stamp stamp = {.kind = TR_STAMP_TYPE, .key = {text, (size_t)snprintf(text, sizeof text, "%d", key)}};
    assert_ok(f, tr_stamp_get(fixture_reader(f), &stamp, sql, "none", &f->err));
    return stamp.values[0];
}

/* Nearly all requests ask for one activity and one type. */
static void no_two_facts_push_each_other_out(void **state) {
    fixture *f = *state;
    int64_t version = 1;
    for (int a = 0; a < 24; a++) {
        for (int b = 24; b < 48; b++) {
            write_type(f, version++); /* all is forgotten */
            int64_t first = asked_for(f, a), second = asked_for(f, b);
            assert_int_equal(asked_for(f, a), first);
            assert_int_equal(asked_for(f, b), second);
        }
    }
}

typedef struct other { /* a reader in a thread of its own */
    fixture *f;
    int64_t version;
} other;

static void *look_elsewhere(void *context) {
    other *o = context;
    o->version = type_version(o->f);
    tr_store_rest(o->f->store);
    return NULL;
}

static void an_old_view_keeps_nothing_for_others(void **state) {
    fixture *f = *state;
    other o = {f, 0};
    pthread_t thread;
    write_type(f, 1);
    tr_db *db = fixture_reader(f);
    assert_ok(f, tr_read_begin(db, &f->err));
    assert_false(fixture_has(f, "x")); /* the view begins at its first look */
    write_type(f, 2);
    assert_int_equal(type_version(f), 1); /* and is kept */
    assert_int_equal(pthread_create(&thread, NULL, look_elsewhere, &o), 0);
    pthread_join(thread, NULL);
    assert_int_equal(o.version, 2);
    assert_int_equal(type_version(f), 1);
    tr_read_end(db);
    assert_int_equal(type_version(f), 2);
}

static tr_status read_version(tr_db *db, int64_t *version,
                              tr_error *err) { /* not what is kept beside the vault */
    static const char sql[] = "SELECT version FROM types";
    tr_query q;
    tr_status st = tr_query_begin(db, TR_DB_VAULT, sql, &q, err);
    return st == TR_OK ? tr_query_int(&q, version, err) : st;
}

static int64_t stored_version(fixture *f) {
    int64_t version = 0;
    assert_ok(f, read_version(fixture_reader(f), &version, &f->err));
    return version;
}

/* Rests with a view in which the type has this version. */
static tr_db *rest_with_a_view(fixture *f, int64_t version) {
    tr_db *db = fixture_reader(f);
    assert_ok(f, tr_read_begin(db, &f->err));
    assert_int_equal(stored_version(f), version);
    tr_store_rest(f->store);
    return db;
}

static bool has_view(const tr_db *db) {
    return sqlite3_txn_state(db->conns[TR_DB_VAULT].handle, "main") == SQLITE_TXN_READ;
}

static void a_view_is_kept_until_something_changes(void **state) {
    fixture *f = *state;
    write_type(f, 1);
    tr_db *db = rest_with_a_view(f, 1);
    assert_true(has_view(db));
    assert_ptr_equal(fixture_reader(f), db);
    assert_ok(f, tr_read_begin(db, &f->err));
    assert_true(has_view(db)); /* before its first look */
    assert_int_equal(stored_version(f), 1);
    tr_store_rest(f->store);

    write_type(f, 2);
    rest_with_a_view(f, 2);
    assert_ptr_equal(fixture_reader(f), db);
    tr_store_rest(f->store); /* without a look */
    write_type(f, 3);
    assert_int_equal(stored_version(f), 3); /* a look without a view */
    tr_store_rest(f->store);
    assert_false(has_view(db));
}

static void a_view_that_rests_is_in_nobodys_way(void **state) {
    fixture *f = *state;
    char path[128];
    struct stat info;
    write_type(f, 1);
    tr_db *db = rest_with_a_view(f, 1);
    write_type(f, 2);
    assert_ok(f, tr_writer_checkpoint(f->store->writer, &f->err));
    assert_false(has_view(db));
    fixture_path(f, "vault.db-wal", path);
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_size, 0);
    rest_with_a_view(f, 2);
}

typedef struct watch { /* by threads that look again and again */
    fixture *f;
    _Atomic int64_t answered; /* the version whose write has returned; 0: the end */
    atomic_int too_old, looks;
} watch;

static void *look_again_and_again(void *context) {
    watch *w = context;
    for (int64_t least; (least = w->answered) != 0; w->looks++) {
        tr_error err;
        tr_db *db = NULL;
        int64_t version = 0;
        bool seen = tr_store_reader(w->f->store, &db, &err) == TR_OK && tr_read_begin(db, &err) == TR_OK &&
                    read_version(db, &version, &err) == TR_OK;
        w->too_old += !seen || version < least;
        tr_store_rest(w->f->store);
    }
    return NULL;
}

static void what_was_answered_is_in_every_later_view(void **state) {
    fixture *f = *state;
    watch w = {.f = f, .answered = 1};
    pthread_t threads[4];
    write_type(f, 1);
    for (size_t i = 0; i < sizeof threads / sizeof *threads; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, look_again_and_again, &w), 0);
    for (int64_t version = 2; version <= 400; version++) {
        write_type(f, version);
        w.answered = version;
        int enough = w.looks + 4; /* so that views are kept and taken again */
        while (w.looks < enough) {
        }
        if (version % 50 == 0)
            (void)tr_writer_checkpoint(f->store->writer, NULL); /* busy, or not */
    }
    w.answered = 0;
    for (size_t i = 0; i < sizeof threads / sizeof *threads; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(w.too_old, 0);
}

static void no_view_is_kept_while_a_log_begins_anew(void **state) {
    fixture *f = *state;
    write_type(f, 1);
    tr_readers_drop_views(f->store, true);
    tr_db *db = rest_with_a_view(f, 1);
    assert_false(has_view(db));
    tr_readers_drop_views(f->store, false); /* somebody else's checkpoint changes nothing */
    assert_false(has_view(rest_with_a_view(f, 1)));
    tr_readers_keep_views(f->store);
    assert_true(has_view(rest_with_a_view(f, 1)));
}

static void an_end_of_an_activity_is_seen_at_once(void **state) {
    fixture *f = *state;
    tr_activity row = {.id = tr_uuid_new(), .doc = "{}", .version = 1, .expires_at = 7}, ends;
    assert_status(f, tr_activity_ends(fixture_reader(f), &row.id, &ends, &f->err), TR_E_NOT_FOUND);
    assert_ok(f, tr_store_write(f->store, put_activity, &row, &f->err));
    for (int i = 0; i < 2; i++) {
        assert_ok(f, tr_activity_ends(fixture_reader(f), &row.id, &ends, &f->err));
        assert_true(ends.ended_at == 0 && ends.expires_at == 7);
    }
    row.version = 2;
    row.ended_at = 5;
    assert_ok(f, tr_store_write(f->store, put_activity, &row, &f->err));
    assert_ok(f, tr_activity_ends(fixture_reader(f), &row.id, &ends, &f->err));
    assert_true(ends.ended_at == 5 && ends.expires_at == 7);
}

static tr_status type_in_job(void *context, tr_db *tx, tr_error *err) {
    int64_t next = 2;
    tr_type_stamp stamp = {0};
    tr_status st = put_type(&next, tx, err);
    if (st == TR_OK)
        st = tr_type_stamp_get(tx, "t", &stamp, err);
    *(int64_t *)context = stamp.version;
    return st == TR_OK ? tr_fail(err, TR_E_CONFLICT, NULL, "as told") : st;
}

static void a_job_sees_its_own_change_and_what_is_undone_is_not_kept(void **state) {
    fixture *f = *state;
    int64_t seen = 0;
    write_type(f, 1);
    assert_int_equal(type_version(f), 1);
    assert_status(f, tr_store_write(f->store, type_in_job, &seen, &f->err), TR_E_CONFLICT);
    assert_int_equal(seen, 2);
    assert_int_equal(type_version(f), 1);
}

/* ---- the vault's edition ---- */

typedef struct stands {
    uint64_t edition;
    bool stands;
} stands;

static tr_status stands_job(void *context, tr_db *tx, tr_error *err) {
    stands *s = context;
    (void)err;
    s->stands = tr_edition_stands(tx, s->edition);
    return TR_OK;
}

static bool still_stands(fixture *f, uint64_t edition) {
    stands s = {edition, false};
    assert_ok(f, tr_store_write(f->store, stands_job, &s, &f->err));
    return s.stands;
}

static void an_edition_stands_until_something_changes(void **state) {
    fixture *f = *state;
    uint64_t edition = tr_store_edition(f->store);
    assert_true(still_stands(f, edition));
    fixture_append(f, "an entry is no change of the vault");
    assert_true(still_stands(f, edition));
    fixture_put(f, "x");
    assert_false(still_stands(f, edition));
    assert_true(still_stands(f, tr_store_edition(f->store)));
}

static void it_does_not_stand_behind_a_change_in_the_same_group(void **state) {
    fixture *f = *state;
    gate g;
    task first, second;
    char name[] = "x";
    stands s = {tr_store_edition(f->store), true};
    gate_shut(&g, f);
    queue_up(f, &first, put_job, name, 1);
    queue_up(f, &second, stands_job, &s, 2);
    gate_open(&g);
    pthread_join(first.thread, NULL);
    pthread_join(second.thread, NULL);
    assert_true(first.status == TR_OK && second.status == TR_OK);
    assert_false(s.stands);
}

/* ---- how many ---- */

typedef struct holder { /* takes a reader, and keeps it until it is told */
    fixture *f;
    sem_t taken, let_go;
    pthread_t thread;
    tr_db *db;
} holder;

static void *hold(void *context) {
    holder *h = context;
    h->db = fixture_reader(h->f);
    sem_post(&h->taken);
    sem_wait(&h->let_go);
    tr_store_rest(h->f->store);
    return NULL;
}

static void begin_hold(holder *h, fixture *f) {
    h->f = f;
    sem_init(&h->taken, 0, 0);
    sem_init(&h->let_go, 0, 0);
    assert_int_equal(pthread_create(&h->thread, NULL, hold, h), 0);
}

static void end_hold(holder *h) {
    sem_post(&h->let_go);
    pthread_join(h->thread, NULL);
    sem_destroy(&h->taken);
    sem_destroy(&h->let_go);
}

static void who_finds_all_taken_gets_one_all_the_same(void **state) {
    fixture *f = *state;
    holder holders[TR_READERS_MOST + 3];
    const int usual = f->store->readers_usual, all = usual + 3;
    assert_true(usual >= 4 && usual <= TR_READERS_MOST);
    for (int i = 0; i < all; i++) { /* nobody rests: the last three wait for a moment, and are given one */
        begin_hold(&holders[i], f);
        sem_wait(&holders[i].taken);
    }
    assert_int_equal(f->store->reader_count, all);
    for (int i = usual; i < all; i++)
        end_hold(&holders[i]);
    assert_int_equal(f->store->reader_count,
                     all); /* while others hold on to theirs, the spare ones are of use */
    for (int i = 0; i < usual; i++)
        end_hold(&holders[i]);
    assert_int_equal(f->store->reader_count, usual);
}

static void who_waits_gets_the_one_that_rests(void **state) {
    fixture *f = *state;
    holder holders[TR_READERS_MOST], last;
    const int usual = f->store->readers_usual;
    for (int i = 0; i < usual; i++) {
        begin_hold(&holders[i], f);
        sem_wait(&holders[i].taken);
    }
    const tr_db *first = holders[0].db;
    end_hold(&holders[0]);
    begin_hold(&last, f);
    sem_wait(&last.taken);
    assert_ptr_equal(last.db, first);
    assert_int_equal(f->store->reader_count, usual);
    end_hold(&last);
    for (int i = 1; i < usual; i++)
        end_hold(&holders[i]);
}

static void *end_without_rest(void *context) {
    (void)fixture_reader(context);
    return NULL;
}

static void a_thread_that_ends_gives_its_reader_back(void **state) {
    fixture *f = *state;
    pthread_t thread;
    for (int i = 0; i < 2 * TR_READERS_MOST; i++) {
        assert_int_equal(pthread_create(&thread, NULL, end_without_rest, f), 0);
        pthread_join(thread, NULL);
    }
    assert_int_equal(f->store->reader_count, 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, fixture_up, fixture_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(a_type_that_changed_is_seen_at_once),
        CASE(no_two_facts_push_each_other_out),
        CASE(an_old_view_keeps_nothing_for_others),
        CASE(a_view_is_kept_until_something_changes),
        CASE(a_view_that_rests_is_in_nobodys_way),
        CASE(what_was_answered_is_in_every_later_view),
        CASE(no_view_is_kept_while_a_log_begins_anew),
        CASE(an_end_of_an_activity_is_seen_at_once),
        CASE(a_job_sees_its_own_change_and_what_is_undone_is_not_kept),
        CASE(an_edition_stands_until_something_changes),
        CASE(it_does_not_stand_behind_a_change_in_the_same_group),
        CASE(who_finds_all_taken_gets_one_all_the_same),
        CASE(who_waits_gets_the_one_that_rests),
        CASE(a_thread_that_ends_gives_its_reader_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
