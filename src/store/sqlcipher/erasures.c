/* Erasures under way (vault.db) and the ledger of all that began (keys.db). */
#include "store/sqlcipher/engine.h"

/* A long payload counts as several rows, so that a job is short whatever the rows hold. */
#define ROW_BYTES 16384

#define COLUMNS "subject, request, started_at, phase, records, versions"

static const char sql_mark[] = "UPDATE subjects SET erasing_at = ?2 WHERE id = ?1 AND erasing_at = 0";
static const char sql_insert[] = "INSERT INTO erasures (" COLUMNS ") VALUES (?1, ?2, ?3, 0, 0, 0)";
static const char sql_grants[] = "DELETE FROM grants WHERE subject = ?1";
static const char sql_outcomes[] = "DELETE FROM outcomes WHERE subject = ?1";
static const char sql_notices[] = /* to the person itself; before its principals go */
    "DELETE FROM notices WHERE sent_at = 0 AND recipient IN (SELECT id FROM principals WHERE subject = ?1)";
static const char sql_principals[] = "DELETE FROM principals WHERE subject = ?1"; /* sessions with them */
static const char sql_request_state[] =
    "UPDATE requests SET state = ?3, updated_at = ?2, version = version + 1"
    " WHERE id = ?1 AND state IN (?4, ?5)";

static const char sql_next_record[] = "SELECT row, length(sealed) FROM records INDEXED BY records_subject"
                                      " WHERE subject = ?1 ORDER BY id LIMIT 1";
static const char sql_next_version[] =
    "SELECT row, length(sealed) FROM record_versions WHERE record = ?1 ORDER BY version LIMIT 1";
static const char sql_delete_record[] = "DELETE FROM records WHERE row = ?1";
static const char sql_delete_version[] = "DELETE FROM record_versions WHERE row = ?1";
static const char sql_progress[] = "UPDATE erasures SET records = records + ?2, versions = versions + ?3,"
                                   " phase = ?4 WHERE subject = ?1 AND phase = 0";

static const char sql_get[] = "SELECT " COLUMNS " FROM erasures WHERE subject = ?1";
static const char sql_list[] =
    "SELECT " COLUMNS " FROM erasures WHERE subject > ?1 ORDER BY subject LIMIT ?2";
static const char sql_delete[] = "DELETE FROM erasures WHERE subject = ?1";

static const char sql_ledger_add[] = "INSERT INTO erasure_ledger (subject, request, at) VALUES (?1, ?2, ?3)";
static const char sql_ledger_at[] = "SELECT at FROM erasure_ledger WHERE subject = ?1";
static const char sql_ledger[] =
    "SELECT seq, subject, request, at FROM erasure_ledger WHERE seq > ?1 ORDER BY seq LIMIT ?2";

static const char none[] = "no such erasure";

/* ---- begin ---- */

