/* The batches of imports, so that a repeated import goes on where it was. */
#include "store/sqlcipher/engine.h"

#define COLUMNS "principal, key, number, input, lines, created_at, results"

static const char sql_insert[] =
    "INSERT INTO import_batches (" COLUMNS ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
static const char sql_get[] =
    "SELECT " COLUMNS " FROM import_batches WHERE principal = ?1 AND key = ?2 AND number = ?3";
static const char sql_sweep[] =
    "DELETE FROM import_batches WHERE row IN"
    " (SELECT row FROM import_batches WHERE created_at < ?1 ORDER BY created_at LIMIT ?2)";

tr_status tr_import_batch_insert(tr_db *tx, const tr_import_batch *row, tr_error *err) {
    tr_query q;
    tr_status st = tr_query_write(tx, TR_DB_VAULT, sql_insert, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_uuid(&q, 1, &row->principal);
    tr_bind_blob(&q, 2, row->key, sizeof row->key);
    tr_bind_int(&q, 3, row->number);
    tr_bind_blob(&q, 4, row->input, sizeof row->input);
    tr_bind_int(&q, 5, row->lines);
    tr_bind_int(&q, 6, row->created_at);
    tr_bind_blob(&q, 7, row->results.data, row->results.len);
    return tr_query_run(&q, NULL, err);
}

struct sink {
    tr_import_batch_fn fn;
    void *context;
};

static tr_status emit(tr_query *q, void *context, tr_error *err) {
    struct sink *sink = context;
    tr_import_batch row = {.principal = tr_col_uuid(q, 0),
                           .number = tr_col_int(q, 2),
                           .lines = tr_col_int(q, 4),
                           .created_at = tr_col_int(q, 5),
                           .results = tr_col_blob(q, 6)};
    tr_col_fixed(q, 1, row.key, sizeof row.key);
    tr_col_fixed(q, 3, row.input, sizeof row.input);
    tr_status st = tr_cols_ok(q, err);
    return st == TR_OK ? sink->fn(sink->context, &row, err) : st;
}

tr_status tr_import_batch_get(tr_db *db, const tr_uuid *principal, const uint8_t key[32], int64_t number,
                              tr_import_batch_fn fn, void *context, tr_error *err) {
    tr_query q;
    struct sink sink = {fn, context};
    tr_status st = tr_query_begin(db, TR_DB_VAULT, sql_get, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_uuid(&q, 1, principal);
    tr_bind_blob(&q, 2, key, 32);
    tr_bind_int(&q, 3, number);
    return tr_query_one(&q, emit, &sink, "no such batch", err);
}

tr_status tr_import_batch_sweep(tr_db *tx, int64_t created_before, int limit, int64_t *count, tr_error *err) {
    return tr_sweep(tx, sql_sweep, created_before, limit, count, err);
}
