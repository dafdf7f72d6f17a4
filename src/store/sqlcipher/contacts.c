/* Where principals get their notices. */
#include "store/sqlcipher/engine.h"

static const char sql_put[] =
    "INSERT INTO contacts (principal, sealed, updated_at) VALUES (?1, ?2, ?3)"
    " ON CONFLICT (principal) DO UPDATE SET sealed = excluded.sealed, updated_at = excluded.updated_at";
static const char sql_wake[] = "UPDATE notices SET next_at = ?2 WHERE recipient = ?1 AND next_at <> 0 AND "
                               "problem = '" TR_NOTICE_NO_CONTACT "'";
static const char sql_get[] = "SELECT principal, sealed, updated_at FROM contacts WHERE principal = ?1";
static const char sql_delete[] = "DELETE FROM contacts WHERE principal = ?1";
static const char sql_holders[] =
    "SELECT id FROM principals WHERE role = ?1 AND disabled = 0"
    " AND EXISTS (SELECT 1 FROM contacts WHERE principal = principals.id) ORDER BY id";

static const char none[] = "no such contact";

struct sink {
    tr_contact_fn fn;
    void *context;
};

static tr_status emit(tr_query *q, void *context, tr_error *err) {
    const struct sink *sink = context;
    tr_contact_row row = {
        .principal = tr_col_uuid(q, 0), .sealed = tr_col_blob(q, 1), .updated_at = tr_col_int(q, 2)};
    tr_status st = tr_cols_ok(q, err);
    return st == TR_OK ? sink->fn(sink->context, &row, err) : st;
}

static tr_status wake(tr_db *tx, const tr_contact_row *row, tr_error *err) {
    tr_query q;
    tr_status st = tr_query_write(tx, TR_DB_VAULT, sql_wake, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_uuid(&q, 1, &row->principal);
    tr_bind_int(&q, 2, row->updated_at);
    return tr_query_run(&q, NULL, err);
}

tr_status tr_contact_put(tr_db *tx, const tr_contact_row *row, tr_error *err) {
    tr_query q;
    tr_status st = tr_query_write(tx, TR_DB_VAULT, sql_put, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_uuid(&q, 1, &row->principal);
    tr_bind_blob(&q, 2, row->sealed.data, row->sealed.len);
    tr_bind_int(&q, 3, row->updated_at);
    st = tr_query_run(&q, NULL, err);
    return st == TR_OK ? wake(tx, row, err) : st;
}

tr_status tr_contact_get(tr_db *db, const tr_uuid *principal, tr_contact_fn fn, void *context,
                         tr_error *err) {
    tr_query q;
    struct sink sink = {fn, context};
    tr_status st = tr_query_begin(db, TR_DB_VAULT, sql_get, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_uuid(&q, 1, principal);
    return tr_query_one(&q, emit, &sink, none, err);
}

tr_status tr_contact_delete(tr_db *tx, const tr_uuid *principal, tr_error *err) {
    tr_query q;
    tr_status st = tr_query_write(tx, TR_DB_VAULT, sql_delete, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_uuid(&q, 1, principal);
    return tr_query_run_one(&q, TR_E_NOT_FOUND, none, err);
}

tr_status tr_contact_holders(tr_db *db, tr_role role, tr_uuid_fn fn, void *context, tr_error *err) {
    tr_query q;
    tr_status st = tr_query_begin(db, TR_DB_VAULT, sql_holders, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_int(&q, 1, role);
    return tr_query_ids(&q, fn, context, err);
}