static tr_status run_for(tr_db *tx, const char *sql, const tr_uuid *subject, tr_error *err) {
    tr_query q;
    tr_status st = tr_query_write(tx, TR_DB_VAULT, sql, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_uuid(&q, 1, subject);
    return tr_query_run(&q, NULL, err);
}

static tr_status mark(tr_db *tx, const tr_uuid *subject, int64_t at, tr_error *err) {
    tr_query q;
    tr_status st = tr_query_write(tx, TR_DB_VAULT, sql_mark, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_uuid(&q, 1, subject);
    tr_bind_int(&q, 2, at);
    return tr_query_run_one(&q, TR_E_NOT_FOUND, "no such subject", err);
}

static tr_status insert(tr_db *tx, const tr_uuid *subject, const tr_uuid *request, int64_t at,
                        tr_error *err) {
    tr_query q;
    tr_status st = tr_query_write(tx, TR_DB_VAULT, sql_insert, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_uuid(&q, 1, subject);
    tr_bind_uuid(&q, 2, request);
    tr_bind_int(&q, 3, at);
    return tr_query_run(&q, NULL, err);
}

/* The vault's half. */
static tr_status begin_rows(tr_db *tx, const tr_uuid *subject, const tr_uuid *request, int64_t at,
                            tr_error *err) {
    tr_status st = TR_OK;
    TR_TRY(mark(tx, subject, at, err));
    TR_TRY(insert(tx, subject, request, at, err));
    TR_TRY(run_for(tx, sql_grants, subject, err));
    TR_TRY(run_for(tx, sql_outcomes, subject, err));
    TR_TRY(run_for(tx, sql_notices, subject, err));
    st = run_for(tx, sql_principals, subject, err);
out:
    return st;
}

static tr_status ledger_add(tr_db *tx, const tr_uuid *subject, const tr_uuid *request, int64_t at,
                            tr_error *err) {
    tr_query q;
    tr_status st = tr_query_write(tx, TR_DB_KEYS, sql_ledger_add, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_uuid(&q, 1, subject);
    tr_bind_uuid(&q, 2, request);
    tr_bind_int(&q, 3, at);
    return tr_query_run(&q, NULL, err);
}

tr_status tr_erasure_begin(tr_db *tx, const tr_uuid *subject, const tr_uuid *request, int64_t at,
                           tr_error *err) {
    tr_status st = begin_rows(tx, subject, request, at, err);
    if (st == TR_OK)
        st = ledger_add(tx, subject, request, at, err);
    return st == TR_OK ? tr_key_destroy(tx, subject, request, err) : st;
}

/* Whoever asked was answered with a failure, or not at all: the request is still as it was, if it is there.
 */
static tr_status request_goes_on(tr_db *tx, const tr_uuid *request, int64_t at, tr_error *err) {
    tr_query q;
    tr_status st = tr_query_write(tx, TR_DB_VAULT, sql_request_state, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_uuid(&q, 1, request);
    tr_bind_int(&q, 2, at);
    tr_bind_int(&q, 3, TR_DSR_FULFILLING);
    tr_bind_int(&q, 4, TR_DSR_VERIFIED);
    tr_bind_int(&q, 5, TR_DSR_EXTENDED);
    return tr_query_run(&q, NULL, err);
}

tr_status tr_erasure_begin_again(tr_db *tx, const tr_uuid *subject, const tr_uuid *request, tr_error *err) {
    tr_query q;
    int64_t at = 0;
    tr_status st = tr_query_begin(tx, TR_DB_KEYS, sql_ledger_at, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_uuid(&q, 1, subject);
    st = tr_query_int(&q, &at, err);
    if (st == TR_OK)
        st = begin_rows(tx, subject, request, at, err);
    return st == TR_OK ? request_goes_on(tx, request, at, err) : st;
}

/* ---- batches ---- */

struct row {
    int64_t number, bytes;
};

static tr_status take_row(tr_query *q, void *context, tr_error *err) {
    struct row *row = context;
    *row = (struct row){tr_col_int(q, 0), tr_col_int(q, 1)};
    return tr_cols_ok(q, err);
}

static tr_status next_record(tr_db *tx, const tr_uuid *subject, struct row *row, tr_error *err) {
    tr_query q;
    tr_status st = tr_query_begin(tx, TR_DB_VAULT, sql_next_record, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_uuid(&q, 1, subject);
    return tr_query_one(&q, take_row, row, "no more", err);
}

static tr_status next_version(tr_db *tx, int64_t record, struct row *row, tr_error *err) {
    tr_query q;
    tr_status st = tr_query_begin(tx, TR_DB_VAULT, sql_next_version, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_int(&q, 1, record);
    return tr_query_one(&q, take_row, row, "no more", err);
}

static tr_status delete_row(tr_db *tx, const char *sql, const struct row *row, int64_t *budget,
                            int64_t *count, tr_error *err) {
    tr_query q;
    tr_status st = tr_query_write(tx, TR_DB_VAULT, sql, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_int(&q, 1, row->number);
    *budget -= 1 + row->bytes / ROW_BYTES;
    ++*count;
    return tr_query_run(&q, NULL, err);
}

/* TR_E_NOT_FOUND when there was none. The record goes last, so that its history goes in bounded pieces too.
 */
static tr_status delete_record(tr_db *tx, const tr_uuid *subject, int64_t *budget, tr_erasure *done,
                               tr_error *err) {
    struct row record, version;
    tr_status st = next_record(tx, subject, &record, err);
    if (st != TR_OK)
        return st;
    while (st == TR_OK && *budget > 0) {
        st = next_version(tx, record.number, &version, err);
        if (st == TR_OK)
            st = delete_row(tx, sql_delete_version, &version, budget, &done->versions, err);
    }
    return st == TR_E_NOT_FOUND ? delete_row(tx, sql_delete_record, &record, budget, &done->records, err)
                                : st;
}

static tr_status note_progress(tr_db *tx, const tr_erasure *done, tr_error *err) {
    tr_query q;
    tr_status st = tr_query_write(tx, TR_DB_VAULT, sql_progress, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_uuid(&q, 1, &done->subject);
    tr_bind_int(&q, 2, done->records);
    tr_bind_int(&q, 3, done->versions);
    tr_bind_int(&q, 4, done->phase);
    return tr_query_run_one(&q, TR_E_NOT_FOUND, none, err);
}

tr_status tr_erasure_step(tr_db *tx, const tr_uuid *subject, int limit, bool *left, tr_error *err) {
    tr_erasure done = {.subject = *subject}, row;
    int64_t budget = limit;
    tr_status st = tr_erasure_get(tx, subject, &row, err);
    *left = false;
    if (st != TR_OK || row.phase != 0)
        return st;
    while (st == TR_OK && budget > 0)
        st = delete_record(tx, subject, &budget, &done, err);
    *left = st == TR_OK;
    if (st == TR_E_NOT_FOUND) {
        st = tr_subject_delete_rows(tx, subject, err); /* with holds, and what came in between */
        done.phase = 1;
    }
    return st == TR_OK ? note_progress(tx, &done, err) : st;
}

tr_status tr_erasure_end(tr_db *tx, const tr_uuid *subject, tr_error *err) {
    tr_query q;
    tr_status st = tr_query_write(tx, TR_DB_VAULT, sql_delete, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_uuid(&q, 1, subject);
    return tr_query_run_one(&q, TR_E_NOT_FOUND, none, err);
}

/* ---- reading ---- */

static tr_status take(tr_query *q, void *context, tr_error *err) {
    tr_erasure *row = context;
    *row = (tr_erasure){.subject = tr_col_uuid(q, 0),
                        .request = tr_col_uuid(q, 1),
                        .started_at = tr_col_int(q, 2),
                        .phase = (int)tr_col_int(q, 3),
                        .records = tr_col_int(q, 4),
                        .versions = tr_col_int(q, 5)};
    return tr_cols_ok(q, err);
}

tr_status tr_erasure_get(tr_db *db, const tr_uuid *subject, tr_erasure *row, tr_error *err) {
    tr_query q;
    tr_status st = tr_query_begin(db, TR_DB_VAULT, sql_get, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_uuid(&q, 1, subject);
    return tr_query_one(&q, take, row, none, err);
}

struct sink {
    tr_erasure_fn fn;
    tr_ledger_fn ledger_fn;
    void *context;
};

static tr_status emit(tr_query *q, void *context, tr_error *err) {
    const struct sink *sink = context;
    tr_erasure row;
    tr_status st = take(q, &row, err);
    return st == TR_OK ? sink->fn(sink->context, &row, err) : st;
}

tr_status tr_erasure_list(tr_db *db, const tr_uuid *after, int limit, tr_erasure_fn fn, void *context,
                          tr_error *err) {
    tr_query q;
    struct sink sink = {.fn = fn, .context = context};
    tr_status st = tr_query_begin(db, TR_DB_VAULT, sql_list, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_after(&q, 1, after);
    tr_bind_int(&q, 2, limit);
    return tr_query_each(&q, emit, &sink, err);
}

static tr_status emit_ledger(tr_query *q, void *context, tr_error *err) {
    const struct sink *sink = context;
    int64_t seq = tr_col_int(q, 0), at = tr_col_int(q, 3);
    tr_uuid subject = tr_col_uuid(q, 1), request = tr_col_uuid(q, 2);
    tr_status st = tr_cols_ok(q, err);
    return st == TR_OK ? sink->ledger_fn(sink->context, seq, &subject, &request, at, err) : st;
}

tr_status tr_ledger_list(tr_db *db, int64_t after, int limit, tr_ledger_fn fn, void *context, tr_error *err) {
    tr_query q;
    struct sink sink = {.ledger_fn = fn, .context = context};
    tr_status st = tr_query_begin(db, TR_DB_KEYS, sql_ledger, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_int(&q, 1, after);
    tr_bind_int(&q, 2, limit);
    return tr_query_each(&q, emit_ledger, &sink, err);
}
