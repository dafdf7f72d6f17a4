/* Incidents: the register of personal-data breaches. */
#include "vault/incidents.h"

#include <stdlib.h>
#include <string.h>

#include "api/incidents.h"
#include "api/page.h"
#include "base/clock.h"
#include "vault/incident_mail.h"

static void clear_case(void *c) {
    tr_incident_clear(c);
}

/* The audit entry says which one. */
static void concerns(tr_call *call, const tr_uuid *id) {
    call->purpose = *id;
    call->event.purpose = &call->purpose;
}

tr_status tr_incident_of_path(tr_call *call, tr_incident_case **out, tr_error *err) {
    tr_uuid id;
    tr_incident_case *c = tr_call_alloc(call, sizeof *c, clear_case, err);
    tr_status st = c ? tr_call_param_id(call, 0, &id, err) : TR_E_NOMEM;
    if (st == TR_OK)
        st = tr_incident_load(call->vault, call->db, &id, c, err);
    if (st == TR_E_NOT_FOUND)
        return tr_fail(err, st, NULL, "there is no such incident");
    if (st != TR_OK)
        return st;
    concerns(call, &id);
    *out = c;
    return TR_OK;
}

static tr_status answer(tr_call *call, int status, const tr_incident_case *c, tr_error *err) {
    tr_call_json(call, status);
    tr_call_etag(call, c->row.version);
    return tr_incident_json(call->db, c, tr_now_ms(), &call->response->body, err);
}

/* ---- list ---- */

static tr_status list_row(void *context, const tr_incident *row, tr_error *err) {
    tr_page *p = context;
    tr_incident_case c;
    if (tr_page_full(p, &row->id))
        return TR_OK;
    tr_status st = tr_incident_open(p->call->vault, row, &c, err);
    if (st != TR_OK)
        return st;
    st = tr_incident_json(p->call->db, &c, tr_now_ms(), &p->call->response->body, err);
    tr_incident_clear(&c);
    tr_call_concerns(p->call, NULL, NULL, &row->id);
    return st;
}

tr_status tr_incidents_list(tr_call *call, tr_error *err) {
    tr_incident_filter filter = {.open = false};
    bool given = false, open = false, overdue = false;
    tr_page p;
    tr_status st = tr_call_flag(call, "open", &given, &open, err);
    if (st == TR_OK)
        st = tr_call_flag(call, "overdue", NULL, &overdue, err);
    if (st == TR_OK && overdue && given && !open)
        st = tr_fail(err, TR_E_BAD_REQUEST, "overdue", "only open incidents can be overdue");
    if (st == TR_OK)
        st = tr_page_begin(&p, call, err);
    if (st != TR_OK)
        return st;
    filter.open = given && open;
    filter.closed = given && !open;
    filter.overdue_at = overdue ? tr_now_ms() : 0;
    return tr_page_end(&p, tr_incident_list(call->db, &filter, p.after, tr_page_rows(&p), list_row, &p, err));
}

/* ---- read, also as the notice to the authority ---- */

static tr_status wants_page(const tr_call *call, bool *page, tr_error *err) {
    const char *format = tr_call_query(call, "format");
    int json = tr_accept_weight(call, "application/json"), html = tr_accept_weight(call, "text/html");
    *page = format ? strcmp(format, "html") == 0 : html > json;
    if (format && !*page && strcmp(format, "json") != 0)
        return tr_fail(err, TR_E_BAD_REQUEST, "format", "must be json or html");
    return format || json || html || tr_accept_weight(call, "application/problem+json")
               ? TR_OK
               : tr_fail(err, TR_E_NOT_ACCEPTABLE, "Accept", "the answer is application/json or text/html");
}

tr_status tr_incidents_read(tr_call *call, tr_error *err) {
    tr_incident_case *c = NULL;
    bool page = false;
    tr_status st = wants_page(call, &page, err);
    if (st == TR_OK)
        st = tr_incident_of_path(call, &c, err);
    if (st != TR_OK)
        return st;
    tr_response_header(call->response, "Vary", "Accept");
    if (!page)
        return answer(call, 200, c, err);
    call->response->status = 200;
    call->response->content_type = "text/html; charset=utf-8";
    st = tr_call_allow_style(call, tr_incident_style, err);
    if (st != TR_OK)
        return st;
    return tr_incident_html(call->db, c, tr_now_ms(), &call->response->body, err);
}

/* ---- open, change ---- */

static tr_status insert(void *context, tr_db *tx, tr_error *err) {
    return tr_incident_insert(tx, &((tr_incident_case *)context)->row, err);
}

tr_status tr_incidents_create(tr_call *call, tr_error *err) {
    tr_incident_case *c = tr_call_alloc(call, sizeof *c, clear_case, err);
    tr_status st = TR_OK;
    if (!c)
        return TR_E_NOMEM;
    TR_TRY(tr_incident_new(call->body, &call->who->principal, tr_now_ms(), c, err));
    TR_TRY(tr_incident_seal(call->vault, c, err));
    concerns(call, &c->row.id);
    call->effect = insert;
    call->effect_context = c;
    tr_call_location(call, "/v1/incidents/", &c->row.id, NULL, NULL);
    st = answer(call, 201, c, err);
out:
    return st;
}

