/* Turns of tokens: durable beside their audit entries, folded into the sessions later, and what a crash
 * leaves. */
#include "test_store_jobs.h"
#include "test_store_rows.h"

/* ---- jobs ---- */

static tr_status insert_job(void *context, tr_db *tx, tr_error *err) {
    const tr_session *row = context;
    const tr_principal who = principal("ana", TR_SERVICE);
    tr_principal mine = who;
    mine.id = row->principal;
    tr_status st = tr_principal_insert(tx, &mine, err);
    return st == TR_OK || st == TR_E_CONFLICT ? tr_session_insert(tx, row, err) : st;
}

/* What a request that reads writes. */
static tr_status turn_job(void *context, tr_db *tx, tr_error *err) {
    tr_status st = tr_session_update(tx, context, err);
    return st == TR_OK ? tr_audit_append(tx, 1, NULL, text_bytes("{\"turn\":1}"), err) : st;
}

static tr_status turn_and_effect_job(void *context, tr_db *tx, tr_error *err) {
    tr_status st = tr_meta_put(tx, "effect", text_bytes("x"), err);
    return st == TR_OK ? turn_job(context, tx, err) : st;
}

static tr_status failing_job(void *context, tr_db *tx, tr_error *err) {
    tr_status st = turn_job(context, tx, err);
    return st == TR_OK ? tr_fail(err, TR_E_FORBIDDEN, NULL, "as told") : st;
}

static tr_status delete_job(void *context, tr_db *tx, tr_error *err) {
    const tr_session *row = context;
    return tr_session_delete(tx, row->client, err);
}

static tr_session begin_session(fixture *f, const tr_uuid *who, const char *name) {
    tr_session row = session(who, name, 1, 1);
    assert_ok(f, tr_store_write(f->store, insert_job, &row, &f->err));
    return row;
}

static void turn_by(fixture *f, tr_job_fn fn, tr_session *row) {
    memcpy(row->previous, row->current, sizeof row->previous);
    row->current[0]++;
    row->current[1] += row->current[0] == 0;
    row->previous_at = ++row->used_at;
    assert_ok(f, tr_store_write(f->store, fn, row, &f->err));
}

static void assert_session(fixture *f, const tr_session *want) {
    tr_session got;
    assert_ok(f, tr_session_get(fixture_reader(f), want->client, &got, &f->err));
    assert_memory_equal(&got, want, sizeof got);
}

/* ---- crashes ---- */

/* The files as a crash at this moment would leave them. By another process: closing a file here would give
 * SQLite's locks on it back. */
static void copy_files(const fixture *f, const char *from, const char *pattern, const char *to) {
    char command[400];
    (void)snprintf(command, sizeof command, "mkdir -p '%s/%s' && cp '%s/%s'%s '%s/%s'", f->dir, to, f->dir,
                   from, pattern, f->dir, to);
    assert_int_equal(system(command), 0);
}

/* Close, and open what was copied to `from` instead. */
static void open_copy(fixture *f, const char *from) {
    char command[400];
    fixture_close(f);
    (void)snprintf(command, sizeof command, "rm -f '%s'/*.db* && cp '%s/%s'/*.db* '%s'", f->dir, f->dir, from,
                   f->dir);
    assert_int_equal(system(command), 0);
    assert_ok(f, fixture_open(f, false));
}

static int down(void **state) {
    const fixture *f = *state;
    char command[200];
    (void)snprintf(command, sizeof command, "rm -rf '%s'/image '%s'/mixed", f->dir, f->dir);
    return system(command) == 0 ? fixture_down(state) : -1;
}

static int vault_commits(const fixture *f) {
    return (int)f->store->group.tx.conns[TR_DB_VAULT].commits;
}

