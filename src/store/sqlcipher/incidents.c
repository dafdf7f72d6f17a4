/* Incidents: the register, and what each rests on. */
#include "store/sqlcipher/engine.h"

#define COLUMNS                                                                                              \
    "id, kind, risk, cause, opened_by, aware_at, due_at, notified_at, closed_at, created_at, updated_at, "   \
    "evidence, evidence_at, sealed, version"

static const char sql_insert[] =
    "INSERT INTO incidents (" COLUMNS
    ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)";
static const char sql_get[] = "SELECT " COLUMNS " FROM incidents WHERE id = ?1";
static const char sql_update[] =
    "UPDATE incidents SET kind = ?2, risk = ?3, aware_at = ?6, due_at = ?7, notified_at = ?8, closed_at = ?9,"
    " updated_at = ?11, sealed = ?14, version = ?15 WHERE id = ?1 AND version = ?15 - 1";

/* ?1 after, ?2 limit, ?3 0: only open ones, 1: only closed ones, NULL: both, ?4 overdue at, or 0. */
#define IS_OVERDUE(now) "(closed_at = 0 AND notified_at = 0 AND risk <> 1 AND due_at < " now ")"
#define MORE_CONDITIONS                                                                                      \
    " AND (?3 IS NULL OR (closed_at <> 0) = ?3) AND (?4 = 0 OR " IS_OVERDUE("?4") ") ORDER BY id LIMIT ?2"
static const char sql_list[] = "SELECT " COLUMNS " FROM incidents WHERE id > ?1" MORE_CONDITIONS;
static const char sql_list_open[] =
    "SELECT " COLUMNS " FROM incidents INDEXED BY incidents_open WHERE closed_at = 0"
    " AND id > ?1" MORE_CONDITIONS;
static const char sql_count[] = "SELECT count(*) FROM incidents WHERE closed_at = 0";
static const char sql_overdue[] = "SELECT count(*) FROM incidents WHERE closed_at = 0 AND " IS_OVERDUE("?1");

static const char sql_of_cause[] =
    "SELECT id FROM incidents WHERE closed_at = 0 AND cause = ?1 AND evidence_at >= ?2"
    " ORDER BY evidence_at DESC LIMIT 1";
static const char sql_count_event[] =
    "UPDATE incidents SET evidence = evidence + 1, evidence_at = max(evidence_at, ?2) WHERE id = ?1";
#define EVIDENCE "number, seq, at, principal, request, session, address, detail"
static const char sql_evidence[] =
    "INSERT INTO incident_evidence (incident, " EVIDENCE
    ") SELECT id, evidence, ?2, ?3, ?4, ?5, ?6, ?7, ?8 FROM incidents WHERE id = ?1";
static const char sql_trim[] = "DELETE FROM incident_evidence WHERE incident = ?1 AND number > ?2"
                               " AND number <= (SELECT evidence FROM incidents WHERE id = ?1) - ?3";
static const char sql_evidence_list[] =
    "SELECT " EVIDENCE " FROM incident_evidence WHERE incident = ?1 ORDER BY number";

bool tr_incident_overdue(const tr_incident *row, int64_t now) {
    return row->closed_at == 0 && row->notified_at == 0 && row->risk != TR_RISK_NONE && row->due_at < now;
}

/* ---- the register ---- */

struct sink {
    tr_incident_fn fn;
    void *context;
};