static tr_status update(void *context, tr_db *tx, tr_error *err) {
    return tr_incident_update(tx, &((tr_incident_case *)context)->row, err);
}

tr_status tr_incidents_update(tr_call *call, tr_error *err) {
    tr_incident_case *c = NULL;
    tr_status st = TR_OK;
    TR_TRY(tr_incident_of_path(call, &c, err));
    TR_TRY(tr_call_if_match(call, c->row.version, err));
    TR_TRY(tr_json_merge_patch(&c->doc, call->body, err));
    TR_TRY(tr_incident_take(c, tr_now_ms(), err));
    TR_TRY(tr_incident_seal(call->vault, c, err));
    call->effect = update;
    call->effect_context = c;
    st = answer(call, 200, c, err);
out:
    return st;
}

/* ---- tell data subjects ---- */

struct mailing {
    tr_mailing row;
    tr_buf doc, scope, subjects;
};

static void clear_mailing(void *context) {
    struct mailing *m = context;
    tr_buf_clear(&m->doc);
    tr_buf_clear(&m->scope);
    tr_buf_clear(&m->subjects);
}

static int by_bytes(const void *a, const void *b) {
    return memcmp(a, b, sizeof((tr_uuid *)NULL)->bytes);
}

static tr_status take_subjects(const cJSON *list, tr_buf *out, tr_error *err) {
    const size_t size = sizeof((tr_uuid *)NULL)->bytes;
    const cJSON *item;
    tr_uuid id;
    size_t kept = 0;
    cJSON_ArrayForEach(item, list) {
        const char *text = cJSON_GetStringValue(item);
        if (!text || !tr_uuid_parse(text, strlen(text), &id))
            return tr_fail(err, TR_E_VALIDATION, "/subjects", "must be ids");
        tr_buf_append(out, id.bytes, size);
    }
    tr_status st = tr_buf_ok(out, err);
    if (st != TR_OK || out->len == 0)
        return st;
    qsort(out->data, out->len / size, size, by_bytes);
    for (size_t i = size; i < out->len; i += size) {
        if (memcmp(out->data + kept, out->data + i, size) != 0) {
            kept += size;
            memmove(out->data + kept, out->data + i, size);
        }
    }
    out->len = kept + size;
    return TR_OK;
}

static tr_status take_whom(tr_call *call, const tr_incident_case *c, struct mailing *m, tr_error *err) {
    const cJSON *whom = tr_json_member(call->body, "subjects");
    tr_scope scope;
    tr_store_stats stats;
    if (cJSON_IsArray(whom)) {
        tr_status st = take_subjects(whom, &m->subjects, err);
        m->row.subjects = (tr_bytes){m->subjects.data, m->subjects.len};
        return st;
    }
    tr_status st = tr_incident_scope(call->db, c, &scope, err);
    if (st == TR_OK && tr_scope_is_empty(&scope))
        st = tr_fail(err, TR_E_CONFLICT, NULL,
                     "the incident has no scope that says which accesses are in question");
    if (st != TR_OK)
        return st;
    tr_store_get_stats(tr_vault_store(call->vault), &stats);
    m->row.upto = (int64_t)stats.audit_seq;
    tr_scope_json(&m->scope, NULL, &scope);
    m->row.scope = m->scope.data;
    return tr_buf_ok(&m->scope, err);
}

static tr_status file(void *context, tr_db *tx, tr_error *err) {
    return tr_mailing_insert(tx, &((struct mailing *)context)->row, err);
}

static void wake(tr_call *call) {
    tr_vault_wake(call->vault);
}

tr_status tr_incidents_notify(tr_call *call, tr_error *err) {
    tr_incident_case *c = NULL;
    tr_status st = TR_OK;
    struct mailing *m = tr_call_alloc(call, sizeof *m, clear_mailing, err);
    if (!m)
        return TR_E_NOMEM;
    TR_TRY(tr_incident_of_path(call, &c, err));
    if (c->row.closed_at)
        TR_TRY(tr_fail(err, TR_E_CONFLICT, NULL, "the incident is closed"));
    m->row = (tr_mailing){.id = tr_uuid_new(),
                          .incident = c->row.id,
                          .created_by = call->who->principal,
                          .created_at = tr_now_ms()};
    TR_TRY(tr_mailing_write(&m->row, tr_json_string(call->body, "title"), tr_json_string(call->body, "text"),
                            &m->doc, err));
    TR_TRY(take_whom(call, c, m, err));
    call->effect = file;
    call->effect_context = m;
    call->after_commit = wake;
    tr_call_json(call, 202);
    tr_jw_open(&call->response->body, NULL, '{');
    tr_jw_uuid(&call->response->body, "id", &m->row.id);
    tr_jw_uuid(&call->response->body, "incident", &m->row.incident);
    tr_jw_close(&call->response->body, '}');
    st = tr_buf_ok(&call->response->body, err);
out:
    return st;
}
