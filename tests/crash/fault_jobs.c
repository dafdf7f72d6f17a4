#include "fault_jobs.h"

#include "fault_steps.h"

#include <stdio.h>
#include <string.h>

/* ---- names ---- */

enum {
    OPERATOR = 1,
    SERVICE,
    OFFICER,
    ADA,
    BERTA,
    CLARA,
    ADA_USER,
    BERTA_USER,
    ACTIVITY,
    GRANT,
    HOLD,
    REQUEST
};
enum { RECORD = 0x20, NOTICE = 0x60, BERTAS_REQUEST = 0x70 };

static tr_uuid id_of(int number) {
    tr_uuid id = {{1, 2, 3, 4, 5, 6, 0x70, 8, 0x80}};
    id.bytes[15] = (uint8_t)number;
    return id;
}

static tr_bytes bytes_of(const char *text) {
    return (tr_bytes){text, strlen(text)};
}

void fault_digest(uint64_t *digest, const void *data, size_t len) { /* FNV-1a */
    const uint8_t *bytes = data;
    for (size_t i = 0; i < len; i++)
        *digest = (*digest ^ bytes[i]) * 0x100000001b3u;
}

/* ---- principals and sessions ---- */

static const char *const clients[] = {"aaaaaaaaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbbbbbbbb",
                                      "cccccccccccccccccccccc"};

static tr_status add_principal(tr_db *tx, int number, const char *uid, tr_role role, int subject,
                               tr_error *err) {
    tr_principal row = {.id = id_of(number),
                        .uid = uid,
                        .name = "A Name",
                        .role = role,
                        .has_subject = subject != 0,
                        .subject = id_of(subject),
                        .password = "$scrypt$",
                        .created_at = 1,
                        .updated_at = 2,
                        .version = 1};
    return tr_principal_insert(tx, &row, err);
}

static tr_status add_session(tr_db *tx, int which, int principal, tr_error *err) {
    tr_session row = {.principal = id_of(principal), .created_at = 1000, .used_at = 1000};
    (void)snprintf(row.client, sizeof row.client, "%s", clients[which]);
    memset(row.current, 7, sizeof row.current);
    return tr_session_insert(tx, &row, err);
}

tr_status fault_job_principals(void *context, tr_db *tx, tr_error *err) {
    (void)context;
    tr_status st = TR_OK;
    TR_TRY(add_principal(tx, OPERATOR, "operator", TR_OPERATOR, 0, err));
    TR_TRY(add_principal(tx, SERVICE, "service", TR_SERVICE, 0, err));
    st = add_principal(tx, OFFICER, "officer", TR_OFFICER, 0, err);
out:
    return st;
}

tr_status fault_job_sessions(void *context, tr_db *tx, tr_error *err) {
    (void)context;
    tr_status st = TR_OK;
    TR_TRY(add_session(tx, 0, OPERATOR, err));
    st = add_session(tx, 1, SERVICE, err);
out:
    return st;
}

tr_status fault_job_turn(void *context, tr_db *tx, tr_error *err) {
    tr_session row;
    (void)context;
    tr_status st = TR_OK;
    TR_TRY(tr_session_get(tx, clients[0], &row, err));
    memcpy(row.previous, row.current, sizeof row.previous);
    for (size_t i = 0; i < sizeof row.current; i++)
        row.current[i]++;
    row.previous_at = ++row.used_at;
    st = tr_session_update(tx, &row, err);
out:
    return st;
}

tr_status fault_job_disable(void *context, tr_db *tx, tr_error *err) {
    tr_principal row = {.id = id_of(OFFICER), .uid = "officer", .name = "B", .role = TR_OFFICER};
    (void)context;
    row.disabled = true;
    row.password = "$scrypt$2";
    row.version = 2;
    return tr_principal_update(tx, &row, err);
}

tr_status fault_job_end_sessions(void *context, tr_db *tx, tr_error *err) {
    tr_uuid id = id_of(SERVICE);
    int64_t count = 0;
    (void)context;
    tr_status st = TR_OK;
    TR_TRY(tr_session_delete(tx, clients[0], err));
    st = tr_session_delete_all(tx, &id, NULL, &count, err);
out:
    return st;
}