static tr_status emit(tr_query *q, void *context, tr_error *err) {
    const struct sink *sink = context;
    int64_t kind = tr_col_int(q, 1), risk = tr_col_int(q, 2);
    tr_incident row = {.id = tr_col_uuid(q, 0),
                       .kind = (tr_incident_kind)kind,
                       .risk = (tr_incident_risk)risk,
                       .cause = tr_col_null(q, 3) ? NULL : tr_col_text(q, 3),
                       .has_opened_by = !tr_col_null(q, 4),
                       .opened_by = tr_col_uuid(q, 4),
                       .aware_at = tr_col_int(q, 5),
                       .due_at = tr_col_int(q, 6),
                       .notified_at = tr_col_int(q, 7),
                       .closed_at = tr_col_int(q, 8),
                       .created_at = tr_col_int(q, 9),
                       .updated_at = tr_col_int(q, 10),
                       .evidence = tr_col_int(q, 11),
                       .evidence_at = tr_col_int(q, 12),
                       .version = tr_col_int(q, 14)};
    if (!tr_col_null(q, 13))
        row.sealed = tr_col_blob(q, 13);
    tr_status st = tr_cols_ok(q, err);
    if (st == TR_OK && (kind < 0 || kind >= TR_INCIDENT_KIND_COUNT || risk < 0 || risk >= TR_RISK_COUNT))
        st = tr_fail(err, TR_E_CORRUPT, "vault.db", "an incident is of no known kind or risk");
    return st == TR_OK ? sink->fn(sink->context, &row, err) : st;
}

static void bind_row(tr_query *q, const tr_incident *row) {
    tr_bind_uuid(q, 1, &row->id);
    tr_bind_int(q, 2, row->kind);
    tr_bind_int(q, 3, row->risk);
    tr_bind_int(q, 6, row->aware_at);
    tr_bind_int(q, 7, row->due_at);
    tr_bind_int(q, 8, row->notified_at);
    tr_bind_int(q, 9, row->closed_at);
    tr_bind_int(q, 11, row->updated_at);
    if (row->sealed.len)
        tr_bind_blob(q, 14, row->sealed.data, row->sealed.len);
    tr_bind_int(q, 15, row->version);
}

tr_status tr_incident_insert(tr_db *tx, const tr_incident *row, tr_error *err) {
    tr_query q;
    tr_status st = tr_query_write(tx, TR_DB_VAULT, sql_insert, &q, err);
    if (st != TR_OK)
        return st;
    bind_row(&q, row);
    if (row->cause)
        tr_bind_text(&q, 4, row->cause);
    tr_bind_uuid(&q, 5, row->has_opened_by ? &row->opened_by : NULL);
    tr_bind_int(&q, 10, row->created_at);
    tr_bind_int(&q, 12, row->evidence);
    tr_bind_int(&q, 13, row->evidence_at);
    return tr_query_run(&q, NULL, err);
}

