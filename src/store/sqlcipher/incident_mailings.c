/* Telling data subjects of an incident: who is to be told, and who has been. */
#include "store/sqlcipher/engine.h"

#define COLUMNS                                                                                              \
    "id, incident, digest, doc, scope, subjects, upto, after, created_by, created_at, done_at, told, "       \
    "before, unreachable"

static const char sql_insert[] = "INSERT INTO incident_mailings (" COLUMNS
                                 ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)";
static const char sql_update[] =
    "UPDATE incident_mailings SET after = ?2, done_at = ?3, told = ?4, before = ?5, unreachable = ?6"
    " WHERE id = ?1 AND done_at = 0 AND after IS ?7";
static const char sql_list[] =
    "SELECT " COLUMNS " FROM incident_mailings WHERE incident = ?1 ORDER BY id DESC LIMIT ?2";
static const char sql_waiting[] =
    "SELECT " COLUMNS " FROM incident_mailings INDEXED BY incident_mailings_waiting WHERE done_at = 0"
    " ORDER BY id LIMIT 1";
static const char sql_told[] =
    "INSERT OR IGNORE INTO incident_told (incident, digest, subject) VALUES (?1, ?2, ?3)";

struct sink {
    tr_mailing_fn fn;
    void *context;
};

static tr_status emit(tr_query *q, void *context, tr_error *err) {
    const struct sink *sink = context;
    tr_mailing row = {.id = tr_col_uuid(q, 0),
                      .incident = tr_col_uuid(q, 1),
                      .doc = tr_col_text(q, 3),
                      .scope = tr_col_null(q, 4) ? NULL : tr_col_text(q, 4),
                      .upto = tr_col_int(q, 6),
                      .has_after = !tr_col_null(q, 7),
                      .after = tr_col_uuid(q, 7),
                      .created_by = tr_col_uuid(q, 8),
                      .created_at = tr_col_int(q, 9),
                      .done_at = tr_col_int(q, 10),
                      .told = tr_col_int(q, 11),
                      .before = tr_col_int(q, 12),
                      .unreachable = tr_col_int(q, 13)};
    tr_col_fixed(q, 2, row.digest, sizeof row.digest);
    if (!tr_col_null(q, 5))
        row.subjects = tr_col_blob(q, 5);
    tr_status st = tr_cols_ok(q, err);
    return st == TR_OK ? sink->fn(sink->context, &row, err) : st;
}

tr_status tr_mailing_insert(tr_db *tx, const tr_mailing *row, tr_error *err) {
    tr_query q;
    tr_status st = tr_query_write(tx, TR_DB_VAULT, sql_insert, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_uuid(&q, 1, &row->id);
    tr_bind_uuid(&q, 2, &row->incident);
    tr_bind_blob(&q, 3, row->digest, sizeof row->digest);
    tr_bind_text(&q, 4, row->doc);
    if (row->scope)
        tr_bind_text(&q, 5, row->scope);
    else
        tr_bind_blob(&q, 6, row->subjects.data, row->subjects.len);
    tr_bind_int(&q, 7, row->upto);
    tr_bind_uuid(&q, 8, row->has_after ? &row->after : NULL);
    tr_bind_uuid(&q, 9, &row->created_by);
    tr_bind_int(&q, 10, row->created_at);
    tr_bind_int(&q, 11, row->done_at);
    tr_bind_int(&q, 12, row->told);
    tr_bind_int(&q, 13, row->before);
    tr_bind_int(&q, 14, row->unreachable);
    return tr_query_run(&q, NULL, err);
}

tr_status tr_mailing_update(tr_db *tx, const tr_mailing *row, const tr_uuid *before_after, tr_error *err) {
    tr_query q;
    tr_status st = tr_query_write(tx, TR_DB_VAULT, sql_update, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_uuid(&q, 1, &row->id);
    tr_bind_uuid(&q, 2, row->has_after ? &row->after : NULL);
    tr_bind_int(&q, 3, row->done_at);
    tr_bind_int(&q, 4, row->told);
    tr_bind_int(&q, 5, row->before);
    tr_bind_int(&q, 6, row->unreachable);
    tr_bind_uuid(&q, 7, before_after);
    return tr_query_run_one(&q, TR_E_PRECONDITION, "the mailing is elsewhere by now", err);
}

tr_status tr_mailing_list(tr_db *db, const tr_uuid *incident, int limit, tr_mailing_fn fn, void *context,
                          tr_error *err) {
    tr_query q;
    struct sink sink = {fn, context};
    tr_status st = tr_query_begin(db, TR_DB_VAULT, sql_list, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_uuid(&q, 1, incident);
    tr_bind_int(&q, 2, limit);
    return tr_query_each(&q, emit, &sink, err);
}

tr_status tr_mailing_waiting(tr_db *db, tr_mailing_fn fn, void *context, tr_error *err) {
    tr_query q;
    struct sink sink = {fn, context};
    tr_status st = tr_query_begin(db, TR_DB_VAULT, sql_waiting, &q, err);
    return st == TR_OK ? tr_query_one(&q, emit, &sink, "no mailing is under way", err) : st;
}

tr_status tr_told_add(tr_db *tx, const tr_uuid *incident, const uint8_t digest[32], const tr_uuid *subject,
                      bool *fresh, tr_error *err) {
    tr_query q;
    int64_t changed = 0;
    tr_status st = tr_query_write(tx, TR_DB_VAULT, sql_told, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_uuid(&q, 1, incident);
    tr_bind_blob(&q, 2, digest, 32);
    tr_bind_uuid(&q, 3, subject);
    st = tr_query_run(&q, &changed, err);
    *fresh = changed > 0;
    return st;
}
