/* A group of jobs: one transaction over the three databases, committed keys first, then audit, then vault.
 *
 * A database joins the transaction when the first job uses it. Levels (a job, and tr_nested inside it) are
 * savepoints of the databases that the level writes to. SQLite keeps a copy of each page that is changed
 * behind a savepoint, and hardly any level fails after it has written: so a group is first run boldly,
 * without savepoints, and when a level does fail, once more with them. Audit entries wait in memory until the
 * commit, because their hashes depend on which jobs remain.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "store/sqlcipher/engine.h"

#define ENTRIES_KEPT ((size_t)1024 * 1024) /* the buffer's memory that outlives a group */

struct tr_pending { /* an audit entry that waits */
    int64_t at;
    bool has_subject;
    tr_uuid subject;
    size_t begin, len; /* in group->entries */
};

/* Nobody else writes, but a reader that meets a commit in the midst of the log's index takes the writers'
 * lock for a moment. SQLite waits for it here, and no longer once the transaction has read. */
static const char sql_begin[] = "BEGIN IMMEDIATE";
static const char sql_commit[] = "COMMIT";
static const char sql_savepoint[] = "SAVEPOINT level"; /* the newest of that name is meant */
static const char sql_release[] = "RELEASE level";
static const char sql_forget_erased[] = "DELETE FROM erasing WHERE length(subject) = 16";
static const char sql_undo[] = "ROLLBACK TO level";

static tr_status run(tr_conn *conn, const char *sql, tr_error *err) {
    tr_query q;
    tr_status st = tr_query_on(conn, sql, &q, err);
    return st == TR_OK ? tr_query_run(&q, NULL, err) : st;
}

/* SQLite undoes a whole transaction on some errors; SQLCipher's pages stay in error after others. */
static bool is_lost(const tr_conn *conn) {
    return conn->damaged || (conn->begun && sqlite3_get_autocommit(conn->handle));
}

static bool any_lost(const tr_group *group) {
    for (int i = 0; i < TR_DB_COUNT; i++) {
        if (is_lost(&group->tx.conns[i]))
            return true;
    }
    return false;
}

/* ---- life ---- */

static tr_status open_conns(tr_group *group, bool create, tr_error *err) {
    tr_status st = TR_OK;
    for (int i = 0; i < TR_DB_COUNT && st == TR_OK; i++)
        st = tr_conn_open(group->tx.source, (tr_db_kind)i, create ? TR_CREATE : TR_WRITE, &group->tx.conns[i],
                          err);
    return st;
}

tr_status tr_group_open(tr_group *group, const tr_source *source, bool create, int fold_ms, tr_error *err) {
    *group = (tr_group){.tx = {.source = source}, .edition = 1, .rules_edition = 1};
    group->tx.group = group;
    tr_status st = tr_turns_new(fold_ms, &group->turns, err);
    if (st == TR_OK)
        st = tr_tail_new(&group->tail, err);
    if (st == TR_OK)
        st = open_conns(group, create, err);
    if (st != TR_OK)
        tr_group_close(group);
    return st;
}

void tr_group_close(tr_group *group) {
    tr_db_close(&group->tx);
    tr_buf_clear(&group->entries);
    tr_buf_clear(&group->turned);
    tr_turns_free(group->turns);
    group->turns = NULL;
    tr_tail_free(group->tail);
    group->tail = NULL;
    free(group->pending);
    group->pending = NULL;
    group->pending_count = group->pending_room = 0;
}

tr_status tr_group_reopen(tr_group *group, tr_error *err) {
    tr_group_abort(group);
    tr_db_close(&group->tx);
    return open_conns(group, false, err);
}

/* ---- levels ---- */

/* The groups before this one are whole in the vault too, so what they erased needs no completion any more. */
static tr_status begin(tr_group *group, tr_conn *conn, tr_error *err) {
    tr_status st = run(conn, sql_begin, err);
    conn->begun = st == TR_OK;
    conn->changes = sqlite3_total_changes64(conn->handle);
    if (st == TR_OK && conn->kind == TR_DB_KEYS && !group->reconciling)
        st = run(conn, sql_forget_erased, err);
    return st;
}

tr_status tr_group_enter(tr_group *group, tr_conn *conn, tr_error *err) {
    tr_status st = TR_OK;
    if (is_lost(conn)) {
        group->lost = true;
        return tr_fail(err, TR_E_IO, tr_db_name(conn->kind), "the transaction was undone");
    }
    if (!conn->handle)
        return tr_fail(err, TR_E_IO, tr_db_name(conn->kind), "%s is not open", tr_db_name(conn->kind));
    if (!conn->begun)
        st = begin(group, conn, err);
    return st;
}