static void a_read_is_one_commit(void **state) {
    fixture *f = *state;
    tr_uuid ana = tr_uuid_new();
    tr_session row = begin_session(f, &ana, "a1"), other = begin_session(f, &ana, "a2");
    int before = vault_commits(f);
    for (int i = 0; i < 10; i++) {
        turn_by(f, turn_job, &row);
        assert_session(f, &row);
        assert_session(f, &other);
    }
    assert_int_equal(vault_commits(f), before);
    fixture_reopen(f);
    assert_session(f, &row);
    assert_int_equal(count_entries(f, "%recovered%"), 0);
}

static void a_job_that_fails_takes_no_turn(void **state) {
    fixture *f = *state;
    tr_uuid ana = tr_uuid_new();
    tr_session row = begin_session(f, &ana, "a1"), next = row;
    next.current[0]++;
    assert_status(f, tr_store_write(f->store, failing_job, &next, &f->err), TR_E_FORBIDDEN);
    assert_session(f, &row);
    fixture_reopen(f);
    assert_session(f, &row);
}

/* With the fold after so many groups before, and after, the crash. */
static void a_turn_survives_a_crash(void **state) {
    fixture *f = *state;
    tr_uuid ana = tr_uuid_new();
    tr_session rows[3] = {begin_session(f, &ana, "a1"), begin_session(f, &ana, "a2"),
                          begin_session(f, &ana, "a3")};
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 3 + round * 300; i++)
            turn_by(f, i % 5 == 4 ? turn_and_effect_job : turn_job, &rows[i % 2]);
        copy_files(f, "", "*.db*", "image");
        turn_by(f, turn_job, &rows[2]); /* after the image */
        rows[2] = session(&ana, "a3", 1, 1);
        open_copy(f, "image");
        for (int i = 0; i < 3; i++)
            assert_session(f, &rows[i]);
        assert_int_equal(count_entries(f, "%recovered%"), 0);
        assert_log_is_good(f, -1);
    }
}

/* Reads one after the other fill a row of the ring together, so that the fold has time: it empties the page
 * caches of all who read. What a row has taken in before a crash is there after it. */
static void lone_reads_share_a_row(void **state) {
    fixture *f = *state;
    enum { READS = 100, IN_A_ROW = 29 };
    tr_uuid ana = tr_uuid_new();
    tr_session rows[2] = {begin_session(f, &ana, "a1"), begin_session(f, &ana, "a2")};
    fixture_close(f);
    tr_store_options options = fixture_options(f, false);
    options.fold_ms = 1000000;
    assert_ok(f, tr_store_open(&options, &f->store, &f->err));
    const int64_t before = tr_turns_number(f->store->group.turns);
    for (int i = 0; i < READS; i++)
        turn_by(f, turn_job, &rows[i % 2]);
    assert_int_equal(tr_turns_number(f->store->group.turns) - before, (READS + IN_A_ROW - 1) / IN_A_ROW);
    copy_files(f, "", "*.db*", "image");
    open_copy(f, "image");
    assert_session(f, &rows[0]);
    assert_session(f, &rows[1]);
    assert_log_is_good(f, READS);
    turn_by(f, turn_job, &rows[0]); /* not into a row that is folded */
    copy_files(f, "", "*.db*", "image");
    open_copy(f, "image");
    assert_session(f, &rows[0]);
    assert_int_equal(count_entries(f, "%recovered%"), 0);
}

static void a_session_that_ended_stays_so(void **state) {
    fixture *f = *state;
    tr_uuid ana = tr_uuid_new();
    tr_session row = begin_session(f, &ana, "a1"), got;
    turn_by(f, turn_job, &row);
    assert_ok(f, tr_store_write(f->store, delete_job, &row, &f->err));
    assert_status(f, tr_store_write(f->store, turn_job, &row, &f->err), TR_E_NOT_FOUND);
    copy_files(f, "", "*.db*", "image");
    open_copy(f, "image");
    assert_status(f, tr_session_get(fixture_reader(f), row.client, &got, &f->err), TR_E_NOT_FOUND);
    fixture_reopen(f);
    assert_status(f, tr_session_get(fixture_reader(f), row.client, &got, &f->err), TR_E_NOT_FOUND);
}

