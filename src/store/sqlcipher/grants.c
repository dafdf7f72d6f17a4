/* Grants: what a subject lets a service do, for which purpose. */
#include "store/sqlcipher/engine.h"

#define COLUMNS                                                                                              \
    "g.id, g.subject, g.grantee, g.activity, g.types, g.fields, g.masked, g.actions, g.created_at, "         \
    "g.expires_at,"                                                                                          \
    " g.withdrawn_at"

static const char sql_insert[] = "INSERT INTO grants (id, subject, grantee, activity, types, fields, masked, "
                                 "actions, created_at, expires_at,"
                                 " withdrawn_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
/* Which of the three it refers to is missing: the first of them, or nothing. */
static const char sql_missing[] =
    "SELECT CASE WHEN NOT EXISTS (SELECT 1 FROM subjects WHERE id = ?1 AND erasing_at = 0) THEN 1"
    " WHEN NOT EXISTS (SELECT 1 FROM principals WHERE id = ?2) THEN 2"
    " WHEN NOT EXISTS (SELECT 1 FROM activities WHERE id = ?3) THEN 3 ELSE 0 END";
static const char sql_get[] = "SELECT " COLUMNS " FROM grants g WHERE g.subject = ?1 AND g.id = ?2";
static const char sql_withdraw[] =
    "UPDATE grants SET withdrawn_at = CASE withdrawn_at WHEN 0 THEN ?3 ELSE withdrawn_at END"
    " WHERE subject = ?1 AND id = ?2";
static const char sql_withdraw_all[] =
    "UPDATE grants SET withdrawn_at = ?3 WHERE subject = ?1 AND activity = ?2 AND withdrawn_at = 0"
    " AND (expires_at = 0 OR expires_at > ?3) RETURNING grantee";
static const char sql_list[] =
    "SELECT " COLUMNS " FROM grants g WHERE g.subject = ?1 AND g.id > ?2 ORDER BY g.id LIMIT ?3";
/* A subject's grants lie side by side: one descent, and one for the activity of each that fits. */
static const char sql_live[] =
    "SELECT " COLUMNS " FROM grants g WHERE g.subject = ?1 AND g.grantee = ?2 AND g.withdrawn_at = 0"
    " AND (g.expires_at = 0 OR g.expires_at > ?3)"
    " AND EXISTS (SELECT 1 FROM activities a WHERE a.id = g.activity AND a.ended_at = 0"
    " AND (a.expires_at = 0 OR a.expires_at > ?3)) ORDER BY g.id";

static const char none[] = "no such grant";

struct sink {
    tr_grant_fn fn;
    void *context;
};

static tr_status emit(tr_query *q, void *context, tr_error *err) {
    struct sink *sink = context;
    tr_grant row = {.id = tr_col_uuid(q, 0),
                    .subject = tr_col_uuid(q, 1),
                    .grantee = tr_col_uuid(q, 2),
                    .activity = tr_col_uuid(q, 3),
                    .types = tr_col_text(q, 4),
                    .fields = tr_col_text(q, 5),
                    .masked = tr_col_int(q, 6) != 0,
                    .actions = (int)tr_col_int(q, 7),
                    .created_at = tr_col_int(q, 8),
                    .expires_at = tr_col_int(q, 9),
                    .withdrawn_at = tr_col_int(q, 10)};
    tr_status st = tr_cols_ok(q, err);
    return st == TR_OK ? sink->fn(sink->context, &row, err) : st;
}

static tr_status check_links(tr_db *tx, const tr_grant *row, tr_error *err) {
    static const char *const missing[] = {"", "subject", "grantee", "activity"};
    tr_query q;
    int64_t which = 0;
    tr_status st = tr_query_begin(tx, TR_DB_VAULT, sql_missing, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_uuid(&q, 1, &row->subject);
    tr_bind_uuid(&q, 2, &row->grantee);
    tr_bind_uuid(&q, 3, &row->activity);
    st = tr_query_int(&q, &which, err);
    return st == TR_OK && which ? tr_fail(err, TR_E_NOT_FOUND, missing[which], "no such %s", missing[which])
                                : st;
}

tr_status tr_grant_insert(tr_db *tx, const tr_grant *row, tr_error *err) {
    tr_query q;
    tr_status st = check_links(tx, row, err);
    if (st == TR_OK)
        st = tr_query_write(tx, TR_DB_VAULT, sql_insert, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_uuid(&q, 1, &row->id);
    tr_bind_uuid(&q, 2, &row->subject);
    tr_bind_uuid(&q, 3, &row->grantee);
    tr_bind_uuid(&q, 4, &row->activity);
    tr_bind_text(&q, 5, row->types);
    tr_bind_text(&q, 6, row->fields);
    tr_bind_int(&q, 7, row->masked);
    tr_bind_int(&q, 8, row->actions);
    tr_bind_int(&q, 9, row->created_at);
    tr_bind_int(&q, 10, row->expires_at);
    tr_bind_int(&q, 11, row->withdrawn_at);
    return tr_query_run(&q, NULL, err);
}

tr_status tr_grant_get(tr_db *db, const tr_uuid *subject, const tr_uuid *id, tr_grant_fn fn, void *context,
                       tr_error *err) {
    tr_query q;
    struct sink sink = {fn, context};
    tr_status st = tr_query_begin(db, TR_DB_VAULT, sql_get, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_uuid(&q, 1, subject);
    tr_bind_uuid(&q, 2, id);
    return tr_query_one(&q, emit, &sink, none, err);
}

tr_status tr_grant_withdraw(tr_db *tx, const tr_uuid *subject, const tr_uuid *id, int64_t at, tr_error *err) {
    tr_query q;
    tr_status st = tr_query_write(tx, TR_DB_VAULT, sql_withdraw, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_uuid(&q, 1, subject);
    tr_bind_uuid(&q, 2, id);
    tr_bind_int(&q, 3, at);
    return tr_query_run_one(&q, TR_E_NOT_FOUND, none, err);
}

tr_status tr_grant_withdraw_all(tr_db *tx, const tr_uuid *subject, const tr_uuid *activity, int64_t at,
                                tr_uuid_fn fn, void *context, tr_error *err) {
    tr_query q;
    tr_status st = tr_query_write(tx, TR_DB_VAULT, sql_withdraw_all, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_uuid(&q, 1, subject);
    tr_bind_uuid(&q, 2, activity);
    tr_bind_int(&q, 3, at);
    return tr_query_ids(&q, fn, context, err);
}

tr_status tr_grant_list(tr_db *db, const tr_uuid *subject, const tr_uuid *after, int limit, tr_grant_fn fn,
                        void *context, tr_error *err) {
    tr_query q;
    struct sink sink = {fn, context};
    tr_status st = tr_query_begin(db, TR_DB_VAULT, sql_list, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_uuid(&q, 1, subject);
    tr_bind_after(&q, 2, after);
    tr_bind_int(&q, 3, limit);
    return tr_query_each(&q, emit, &sink, err);
}

tr_status tr_grant_live(tr_db *db, const tr_uuid *subject, const tr_uuid *grantee, int64_t now,
                        tr_grant_fn fn, void *context, tr_error *err) {
    tr_query q;
    struct sink sink = {fn, context};
    tr_status st = tr_query_begin(db, TR_DB_VAULT, sql_live, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_uuid(&q, 1, subject);
    tr_bind_uuid(&q, 2, grantee);
    tr_bind_int(&q, 3, now);
    return tr_query_each(&q, emit, &sink, err);
}
