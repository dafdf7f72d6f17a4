/* Sessions: one row a chain of tokens, with the turns (turns.c) that are not in it yet. */
#include <stdio.h>
#include <string.h>

#include "store/sqlcipher/engine.h"

#define HOUR_MS 3600000
#define COLUMNS                                                                                              \
    "client, principal, current, previous, previous_at, request, created_at, used_at, lane, origin"

static const char sql_insert[] = "INSERT INTO sessions (" COLUMNS ", used_hour)"
                                 " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
static const char sql_exists[] = "SELECT 1 FROM sessions WHERE client = ?1";
static const char sql_get[] = "SELECT " COLUMNS " FROM sessions WHERE client = ?1";
/* Within the same hour no index changes. */
static const char sql_update[] =
    "UPDATE sessions SET current = ?2, previous = ?3, previous_at = ?4, request = ?5,"
    " used_at = ?6 WHERE client = ?1 AND used_hour = ?7";
static const char sql_update_hour[] =
    "UPDATE sessions SET current = ?2, previous = ?3, previous_at = ?4, request = ?5,"
    " used_at = ?6, used_hour = ?7 WHERE client = ?1";
static const char sql_delete[] = "DELETE FROM sessions WHERE client = ?1";
static const char sql_delete_all[] = "DELETE FROM sessions WHERE principal = ?1 AND client <> ?2";
static const char sql_list[] = "SELECT " COLUMNS " FROM sessions WHERE principal = ?1 ORDER BY client";
static const char sql_count[] = "SELECT count(*) FROM sessions WHERE principal = ?1";
static const char sql_sweep_idle[] =
    "DELETE FROM sessions WHERE client IN"
    " (SELECT client FROM sessions WHERE used_hour <= ?2 AND used_at < ?1 ORDER BY used_hour LIMIT ?3)";
static const char sql_sweep_old[] =
    "DELETE FROM sessions WHERE client IN"
    " (SELECT client FROM sessions WHERE created_at < ?1 ORDER BY created_at LIMIT ?2)";

static const char none[] = "no such session";

static int64_t hour_of(int64_t ms) {
    return ms / HOUR_MS;
}

/* A hash of zeros stands for none, and takes no room. */
static void bind_hash(tr_query *q, int at, const uint8_t hash[32]) {
    static const uint8_t zero[32];
    if (memcmp(hash, zero, sizeof zero) != 0)
        tr_bind_blob(q, at, hash, sizeof zero);
}

static tr_status read_row(tr_query *q, tr_session *row, tr_error *err) {
    memset(row, 0, sizeof *row);
    int a = snprintf(row->client, sizeof row->client, "%s", tr_col_text(q, 0));
    row->principal = tr_col_uuid(q, 1);
    tr_col_fixed(q, 2, row->current, sizeof row->current);
    tr_col_fixed(q, 3, row->previous, sizeof row->previous);
    row->previous_at = tr_col_int(q, 4);
    tr_col_fixed(q, 5, row->request, sizeof row->request);
    row->created_at = tr_col_int(q, 6);
    row->used_at = tr_col_int(q, 7);
    row->lane = tr_col_int(q, 8) != 0;
    int b = snprintf(row->origin, sizeof row->origin, "%s", tr_col_text(q, 9));
    q->bad |= a >= (int)sizeof row->client || b >= (int)sizeof row->origin;
    return tr_cols_ok(q, err);
}

