#include "fault_check.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "store/sqlcipher/engine.h"

char fault_label[200];
tr_secret fault_keys[KEY_COUNT];
fault_dump fault_dumps[FAULT_STEPS_MAX + 1];

/* ---- failing ---- */

void fault_fail(const char *format, ...) {
    va_list list;
    (void)fprintf(stderr, "FAILED: %s: ", fault_label);
    va_start(list, format);
    (void)vfprintf(stderr, format, list);
    va_end(list);
    (void)fputc('\n', stderr);
    _exit(1); /* from whichever thread */
}

void fault_must(tr_status st, const tr_error *err, const char *what) {
    if (st != TR_OK)
        fault_fail("%s: %s: %s (%s)", what, tr_status_slug(st), err->what, err->where);
}

/* ---- what is there ---- */

static void add_table(tr_conn *conn, const char *table, uint64_t *digest) {
    sqlite3_stmt *rows = NULL;
    char *sql = sqlite3_mprintf("SELECT * FROM \"%w\"", table);
    int rc = sqlite3_prepare_v2(conn->handle, sql, -1, &rows, NULL);
    while (rc == SQLITE_OK && (rc = sqlite3_step(rows)) == SQLITE_ROW) {
        for (int i = 0; i < sqlite3_column_count(rows); i++) {
            const void *bytes = sqlite3_column_blob(rows, i);
            fault_digest(digest, bytes, (size_t)sqlite3_column_bytes(rows, i));
            fault_digest(digest, ";", 1);
        }
        rc = SQLITE_OK;
    }
    if (rc != SQLITE_DONE)
        fault_fail("cannot read the table %s: SQLite %d", table, rc);
    sqlite3_finalize(rows);
    sqlite3_free(sql);
}

static uint64_t add_tables(tr_db *db, tr_db_kind kind, const char *tables) {
    tr_conn *conn = NULL;
    tr_error err = {0};
    sqlite3_stmt *names = NULL;
    uint64_t digest = 0xcbf29ce484222325u;
    fault_must(tr_db_conn(db, kind, &conn, &err), &err, "reading");
    int rc = sqlite3_prepare_v2(conn->handle, tables, -1, &names, NULL);
    while (rc == SQLITE_OK && (rc = sqlite3_step(names)) == SQLITE_ROW) {
        const char *name = (const char *)sqlite3_column_text(names, 0);
        fault_digest(&digest, name, strlen(name));
        add_table(conn, name, &digest);
        rc = SQLITE_OK;
    }
    if (rc != SQLITE_DONE)
        fault_fail("cannot read %s: SQLite %d", tr_db_name(kind), rc);
    sqlite3_finalize(names);
    return digest;
}

/* Left out: meta (the log's anchor), sessions (their tokens may lie elsewhere: read by tr_session_get), and
 * `erasing` (forgotten by the next group). */
fault_dump fault_dump_of(tr_store *store) {
    static const char tables[] = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT IN"
                                 " ('meta', 'sessions', 'erasing') ORDER BY name";
    tr_db *db = NULL;
    tr_error err = {0};
    fault_dump d = {.sessions = 0xcbf29ce484222325u};
    fault_must(tr_store_reader(store, &db, &err), &err, "a reader");
    d.vault = add_tables(db, TR_DB_VAULT, tables);
    d.keys = add_tables(db, TR_DB_KEYS, tables);
    fault_must(fault_sessions(db, &d.sessions, &err), &err, "the sessions");
    return d;
}

/* In step's place: what was acknowledged is there; what was not, wholly or not at all. */
void fault_check_dump(const fault_dump *is, int step, bool acknowledged, const char *when) {
    const fault_dump *before = &fault_dumps[step], *after = &fault_dumps[step + 1];
    bool vault = is->vault == after->vault, keys = is->keys == after->keys,
         sessions = is->sessions == after->sessions;
    bool changed = before->vault != after->vault;
    if (!vault && is->vault != before->vault)
        fault_fail("%s: vault.db is neither as before the step nor as after it", when);
    if (!keys && is->keys != before->keys)
        fault_fail("%s: keys.db is neither as before the step nor as after it", when);
    if (!sessions && is->sessions != before->sessions)
        fault_fail("%s: the sessions are neither as before the step nor as after it", when);
    if (acknowledged && !(vault && keys && sessions))
        fault_fail("%s: acknowledged, but missing in %s", when,
                   vault ? keys ? "sessions" : "keys.db" : "vault.db");
    if (changed && vault && !keys)
        fault_fail("%s: in vault.db, but not in keys.db", when);
    if (fault_steps[step].deletes && keys && !vault)
        fault_fail("%s: deleted in keys.db, but not in vault.db", when);
}

typedef struct seen {
    int times[FAULT_STEPS_MAX];
    int completed; /* deletions that were cut off */
    int last;
    bool ordered;
} seen;

static tr_status see(void *context, const tr_audit_row *row, tr_error *err) {
    seen *s = context;
    int step = -1;
    char text[400];
    (void)err;
    (void)snprintf(text, sizeof text, "%.*s", (int)row->entry.len, (const char *)row->entry.data);
    s->completed += strstr(text, "a deletion that was cut off is completed") != NULL;
    if (sscanf(text, "{\"step\":%d}", &step) != 1 || step < 0 || step >= FAULT_STEPS_MAX)
        return TR_OK;
    s->times[step]++;
    s->ordered = s->ordered && step > s->last;
    s->last = step;
    return TR_OK;
}

static void check_log(tr_store *store, const fault_dump *is, int step, bool acknowledged) {
    tr_db *db = NULL;
    tr_error err = {0};
    tr_audit_verdict verdict;
    seen s = {.last = -1, .ordered = true};
    fault_must(tr_store_reader(store, &db, &err), &err, "a reader");
    fault_must(tr_audit_verify(db, &verdict, &err), &err, "the log");
    if (!verdict.ok)
        fault_fail("the log does not verify: %s", verdict.reason);
    fault_must(tr_audit_list(db, NULL, 0, false, 10000, see, &s, &err), &err, "the log's entries");
    if (!s.ordered)
        fault_fail("the log's entries are out of order, or twice");
    for (int i = 0; i < step; i++) {
        if (fault_steps[i].job && s.times[i] != 1)
            fault_fail("the entry of step %d is missing", i);
    }
    bool effect =
        fault_dumps[step].vault != fault_dumps[step + 1].vault && is->vault == fault_dumps[step + 1].vault;
    bool told = s.times[step] == 1 || (fault_steps[step].deletes && !acknowledged && s.completed);
    if (fault_steps[step].job && (acknowledged || effect) && !told)
        fault_fail("the step's entry is missing");
}

/* The folder, which no store has open. */
void fault_check_folder(const char *dir, int step, bool acknowledged) {
    fault_run run = {.keys = fault_keys};
    tr_error err = {0};
    (void)snprintf(run.dir, sizeof run.dir, "%s", dir);
    run.rekeyed = tr_store_try_key(dir, "vault.db", &fault_keys[NEW_VAULT_KEY], NULL) == TR_OK;
    if (acknowledged && step == fault_step_count - 1 && !run.rekeyed)
        fault_fail("the new key does not open vault.db");
    fault_must(fault_open(&run, false, &err), &err, "opening again");
    fault_must(tr_store_check(run.store, &err), &err, "the check");
    fault_dump is = fault_dump_of(run.store);
    fault_check_dump(&is, step, acknowledged, "opened again");
    check_log(run.store, &is, step, acknowledged);
    tr_store_close(run.store);
}