tr_status fault_job_remove_principal(void *context, tr_db *tx, tr_error *err) {
    tr_uuid id = id_of(OFFICER);
    (void)context;
    return tr_principal_delete(tx, &id, err);
}

tr_status fault_sessions(tr_db *db, uint64_t *digest, tr_error *err) {
    tr_status st = TR_OK;
    for (size_t i = 0; i < sizeof clients / sizeof *clients; i++) {
        tr_session row = {.lane = false};
        st = tr_session_get(db, clients[i], &row, err);
        if (st != TR_OK && st != TR_E_NOT_FOUND)
            return st;
        fault_digest(digest, &st, sizeof st);
        fault_digest(digest, row.current, sizeof row.current);
        fault_digest(digest, row.previous, sizeof row.previous);
    }
    return TR_OK;
}

/* ---- types, activities, subjects ---- */

static tr_status put_type(tr_db *tx, const char *name, int64_t version, const char *schema, tr_error *err) {
    const tr_type row = {
        .name = name, .version = version, .schema = schema, .created_at = 1, .updated_at = 2};
    return tr_type_put(tx, &row, err);
}

tr_status fault_job_types(void *context, tr_db *tx, tr_error *err) {
    (void)context;
    tr_status st = TR_OK;
    TR_TRY(put_type(tx, "contact", 1, "{}", err));
    TR_TRY(put_type(tx, "contact", 2, "{\"x-index\":1}", err));
    st = put_type(tx, "unused", 1, "{}", err);
out:
    return st;
}

tr_status fault_job_remove_type(void *context, tr_db *tx, tr_error *err) {
    (void)context;
    return tr_type_delete(tx, "unused", err);
}

tr_status fault_job_activity(void *context, tr_db *tx, tr_error *err) {
    tr_activity row = {.id = id_of(ACTIVITY), .doc = "{}", .created_at = 1, .version = 1};
    (void)context;
    tr_status st = TR_OK;
    TR_TRY(tr_activity_insert(tx, &row, err));
    row.doc = "{\"name\":\"x\"}";
    row.version = 2;
    st = tr_activity_update(tx, &row, err);
out:
    return st;
}

static tr_status add_subject(tr_db *tx, int number, int user, const char *uid, tr_error *err) {
    tr_subject_row row = {.id = id_of(number), .created_by = id_of(SERVICE), .created_at = 5};
    tr_status st = TR_OK;
    TR_TRY(tr_subject_insert(tx, &row, err));
    TR_TRY(tr_key_insert(tx, &row.id, 1, bytes_of("a wrapped key of forty bytes, let us say"), err));
    if (user)
        st = add_principal(tx, user, uid, TR_SUBJECT, number, err);
out:
    return st;
}

tr_status fault_job_subjects(void *context, tr_db *tx, tr_error *err) {
    (void)context;
    tr_status st = TR_OK;
    TR_TRY(add_subject(tx, ADA, ADA_USER, "ada", err));
    TR_TRY(add_subject(tx, BERTA, BERTA_USER, "berta", err));
    TR_TRY(add_session(tx, 2, BERTA_USER, err));
    st = tr_named_key_insert(tx, "index", 1, bytes_of("wrapped"), err);
out:
    return st;
}

tr_status fault_job_subject(void *context, tr_db *tx, tr_error *err) {
    (void)context;
    return add_subject(tx, CLARA, 0, NULL, err);
}

tr_status fault_job_remove_subject(void *context, tr_db *tx, tr_error *err) {
    tr_uuid id = id_of(CLARA);
    (void)context;
    return tr_subject_delete(tx, &id, err);
}

tr_status fault_job_restrict_subject(void *context, tr_db *tx, tr_error *err) {
    tr_uuid id = id_of(ADA);
    (void)context;
    return tr_subject_restrict(tx, &id, 77, err);
}

/* ---- records ---- */

static tr_record record_of(int number, int owner, int64_t version, char fill, char *payload, size_t len) {
    memset(payload, fill, len);
    return (tr_record){.id = id_of(RECORD + number),
                       .subject = id_of(owner),
                       .type = "contact",
                       .version = version,
                       .created_at = 10,
                       .updated_at = 10 + version,
                       .updated_by = id_of(SERVICE),
                       .sealed = {payload, len}};
}

