/* Record types. */
#include <string.h>

#include "store/sqlcipher/engine.h"

#define COLUMNS "name, version, schema, created_at, updated_at"

static const char sql_insert[] = "INSERT INTO types (" COLUMNS ") VALUES (?1, ?2, ?3, ?4, ?5)";
static const char sql_update[] = "UPDATE types SET version = ?2, schema = ?3, updated_at = ?5"
                                 " WHERE name = ?1 AND version = ?2 - 1";
static const char sql_get[] = "SELECT " COLUMNS " FROM types WHERE name = ?1";
static const char sql_stamp[] = "SELECT version, updated_at FROM types WHERE name = ?1";
static const char sql_delete[] = "DELETE FROM types WHERE name = ?1";
static const char sql_list[] = "SELECT " COLUMNS " FROM types WHERE name > ?1 ORDER BY name LIMIT ?2";
static const char sql_in_use[] = "SELECT EXISTS (SELECT 1 FROM records WHERE type = ?1)";

static const char none[] = "no such type";

tr_status tr_type_put(tr_db *tx, const tr_type *row, tr_error *err) {
    tr_query q;
    bool first = row->version == 1;
    tr_status st = tr_query_write(tx, TR_DB_VAULT, first ? sql_insert : sql_update, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_text(&q, 1, row->name);
    tr_bind_int(&q, 2, row->version);
    tr_bind_text(&q, 3, row->schema);
    if (first)
        tr_bind_int(&q, 4, row->created_at);
    tr_bind_int(&q, 5, row->updated_at);
    tx->group->rules_touched = true;
    st = tr_query_run_one(&q, TR_E_PRECONDITION, "the type has another version", err);
    return st == TR_E_CONFLICT ? tr_fail(err, TR_E_PRECONDITION, NULL, "the type exists already") : st;
}

struct sink {
    tr_type_fn fn;
    void *context;
};

static tr_status emit(tr_query *q, void *context, tr_error *err) {
    struct sink *sink = context;
    tr_type row = {.name = tr_col_text(q, 0),
                   .version = tr_col_int(q, 1),
                   .schema = tr_col_text(q, 2),
                   .created_at = tr_col_int(q, 3),
                   .updated_at = tr_col_int(q, 4)};
    tr_status st = tr_cols_ok(q, err);
    return st == TR_OK ? sink->fn(sink->context, &row, err) : st;
}

tr_status tr_type_get(tr_db *db, const char *name, tr_type_fn fn, void *context, tr_error *err) {
    tr_query q;
    struct sink sink = {fn, context};
    tr_status st = tr_query_begin(db, TR_DB_VAULT, sql_get, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_text(&q, 1, name);
    return tr_query_one(&q, emit, &sink, none, err);
}

tr_status tr_type_stamp_get(tr_db *db, const char *name, tr_type_stamp *stamp, tr_error *err) {
    tr_stamp found = {.kind = TR_STAMP_TYPE, .key = {name, strlen(name)}};
    tr_status st = tr_stamp_get(db, &found, sql_stamp, none, err);
    *stamp = (tr_type_stamp){found.values[0], found.values[1]};
    return st;
}

tr_status tr_type_delete(tr_db *tx, const char *name, tr_error *err) {
    tr_query q;
    bool used = false;
    tr_status st = tr_type_in_use(tx, name, &used, err);
    if (st == TR_OK && used)
        st = tr_fail(err, TR_E_CONFLICT, NULL, "records have this type");
    if (st == TR_OK)
        st = tr_query_write(tx, TR_DB_VAULT, sql_delete, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_text(&q, 1, name);
    tx->group->rules_touched = true;
    return tr_query_run_one(&q, TR_E_NOT_FOUND, none, err);
}

tr_status tr_type_list(tr_db *db, const char *after, int limit, tr_type_fn fn, void *context, tr_error *err) {
    tr_query q;
    struct sink sink = {fn, context};
    tr_status st = tr_query_begin(db, TR_DB_VAULT, sql_list, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_text(&q, 1, after ? after : "");
    tr_bind_int(&q, 2, limit);
    return tr_query_each(&q, emit, &sink, err);
}

tr_status tr_type_in_use(tr_db *db, const char *name, bool *in_use, tr_error *err) {
    tr_query q;
    int64_t found = 0;
    tr_status st = tr_query_begin(db, TR_DB_VAULT, sql_in_use, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_text(&q, 1, name);
    st = tr_query_int(&q, &found, err);
    *in_use = found != 0;
    return st;
}