/* What a job only reads needs none. */
tr_status tr_group_mark(tr_group *group, tr_conn *conn, tr_error *err) {
    tr_status st = TR_OK;
    group->writes++;
    while (st == TR_OK && !group->bold && conn->savepoints < group->level) {
        st = run(conn, sql_savepoint, err);
        conn->savepoints += st == TR_OK;
    }
    return st;
}

/* End the present level, keeping or undoing what it did. */
static tr_status leave(tr_group *group, bool keep, tr_error *err) {
    tr_status st = TR_OK;
    for (int i = 0; i < TR_DB_COUNT && st == TR_OK; i++) {
        tr_conn *conn = &group->tx.conns[i];
        if (conn->savepoints < group->level)
            continue;
        if (!keep)
            st = run(conn, sql_undo, err);
        if (st == TR_OK)
            st = run(conn, sql_release, err);
        conn->savepoints--;
    }
    return st;
}

static void forget_entries(tr_group *group, size_t count) {
    if (count < group->pending_count)
        group->entries.len = group->pending[count].begin;
    group->pending_count = count;
}

tr_status tr_group_run(tr_group *group, tr_job_fn fn, void *context, tr_error *err) {
    size_t mark = group->pending_count, turned = group->turned.len;
    unsigned writes = group->writes;
    group->level++;
    tr_status st = fn(context, &group->tx, err);
    bool undone = any_lost(group);
    group->wants_care |= group->bold && !undone && st != TR_OK && group->writes != writes;
    group->lost |= undone || group->wants_care;
    if (!group->lost) {
        tr_error undo = {0};
        tr_status left = leave(group, st == TR_OK, &undo);
        if (left != TR_OK) {
            group->lost = true;
            if (st == TR_OK && err)
                *err = undo;
            st = st == TR_OK ? left : st;
        }
    } else if (st == TR_OK) {
        st = tr_fail(err, TR_E_IO, NULL, "the transaction was undone");
    }
    if (st != TR_OK) {
        forget_entries(group, mark);
        group->turned.len = turned;
    }
    group->level--;
    return st;
}

tr_status tr_nested(tr_db *tx, tr_job_fn fn, void *context, tr_error *err) {
    if (!tx->group)
        return tr_fail(err, TR_E_INTERNAL, NULL, "a write outside a job");
    return tr_group_run(tx->group, fn, context, err);
}

/* ---- the audit entries ---- */

static tr_status make_room(tr_group *group, tr_error *err) {
    if (group->pending_count < group->pending_room)
        return TR_OK;
    size_t room = group->pending_room ? group->pending_room * 2 : 64;
    struct tr_pending *grown = realloc(group->pending, room * sizeof *grown);
    if (!grown)
        return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    group->pending = grown;
    group->pending_room = room;
    return TR_OK;
}

tr_status tr_audit_append(tr_db *tx, int64_t at, const tr_uuid *subject, tr_bytes entry, tr_error *err) {
    tr_group *group = tx->group;
    if (!group)
        return tr_fail(err, TR_E_INTERNAL, tr_db_name(TR_DB_AUDIT), "a write outside a job");
    tr_status st = make_room(group, err);
    if (st != TR_OK)
        return st;
    struct tr_pending *p = &group->pending[group->pending_count];
    *p = (struct tr_pending){
        .at = at, .has_subject = subject != NULL, .begin = group->entries.len, .len = entry.len};
    if (subject)
        p->subject = *subject;
    tr_buf_append(&group->entries, entry.data, entry.len);
    st = tr_buf_ok(&group->entries, err);
    if (st == TR_OK)
        group->pending_count++;
    else
        group->entries.failed = false; /* what was there is intact */
    return st;
}

/* Those before it in the group stay, or the whole group is run anew. */
int64_t tr_audit_next(const tr_db *tx) {
    return tx->group ? tx->group->head.seq + (int64_t)tx->group->pending_count + 1 : 0;
}

tr_status tr_audit_list_waiting(tr_db *tx, const tr_uuid *subject, tr_audit_fn fn, void *context,
                                tr_error *err) {
    tr_group *group = tx->group;
    tr_status st = TR_OK;
    for (size_t i = 0; group && i < group->pending_count && st == TR_OK; i++) {
        const struct tr_pending *p = &group->pending[i];
        tr_audit_row row = {.at = p->at,
                            .has_subject = p->has_subject,
                            .subject = p->subject,
                            .entry = {group->entries.data + p->begin, p->len}};
        if (p->has_subject && tr_uuid_equal(&p->subject, subject))
            st = fn(context, &row, err);
    }
    return st;
}

