/* Legal holds. They go with their subject. */
#include "store/sqlcipher/engine.h"

#define COLUMNS "id, subject, title, legal_basis, created_by, created_at, expires_at, lifted_by, lifted_at"

static const char sql_insert[] =
    "INSERT INTO holds (" COLUMNS ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
static const char sql_get[] = "SELECT " COLUMNS " FROM holds WHERE subject = ?1 AND id = ?2";
/* The first who lifts it is the one who did. */
static const char sql_lift[] =
    "UPDATE holds SET lifted_by = CASE lifted_at WHEN 0 THEN ?3 ELSE lifted_by END,"
    " lifted_at = CASE lifted_at WHEN 0 THEN ?4 ELSE lifted_at END WHERE subject = ?1 AND id = ?2";
static const char sql_list[] =
    "SELECT " COLUMNS " FROM holds WHERE subject = ?1 AND id > ?2 ORDER BY id LIMIT ?3";
static const char sql_standing[] = "SELECT " COLUMNS " FROM holds WHERE subject = ?1 AND lifted_at = 0"
                                   " AND (expires_at = 0 OR expires_at > ?2) ORDER BY id LIMIT 1";

static const char none[] = "no such hold";

struct sink {
    tr_hold_fn fn;
    void *context;
};

static tr_status emit(tr_query *q, void *context, tr_error *err) {
    const struct sink *sink = context;
    tr_hold row = {.id = tr_col_uuid(q, 0),
                   .subject = tr_col_uuid(q, 1),
                   .title = tr_col_text(q, 2),
                   .legal_basis = tr_col_text(q, 3),
                   .created_by = tr_col_uuid(q, 4),
                   .created_at = tr_col_int(q, 5),
                   .expires_at = tr_col_int(q, 6),
                   .has_lifted_by = !tr_col_null(q, 7),
                   .lifted_at = tr_col_int(q, 8)};
    if (row.has_lifted_by)
        row.lifted_by = tr_col_uuid(q, 7);
    tr_status st = tr_cols_ok(q, err);
    return st == TR_OK ? sink->fn(sink->context, &row, err) : st;
}

tr_status tr_hold_insert(tr_db *tx, const tr_hold *row, tr_error *err) {
    tr_query q;
    tr_status st = tr_subject_alive(tx, &row->subject, err);
    if (st == TR_OK)
        st = tr_query_write(tx, TR_DB_VAULT, sql_insert, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_uuid(&q, 1, &row->id);
    tr_bind_uuid(&q, 2, &row->subject);
    tr_bind_text(&q, 3, row->title);
    tr_bind_text(&q, 4, row->legal_basis);
    tr_bind_uuid(&q, 5, &row->created_by);
    tr_bind_int(&q, 6, row->created_at);
    tr_bind_int(&q, 7, row->expires_at);
    tr_bind_uuid(&q, 8, row->has_lifted_by ? &row->lifted_by : NULL);
    tr_bind_int(&q, 9, row->lifted_at);
    return tr_query_run(&q, NULL, err);
}

tr_status tr_hold_get(tr_db *db, const tr_uuid *subject, const tr_uuid *id, tr_hold_fn fn, void *context,
                      tr_error *err) {
    tr_query q;
    struct sink sink = {fn, context};
    tr_status st = tr_query_begin(db, TR_DB_VAULT, sql_get, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_uuid(&q, 1, subject);
    tr_bind_uuid(&q, 2, id);
    return tr_query_one(&q, emit, &sink, none, err);
}

tr_status tr_hold_lift(tr_db *tx, const tr_uuid *subject, const tr_uuid *id, const tr_uuid *by, int64_t at,
                       tr_error *err) {
    tr_query q;
    tr_status st = tr_query_write(tx, TR_DB_VAULT, sql_lift, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_uuid(&q, 1, subject);
    tr_bind_uuid(&q, 2, id);
    tr_bind_uuid(&q, 3, by);
    tr_bind_int(&q, 4, at);
    return tr_query_run_one(&q, TR_E_NOT_FOUND, none, err);
}

tr_status tr_hold_list(tr_db *db, const tr_uuid *subject, const tr_uuid *after, int limit, tr_hold_fn fn,
                       void *context, tr_error *err) {
    tr_query q;
    struct sink sink = {fn, context};
    tr_status st = tr_query_begin(db, TR_DB_VAULT, sql_list, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_uuid(&q, 1, subject);
    tr_bind_after(&q, 2, after);
    tr_bind_int(&q, 3, limit);
    return tr_query_each(&q, emit, &sink, err);
}

tr_status tr_hold_standing(tr_db *db, const tr_uuid *subject, int64_t now, tr_hold_fn fn, void *context,
                           tr_error *err) {
    tr_query q;
    struct sink sink = {fn, context};
    tr_status st = tr_query_begin(db, TR_DB_VAULT, sql_standing, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_uuid(&q, 1, subject);
    tr_bind_int(&q, 2, now);
    return tr_query_one(&q, emit, &sink, none, err);
}