static tr_status add_record(tr_db *tx, int number, int owner, size_t len, tr_error *err) {
    char payload[12000];
    tr_record row = record_of(number, owner, 1, (char)('a' + number), payload, len);
    tr_index_entry index[2] = {{.field = "/name"}, {.field = "/email"}};
    memset(index[0].mac, number, sizeof index[0].mac);
    memset(index[1].mac, 9, sizeof index[1].mac);
    return tr_record_insert(tx, &row, index, 2, err);
}

tr_status fault_job_record(void *context, tr_db *tx, tr_error *err) {
    (void)context;
    return add_record(tx, 0, ADA, 300, err);
}

tr_status fault_job_records(void *context, tr_db *tx, tr_error *err) {
    (void)context;
    tr_status st = TR_OK;
    for (int i = 1; i < 4 && st == TR_OK; i++)
        st = add_record(tx, i, ADA, 12000, err); /* longer than a page */
    for (int i = 4; i < 9 && st == TR_OK; i++)
        st = add_record(tx, i, BERTA, i == 4 ? 9000 : 200, err);
    return st;
}

tr_status fault_job_replace_record(void *context, tr_db *tx, tr_error *err) {
    char payload[4000];
    tr_index_entry index = {.field = "/phone", .mac = {1}};
    (void)context;
    tr_status st = TR_OK;
    for (int i = 4; i < 6; i++) {
        tr_record row = record_of(i, BERTA, 2, 'Z', payload, sizeof payload);
        TR_TRY(tr_record_update(tx, &row, 2, &index, 1, err));
    }
out:
    return st;
}

tr_status fault_job_remove_record(void *context, tr_db *tx, tr_error *err) {
    tr_uuid owner = id_of(ADA), id = id_of(RECORD + 2);
    (void)context;
    return tr_record_delete(tx, &owner, &id, 1, err);
}

/* ---- grants, holds, requests, notices, outcomes ---- */

tr_status fault_job_grant(void *context, tr_db *tx, tr_error *err) {
    tr_grant row = {.id = id_of(GRANT),
                    .subject = id_of(ADA),
                    .grantee = id_of(SERVICE),
                    .activity = id_of(ACTIVITY),
                    .types = "[\"contact\"]",
                    .fields = "",
                    .actions = TR_ACT_READ,
                    .created_at = 3};
    (void)context;
    tr_status st = TR_OK;
    TR_TRY(tr_grant_insert(tx, &row, err));
    row.subject = id_of(BERTA);
    st = tr_grant_insert(tx, &row, err);
out:
    return st;
}

tr_status fault_job_withdraw(void *context, tr_db *tx, tr_error *err) {
    tr_uuid owner = id_of(ADA), id = id_of(GRANT);
    (void)context;
    return tr_grant_withdraw(tx, &owner, &id, 99, err);
}

tr_status fault_job_hold(void *context, tr_db *tx, tr_error *err) {
    tr_hold row = {.id = id_of(HOLD),
                   .subject = id_of(ADA),
                   .title = "Invoices",
                   .legal_basis = "Art. 958f CO",
                   .created_by = id_of(OFFICER),
                   .created_at = 3};
    (void)context;
    return tr_hold_insert(tx, &row, err);
}

tr_status fault_job_lift_hold(void *context, tr_db *tx, tr_error *err) {
    tr_uuid owner = id_of(ADA), id = id_of(HOLD), by = id_of(OFFICER);
    (void)context;
    return tr_hold_lift(tx, &owner, &id, &by, 98, err);
}

static tr_dsr request_of(int number, int owner, tr_dsr_kind kind) {
    return (tr_dsr){.id = id_of(number),
                    .subject = id_of(owner),
                    .kind = kind,
                    .state = TR_DSR_VERIFIED,
                    .received_at = 4,
                    .due_at = 5,
                    .updated_at = 4,
                    .doc = "{}",
                    .sealed = bytes_of("sealed"),
                    .version = 1};
}

tr_status fault_job_request(void *context, tr_db *tx, tr_error *err) {
    (void)context;
    tr_status st = TR_OK;
    tr_dsr adas = request_of(REQUEST, ADA, TR_DSR_ACCESS),
           bertas = request_of(BERTAS_REQUEST, BERTA, TR_DSR_ERASURE);
    TR_TRY(tr_dsr_insert(tx, &adas, err));
    st = tr_dsr_insert(tx, &bertas, err);
out:
    return st;
}

