/* Records with their history. */
#include <stdio.h>
#include <string.h>

#include "store/sqlcipher/engine.h"

#define COLUMNS  "r.id, r.subject, r.type, r.version, r.created_at, r.updated_at, r.updated_by, r.sealed"
#define TYPE_MAX 256

static const char sql_insert[] =
    "INSERT INTO records (id, subject, type, version, created_at, updated_at, updated_by, sealed)"
    " SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8 WHERE NOT EXISTS (SELECT 1 FROM erasures WHERE subject = ?2)";
static const char sql_missing[] =
    "SELECT CASE WHEN NOT EXISTS (SELECT 1 FROM subjects WHERE id = ?1 AND erasing_at = 0) THEN 1"
    " WHEN NOT EXISTS (SELECT 1 FROM types WHERE name = ?2) THEN 2 ELSE 0 END";
static const char sql_get[] = "SELECT " COLUMNS " FROM records r WHERE r.subject = ?1 AND r.id = ?2";
static const char sql_find[] = "SELECT row, version, type FROM records WHERE subject = ?1 AND id = ?2";
static const char sql_keep[] =
    "INSERT INTO record_versions (record, version, updated_at, updated_by, sealed)"
    " SELECT row, version, updated_at, updated_by, sealed FROM records WHERE row = ?1";
static const char sql_trim[] = "DELETE FROM record_versions WHERE record = ?1 AND version < ?2";
static const char sql_update[] =
    "UPDATE records SET version = ?2, updated_at = ?3, updated_by = ?4, sealed = ?5 WHERE row = ?1";
static const char sql_delete[] = "DELETE FROM records WHERE row = ?1";
static const char sql_list[] = "SELECT " COLUMNS " FROM records r INDEXED BY records_subject"
                               " WHERE r.subject = ?1 AND r.id > ?2 ORDER BY r.id LIMIT ?3";
static const char sql_list_type[] =
    "SELECT " COLUMNS " FROM records r INDEXED BY records_subject"
    " WHERE r.subject = ?1 AND r.id > ?2 AND r.type = ?4 ORDER BY r.id LIMIT ?3";
static const char sql_versions[] =
    "SELECT r.id, r.subject, r.type, v.version, r.created_at, v.updated_at, v.updated_by, v.sealed"
    " FROM records r CROSS JOIN record_versions v ON v.record = r.row WHERE r.id = ?1 ORDER BY v.version "
    "DESC LIMIT ?2";

static const char sql_count[] = "SELECT count(*) FROM records WHERE subject = ?1";
static const char sql_count_versions[] = "SELECT count(*) FROM records r INDEXED BY records_subject"
                                         " CROSS JOIN record_versions v ON v.record = r.row"
                                         " WHERE r.subject = ?1";

static const char none[] = "no such record";

/* ---- reading ---- */

tr_status tr_record_emit(tr_query *q, void *context, tr_error *err) {
    tr_record_sink *sink = context;
    tr_record row = {.id = tr_col_uuid(q, 0),
                     .subject = tr_col_uuid(q, 1),
                     .type = tr_col_text(q, 2),
                     .version = tr_col_int(q, 3),
                     .created_at = tr_col_int(q, 4),
                     .updated_at = tr_col_int(q, 5),
                     .updated_by = tr_col_uuid(q, 6),
                     .sealed = tr_col_blob(q, 7)};
    tr_status st = tr_cols_ok(q, err);
    return st == TR_OK ? sink->fn(sink->context, &row, err) : st;
}

