/* keys.db: wrapped data keys of subjects, and of the vault itself. */
#include "store/sqlcipher/engine.h"

static const char sql_insert[] = "INSERT INTO subject_keys (subject, master, wrapped) VALUES (?1, ?2, ?3)";
static const char sql_get[] = "SELECT master, wrapped FROM subject_keys WHERE subject = ?1";
static const char sql_delete[] = "DELETE FROM subject_keys WHERE subject = ?1";
static const char sql_named_insert[] = "INSERT INTO named_keys (name, master, wrapped) VALUES (?1, ?2, ?3)";
static const char sql_named_get[] = "SELECT master, wrapped FROM named_keys WHERE name = ?1";

struct sink {
    tr_key_fn fn;
    void *context;
};

static tr_status emit(tr_query *q, void *context, tr_error *err) {
    struct sink *sink = context;
    uint32_t master = (uint32_t)tr_col_int(q, 0);
    tr_bytes wrapped = tr_col_blob(q, 1);
    tr_status st = tr_cols_ok(q, err);
    return st == TR_OK ? sink->fn(sink->context, master, wrapped, err) : st;
}

tr_status tr_key_insert(tr_db *tx, const tr_uuid *subject, uint32_t master, tr_bytes wrapped, tr_error *err) {
    tr_query q;
    tr_status st = tr_query_write(tx, TR_DB_KEYS, sql_insert, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_uuid(&q, 1, subject);
    tr_bind_int(&q, 2, master);
    tr_bind_blob(&q, 3, wrapped.data, wrapped.len);
    return tr_query_run(&q, NULL, err);
}

tr_status tr_key_get(tr_db *db, const tr_uuid *subject, tr_key_fn fn, void *context, tr_error *err) {
    tr_query q;
    struct sink sink = {fn, context};
    tr_status st = tr_query_begin(db, TR_DB_KEYS, sql_get, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_uuid(&q, 1, subject);
    return tr_query_one(&q, emit, &sink, "no such key", err);
}

tr_status tr_key_destroy(tr_db *tx, const tr_uuid *subject, tr_error *err) {
    tr_query q;
    tr_status st = tr_query_write(tx, TR_DB_KEYS, sql_delete, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_uuid(&q, 1, subject);
    st = tr_query_run(&q, NULL, err);
    return st == TR_OK ? tr_erasing_add(tx, subject, err) : st;
}

tr_status tr_named_key_insert(tr_db *tx, const char *name, uint32_t master, tr_bytes wrapped, tr_error *err) {
    tr_query q;
    tr_status st = tr_query_write(tx, TR_DB_KEYS, sql_named_insert, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_text(&q, 1, name);
    tr_bind_int(&q, 2, master);
    tr_bind_blob(&q, 3, wrapped.data, wrapped.len);
    return tr_query_run(&q, NULL, err);
}

tr_status tr_named_key_get(tr_db *db, const char *name, tr_key_fn fn, void *context, tr_error *err) {
    tr_query q;
    struct sink sink = {fn, context};
    tr_status st = tr_query_begin(db, TR_DB_KEYS, sql_named_get, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_text(&q, 1, name);
    return tr_query_one(&q, emit, &sink, "no such key", err);
}
