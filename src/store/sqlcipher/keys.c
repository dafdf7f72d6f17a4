/* keys.db: wrapped data keys of subjects, and of the vault itself. */
#include "store/sqlcipher/engine.h"

static const char sql_insert[] = "INSERT INTO subject_keys (subject, master, wrapped) VALUES (?1, ?2, ?3)";
static const char sql_get[] = "SELECT master, wrapped FROM subject_keys WHERE subject = ?1";
static const char sql_delete[] = "DELETE FROM subject_keys WHERE subject = ?1";
static const char sql_named_insert[] = "INSERT INTO named_keys (name, master, wrapped) VALUES (?1, ?2, ?3)";
static const char sql_named_get[] = "SELECT master, wrapped FROM named_keys WHERE name = ?1";
/* The plus keeps the planner off the index, whose order is another. */
static const char sql_stale[] = "SELECT subject, master, wrapped FROM subject_keys"
                                " WHERE subject > ?2 AND +master <> ?1 ORDER BY subject LIMIT ?3";
static const char sql_rewrap[] =
    "UPDATE subject_keys SET master = ?3, wrapped = ?4 WHERE subject = ?1 AND master = ?2";
static const char sql_named_list[] = "SELECT name, master, wrapped FROM named_keys ORDER BY name";
static const char sql_named_rewrap[] =
    "UPDATE named_keys SET master = ?3, wrapped = ?4 WHERE name = ?1 AND master = ?2";
static const char sql_count[] =
    "SELECT master, sum(n) FROM (SELECT master, count(*) AS n FROM subject_keys GROUP BY master"
    " UNION ALL SELECT master, count(*) FROM named_keys GROUP BY master) GROUP BY master ORDER BY master";
static const char sql_in_use[] = "SELECT EXISTS (SELECT 1 FROM subject_keys WHERE master = ?1)"
                                 " OR EXISTS (SELECT 1 FROM named_keys WHERE master = ?1)";

struct sink {
    tr_key_fn fn;
    void *context;
};

static tr_status emit(tr_query *q, void *context, tr_error *err) {
    struct sink *sink = context;
    uint32_t master = (uint32_t)tr_col_int(q, 0);
    tr_bytes wrapped = tr_col_blob(q, 1);
    tr_status st = tr_cols_ok(q, err);
    return st == TR_OK ? sink->fn(sink->context, master, wrapped, err) : st;
}

