/* Processing activities: the purposes that grants name. */
#include "store/sqlcipher/engine.h"

#define COLUMNS "id, doc, created_at, updated_at, ended_at, version"

static const char sql_insert[] = "INSERT INTO activities (" COLUMNS ") VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
static const char sql_update[] =
    "UPDATE activities SET doc = ?2, created_at = ?3, updated_at = ?4, ended_at = ?5,"
    " version = ?6 WHERE id = ?1 AND version = ?6 - 1";
static const char sql_get[] = "SELECT " COLUMNS " FROM activities WHERE id = ?1";
static const char sql_list[] = "SELECT " COLUMNS " FROM activities WHERE id > ?1 ORDER BY id LIMIT ?2";

struct sink {
    tr_activity_fn fn;
    void *context;
};

static tr_status emit(tr_query *q, void *context, tr_error *err) {
    struct sink *sink = context;
    tr_activity row = {.id = tr_col_uuid(q, 0),
                       .doc = tr_col_text(q, 1),
                       .created_at = tr_col_int(q, 2),
                       .updated_at = tr_col_int(q, 3),
                       .ended_at = tr_col_int(q, 4),
                       .version = tr_col_int(q, 5)};
    tr_status st = tr_cols_ok(q, err);
    return st == TR_OK ? sink->fn(sink->context, &row, err) : st;
}

static tr_status write_row(tr_db *tx, const char *sql, const tr_activity *row, tr_error *err) {
    tr_query q;
    tr_status st = tr_query_write(tx, TR_DB_VAULT, sql, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_uuid(&q, 1, &row->id);
    tr_bind_text(&q, 2, row->doc);
    tr_bind_int(&q, 3, row->created_at);
    tr_bind_int(&q, 4, row->updated_at);
    tr_bind_int(&q, 5, row->ended_at);
    tr_bind_int(&q, 6, row->version);
    return tr_query_run_one(&q, TR_E_PRECONDITION, "the activity has another version", err);
}

tr_status tr_activity_insert(tr_db *tx, const tr_activity *row, tr_error *err) {
    return write_row(tx, sql_insert, row, err);
}

tr_status tr_activity_update(tr_db *tx, const tr_activity *row, tr_error *err) {
    return write_row(tx, sql_update, row, err);
}

tr_status tr_activity_get(tr_db *db, const tr_uuid *id, tr_activity_fn fn, void *context, tr_error *err) {
    tr_query q;
    struct sink sink = {fn, context};
    tr_status st = tr_query_begin(db, TR_DB_VAULT, sql_get, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_uuid(&q, 1, id);
    return tr_query_one(&q, emit, &sink, "no such activity", err);
}

tr_status tr_activity_list(tr_db *db, const tr_uuid *after, int limit, tr_activity_fn fn, void *context,
                           tr_error *err) {
    tr_query q;
    struct sink sink = {fn, context};
    tr_status st = tr_query_begin(db, TR_DB_VAULT, sql_list, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_after(&q, 1, after);
    tr_bind_int(&q, 2, limit);
    return tr_query_each(&q, emit, &sink, err);
}