tr_status tr_record_get(tr_db *db, const tr_uuid *subject, const tr_uuid *id, tr_record_fn fn, void *context,
                        tr_error *err) {
    tr_query q;
    tr_record_sink sink = {fn, context};
    tr_status st = tr_query_begin(db, TR_DB_VAULT, sql_get, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_uuid(&q, 1, subject);
    tr_bind_uuid(&q, 2, id);
    return tr_query_one(&q, tr_record_emit, &sink, none, err);
}

tr_status tr_record_list(tr_db *db, const tr_uuid *subject, const char *type, const tr_uuid *after, int limit,
                         tr_record_fn fn, void *context, tr_error *err) {
    tr_query q;
    tr_record_sink sink = {fn, context};
    tr_status st = tr_query_begin(db, TR_DB_VAULT, type ? sql_list_type : sql_list, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_uuid(&q, 1, subject);
    tr_bind_after(&q, 2, after);
    tr_bind_int(&q, 3, limit);
    if (type)
        tr_bind_text(&q, 4, type);
    return tr_query_each(&q, tr_record_emit, &sink, err);
}

tr_status tr_record_versions(tr_db *db, const tr_uuid *id, int limit, tr_record_fn fn, void *context,
                             tr_error *err) {
    tr_query q;
    tr_record_sink sink = {fn, context};
    tr_status st = tr_query_begin(db, TR_DB_VAULT, sql_versions, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_uuid(&q, 1, id);
    tr_bind_int(&q, 2, limit);
    return tr_query_each(&q, tr_record_emit, &sink, err);
}

/* ---- writing ---- */

static tr_status name_missing(tr_db *tx, const tr_record *row, tr_error *err) {
    tr_query q;
    int64_t which = 0;
    tr_status st = tr_query_begin(tx, TR_DB_VAULT, sql_missing, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_uuid(&q, 1, &row->subject);
    tr_bind_text(&q, 2, row->type);
    st = tr_query_int(&q, &which, err);
    if (st != TR_OK)
        return st;
    const char *what = which == 1 ? "subject" : "type";
    return tr_fail(err, TR_E_NOT_FOUND, what, "no such %s", what);
}

tr_status tr_record_insert(tr_db *tx, const tr_record *row, const tr_index_entry *index, size_t index_count,
                           tr_error *err) {
    tr_query q;
    tr_status st = tr_query_write(tx, TR_DB_VAULT, sql_insert, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_uuid(&q, 1, &row->id);
    tr_bind_uuid(&q, 2, &row->subject);
    tr_bind_text(&q, 3, row->type);
    tr_bind_int(&q, 4, row->version);
    tr_bind_int(&q, 5, row->created_at);
    tr_bind_int(&q, 6, row->updated_at);
    tr_bind_uuid(&q, 7, &row->updated_by);
    tr_bind_blob(&q, 8, row->sealed.data, row->sealed.len);
    st = tr_query_run_one(&q, TR_E_NOT_FOUND, "no such subject", err);
    if (st == TR_E_NOT_FOUND)
        return name_missing(tx, row, err);
    if (st != TR_OK)
        return st;
    int64_t number = sqlite3_last_insert_rowid(q.conn->handle);
    return tr_index_insert(tx, number, &row->id, row->type, index, index_count, err);
}

struct stored { /* what is needed of a row before it is changed */
    int64_t number, version;
    char type[TYPE_MAX];
};

static tr_status take_stored(tr_query *q, void *context, tr_error *err) {
    struct stored *s = context;
    s->number = tr_col_int(q, 0);
    s->version = tr_col_int(q, 1);
    q->bad |= snprintf(s->type, sizeof s->type, "%s", tr_col_text(q, 2)) >= TYPE_MAX;
    return tr_cols_ok(q, err);
}

static tr_status find(tr_db *tx, const tr_uuid *subject, const tr_uuid *id, int64_t version,
                      struct stored *stored, tr_error *err) {
    tr_query q;
    tr_status st = tr_query_write(tx, TR_DB_VAULT, sql_find, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_uuid(&q, 1, subject);
    tr_bind_uuid(&q, 2, id);
    st = tr_query_one(&q, take_stored, stored, none, err);
    if (st == TR_OK && version && version != stored->version)
        st = tr_fail(err, TR_E_PRECONDITION, NULL, "the record has another version");
    return st;
}

static tr_status with_number(tr_db *tx, const char *sql, int64_t number, const int64_t *second,
                             tr_error *err) {
    tr_query q;
    tr_status st = tr_query_write(tx, TR_DB_VAULT, sql, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_int(&q, 1, number);
    if (second)
        tr_bind_int(&q, 2, *second);
    return tr_query_run(&q, NULL, err);
}

static tr_status replace(tr_db *tx, int64_t number, const tr_record *row, tr_error *err) {
    tr_query q;
    tr_status st = tr_query_write(tx, TR_DB_VAULT, sql_update, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_int(&q, 1, number);
    tr_bind_int(&q, 2, row->version);
    tr_bind_int(&q, 3, row->updated_at);
    tr_bind_uuid(&q, 4, &row->updated_by);
    tr_bind_blob(&q, 5, row->sealed.data, row->sealed.len);
    return tr_query_run(&q, NULL, err);
}

/* The type and the time of creation stay what they are. */
tr_status tr_record_update(tr_db *tx, const tr_record *row, int64_t keep, const tr_index_entry *index,
                           size_t index_count, tr_error *err) {
    struct stored stored;
    if (row->version < 2)
        return tr_fail(err, TR_E_PRECONDITION, NULL, "the record has another version");
    int64_t oldest = row->version - keep; /* of the history that stays */
    tr_status st = find(tx, &row->subject, &row->id, row->version - 1, &stored, err);
    if (st == TR_OK && keep > 0)
        st = with_number(tx, sql_keep, stored.number, NULL, err);
    if (st == TR_OK)
        st = with_number(tx, sql_trim, stored.number, &oldest, err);
    if (st == TR_OK)
        st = replace(tx, stored.number, row, err);
    if (st == TR_OK)
        st = tr_index_delete(tx, stored.number, err);
    return st == TR_OK ? tr_index_insert(tx, stored.number, &row->id, stored.type, index, index_count, err)
                       : st;
}

tr_status tr_record_delete(tr_db *tx, const tr_uuid *subject, const tr_uuid *id, int64_t version,
                           tr_error *err) {
    struct stored stored;
    tr_status st = find(tx, subject, id, version, &stored, err);
    return st == TR_OK ? with_number(tx, sql_delete, stored.number, NULL, err) : st;
}

static tr_status count_of(tr_db *db, const char *sql, const tr_uuid *subject, int64_t *count, tr_error *err) {
    tr_query q;
    tr_status st = tr_query_begin(db, TR_DB_VAULT, sql, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_uuid(&q, 1, subject);
    return tr_query_int(&q, count, err);
}

tr_status tr_record_count(tr_db *db, const tr_uuid *subject, int64_t *records, int64_t *versions,
                          tr_error *err) {
    tr_status st = count_of(db, sql_count, subject, records, err);
    return st == TR_OK ? count_of(db, sql_count_versions, subject, versions, err) : st;
}
