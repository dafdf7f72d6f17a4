/* Requests of data subjects. */
#include "store/sqlcipher/engine.h"

#define COLUMNS                                                                                              \
    "id, subject, kind, state, assignee, received_at, due_at, closed_at, updated_at, doc, sealed, receipt, " \
    "version"

static const char sql_insert[] =
    "INSERT INTO requests (" COLUMNS ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)";
static const char sql_get[] = "SELECT " COLUMNS " FROM requests WHERE id = ?1";
static const char sql_update[] =
    "UPDATE requests SET state = ?4, assignee = ?5, due_at = ?7, closed_at = ?8, updated_at = ?9, doc = ?10,"
    " sealed = ?11, receipt = ?12, version = ?13 WHERE id = ?1 AND version = ?13 - 1";

/* A list for each way in, so that each has its index. ?1 after, ?2 limit, ?3 assignee, ?4 due before, ?5
 * subject, ?6 0: only those not closed, 1: only closed ones, NULL: both. */
#define MORE_CONDITIONS                                                                                      \
    " AND id > ?1 AND (?3 IS NULL OR assignee = ?3) AND (?4 = 0 OR due_at < ?4)"                             \
    " AND (?6 IS NULL OR (closed_at <> 0) = ?6) ORDER BY id LIMIT ?2"
static const char sql_list_subject[] =
    "SELECT " COLUMNS " FROM requests INDEXED BY requests_subject WHERE subject = ?5" MORE_CONDITIONS;
static const char sql_list_open[] =
    "SELECT " COLUMNS " FROM requests INDEXED BY requests_open WHERE closed_at = 0"
    " AND ?5 IS NULL" MORE_CONDITIONS;
static const char sql_list_all[] = "SELECT " COLUMNS " FROM requests WHERE ?5 IS NULL" MORE_CONDITIONS;

static const char sql_count[] = "SELECT count(*) FROM requests WHERE closed_at = 0";
static const char sql_overdue[] = "SELECT count(*) FROM requests WHERE closed_at = 0 AND due_at < ?1";

/* ?1 due before, ?2 now, ?3 those of nobody too, ?4 limit. */
static const char sql_untold[] =
    "SELECT id, kind, due_at, assignee, due_at < ?2 FROM requests WHERE closed_at = 0 AND due_at < ?1"
    " AND (?3 OR assignee IS NOT NULL)"
    " AND CASE WHEN due_at < ?2 THEN told_overdue ELSE told_due END <> due_at ORDER BY due_at LIMIT ?4";
static const char sql_told_due[] =
    "UPDATE requests SET told_due = ?2 WHERE id = ?1 AND closed_at = 0 AND due_at = ?2 AND told_due <> ?2";
static const char sql_told_overdue[] = "UPDATE requests SET told_overdue = ?2 WHERE id = ?1 AND closed_at = 0"
                                       " AND due_at = ?2 AND told_overdue <> ?2";

static const char none[] = "no such request";

struct sink {
    tr_dsr_fn fn;
    void *context;
};

static tr_status emit(tr_query *q, void *context, tr_error *err) {
    struct sink *sink = context;
    int64_t kind = tr_col_int(q, 2), state = tr_col_int(q, 3);
    tr_dsr row = {.id = tr_col_uuid(q, 0),
                  .subject = tr_col_uuid(q, 1),
                  .kind = (tr_dsr_kind)kind,
                  .state = (tr_dsr_state)state,
                  .has_assignee = !tr_col_null(q, 4),
                  .received_at = tr_col_int(q, 5),
                  .due_at = tr_col_int(q, 6),
                  .closed_at = tr_col_int(q, 7),
                  .updated_at = tr_col_int(q, 8),
                  .doc = tr_col_text(q, 9),
                  .version = tr_col_int(q, 12)};
    tr_col_fixed(q, 4, row.assignee.bytes, sizeof row.assignee.bytes);
    if (!tr_col_null(q, 10))
        row.sealed = tr_col_blob(q, 10);
    if (!tr_col_null(q, 11))
        row.receipt = tr_col_text(q, 11);
    tr_status st = tr_cols_ok(q, err);
    if (st == TR_OK && (kind < 0 || kind >= TR_DSR_KIND_COUNT || state < 0 || state >= TR_DSR_STATE_COUNT))
        st = tr_fail(err, TR_E_CORRUPT, "vault.db", "a request is of no known kind or state");
    return st == TR_OK ? sink->fn(sink->context, &row, err) : st;
}

