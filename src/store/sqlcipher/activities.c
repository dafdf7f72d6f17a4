/* Processing activities: the purposes that grants name. */
#include "store/sqlcipher/engine.h"

#define COLUMNS "id, doc, created_at, updated_at, ended_at, version, expires_at, retains"

static const char sql_insert[] =
    "INSERT INTO activities (" COLUMNS ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
static const char sql_update[] =
    "UPDATE activities SET doc = ?2, created_at = ?3, updated_at = ?4, ended_at = ?5,"
    " version = ?6, expires_at = ?7, retains = ?8 WHERE id = ?1 AND version = ?6 - 1";
static const char sql_get[] = "SELECT " COLUMNS " FROM activities WHERE id = ?1";
static const char sql_list[] = "SELECT " COLUMNS " FROM activities WHERE id > ?1 ORDER BY id LIMIT ?2";
static const char sql_retaining[] =
    "SELECT " COLUMNS " FROM activities WHERE id > ?1 AND retains <> 0 ORDER BY id LIMIT ?2";
static const char sql_expired[] = "SELECT " COLUMNS " FROM activities WHERE expires_at <> 0 AND ended_at = 0"
                                  " AND expires_at <= ?1 ORDER BY expires_at LIMIT ?2";
static const char sql_ends[] = "SELECT ended_at, expires_at FROM activities WHERE id = ?1";
/* Each change adds to it. */
static const char sql_stamp[] = "SELECT coalesce(sum(version), 0) FROM activities";

static const char none[] = "no such activity";

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
                       .version = tr_col_int(q, 5),
                       .expires_at = tr_col_int(q, 6),
                       .retains = tr_col_int(q, 7) != 0};
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
    tr_bind_int(&q, 7, row->expires_at);
    tr_bind_int(&q, 8, row->retains);
    tx->group->rules_touched = true;
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
    return tr_query_one(&q, emit, &sink, none, err);
}

tr_status tr_activity_ends(tr_db *db, const tr_uuid *id, tr_activity *ends, tr_error *err) {
    tr_stamp stamp = {.kind = TR_STAMP_ACTIVITY, .key = {id->bytes, sizeof id->bytes}};
    tr_status st = tr_stamp_get(db, &stamp, sql_ends, none, err);
    *ends = (tr_activity){.ended_at = stamp.values[0], .expires_at = stamp.values[1]};
    return st;
}

static tr_status list(tr_db *db, const char *sql, const tr_uuid *after, int limit, tr_activity_fn fn,
                      void *context, tr_error *err) {
    tr_query q;
    struct sink sink = {fn, context};
    tr_status st = tr_query_begin(db, TR_DB_VAULT, sql, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_after(&q, 1, after);
    tr_bind_int(&q, 2, limit);
    return tr_query_each(&q, emit, &sink, err);
}

tr_status tr_activity_list(tr_db *db, const tr_uuid *after, int limit, tr_activity_fn fn, void *context,
                           tr_error *err) {
    return list(db, sql_list, after, limit, fn, context, err);
}

tr_status tr_activity_retaining(tr_db *db, const tr_uuid *after, int limit, tr_activity_fn fn, void *context,
                                tr_error *err) {
    return list(db, sql_retaining, after, limit, fn, context, err);
}

tr_status tr_activity_expired(tr_db *db, int64_t now, int limit, tr_activity_fn fn, void *context,
                              tr_error *err) {
    tr_query q;
    struct sink sink = {fn, context};
    tr_status st = tr_query_begin(db, TR_DB_VAULT, sql_expired, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_int(&q, 1, now);
    tr_bind_int(&q, 2, limit);
    return tr_query_each(&q, emit, &sink, err);
}

tr_status tr_activity_stamp(tr_db *db, int64_t *stamp, tr_error *err) {
    return tr_count(db, TR_DB_VAULT, sql_stamp, NULL, stamp, err);
}