static tr_status delete_and_turn_job(void *context, tr_db *tx, tr_error *err) {
    const tr_session *row = context;
    tr_status st = tr_session_delete(tx, row->client, err);
    return st == TR_OK ? turn_job(context, tx, err) : st;
}

/* Whoever saw it in the vault as it is now need not look again; after any change somebody must. */
static void what_was_seen_counts_until_a_change(void **state) {
    fixture *f = *state;
    tr_uuid ana = tr_uuid_new();
    tr_session row = begin_session(f, &ana, "a1"), other = begin_session(f, &ana, "a2");
    row.seen = other.seen = tr_store_edition(f->store);
    assert_true(row.seen > 0);
    turn_by(f, turn_job, &row);
    assert_int_equal(tr_store_edition(f->store), row.seen);
    assert_status(f, tr_store_write(f->store, delete_and_turn_job, &other, &f->err), TR_E_NOT_FOUND);
    turn_by(f, turn_job, &other); /* that was undone */
    assert_ok(f, tr_store_write(f->store, delete_job, &row, &f->err));
    assert_status(f, tr_store_write(f->store, turn_job, &row, &f->err), TR_E_NOT_FOUND);
}

/* Killed between the commits of a group that changed the vault too: its turns and effects go together, and
 * the log names its entries and no others. */
static void a_turn_without_its_effect_did_not_happen(void **state) {
    fixture *f = *state;
    tr_uuid ana = tr_uuid_new();
    tr_session row = begin_session(f, &ana, "a1"), before;
    for (int i = 0; i < 5; i++)
        turn_by(f, turn_job, &row); /* entries 1 to 5 */
    before = row;
    copy_files(f, "vault.db", "*", "mixed");
    turn_by(f, turn_and_effect_job, &row); /* 6 */
    copy_files(f, "", "audit.db*", "mixed");
    copy_files(f, "", "keys.db*", "mixed");
    open_copy(f, "mixed");
    assert_session(f, &before);
    assert_int_equal(count_entries(f, "%storage.recovered%"), 1);
    assert_int_equal(count_entries(f, "%storage.recovered%entries 6 to 6 %"), 1);
    turn_by(f, turn_job, &before);
    fixture_reopen(f);
    assert_session(f, &before);
    assert_int_equal(count_entries(f, "%storage.recovered%"), 1);
    assert_log_is_good(f, 8);
}

static tr_status sweep_job(void *context, tr_db *tx, tr_error *err) {
    return tr_session_sweep(tx, 100, 0, ALL, context, err);
}

static void who_was_just_used_is_not_idle(void **state) {
    fixture *f = *state;
    int64_t count = 0;
    tr_uuid ana = tr_uuid_new();
    tr_session row = begin_session(f, &ana, "a1");
    (void)begin_session(f, &ana, "a2");
    row.used_at = 99;
    turn_by(f, turn_job, &row); /* 100 */
    assert_ok(f, tr_store_write(f->store, sweep_job, &count, &f->err));
    assert_int_equal(count, 1);
    assert_session(f, &row);
}

enum { MANY = 600 };

static tr_status insert_many(void *context, tr_db *tx, tr_error *err) {
    tr_session *rows = context;
    tr_status st = TR_OK;
    for (int i = 0; i < MANY && st == TR_OK; i++)
        st = insert_job(&rows[i], tx, err);
    return st;
}

static tr_status turn_many(void *context, tr_db *tx, tr_error *err) {
    tr_session *rows = context;
    tr_status st = TR_OK;
    for (int i = 0; i < MANY / 4 && st == TR_OK; i++)
        st = turn_job(&rows[i], tx, err);
    return st;
}

