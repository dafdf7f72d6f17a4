/* Statements: prepared once a connection, bound, stepped, and put back. */
#include <string.h>

#include "store/sqlcipher/engine.h"

/* The place for this constant: its own, or a free one; NULL when the table is full. Constants do not move, so
 * the address stands for the text. */
static tr_statement *place_of(tr_conn *conn, const char *sql) {
    uintptr_t h = (uintptr_t)sql;
    h ^= h >> 7;
    for (size_t i = 0; i < TR_STATEMENTS; i++) {
        tr_statement *s = &conn->statements[(h + i) % TR_STATEMENTS];
        if (s->sql == sql || !s->sql)
            return s;
    }
    return NULL;
}

tr_status tr_query_on(tr_conn *conn, const char *sql, tr_query *q, tr_error *err) {
    tr_statement *place = place_of(conn, sql);
    *q = (tr_query){.conn = conn};
    if (place && place->raw && !sqlite3_stmt_busy(place->raw)) {
        q->raw = place->raw;
        q->kept = true;
    } else {
        bool keep = place && !place->raw; /* not when a callback runs the statement that it is called from */
        int rc =
            sqlite3_prepare_v3(conn->handle, sql, -1, keep ? SQLITE_PREPARE_PERSISTENT : 0, &q->raw, NULL);
        if (rc != SQLITE_OK)
            return tr_conn_fail(conn, rc, err);
        if (keep)
            *place = (tr_statement){sql, q->raw};
        q->kept = keep;
    }
    conn->running++;
    return TR_OK;
}

tr_status tr_query_begin(tr_db *db, tr_db_kind kind, const char *sql, tr_query *q, tr_error *err) {
    tr_conn *conn = NULL;
    tr_status st = tr_db_conn(db, kind, &conn, err);
    if (st == TR_OK)
        st = tr_query_on(conn, sql, q, err);
    if (st == TR_OK && db->group && !sqlite3_stmt_readonly(q->raw)) {
        st = tr_group_mark(db->group, conn, err);
        if (st != TR_OK)
            tr_query_end(q);
    }
    return st;
}

tr_status tr_query_write(tr_db *tx, tr_db_kind kind, const char *sql, tr_query *q, tr_error *err) {
    if (!tx->group) {
        (void)tr_fail(err, TR_E_INTERNAL, tr_db_name(kind), "a write outside a job");
        return TR_E_INTERNAL;
    }
    return tr_query_begin(tx, kind, sql, q, err);
}

void tr_query_end(tr_query *q) {
    if (!q->raw)
        return;
    if (q->kept) {
        sqlite3_reset(q->raw);
        sqlite3_clear_bindings(q->raw);
    } else {
        sqlite3_finalize(q->raw);
    }
    q->raw = NULL;
    q->conn->running--;
}

/* ---- binding ---- */

static void bound(tr_query *q, int rc) {
    if (q->rc == SQLITE_OK)
        q->rc = rc;
}

void tr_bind_int(tr_query *q, int at, int64_t value) {
    bound(q, sqlite3_bind_int64(q->raw, at, value));
}

void tr_bind_text(tr_query *q, int at, const char *text) {
    bound(q, sqlite3_bind_text(q->raw, at, text, -1, SQLITE_STATIC));
}

void tr_bind_text_len(tr_query *q, int at, tr_bytes text) {
    bound(q,
          sqlite3_bind_text64(q->raw, at, text.data ? text.data : "", text.len, SQLITE_STATIC, SQLITE_UTF8));
}

void tr_bind_blob(tr_query *q, int at, const void *bytes, size_t len) {
    /* A NULL pointer would bind NULL; an empty blob is what is meant. */
    bound(q, sqlite3_bind_blob64(q->raw, at, bytes ? bytes : "", len, SQLITE_STATIC));
}

void tr_bind_uuid(tr_query *q, int at, const tr_uuid *id) {
    bound(q, id ? sqlite3_bind_blob(q->raw, at, id->bytes, sizeof id->bytes, SQLITE_STATIC)
                : sqlite3_bind_null(q->raw, at));
}

void tr_bind_after(tr_query *q, int at, const tr_uuid *id) {
    tr_bind_blob(q, at, id ? id->bytes : NULL, id ? sizeof id->bytes : 0);
}

/* ---- stepping ---- */

tr_status tr_query_step(tr_query *q, bool *row, tr_error *err) {
    *row = false;
    if (q->rc != SQLITE_OK)
        return tr_conn_fail(q->conn, q->rc, err);
    int rc = sqlite3_step(q->raw);
    *row = rc == SQLITE_ROW;
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? TR_OK : tr_conn_fail(q->conn, rc, err);
}

