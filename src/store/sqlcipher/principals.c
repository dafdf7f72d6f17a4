/* Principals: who may sign in. */
#include "store/sqlcipher/engine.h"

#define COLUMNS                                                                                              \
    "id, uid, name, role, subject, disabled, may_register, password_initial, password, created_at, "         \
    "updated_at, version"

static const char sql_insert[] =
    "INSERT INTO principals (" COLUMNS ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";
static const char sql_update[] =
    "UPDATE principals SET uid = ?2, name = ?3, role = ?4, subject = ?5, disabled = ?6, may_register = ?7,"
    " password_initial = ?8, password = ?9, created_at = ?10, updated_at = ?11, version = ?12"
    " WHERE id = ?1 AND version = ?12 - 1";
static const char sql_get[] = "SELECT " COLUMNS " FROM principals WHERE id = ?1";
static const char sql_by_uid[] = "SELECT " COLUMNS " FROM principals WHERE uid = ?1";
static const char sql_delete[] = "DELETE FROM principals WHERE id = ?1";
static const char sql_list[] = "SELECT " COLUMNS " FROM principals WHERE id > ?1 ORDER BY id LIMIT ?2";
static const char sql_of_subject[] = "SELECT id FROM principals WHERE subject = ?1 ORDER BY id";
static const char sql_enabled[] = "SELECT id FROM principals WHERE role = ?1 AND disabled = 0 ORDER BY id";
static const char sql_another[] =
    "SELECT EXISTS (SELECT 1 FROM principals WHERE role = ?1 AND disabled = 0 AND id <> ?2)";

static const char none[] = "no such principal";

struct sink {
    tr_principal_fn fn;
    void *context;
};

static tr_status emit(tr_query *q, void *context, tr_error *err) {
    struct sink *sink = context;
    tr_principal row = {.id = tr_col_uuid(q, 0),
                        .uid = tr_col_text(q, 1),
                        .name = tr_col_text(q, 2),
                        .role = (tr_role)tr_col_int(q, 3),
                        .has_subject = !tr_col_null(q, 4),
                        .subject = tr_col_uuid(q, 4),
                        .disabled = tr_col_int(q, 5) != 0,
                        .may_register = tr_col_int(q, 6) != 0,
                        .password_initial = tr_col_int(q, 7) != 0,
                        .password = tr_col_text(q, 8),
                        .created_at = tr_col_int(q, 9),
                        .updated_at = tr_col_int(q, 10),
                        .version = tr_col_int(q, 11)};
    tr_status st = tr_cols_ok(q, err);
    return st == TR_OK ? sink->fn(sink->context, &row, err) : st;
}

static void bind(tr_query *q, const tr_principal *row) {
    tr_bind_uuid(q, 1, &row->id);
    tr_bind_text(q, 2, row->uid);
    tr_bind_text(q, 3, row->name);
    tr_bind_int(q, 4, row->role);
    tr_bind_uuid(q, 5, row->has_subject ? &row->subject : NULL);
    tr_bind_int(q, 6, row->disabled);
    tr_bind_int(q, 7, row->may_register);
    tr_bind_int(q, 8, row->password_initial);
    tr_bind_text(q, 9, row->password);
    tr_bind_int(q, 10, row->created_at);
    tr_bind_int(q, 11, row->updated_at);
    tr_bind_int(q, 12, row->version);
}

static tr_status named(tr_status st, tr_error *err) {
    if (st == TR_E_CONFLICT)
        return tr_fail(err, st, "uid", "the uid is taken");
    return st == TR_E_NOT_FOUND ? tr_fail(err, st, "subject", "no such subject") : st;
}

tr_status tr_principal_insert(tr_db *tx, const tr_principal *row, tr_error *err) {
    tr_query q;
    tr_status st = row->has_subject ? tr_subject_alive(tx, &row->subject, err) : TR_OK;
    if (st != TR_OK)
        return named(st, err);
    st = tr_query_write(tx, TR_DB_VAULT, sql_insert, &q, err);
    if (st != TR_OK)
        return st;
    bind(&q, row);
    return named(tr_query_run(&q, NULL, err), err);
}

tr_status tr_principal_get(tr_db *db, const tr_uuid *id, tr_principal_fn fn, void *context, tr_error *err) {
    tr_query q;
    struct sink sink = {fn, context};
    tr_status st = tr_query_begin(db, TR_DB_VAULT, sql_get, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_uuid(&q, 1, id);
    return tr_query_one(&q, emit, &sink, none, err);
}

tr_status tr_principal_by_uid(tr_db *db, const char *uid, tr_principal_fn fn, void *context, tr_error *err) {
    tr_query q;
    struct sink sink = {fn, context};
    tr_status st = tr_query_begin(db, TR_DB_VAULT, sql_by_uid, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_text(&q, 1, uid);
    return tr_query_one(&q, emit, &sink, none, err);
}

tr_status tr_principal_update(tr_db *tx, const tr_principal *row, tr_error *err) {
    tr_query q;
    tr_status st = tr_query_write(tx, TR_DB_VAULT, sql_update, &q, err);
    if (st != TR_OK)
        return st;
    bind(&q, row);
    return named(tr_query_run_one(&q, TR_E_PRECONDITION, "the principal has another version", err), err);
}

tr_status tr_principal_delete(tr_db *tx, const tr_uuid *id, tr_error *err) {
    tr_query q;
    tr_status st = tr_query_write(tx, TR_DB_VAULT, sql_delete, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_uuid(&q, 1, id);
    return tr_query_run_one(&q, TR_E_NOT_FOUND, none, err);
}

tr_status tr_principal_list(tr_db *db, const tr_uuid *after, int limit, tr_principal_fn fn, void *context,
                            tr_error *err) {
    tr_query q;
    struct sink sink = {fn, context};
    tr_status st = tr_query_begin(db, TR_DB_VAULT, sql_list, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_after(&q, 1, after);
    tr_bind_int(&q, 2, limit);
    return tr_query_each(&q, emit, &sink, err);
}

tr_status tr_principal_of_subject(tr_db *db, const tr_uuid *subject, tr_uuid_fn fn, void *context,
                                  tr_error *err) {
    tr_query q;
    tr_status st = tr_query_begin(db, TR_DB_VAULT, sql_of_subject, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_uuid(&q, 1, subject);
    return tr_query_ids(&q, fn, context, err);
}

tr_status tr_principal_enabled(tr_db *db, tr_role role, tr_uuid_fn fn, void *context, tr_error *err) {
    tr_query q;
    tr_status st = tr_query_begin(db, TR_DB_VAULT, sql_enabled, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_int(&q, 1, role);
    return tr_query_ids(&q, fn, context, err);
}

tr_status tr_principal_another(tr_db *db, tr_role role, const tr_uuid *but, bool *exists, tr_error *err) {
    tr_query q;
    int64_t found = 0;
    tr_status st = tr_query_begin(db, TR_DB_VAULT, sql_another, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_int(&q, 1, role);
    tr_bind_after(&q, 2, but); /* NULL: besides nobody */
    st = tr_query_int(&q, &found, err);
    *exists = found != 0;
    return st;
}
