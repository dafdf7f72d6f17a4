/* An incident as the API shows it. */
#include <string.h>

#include "base/json.h"
#include "base/json_write.h"
#include "vault/incidents.h"

static tr_status evidence_json(void *context, const tr_evidence *row, tr_error *err) {
    tr_buf *out = context;
    tr_jw_open(out, NULL, '{');
    tr_jw_number(out, "number", row->number);
    tr_jw_number(out, "seq", row->seq);
    tr_jw_time(out, "at", row->at);
    tr_jw_uuid(out, "principal", row->principal);
    tr_jw_uuid(out, "request", row->request);
    tr_jw_text(out, "session", row->session);
    tr_jw_text(out, "address", row->address);
    tr_jw_text(out, "detail", row->detail);
    tr_jw_close(out, '}');
    return tr_buf_ok(out, err);
}

static tr_status mailing_json(void *context, const tr_mailing *row, tr_error *err) {
    tr_buf *out = context;
    cJSON *doc = NULL;
    tr_status st = tr_json_parse(row->doc, strlen(row->doc), &doc, err);
    tr_jw_open(out, NULL, '{');
    tr_jw_uuid(out, "id", &row->id);
    tr_jw_text(out, "subjects", row->scope ? "affected" : "listed");
    tr_jw_text(out, "title", tr_json_string(doc, "title"));
    tr_jw_text(out, "text", tr_json_string(doc, "text"));
    tr_jw_uuid(out, "created_by", &row->created_by);
    tr_jw_time(out, "created_at", row->created_at);
    tr_jw_time(out, "done_at", row->done_at);
    tr_jw_number(out, "told", row->told);
    tr_jw_number(out, "told_before", row->before);
    tr_jw_number(out, "unreachable", row->unreachable);
    tr_jw_close(out, '}');
    cJSON_Delete(doc);
    return st == TR_OK ? tr_buf_ok(out, err) : st;
}

static void texts(tr_buf *out, const cJSON *doc, const char *const *members, size_t count) {
    for (size_t i = 0; i < count; i++)
        tr_jw_text(out, members[i], tr_json_string(doc, members[i]));
}

static void number(tr_buf *out, const cJSON *doc, const char *member) {
    int64_t value = 0;
    if (tr_json_int(doc, member, &value))
        tr_jw_number(out, member, value);
    else
        tr_jw_text(out, member, NULL);
}

static void contact(tr_buf *out, const cJSON *contact) {
    static const char *const members[] = {"name", "address", "email", "phone"};
    if (!cJSON_IsObject(contact)) {
        tr_jw_text(out, "contact", NULL);
        return;
    }
    tr_jw_open(out, "contact", '{');
    texts(out, contact, members, sizeof members / sizeof *members);
    tr_jw_close(out, '}');
}

static void written(tr_buf *out, const cJSON *doc) {
    static const char *const before[] = {"began_at", "ended_at", "nature"};
    static const char *const after[] = {"effects", "measures_taken", "measures_planned"};
    static const char *const last[] = {"no_notification_reason", "delay_reason", "authority_reference"};
    texts(out, doc, before, sizeof before / sizeof *before);
    tr_jw_texts(out, "subject_categories", tr_json_member(doc, "subject_categories"));
    number(out, doc, "subject_count");
    tr_jw_texts(out, "data_categories", tr_json_member(doc, "data_categories"));
    number(out, doc, "record_count");
    texts(out, doc, after, sizeof after / sizeof *after);
    contact(out, tr_json_member(doc, "contact"));
    texts(out, doc, last, sizeof last / sizeof *last);
}

static tr_status attached(tr_db *db, const tr_incident_case *c, tr_buf *out, tr_error *err) {
    tr_scope scope;
    tr_status st = tr_incident_scope(db, c, &scope, err);
    if (st != TR_OK)
        return st;
    tr_scope_json(out, "scope", &scope);
    tr_jw_number(out, "evidence_count", c->row.evidence);
    tr_jw_open(out, "evidence", '[');
    st = tr_evidence_list(db, &c->row.id, evidence_json, out, err);
    tr_jw_close(out, ']');
    tr_jw_open(out, "notifications", '[');
    if (st == TR_OK)
        st = tr_mailing_list(db, &c->row.id, TR_INCIDENT_MAILINGS_MAX, mailing_json, out, err);
    tr_jw_close(out, ']');
    return st;
}

tr_status tr_incident_json(tr_db *db, const tr_incident_case *c, int64_t now, tr_buf *out, tr_error *err) {
    const tr_incident *row = &c->row;
    tr_jw_open(out, NULL, '{');
    tr_jw_uuid(out, "id", &row->id);
    tr_jw_text(out, "state", row->closed_at ? "closed" : "open");
    tr_jw_text(out, "title", tr_json_string(c->doc, "title"));
    tr_jw_text(out, "kind", tr_incident_kind_name(row->kind));
    tr_jw_text(out, "risk", tr_incident_risk_name(row->risk));
    tr_jw_text(out, "cause", row->cause);
    tr_jw_uuid(out, "opened_by", row->has_opened_by ? &row->opened_by : NULL);
    tr_jw_time(out, "aware_at", row->aware_at);
    tr_jw_time(out, "due_at", row->due_at);
    tr_jw_bool(out, "overdue", tr_incident_overdue(row, now));
    tr_jw_time(out, "notified_at", row->notified_at);
    written(out, c->doc);
    tr_status st = attached(db, c, out, err);
    tr_jw_time(out, "created_at", row->created_at);
    tr_jw_time(out, "updated_at", row->updated_at);
    tr_jw_time(out, "closed_at", row->closed_at);
    tr_jw_time(out, "keep_until", tr_incident_keep_until(row));
    tr_jw_number(out, "version", row->version);
    tr_jw_close(out, '}');
    return st == TR_OK ? tr_buf_ok(out, err) : st;
}
