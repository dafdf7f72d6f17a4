/* The outbox: notices to recipients. They outlive their subject, of which they hold the id only. */
#include "store/sqlcipher/engine.h"

#define STORED  "id, recipient, subject, request, kind, doc, created_at, attempts, next_at, sent_at"
#define COLUMNS STORED ", problem"

static const char sql_insert[] =
    "INSERT INTO notices (" STORED ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
static const char sql_list[] =
    "SELECT " COLUMNS " FROM notices WHERE request = ?1 AND id > ?2 ORDER BY id LIMIT ?3";
static const char sql_get[] = "SELECT " COLUMNS " FROM notices WHERE id = ?1";
static const char sql_any[] = "SELECT " COLUMNS " FROM notices WHERE id > ?1 ORDER BY id LIMIT ?2";
static const char sql_waiting[] =
    "SELECT " COLUMNS " FROM notices WHERE next_at <> 0 AND id > ?1 ORDER BY id LIMIT ?2";
static const char sql_sent[] =
    "SELECT " COLUMNS " FROM notices WHERE sent_at <> 0 AND id > ?1 ORDER BY id LIMIT ?2";
static const char sql_dead[] =
    "SELECT " COLUMNS " FROM notices WHERE next_at = 0 AND sent_at = 0 AND id > ?1 ORDER BY id LIMIT ?2";
static const char sql_due[] =
    "SELECT " COLUMNS " FROM notices WHERE next_at <> 0 AND next_at <= ?1 ORDER BY next_at LIMIT ?2";
static const char sql_mark[] =
    "UPDATE notices SET attempts = ?2, next_at = ?3, sent_at = ?4, problem = ?5 WHERE id = ?1 AND next_at <> "
    "0";
static const char sql_hold[] =
    "UPDATE notices SET attempts = ?2, problem = '" TR_NOTICE_NO_CONTACT "', next_at = CASE WHEN EXISTS"
    " (SELECT 1 FROM contacts WHERE principal = recipient) THEN min(?3, ?4) ELSE ?3 END"
    " WHERE id = ?1 AND next_at <> 0";
static const char sql_put_off[] =
    "UPDATE notices SET next_at = ?2 WHERE recipient = ?1 AND next_at <> 0 AND next_at < ?2";
static const char sql_retry[] =
    "UPDATE notices SET attempts = 0, next_at = ?2, problem = '' WHERE id = ?1 AND sent_at = 0";
static const char sql_count_waiting[] = "SELECT count(*) FROM notices WHERE next_at <> 0";
static const char sql_count_dead[] = "SELECT count(*) FROM notices WHERE next_at = 0 AND sent_at = 0";
static const char sql_oldest[] =
    "SELECT ifnull(min(created_at), 0) FROM notices WHERE next_at <> 0 AND problem <> '" TR_NOTICE_NO_CONTACT
    "'";

static const char none[] = "no such notice";

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
                     .sent_at = tr_col_int(q, 9),
                     .problem = tr_col_text(q, 10)};
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

/* ---- sending ---- */

tr_status tr_notice_get(tr_db *db, const tr_uuid *id, tr_notice_fn fn, void *context, tr_error *err) {
    tr_query q;
    struct sink sink = {fn, context};
    tr_status st = tr_query_begin(db, TR_DB_VAULT, sql_get, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_uuid(&q, 1, id);
    return tr_query_one(&q, emit, &sink, none, err);
}

tr_status tr_notice_by_state(tr_db *db, tr_notice_state state, const tr_uuid *after, int limit,
                             tr_notice_fn fn, void *context, tr_error *err) {
    static const char *const lists[] = {[TR_NOTICE_ANY] = sql_any,
                                        [TR_NOTICE_WAITING] = sql_waiting,
                                        [TR_NOTICE_SENT] = sql_sent,
                                        [TR_NOTICE_DEAD] = sql_dead};
    tr_query q;
    struct sink sink = {fn, context};
    tr_status st = tr_query_begin(db, TR_DB_VAULT, lists[state], &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_after(&q, 1, after);
    tr_bind_int(&q, 2, limit);
    return tr_query_each(&q, emit, &sink, err);
}

tr_status tr_notice_due(tr_db *db, int64_t now, int limit, tr_notice_fn fn, void *context, tr_error *err) {
    tr_query q;
    struct sink sink = {fn, context};
    tr_status st = tr_query_begin(db, TR_DB_VAULT, sql_due, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_int(&q, 1, now);
    tr_bind_int(&q, 2, limit);
    return tr_query_each(&q, emit, &sink, err);
}

tr_status tr_notice_mark(tr_db *tx, const tr_notice *row, tr_error *err) {
    tr_query q;
    tr_status st = tr_query_write(tx, TR_DB_VAULT, sql_mark, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_uuid(&q, 1, &row->id);
    tr_bind_int(&q, 2, row->attempts);
    tr_bind_int(&q, 3, row->next_at);
    tr_bind_int(&q, 4, row->sent_at);
    tr_bind_text(&q, 5, row->problem);
    return tr_query_run_one(&q, TR_E_NOT_FOUND, none, err);
}

tr_status tr_notice_hold(tr_db *tx, const tr_notice *row, int64_t soon, tr_error *err) {
    tr_query q;
    tr_status st = tr_query_write(tx, TR_DB_VAULT, sql_hold, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_uuid(&q, 1, &row->id);
    tr_bind_int(&q, 2, row->attempts);
    tr_bind_int(&q, 3, row->next_at);
    tr_bind_int(&q, 4, soon);
    return tr_query_run_one(&q, TR_E_NOT_FOUND, none, err);
}

tr_status tr_notice_put_off(tr_db *tx, const tr_uuid *recipient, int64_t at, tr_error *err) {
    tr_query q;
    tr_status st = tr_query_write(tx, TR_DB_VAULT, sql_put_off, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_uuid(&q, 1, recipient);
    tr_bind_int(&q, 2, at);
    return tr_query_run(&q, NULL, err);
}

static tr_status see(void *context, const tr_notice *row, tr_error *err) {
    *(bool *)context = row->sent_at != 0;
    (void)err;
    return TR_OK;
}

tr_status tr_notice_retry(tr_db *tx, const tr_uuid *id, int64_t now, tr_error *err) {
    tr_query q;
    bool sent = false;
    tr_status st = tr_notice_get(tx, id, see, &sent, err);
    if (st == TR_OK && sent)
        st = tr_fail(err, TR_E_CONFLICT, NULL, "the notice was sent");
    if (st == TR_OK)
        st = tr_query_write(tx, TR_DB_VAULT, sql_retry, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_uuid(&q, 1, id);
    tr_bind_int(&q, 2, now);
    return tr_query_run(&q, NULL, err);
}

tr_status tr_notice_count(tr_db *db, tr_notice_counts *out, tr_error *err) {
    tr_status st = tr_count(db, TR_DB_VAULT, sql_count_waiting, NULL, &out->waiting, err);
    if (st == TR_OK)
        st = tr_count(db, TR_DB_VAULT, sql_count_dead, NULL, &out->dead, err);
    return st == TR_OK ? tr_count(db, TR_DB_VAULT, sql_oldest, NULL, &out->oldest, err) : st;
}