tr_status tr_incident_get(tr_db *db, const tr_uuid *id, tr_incident_fn fn, void *context, tr_error *err) {
    tr_query q;
    struct sink sink = {fn, context};
    tr_status st = tr_query_begin(db, TR_DB_VAULT, sql_get, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_uuid(&q, 1, id);
    return tr_query_one(&q, emit, &sink, "there is no such incident", err);
}

tr_status tr_incident_update(tr_db *tx, const tr_incident *row, tr_error *err) {
    tr_query q;
    tr_status st = tr_query_write(tx, TR_DB_VAULT, sql_update, &q, err);
    if (st != TR_OK)
        return st;
    bind_row(&q, row);
    return tr_query_run_one(&q, TR_E_PRECONDITION, "the incident has another version", err);
}

tr_status tr_incident_list(tr_db *db, const tr_incident_filter *filter, const tr_uuid *after, int limit,
                           tr_incident_fn fn, void *context, tr_error *err) {
    bool open = filter->open || filter->overdue_at;
    tr_query q;
    struct sink sink = {fn, context};
    tr_status st = tr_query_begin(db, TR_DB_VAULT, open ? sql_list_open : sql_list, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_after(&q, 1, after);
    tr_bind_int(&q, 2, limit);
    if (filter->open != filter->closed)
        tr_bind_int(&q, 3, filter->closed);
    tr_bind_int(&q, 4, filter->overdue_at);
    return tr_query_each(&q, emit, &sink, err);
}

tr_status tr_incident_count(tr_db *db, int64_t now, int64_t *open, int64_t *overdue, tr_error *err) {
    tr_status st = tr_count(db, TR_DB_VAULT, sql_count, NULL, open, err);
    return st == TR_OK ? tr_count(db, TR_DB_VAULT, sql_overdue, &now, overdue, err) : st;
}

/* ---- evidence ---- */

static tr_status take_id(tr_query *q, void *context, tr_error *err) {
    *(tr_uuid *)context = tr_col_uuid(q, 0);
    return tr_cols_ok(q, err);
}

tr_status tr_incident_of_cause(tr_db *db, const char *cause, int64_t since, tr_uuid *id, tr_error *err) {
    tr_query q;
    tr_status st = tr_query_begin(db, TR_DB_VAULT, sql_of_cause, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_text(&q, 1, cause);
    tr_bind_int(&q, 2, since);
    return tr_query_one(&q, take_id, id, "no such incident is open", err);
}

static void bind_text(tr_query *q, int at, const char *text) {
    if (text)
        tr_bind_text(q, at, text);
}

static tr_status count_event(tr_db *tx, const tr_uuid *incident, int64_t at, tr_error *err) {
    tr_query q;
    tr_status st = tr_query_write(tx, TR_DB_VAULT, sql_count_event, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_uuid(&q, 1, incident);
    tr_bind_int(&q, 2, at);
    return tr_query_run_one(&q, TR_E_NOT_FOUND, "there is no such incident", err);
}

/* However many events a storm brings, the middle ones go. */
static tr_status trim(tr_db *tx, const tr_uuid *incident, tr_error *err) {
    tr_query q;
    tr_status st = tr_query_write(tx, TR_DB_VAULT, sql_trim, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_uuid(&q, 1, incident);
    tr_bind_int(&q, 2, TR_EVIDENCE_FIRST);
    tr_bind_int(&q, 3, TR_EVIDENCE_LAST);
    return tr_query_run(&q, NULL, err);
}

tr_status tr_evidence_add(tr_db *tx, const tr_uuid *incident, const tr_evidence *row, tr_error *err) {
    tr_query q;
    tr_status st = count_event(tx, incident, row->at, err);
    if (st == TR_OK)
        st = tr_query_write(tx, TR_DB_VAULT, sql_evidence, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_uuid(&q, 1, incident);
    tr_bind_int(&q, 2, row->seq);
    tr_bind_int(&q, 3, row->at);
    tr_bind_uuid(&q, 4, row->principal);
    tr_bind_uuid(&q, 5, row->request);
    bind_text(&q, 6, row->session);
    bind_text(&q, 7, row->address);
    bind_text(&q, 8, row->detail);
    st = tr_query_run(&q, NULL, err);
    return st == TR_OK ? trim(tx, incident, err) : st;
}

struct evidence_sink {
    tr_evidence_fn fn;
    void *context;
};

static tr_status emit_evidence(tr_query *q, void *context, tr_error *err) {
    const struct evidence_sink *sink = context;
    tr_uuid principal = tr_col_uuid(q, 3), request = tr_col_uuid(q, 4);
    tr_evidence row = {.number = tr_col_int(q, 0),
                       .seq = tr_col_int(q, 1),
                       .at = tr_col_int(q, 2),
                       .principal = tr_col_null(q, 3) ? NULL : &principal,
                       .request = tr_col_null(q, 4) ? NULL : &request,
                       .session = tr_col_null(q, 5) ? NULL : tr_col_text(q, 5),
                       .address = tr_col_null(q, 6) ? NULL : tr_col_text(q, 6),
                       .detail = tr_col_null(q, 7) ? NULL : tr_col_text(q, 7)};
    tr_status st = tr_cols_ok(q, err);
    return st == TR_OK ? sink->fn(sink->context, &row, err) : st;
}

tr_status tr_evidence_list(tr_db *db, const tr_uuid *incident, tr_evidence_fn fn, void *context,
                           tr_error *err) {
    tr_query q;
    struct evidence_sink sink = {fn, context};
    tr_status st = tr_query_begin(db, TR_DB_VAULT, sql_evidence_list, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_uuid(&q, 1, incident);
    return tr_query_each(&q, emit_evidence, &sink, err);
}