static tr_status close_request(tr_db *tx, tr_dsr row, int64_t version, tr_error *err) {
    row.state = TR_DSR_FULFILLED;
    row.closed_at = row.updated_at = 100;
    row.sealed = (tr_bytes){NULL, 0};
    row.receipt = "{}";
    row.version = version;
    return tr_dsr_update(tx, &row, err);
}

tr_status fault_job_fulfil(void *context, tr_db *tx, tr_error *err) {
    (void)context;
    return close_request(tx, request_of(REQUEST, ADA, TR_DSR_ACCESS), 2, err);
}

tr_status fault_job_notice(void *context, tr_db *tx, tr_error *err) {
    tr_notice row = {.id = id_of(NOTICE),
                     .recipient = id_of(SERVICE),
                     .kind = "rectification",
                     .doc = "{}",
                     .created_at = 8,
                     .next_at = 9};
    (void)context;
    return tr_notice_insert(tx, &row, err);
}

tr_status fault_job_outcomes(void *context, tr_db *tx, tr_error *err) {
    tr_outcome row = {.principal = id_of(SERVICE),
                      .key = {1},
                      .has_subject = true,
                      .subject = id_of(BERTA),
                      .created_at = 6,
                      .sealed = bytes_of("an answer")};
    tr_import_batch batch = {.principal = id_of(SERVICE),
                             .key = {2},
                             .lines = 3,
                             .created_at = 6,
                             .results = bytes_of("{}\n{}\n{}\n")};
    (void)context;
    tr_status st = TR_OK;
    TR_TRY(tr_outcome_insert(tx, &row, err));
    row.key[0] = 3;
    row.has_subject = false;
    TR_TRY(tr_outcome_insert(tx, &row, err));
    st = tr_import_batch_insert(tx, &batch, err);
out:
    return st;
}

tr_status fault_job_sweep(void *context, tr_db *tx, tr_error *err) {
    int64_t count = 0;
    (void)context;
    tr_status st = TR_OK;
    TR_TRY(tr_outcome_sweep(tx, 50, 10, &count, err));
    st = tr_import_batch_sweep(tx, 50, 10, &count, err);
out:
    return st;
}

/* ---- keys and erasure ---- */

tr_status fault_job_rewrap(void *context, tr_db *tx, tr_error *err) {
    tr_uuid ada = id_of(ADA), berta = id_of(BERTA);
    (void)context;
    tr_status st = TR_OK;
    TR_TRY(tr_key_rewrap(tx, &ada, 1, 2, bytes_of("wrapped again"), err));
    TR_TRY(tr_key_rewrap(tx, &berta, 1, 2, bytes_of("wrapped again"), err));
    st = tr_named_key_rewrap(tx, "index", 1, 2, bytes_of("wrapped again"), err);
out:
    return st;
}

tr_status fault_job_begin_erasure(void *context, tr_db *tx, tr_error *err) {
    tr_uuid berta = id_of(BERTA), why = id_of(BERTAS_REQUEST);
    tr_dsr row = request_of(BERTAS_REQUEST, BERTA, TR_DSR_ERASURE);
    (void)context;
    row.state = TR_DSR_FULFILLING;
    row.updated_at = 200;
    row.version = 2;
    tr_status st = tr_dsr_update(tx, &row, err);
    return st == TR_OK ? tr_erasure_begin(tx, &berta, &why, 200, err) : st;
}

tr_status fault_job_erase_some(void *context, tr_db *tx, tr_error *err) {
    tr_uuid berta = id_of(BERTA);
    bool left = false;
    (void)context;
    return tr_erasure_step(tx, &berta, 4, &left, err);
}

tr_status fault_job_end_erasure(void *context, tr_db *tx, tr_error *err) {
    tr_uuid berta = id_of(BERTA);
    (void)context;
    tr_status st = TR_OK;
    TR_TRY(close_request(tx, request_of(BERTAS_REQUEST, BERTA, TR_DSR_ERASURE), 3, err));
    st = tr_erasure_end(tx, &berta, err);
out:
    return st;
}
