/* The outbox: notices to recipients. They outlive their subject, of which they hold the id only. */
#include "store/sqlcipher/engine.h"

#define COLUMNS "id, recipient, subject, request, kind, doc, created_at, attempts, next_at, sent_at"

static const char sql_insert[] =
    "INSERT INTO notices (" COLUMNS ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
static const char sql_list[] =
    "SELECT " COLUMNS " FROM notices WHERE request = ?1 AND id > ?2 ORDER BY id LIMIT ?3";

struct sink {
    tr_notice_fn fn;
    void *context;
};

static tr_status emit(tr_query *q, void *context, tr_error *err) {
    const struct sink *sink = context;
    tr_notice row = {.id = tr_col_uuid(q, 0),
                     .recipient = tr_col_uuid(q, 1),
                     .has_subject = !tr_col_null(q, 2),
                     .has_request = !tr_col_null(q, 3),
                     .kind = tr_col_text(q, 4),
                     .doc = tr_col_text(q, 5),
                     .created_at = tr_col_int(q, 6),
                     .attempts = tr_col_int(q, 7),
                     .next_at = tr_col_int(q, 8),
                     .sent_at = tr_col_int(q, 9)};
    if (row.has_subject)
        row.subject = tr_col_uuid(q, 2);
    if (row.has_request)
        row.request = tr_col_uuid(q, 3);
    tr_status st = tr_cols_ok(q, err);
    return st == TR_OK ? sink->fn(sink->context, &row, err) : st;
}

tr_status tr_notice_insert(tr_db *tx, const tr_notice *row, tr_error *err) {
    tr_query q;
    tr_status st = tr_query_write(tx, TR_DB_VAULT, sql_insert, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_uuid(&q, 1, &row->id);
    tr_bind_uuid(&q, 2, &row->recipient);
    tr_bind_uuid(&q, 3, row->has_subject ? &row->subject : NULL);
    tr_bind_uuid(&q, 4, row->has_request ? &row->request : NULL);
    tr_bind_text(&q, 5, row->kind);
    tr_bind_text(&q, 6, row->doc);
    tr_bind_int(&q, 7, row->created_at);
    tr_bind_int(&q, 8, row->attempts);
    tr_bind_int(&q, 9, row->next_at);
    tr_bind_int(&q, 10, row->sent_at);
    return tr_query_run(&q, NULL, err);
}

tr_status tr_notice_list(tr_db *db, const tr_uuid *request, const tr_uuid *after, int limit, tr_notice_fn fn,
                         void *context, tr_error *err) {
    tr_query q;
    struct sink sink = {fn, context};
    tr_status st = tr_query_begin(db, TR_DB_VAULT, sql_list, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_uuid(&q, 1, request);
    tr_bind_after(&q, 2, after);
    tr_bind_int(&q, 3, limit);
    return tr_query_each(&q, emit, &sink, err);
}
