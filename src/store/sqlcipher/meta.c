/* Small named values of the vault. */
#include <string.h>

#include "store/sqlcipher/engine.h"

static const char sql_get[] = "SELECT value FROM meta WHERE name = ?1";
static const char sql_put[] = "INSERT INTO meta (name, value) VALUES (?1, ?2)"
                              " ON CONFLICT (name) DO UPDATE SET value = excluded.value";

static tr_status take(tr_query *q, void *context, tr_error *err) {
    tr_buf *value = context;
    tr_bytes blob = tr_col_blob(q, 0);
    tr_buf_reset(value);
    tr_buf_append(value, blob.data, blob.len);
    tr_status st = tr_cols_ok(q, err);
    return st == TR_OK ? tr_buf_ok(value, err) : st;
}

tr_status tr_meta_get(tr_db *db, const char *name, tr_buf *value, tr_error *err) {
    tr_query q;
    tr_status st = tr_query_begin(db, TR_DB_VAULT, sql_get, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_text(&q, 1, name);
    return tr_query_one(&q, take, value, "no such value", err);
}

tr_status tr_meta_put(tr_db *tx, const char *name, tr_bytes value, tr_error *err) {
    tr_query q;
    if (strncmp(name, "audit.", 6) == 0)
        return tr_fail(err, TR_E_INTERNAL, NULL, "names that begin with audit. are the store's own");
    tr_status st = tr_query_write(tx, TR_DB_VAULT, sql_put, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_text(&q, 1, name);
    tr_bind_blob(&q, 2, value.data, value.len);
    return tr_query_run(&q, NULL, err);
}
