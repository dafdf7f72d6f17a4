/* The blind index: which records have a field with this MAC. */
#include "store/sqlcipher/engine.h"

static const char sql_field[] = "SELECT number FROM index_fields WHERE type = ?1 AND pointer = ?2";
static const char sql_field_new[] = "INSERT INTO index_fields (type, pointer) VALUES (?1, ?2)";
/* A value that stands twice in a record (in an array) has one entry. */
static const char sql_insert[] =
    "INSERT OR IGNORE INTO index_entries (field, mac, id, record) VALUES (?1, ?2, ?3, ?4)";
static const char sql_delete[] = "DELETE FROM index_entries WHERE record = ?1";
static const char sql_find[] =
    "SELECT r.id, r.subject, r.type, r.version, r.created_at, r.updated_at, r.updated_by, x''"
    " FROM index_fields f CROSS JOIN index_entries e ON e.field = f.number CROSS JOIN records r ON r.row = "
    "e.record"
    " WHERE f.type = ?1 AND f.pointer = ?2 AND e.mac = ?3 AND e.id > ?4"
    " AND NOT EXISTS (SELECT 1 FROM erasures x WHERE x.subject = r.subject) ORDER BY e.id LIMIT ?5";

static tr_status field_with(tr_db *tx, const char *sql, const char *type, const char *field, tr_query *q,
                            tr_error *err) {
    tr_status st = tr_query_write(tx, TR_DB_VAULT, sql, q, err);
    if (st == TR_OK) {
        tr_bind_text(q, 1, type);
        tr_bind_text(q, 2, field);
    }
    return st;
}

static tr_status number_of(tr_db *tx, const char *type, const char *field, int64_t *number, tr_error *err) {
    tr_query q;
    tr_status st = field_with(tx, sql_field, type, field, &q, err);
    if (st == TR_OK)
        st = tr_query_int(&q, number, err);
    if (st != TR_E_NOT_FOUND)
        return st;
    st = field_with(tx, sql_field_new, type, field, &q, err);
    if (st == TR_OK)
        st = tr_query_run(&q, NULL, err);
    if (st == TR_OK)
        *number = sqlite3_last_insert_rowid(q.conn->handle);
    return st;
}

tr_status tr_index_insert(tr_db *tx, int64_t record, const tr_uuid *id, const char *type,
                          const tr_index_entry *index, size_t count, tr_error *err) {
    tr_status st = TR_OK;
    for (size_t i = 0; i < count && st == TR_OK; i++) {
        tr_query q;
        int64_t field = 0;
        st = number_of(tx, type, index[i].field, &field, err);
        if (st == TR_OK)
            st = tr_query_write(tx, TR_DB_VAULT, sql_insert, &q, err);
        if (st != TR_OK)
            break;
        tr_bind_int(&q, 1, field);
        tr_bind_blob(&q, 2, index[i].mac, sizeof index[i].mac);
        tr_bind_uuid(&q, 3, id);
        tr_bind_int(&q, 4, record);
        st = tr_query_run(&q, NULL, err);
    }
    return st;
}

tr_status tr_index_delete(tr_db *tx, int64_t record, tr_error *err) {
    tr_query q;
    tr_status st = tr_query_write(tx, TR_DB_VAULT, sql_delete, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_int(&q, 1, record);
    return tr_query_run(&q, NULL, err);
}

tr_status tr_index_find(tr_db *db, const char *type, const char *field, const uint8_t mac[16],
                        const tr_uuid *after, int limit, tr_record_fn fn, void *context, tr_error *err) {
    tr_query q;
    tr_record_sink sink = {fn, context};
    tr_status st = tr_query_begin(db, TR_DB_VAULT, sql_find, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_text(&q, 1, type);
    tr_bind_text(&q, 2, field);
    tr_bind_blob(&q, 3, mac, 16);
    tr_bind_after(&q, 4, after);
    tr_bind_int(&q, 5, limit);
    return tr_query_each(&q, tr_record_emit, &sink, err);
}