static tr_status store_entries(tr_group *group, tr_head *head, tr_error *err) {
    tr_status st = TR_OK;
    for (size_t i = 0; i < group->pending_count && st == TR_OK; i++) {
        const struct tr_pending *p = &group->pending[i];
        tr_audit_row row = {.seq = head->seq + 1,
                            .at = p->at,
                            .has_subject = p->has_subject,
                            .subject = p->subject,
                            .entry = {group->entries.data + p->begin, p->len}};
        st = tr_audit_store(&group->tx, &row, head, err);
    }
    return st;
}

/* Did a job change the vault? */
static bool has_effects(const tr_group *group) {
    const tr_conn *conn = &group->tx.conns[TR_DB_VAULT];
    return conn->begun && sqlite3_total_changes64(conn->handle) != conn->changes;
}

uint64_t tr_store_edition(tr_store *store) {
    return store->group.edition;
}

bool tr_edition_stands(const tr_db *tx, uint64_t edition) {
    return tx->group && tx->group->edition == edition && !has_effects(tx->group);
}

/* The group's entries, turns and anchor. The vault's part of it only when the vault changes anyway, or when
 * it is time for the turns to be folded: so a group of reads is one flush. */
static tr_status finish(tr_group *group, bool effects, bool fold, tr_head *head, int64_t *number,
                        tr_error *err) {
    tr_status st = store_entries(group, head, err);
    if (st == TR_OK && group->pending_count)
        st = tr_tail_store(&group->tx, group->pending_count, err);
    *number = tr_turns_number(group->turns);
    if (st == TR_OK && (group->pending_count || group->turned.len))
        st = tr_turns_store(&group->tx, group->head.seq + 1, head->seq, effects, number, err);
    if (st == TR_OK && fold)
        st = tr_turns_fold(&group->tx, *number, err);
    if (st == TR_OK && (effects || fold) && head->seq != group->anchor)
        st = tr_anchor_put(&group->tx, head, err);
    if (st == TR_OK && (effects || fold))
        group->anchor = head->seq;
    return st;
}

/* ---- the end of a group ---- */

static void forget(tr_group *group) {
    group->rules_edition += group->rules_touched;
    group->rules_touched = false;
    forget_entries(group, 0);
    if (group->entries.cap > ENTRIES_KEPT)
        tr_buf_clear(&group->entries);
    tr_buf_reset(&group->turned);
    group->level = 0;
    group->lost = group->bold = group->wants_care = false;
}

static void note_entries(tr_group *group) {
    int64_t seq = group->head.seq;
    for (size_t i = 0; i < group->pending_count; i++) {
        seq++;
        if (group->pending[i].has_subject)
            tr_tail_add(group->tail, &group->pending[i].subject, seq);
    }
    if (group->pending_count)
        tr_tail_committed(group->tail);
}

tr_status tr_group_commit(tr_group *group, bool fold, tr_error *err) {
    static const tr_db_kind order[TR_DB_COUNT] = {TR_DB_KEYS, TR_DB_AUDIT, TR_DB_VAULT};
    tr_head head = group->head;
    int64_t number = 0;
    bool effects = has_effects(group);
    fold |= tr_turns_due(group->turns, tr_monotonic_us());
    tr_status st = finish(group, effects, fold, &head, &number, err);
    for (int i = 0; i < TR_DB_COUNT && st == TR_OK; i++) {
        tr_conn *conn = &group->tx.conns[order[i]];
        if (!conn->begun)
            continue;
        st = run(conn, sql_commit, err);
        conn->begun = st != TR_OK;
        group->vault_commits += order[i] == TR_DB_VAULT;
    }
    group->edition += effects;
    if (st != TR_OK)
        return st;
    note_entries(group);
    group->head = head;
    tr_turns_committed(group, number, fold, head.seq != group->anchor);
    forget(group);
    return TR_OK;
}

void tr_group_abort(tr_group *group) {
    for (int i = 0; i < TR_DB_COUNT; i++) {
        tr_conn *conn = &group->tx.conns[i];
        if (conn->handle && !sqlite3_get_autocommit(conn->handle))
            (void)sqlite3_exec(conn->handle, "ROLLBACK", NULL, NULL, NULL);
        conn->begun = false;
        conn->savepoints = 0;
    }
    forget(group);
}