tr_status tr_session_insert(tr_db *tx, const tr_session *row, tr_error *err) {
    tr_query q;
    tr_status st = tr_query_write(tx, TR_DB_VAULT, sql_insert, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_text(&q, 1, row->client);
    tr_bind_uuid(&q, 2, &row->principal);
    tr_bind_blob(&q, 3, row->current, sizeof row->current);
    bind_hash(&q, 4, row->previous);
    tr_bind_int(&q, 5, row->previous_at);
    bind_hash(&q, 6, row->request);
    tr_bind_int(&q, 7, row->created_at);
    tr_bind_int(&q, 8, row->used_at);
    tr_bind_int(&q, 9, row->lane);
    tr_bind_text(&q, 10, row->origin);
    tr_bind_int(&q, 11, hour_of(row->used_at));
    st = tr_query_run(&q, NULL, err);
    return st == TR_E_NOT_FOUND ? tr_fail(err, st, "principal", "no such principal") : st;
}

static tr_status take(tr_query *q, void *row, tr_error *err) {
    return read_row(q, row, err);
}

tr_status tr_session_get(tr_db *db, const char *client, tr_session *row, tr_error *err) {
    tr_query q;
    tr_turn turn;
    tr_status st = tr_query_begin(db, TR_DB_VAULT, sql_get, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_text(&q, 1, client);
    tr_turns_look(db, client, &turn);
    st = tr_query_one(&q, take, row, none, err);
    tr_turn_apply(&turn, row);
    return st;
}

static tr_status update_with(tr_db *tx, const char *sql, const tr_session *row, int64_t *changed,
                             tr_error *err) {
    tr_query q;
    tr_status st = tr_query_write(tx, TR_DB_VAULT, sql, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_text(&q, 1, row->client);
    tr_bind_blob(&q, 2, row->current, sizeof row->current);
    bind_hash(&q, 3, row->previous);
    tr_bind_int(&q, 4, row->previous_at);
    bind_hash(&q, 5, row->request);
    tr_bind_int(&q, 6, row->used_at);
    tr_bind_int(&q, 7, hour_of(row->used_at));
    return tr_query_run(&q, changed, err);
}

static tr_status there(tr_query *q, void *context, tr_error *err) {
    (void)context;
    return tr_cols_ok(q, err);
}

static tr_status still_there(tr_db *tx, const tr_session *row, tr_error *err) {
    tr_query q;
    tr_status st = tr_query_begin(tx, TR_DB_VAULT, sql_exists, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_text(&q, 1, row->client);
    return tr_query_one(&q, there, NULL, none, err);
}

/* A group of reads alone so leaves the vault alone. */
tr_status tr_session_update(tr_db *tx, const tr_session *row, tr_error *err) {
    if (!tx->group)
        return tr_fail(err, TR_E_INTERNAL, NULL, "a write outside a job");
    tr_status st = tr_edition_stands(tx, row->seen) ? TR_OK : still_there(tx, row, err);
    return st == TR_OK ? tr_turns_add(tx, row, err) : st;
}

tr_status tr_session_fold(tr_db *tx, const tr_session *row, tr_error *err) {
    int64_t changed = 0;
    tr_status st = update_with(tx, sql_update, row, &changed, err);
    if (st == TR_OK && changed == 0)
        st = update_with(tx, sql_update_hour, row, &changed, err);
    return st == TR_OK && changed == 0 ? tr_fail(err, TR_E_NOT_FOUND, NULL, "%s", none) : st;
}

tr_status tr_session_delete(tr_db *tx, const char *client, tr_error *err) {
    tr_query q;
    tr_status st = tr_query_write(tx, TR_DB_VAULT, sql_delete, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_text(&q, 1, client);
    return tr_query_run_one(&q, TR_E_NOT_FOUND, none, err);
}

tr_status tr_session_delete_all(tr_db *tx, const tr_uuid *principal, const char *keep, int64_t *count,
                                tr_error *err) {
    tr_query q;
    tr_status st = tr_query_write(tx, TR_DB_VAULT, sql_delete_all, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_uuid(&q, 1, principal);
    tr_bind_text(&q, 2, keep ? keep : "");
    return tr_query_run(&q, count, err);
}

struct sink {
    tr_db *db;
    tr_session_fn fn;
    void *context;
};

static tr_status emit(tr_query *q, void *context, tr_error *err) {
    struct sink *sink = context;
    tr_session row;
    tr_turn turn;
    tr_status st = read_row(q, &row, err);
    if (st != TR_OK)
        return st;
    tr_turns_look(sink->db, row.client, &turn);
    tr_turn_apply(&turn, &row);
    return sink->fn(sink->context, &row, err);
}

tr_status tr_session_list(tr_db *db, const tr_uuid *principal, tr_session_fn fn, void *context,
                          tr_error *err) {
    tr_query q;
    struct sink sink = {db, fn, context};
    tr_status st = tr_query_begin(db, TR_DB_VAULT, sql_list, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_uuid(&q, 1, principal);
    return tr_query_each(&q, emit, &sink, err);
}

tr_status tr_session_count(tr_db *db, const tr_uuid *principal, int64_t *count, tr_error *err) {
    tr_query q;
    tr_status st = tr_query_begin(db, TR_DB_VAULT, sql_count, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_uuid(&q, 1, principal);
    return tr_query_int(&q, count, err);
}

tr_status tr_session_sweep(tr_db *tx, int64_t idle_before, int64_t created_before, int limit, int64_t *count,
                           tr_error *err) {
    tr_query q;
    int64_t old = 0;
    *count = 0;
    tr_status st = tr_turns_write_rows(tx, err); /* who was used a moment ago is not idle */
    if (st == TR_OK)
        st = tr_query_write(tx, TR_DB_VAULT, sql_sweep_idle, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_int(&q, 1, idle_before);
    tr_bind_int(&q, 2, hour_of(idle_before));
    tr_bind_int(&q, 3, limit);
    st = tr_query_run(&q, count, err);
    if (st == TR_OK && *count < limit)
        st = tr_sweep(tx, sql_sweep_old, created_before, limit - (int)*count, &old, err);
    *count += old;
    return st;
}