static void bind_row(tr_query *q, const tr_dsr *row) {
    tr_bind_uuid(q, 1, &row->id);
    tr_bind_int(q, 4, row->state);
    tr_bind_uuid(q, 5, row->has_assignee ? &row->assignee : NULL);
    tr_bind_int(q, 7, row->due_at);
    tr_bind_int(q, 8, row->closed_at);
    tr_bind_int(q, 9, row->updated_at);
    tr_bind_text(q, 10, row->doc);
    if (row->sealed.len)
        tr_bind_blob(q, 11, row->sealed.data, row->sealed.len);
    if (row->receipt)
        tr_bind_text(q, 12, row->receipt);
    tr_bind_int(q, 13, row->version);
}

tr_status tr_dsr_insert(tr_db *tx, const tr_dsr *row, tr_error *err) {
    tr_query q;
    tr_status st = tr_query_write(tx, TR_DB_VAULT, sql_insert, &q, err);
    if (st != TR_OK)
        return st;
    bind_row(&q, row);
    tr_bind_uuid(&q, 2, &row->subject);
    tr_bind_int(&q, 3, row->kind);
    tr_bind_int(&q, 6, row->received_at);
    return tr_query_run(&q, NULL, err);
}

tr_status tr_dsr_get(tr_db *db, const tr_uuid *id, tr_dsr_fn fn, void *context, tr_error *err) {
    tr_query q;
    struct sink sink = {fn, context};
    tr_status st = tr_query_begin(db, TR_DB_VAULT, sql_get, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_uuid(&q, 1, id);
    return tr_query_one(&q, emit, &sink, none, err);
}

tr_status tr_dsr_update(tr_db *tx, const tr_dsr *row, tr_error *err) {
    tr_query q;
    tr_status st = tr_query_write(tx, TR_DB_VAULT, sql_update, &q, err);
    if (st != TR_OK)
        return st;
    bind_row(&q, row);
    return tr_query_run_one(&q, TR_E_PRECONDITION, "the request has another version", err);
}

tr_status tr_dsr_list(tr_db *db, const tr_dsr_filter *filter, const tr_uuid *after, int limit, tr_dsr_fn fn,
                      void *context, tr_error *err) {
    const char *sql = filter->subject ? sql_list_subject : filter->open ? sql_list_open : sql_list_all;
    tr_query q;
    struct sink sink = {fn, context};
    tr_status st = tr_query_begin(db, TR_DB_VAULT, sql, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_after(&q, 1, after);
    tr_bind_int(&q, 2, limit);
    tr_bind_uuid(&q, 3, filter->assignee);
    tr_bind_int(&q, 4, filter->due_before);
    tr_bind_uuid(&q, 5, filter->subject);
    if (filter->open != filter->closed)
        tr_bind_int(&q, 6, filter->closed);
    return tr_query_each(&q, emit, &sink, err);
}

tr_status tr_dsr_count(tr_db *db, int64_t now, int64_t *open, int64_t *overdue, tr_error *err) {
    tr_status st = tr_count(db, TR_DB_VAULT, sql_count, NULL, open, err);
    return st == TR_OK ? tr_count(db, TR_DB_VAULT, sql_overdue, &now, overdue, err) : st;
}

/* ---- those that are due ---- */

struct due_sink {
    tr_dsr_due_fn fn;
    void *context;
};

static tr_status emit_due(tr_query *q, void *context, tr_error *err) {
    const struct due_sink *sink = context;
    tr_dsr_due row = {.id = tr_col_uuid(q, 0),
                      .kind = (tr_dsr_kind)tr_col_int(q, 1),
                      .due_at = tr_col_int(q, 2),
                      .has_assignee = !tr_col_null(q, 3),
                      .overdue = tr_col_int(q, 4) != 0};
    tr_col_fixed(q, 3, row.assignee.bytes, sizeof row.assignee.bytes);
    tr_status st = tr_cols_ok(q, err);
    return st == TR_OK ? sink->fn(sink->context, &row, err) : st;
}

tr_status tr_dsr_untold(tr_db *db, int64_t now, int64_t before, bool unassigned, int limit, tr_dsr_due_fn fn,
                        void *context, tr_error *err) {
    tr_query q;
    struct due_sink sink = {fn, context};
    tr_status st = tr_query_begin(db, TR_DB_VAULT, sql_untold, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_int(&q, 1, before);
    tr_bind_int(&q, 2, now);
    tr_bind_int(&q, 3, unassigned);
    tr_bind_int(&q, 4, limit);
    return tr_query_each(&q, emit_due, &sink, err);
}

tr_status tr_dsr_told(tr_db *tx, const tr_dsr_due *row, tr_error *err) {
    tr_query q;
    tr_status st = tr_query_write(tx, TR_DB_VAULT, row->overdue ? sql_told_overdue : sql_told_due, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_uuid(&q, 1, &row->id);
    tr_bind_int(&q, 2, row->due_at);
    return tr_query_run_one(&q, TR_E_NOT_FOUND, none, err);
}