/* More sessions than the table in memory begins with, in one fold and beyond it. */
static void many_sessions(void **state) {
    fixture *f = *state;
    tr_uuid ana = tr_uuid_new();
    static tr_session rows[MANY];
    for (int i = 0; i < MANY; i++) {
        char name[8];
        (void)snprintf(name, sizeof name, "s%03d", i);
        rows[i] = session(&ana, name, 1, 1);
    }
    assert_ok(f, tr_store_write(f->store, insert_many, rows, &f->err));
    for (int part = 0; part < 7; part++) { /* the first three parts twice */
        tr_session *some = rows + part % 4 * (MANY / 4);
        for (int i = 0; i < MANY / 4; i++)
            some[i].current[0] += 3;
        assert_ok(f, tr_store_write(f->store, turn_many, some, &f->err));
    }
    copy_files(f, "", "*.db*", "image");
    open_copy(f, "image");
    for (int i = 0; i < MANY; i++)
        assert_session(f, &rows[i]);
}

/* Without another request, too: whoever cuts off the log's tail later is found. */
static void the_vault_learns_of_it_soon(void **state) {
    fixture *f = *state;
    tr_uuid ana = tr_uuid_new();
    tr_session row = begin_session(f, &ana, "a1");
    fixture_close(f);
    tr_store_options options = fixture_options(f, false);
    options.fold_ms = 20;
    assert_ok(f, tr_store_open(&options, &f->store, &f->err));
    turn_by(f, turn_job, &row);
    tr_head anchor = {0};
    for (int i = 0; i < 500 && anchor.seq == 0; i++) {
        (void)usleep(10000);
        assert_ok(f, tr_anchor_get(fixture_reader(f), &anchor, &f->err));
    }
    assert_int_equal(anchor.seq, 1);
    assert_session(f, &row);
}

/* ---- the database of before ---- */

static void run_sql(fixture *f, tr_db_kind kind, const char *sql) {
    const tr_secret *const keys[TR_DB_COUNT] = {&f->keys[0], &f->keys[1], &f->keys[2]};
    tr_source source = {.dir = ""};
    tr_conn conn;
    assert_ok(f, tr_source_set(&source, f->dir, keys, &f->err));
    assert_ok(f, tr_conn_open(&source, kind, TR_WRITE, &conn, &f->err));
    assert_ok(f, tr_conn_exec(&conn, sql, &f->err));
    tr_conn_close(&conn);
    tr_source_clear(&source);
}

/* In a vault from before there were turns each group had two commits: what the log has more is named. */
static void a_log_from_before_that_is_ahead(void **state) {
    fixture *f = *state;
    tr_uuid ana = tr_uuid_new();
    tr_session row = begin_session(f, &ana, "a1");
    turn_by(f, turn_and_effect_job, &row);
    fixture_close(f);
    fixture_copy(f, "vault.db", "kept");
    assert_ok(f, fixture_open(f, false));
    turn_by(f, turn_and_effect_job, &row);
    turn_by(f, turn_and_effect_job, &row);
    fixture_close(f);
    fixture_copy(f, "kept", "vault.db");
    run_sql(f, TR_DB_AUDIT,
            "DROP TABLE turns; DROP TABLE entries_of; DROP TABLE indexed;"
            "CREATE INDEX entries_subject ON entries (subject) WHERE subject IS NOT NULL; PRAGMA "
            "user_version = 1");
    assert_ok(f, fixture_open(f, false));
    assert_int_equal(count_entries(f, "%storage.recovered%entries 2 to 3 %"), 1);
    fixture_reopen(f);
    assert_int_equal(count_entries(f, "%storage.recovered%"), 1);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, fixture_up, down)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(a_read_is_one_commit),
        CASE(a_job_that_fails_takes_no_turn),
        CASE(a_turn_survives_a_crash),
        CASE(lone_reads_share_a_row),
        CASE(a_session_that_ended_stays_so),
        CASE(what_was_seen_counts_until_a_change),
        CASE(a_turn_without_its_effect_did_not_happen),
        CASE(who_was_just_used_is_not_idle),
        CASE(many_sessions),
        CASE(the_vault_learns_of_it_soon),
        CASE(a_log_from_before_that_is_ahead),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
