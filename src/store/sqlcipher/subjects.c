/* Subjects. What belongs to one refers to it, and goes with it (ON DELETE CASCADE). */
#include "store/sqlcipher/engine.h"

#define COLUMNS "id, created_by, created_at, restricted_at"

static const char sql_insert[] = "INSERT INTO subjects (" COLUMNS ") VALUES (?1, ?2, ?3, ?4)";
static const char sql_get[] = "SELECT " COLUMNS " FROM subjects WHERE id = ?1 AND erasing_at = 0";
static const char sql_ids[] = "SELECT id FROM subjects WHERE id > ?1 ORDER BY id LIMIT ?2";
static const char sql_delete[] = "DELETE FROM subjects WHERE id = ?1";
static const char sql_restrict[] = "UPDATE subjects SET restricted_at = ?2 WHERE id = ?1 AND erasing_at = 0";

static const char none[] = "no such subject";

tr_status tr_subject_insert(tr_db *tx, const tr_subject_row *row, tr_error *err) {
    tr_query q;
    tr_status st = tr_query_write(tx, TR_DB_VAULT, sql_insert, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_uuid(&q, 1, &row->id);
    tr_bind_uuid(&q, 2, &row->created_by);
    tr_bind_int(&q, 3, row->created_at);
    tr_bind_int(&q, 4, row->restricted_at);
    return tr_query_run(&q, NULL, err);
}

static tr_status take(tr_query *q, void *context, tr_error *err) {
    tr_subject_row *row = context;
    *row = (tr_subject_row){.id = tr_col_uuid(q, 0),
                            .created_by = tr_col_uuid(q, 1),
                            .created_at = tr_col_int(q, 2),
                            .restricted_at = tr_col_int(q, 3)};
    return tr_cols_ok(q, err);
}

tr_status tr_subject_get(tr_db *db, const tr_uuid *id, tr_subject_row *row, tr_error *err) {
    tr_query q;
    tr_status st = tr_query_begin(db, TR_DB_VAULT, sql_get, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_uuid(&q, 1, id);
    return tr_query_one(&q, take, row, none, err);
}

tr_status tr_subject_alive(tr_db *db, const tr_uuid *id, tr_error *err) {
    tr_subject_row row;
    return tr_subject_get(db, id, &row, err);
}

tr_status tr_subject_restrict(tr_db *tx, const tr_uuid *id, int64_t at, tr_error *err) {
    tr_query q;
    tr_status st = tr_query_write(tx, TR_DB_VAULT, sql_restrict, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_uuid(&q, 1, id);
    tr_bind_int(&q, 2, at);
    return tr_query_run_one(&q, TR_E_NOT_FOUND, none, err);
}

tr_status tr_subject_delete_rows(tr_db *tx, const tr_uuid *id, tr_error *err) {
    tr_query q;
    tr_status st = tr_query_write(tx, TR_DB_VAULT, sql_delete, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_uuid(&q, 1, id);
    return tr_query_run_one(&q, TR_E_NOT_FOUND, none, err);
}

tr_status tr_subject_delete(tr_db *tx, const tr_uuid *id, tr_error *err) {
    tr_status st = tr_subject_delete_rows(tx, id, err);
    return st == TR_OK ? tr_key_destroy(tx, id, NULL, err) : st;
}

tr_status tr_subject_ids(tr_db *db, const tr_uuid *after, int limit, tr_uuid_fn fn, void *context,
                         tr_error *err) {
    tr_query q;
    tr_status st = tr_query_begin(db, TR_DB_VAULT, sql_ids, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_after(&q, 1, after);
    tr_bind_int(&q, 2, limit);
    return tr_query_ids(&q, fn, context, err);
}