tr_status tr_key_insert(tr_db *tx, const tr_uuid *subject, uint32_t master, tr_bytes wrapped, tr_error *err) {
    tr_query q;
    tr_status st = tr_query_write(tx, TR_DB_KEYS, sql_insert, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_uuid(&q, 1, subject);
    tr_bind_int(&q, 2, master);
    tr_bind_blob(&q, 3, wrapped.data, wrapped.len);
    return tr_query_run(&q, NULL, err);
}

tr_status tr_key_get(tr_db *db, const tr_uuid *subject, tr_key_fn fn, void *context, tr_error *err) {
    tr_query q;
    struct sink sink = {fn, context};
    tr_status st = tr_query_begin(db, TR_DB_KEYS, sql_get, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_uuid(&q, 1, subject);
    return tr_query_one(&q, emit, &sink, "no such key", err);
}

tr_status tr_key_destroy(tr_db *tx, const tr_uuid *subject, const tr_uuid *request, tr_error *err) {
    tr_query q;
    tr_status st = tr_query_write(tx, TR_DB_KEYS, sql_delete, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_uuid(&q, 1, subject);
    st = tr_query_run(&q, NULL, err);
    return st == TR_OK ? tr_erasing_add(tx, subject, request, err) : st;
}

tr_status tr_named_key_insert(tr_db *tx, const char *name, uint32_t master, tr_bytes wrapped, tr_error *err) {
    tr_query q;
    tr_status st = tr_query_write(tx, TR_DB_KEYS, sql_named_insert, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_text(&q, 1, name);
    tr_bind_int(&q, 2, master);
    tr_bind_blob(&q, 3, wrapped.data, wrapped.len);
    return tr_query_run(&q, NULL, err);
}

tr_status tr_named_key_get(tr_db *db, const char *name, tr_key_fn fn, void *context, tr_error *err) {
    tr_query q;
    struct sink sink = {fn, context};
    tr_status st = tr_query_begin(db, TR_DB_KEYS, sql_named_get, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_text(&q, 1, name);
    return tr_query_one(&q, emit, &sink, "no such key", err);
}

/* ---- rotation ---- */

struct row_sink {
    tr_key_row_fn fn;
    void *context;
};

static tr_status emit_row(tr_query *q, void *context, tr_error *err) {
    struct row_sink *sink = context;
    tr_uuid subject = tr_col_uuid(q, 0);
    uint32_t master = (uint32_t)tr_col_int(q, 1);
    tr_bytes wrapped = tr_col_blob(q, 2);
    tr_status st = tr_cols_ok(q, err);
    return st == TR_OK ? sink->fn(sink->context, &subject, master, wrapped, err) : st;
}

tr_status tr_key_list_stale(tr_db *db, uint32_t current, const tr_uuid *after, int limit, tr_key_row_fn fn,
                            void *context, tr_error *err) {
    tr_query q;
    struct row_sink sink = {fn, context};
    tr_status st = tr_query_begin(db, TR_DB_KEYS, sql_stale, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_int(&q, 1, current);
    tr_bind_after(&q, 2, after);
    tr_bind_int(&q, 3, limit);
    return tr_query_each(&q, emit_row, &sink, err);
}

static tr_status rewrap(tr_query *q, uint32_t old_master, uint32_t master, tr_bytes wrapped, tr_error *err) {
    tr_bind_int(q, 2, old_master);
    tr_bind_int(q, 3, master);
    tr_bind_blob(q, 4, wrapped.data, wrapped.len);
    return tr_query_run_one(q, TR_E_NOT_FOUND, "the key is gone or was wrapped again", err);
}

tr_status tr_key_rewrap(tr_db *tx, const tr_uuid *subject, uint32_t old_master, uint32_t master,
                        tr_bytes wrapped, tr_error *err) {
    tr_query q;
    tr_status st = tr_query_write(tx, TR_DB_KEYS, sql_rewrap, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_uuid(&q, 1, subject);
    return rewrap(&q, old_master, master, wrapped, err);
}

struct named_sink {
    tr_named_key_fn fn;
    void *context;
};

static tr_status emit_named(tr_query *q, void *context, tr_error *err) {
    struct named_sink *sink = context;
    const char *name = tr_col_text(q, 0);
    uint32_t master = (uint32_t)tr_col_int(q, 1);
    tr_bytes wrapped = tr_col_blob(q, 2);
    tr_status st = tr_cols_ok(q, err);
    return st == TR_OK ? sink->fn(sink->context, name, master, wrapped, err) : st;
}

tr_status tr_named_key_list(tr_db *db, tr_named_key_fn fn, void *context, tr_error *err) {
    tr_query q;
    struct named_sink sink = {fn, context};
    tr_status st = tr_query_begin(db, TR_DB_KEYS, sql_named_list, &q, err);
    return st == TR_OK ? tr_query_each(&q, emit_named, &sink, err) : st;
}

tr_status tr_named_key_rewrap(tr_db *tx, const char *name, uint32_t old_master, uint32_t master,
                              tr_bytes wrapped, tr_error *err) {
    tr_query q;
    tr_status st = tr_query_write(tx, TR_DB_KEYS, sql_named_rewrap, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_text(&q, 1, name);
    return rewrap(&q, old_master, master, wrapped, err);
}

struct count_sink {
    tr_key_count_fn fn;
    void *context;
};

static tr_status emit_count(tr_query *q, void *context, tr_error *err) {
    struct count_sink *sink = context;
    return sink->fn(sink->context, (uint32_t)tr_col_int(q, 0), tr_col_int(q, 1), err);
}

tr_status tr_key_count(tr_db *db, tr_key_count_fn fn, void *context, tr_error *err) {
    tr_query q;
    struct count_sink sink = {fn, context};
    tr_status st = tr_query_begin(db, TR_DB_KEYS, sql_count, &q, err);
    return st == TR_OK ? tr_query_each(&q, emit_count, &sink, err) : st;
}

tr_status tr_key_in_use(tr_db *db, uint32_t master, bool *in_use, tr_error *err) {
    tr_query q;
    int64_t value = 0;
    tr_status st = tr_query_begin(db, TR_DB_KEYS, sql_in_use, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_int(&q, 1, master);
    st = tr_query_int(&q, &value, err);
    *in_use = value != 0;
    return st;
}
