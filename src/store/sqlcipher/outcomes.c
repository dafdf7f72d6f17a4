/* Outcomes: what a request with an Idempotency-Key answered. */
#include "store/sqlcipher/engine.h"

#define COLUMNS "principal, key, request, subject, created_at, sealed"

static const char sql_insert[] = "INSERT INTO outcomes (" COLUMNS ") VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
static const char sql_get[] = "SELECT " COLUMNS " FROM outcomes WHERE principal = ?1 AND key = ?2";
static const char sql_sweep[] =
    "DELETE FROM outcomes WHERE row IN"
    " (SELECT row FROM outcomes WHERE created_at < ?1 ORDER BY created_at LIMIT ?2)";

tr_status tr_outcome_insert(tr_db *tx, const tr_outcome *row, tr_error *err) {
    tr_query q;
    tr_status st = tr_query_write(tx, TR_DB_VAULT, sql_insert, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_uuid(&q, 1, &row->principal);
    tr_bind_blob(&q, 2, row->key, sizeof row->key);
    tr_bind_blob(&q, 3, row->request, sizeof row->request);
    tr_bind_uuid(&q, 4, row->has_subject ? &row->subject : NULL);
    tr_bind_int(&q, 5, row->created_at);
    tr_bind_blob(&q, 6, row->sealed.data, row->sealed.len);
    return tr_query_run(&q, NULL, err);
}

struct sink {
    tr_outcome_fn fn;
    void *context;
};

static tr_status emit(tr_query *q, void *context, tr_error *err) {
    struct sink *sink = context;
    tr_outcome row = {.principal = tr_col_uuid(q, 0),
                      .has_subject = !tr_col_null(q, 3),
                      .subject = tr_col_uuid(q, 3),
                      .created_at = tr_col_int(q, 4),
                      .sealed = tr_col_blob(q, 5)};
    tr_col_fixed(q, 1, row.key, sizeof row.key);
    tr_col_fixed(q, 2, row.request, sizeof row.request);
    tr_status st = tr_cols_ok(q, err);
    return st == TR_OK ? sink->fn(sink->context, &row, err) : st;
}

tr_status tr_outcome_get(tr_db *db, const tr_uuid *principal, const uint8_t key[32], tr_outcome_fn fn,
                         void *context, tr_error *err) {
    tr_query q;
    struct sink sink = {fn, context};
    tr_status st = tr_query_begin(db, TR_DB_VAULT, sql_get, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_uuid(&q, 1, principal);
    tr_bind_blob(&q, 2, key, 32);
    return tr_query_one(&q, emit, &sink, "no such outcome", err);
}

tr_status tr_outcome_sweep(tr_db *tx, int64_t created_before, int limit, int64_t *count, tr_error *err) {
    return tr_sweep(tx, sql_sweep, created_before, limit, count, err);
}