tr_status tr_query_run(tr_query *q, int64_t *changed, tr_error *err) {
    bool row = false;
    tr_status st = TR_OK;
    do {
        st = tr_query_step(q, &row, err);
    } while (st == TR_OK && row);
    if (st == TR_OK && changed)
        *changed = sqlite3_changes64(q->conn->handle);
    tr_query_end(q);
    return st;
}

tr_status tr_query_run_one(tr_query *q, tr_status none, const char *what, tr_error *err) {
    int64_t changed = 0;
    tr_status st = tr_query_run(q, &changed, err);
    return st == TR_OK && changed == 0 ? tr_fail(err, none, NULL, "%s", what) : st;
}

tr_status tr_query_each(tr_query *q, tr_row_fn fn, void *context, tr_error *err) {
    bool row = true;
    tr_status st = TR_OK;
    while (st == TR_OK) {
        st = tr_query_step(q, &row, err);
        if (st != TR_OK || !row)
            break;
        st = fn(q, context, err);
    }
    tr_query_end(q);
    return st;
}

tr_status tr_query_one(tr_query *q, tr_row_fn fn, void *context, const char *what, tr_error *err) {
    bool row = false;
    tr_status st = tr_query_step(q, &row, err);
    if (st == TR_OK)
        st = row ? fn(q, context, err) : tr_fail(err, TR_E_NOT_FOUND, NULL, "%s", what);
    tr_query_end(q);
    return st;
}

static tr_status take_int(tr_query *q, void *value, tr_error *err) {
    *(int64_t *)value = tr_col_int(q, 0);
    return tr_cols_ok(q, err);
}

tr_status tr_query_int(tr_query *q, int64_t *value, tr_error *err) {
    return tr_query_one(q, take_int, value, "no row", err);
}

struct ids {
    tr_uuid_fn fn;
    void *context;
};

static tr_status emit_id(tr_query *q, void *context, tr_error *err) {
    const struct ids *sink = context;
    tr_uuid id = tr_col_uuid(q, 0);
    tr_status st = tr_cols_ok(q, err);
    return st == TR_OK ? sink->fn(sink->context, &id, err) : st;
}

tr_status tr_query_ids(tr_query *q, tr_uuid_fn fn, void *context, tr_error *err) {
    struct ids sink = {fn, context};
    return tr_query_each(q, emit_id, &sink, err);
}

tr_status tr_count(tr_db *db, tr_db_kind kind, const char *sql, const int64_t *now, int64_t *count,
                   tr_error *err) {
    tr_query q;
    tr_status st = tr_query_begin(db, kind, sql, &q, err);
    if (st != TR_OK)
        return st;
    if (now)
        tr_bind_int(&q, 1, *now);
    return tr_query_int(&q, count, err);
}

tr_status tr_sweep(tr_db *tx, const char *sql, int64_t before, int limit, int64_t *count, tr_error *err) {
    tr_query q;
    *count = 0;
    tr_status st = tr_query_write(tx, TR_DB_VAULT, sql, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_int(&q, 1, before);
    tr_bind_int(&q, 2, limit);
    return tr_query_run(&q, count, err);
}

/* ---- columns ---- */

int64_t tr_col_int(tr_query *q, int at) {
    return sqlite3_column_int64(q->raw, at);
}

bool tr_col_null(tr_query *q, int at) {
    return sqlite3_column_type(q->raw, at) == SQLITE_NULL;
}

const char *tr_col_text(tr_query *q, int at) {
    const char *text = (const char *)sqlite3_column_text(q->raw, at);
    q->bad |= text == NULL;
    return text ? text : "";
}

tr_bytes tr_col_blob(tr_query *q, int at) {
    const void *data = sqlite3_column_blob(q->raw, at);
    size_t len = (size_t)sqlite3_column_bytes(q->raw, at);
    return (tr_bytes){data ? data : "", len};
}

tr_uuid tr_col_uuid(tr_query *q, int at) {
    tr_uuid id = {0};
    tr_col_fixed(q, at, id.bytes, sizeof id.bytes);
    return id;
}

void tr_col_fixed(tr_query *q, int at, void *out, size_t len) {
    tr_bytes blob = tr_col_blob(q, at);
    memset(out, 0, len);
    if (tr_col_null(q, at))
        return;
    if (blob.len == len)
        memcpy(out, blob.data, len);
    else
        q->bad = true;
}

tr_status tr_cols_ok(tr_query *q, tr_error *err) {
    const char *name = tr_db_name(q->conn->kind);
    if (sqlite3_errcode(q->conn->handle) == SQLITE_NOMEM)
        return tr_fail(err, TR_E_NOMEM, name, "out of memory");
    return q->bad ? tr_fail(err, TR_E_CORRUPT, name, "a row of %s does not have the form it must have", name)
                  : TR_OK;
}
