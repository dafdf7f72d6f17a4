/* Processing activities: the purposes that grants and requests name (Art. 12 FADP, Art. 30 GDPR). */
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "api/page.h"
#include "api/resources.h"
#include "base/clock.h"
#include "vault/register.h"

/* The audit entry says which one, whatever comes of it. */
static void concerns(tr_call *call, const tr_uuid *id) {
    call->purpose = *id;
    call->event.purpose = &call->purpose;
}

/* ---- list ---- */

static tr_status members(tr_buf *out, const tr_activity *row, tr_error *err) {
    cJSON *doc = NULL;
    const cJSON *member;
    tr_status st = tr_json_parse(row->doc, strlen(row->doc), &doc, err);
    tr_jw_uuid(out, "id", &row->id);
    tr_jw_number(out, "version", row->version);
    cJSON_ArrayForEach(member, doc) {
        if (st == TR_OK)
            st = tr_jw_tree(out, member->string, member, err); /* names are those of the request's schema */
    }
    tr_jw_time(out, "created_at", row->created_at);
    tr_jw_time(out, "updated_at", row->updated_at);
    tr_jw_time(out, "ended_at", tr_activity_ended(row, tr_now_ms()));
    cJSON_Delete(doc);
    return st;
}

static tr_status object(tr_buf *out, const tr_activity *row, tr_error *err) {
    tr_jw_open(out, NULL, '{');
    tr_status st = members(out, row, err);
    tr_jw_close(out, '}');
    return st == TR_OK ? tr_buf_ok(out, err) : st;
}

static tr_status list_row(void *context, const tr_activity *row, tr_error *err) {
    tr_page *p = context;
    if (tr_page_full(p, &row->id))
        return TR_OK;
    return object(&p->call->response->body, row, err);
}

static tr_status list_json(tr_call *call, tr_error *err) {
    tr_page p;
    tr_status st = tr_page_begin(&p, call, err);
    return st == TR_OK
               ? tr_page_end(&p, tr_activity_list(call->db, p.after, tr_page_rows(&p), list_row, &p, err))
               : st;
}

/* ---- the register as a whole ---- */

static const struct format {
    const char *name, *media, *content_type;
    const char *file; /* as which a browser saves it */
    const tr_register_form *form;
} formats[] = {
    {"json", "application/json", "application/json", NULL, NULL},
    {"html", "text/html", "text/html; charset=utf-8", NULL, &tr_register_html},
    {"csv", "text/csv", "text/csv; charset=utf-8; header=present", "processing-activities.csv",
     &tr_register_csv},
};
enum { FORMATS = sizeof formats / sizeof *formats };

/* As the query says; without it the one that Accept likes best. */
static tr_status choose(const tr_call *call, const struct format **format, tr_error *err) {
    const char *name = tr_call_query(call, "format");
    int best = 0;
    *format = NULL;
    for (int i = 0; i < FORMATS; i++) {
        int weight = name ? strcmp(name, formats[i].name) == 0 : tr_accept_weight(call, formats[i].media);
        if (weight > best)
            *format = &formats[i];
        best = weight > best ? weight : best;
    }
    if (!*format && !name && tr_accept_weight(call, "application/problem+json"))
        *format = &formats[0];
    if (*format)
        return TR_OK;
    return name ? tr_fail(err, TR_E_BAD_REQUEST, "format", "must be json, html or csv")
                : tr_fail(err, TR_E_NOT_ACCEPTABLE, "Accept",
                          "the answer is application/json, text/html or text/csv");
}

struct printing {
    tr_buf *out;
    const tr_register_form *form;
    int64_t now;
};

static tr_status print_row(void *context, const tr_activity *row, tr_error *err) {
    const struct printing *p = context;
    return p->form->entry(p->out, row, p->now, err);
}

static tr_status print_all(tr_call *call, const struct format *format, tr_error *err) {
    struct printing p = {&call->response->body, format->form, tr_now_ms()};
    char disposition[80];
    tr_status st = TR_OK;
    if (tr_call_query(call, "limit") || tr_call_query(call, "after"))
        return tr_fail(err, TR_E_BAD_REQUEST, tr_call_query(call, "limit") ? "limit" : "after",
                       "is for format json: the register comes as a whole");
    call->response->status = 200;
    call->response->content_type = format->content_type;
    if (format->file) {
        snprintf(disposition, sizeof disposition, "attachment; filename=\"%s\"", format->file);
        tr_response_header(call->response, "Content-Disposition", disposition);
    } else {
        st = tr_call_allow_style(call, tr_register_style, err);
        if (st != TR_OK)
            return st;
    }
    format->form->head(p.out, p.now);
    st = tr_activity_list(call->db, NULL, INT_MAX, print_row, &p, err);
    format->form->foot(p.out);
    return st == TR_OK ? tr_buf_ok(p.out, err) : st;
}

tr_status tr_activities_list(tr_call *call, tr_error *err) {
    const struct format *format;
    tr_status st = choose(call, &format, err);
    if (st != TR_OK)
        return st;
    tr_response_header(call->response, "Vary", "Accept");
    return format->form ? print_all(call, format, err) : list_json(call, err);
}

/* ---- read ---- */

static tr_status answer(tr_call *call, int status, const tr_activity *row, tr_error *err) {
    tr_call_json(call, status);
    tr_call_etag(call, row->version);
    return object(&call->response->body, row, err);
}

static tr_status answer_row(void *context, const tr_activity *row, tr_error *err) {
    tr_call *call = context;
    return tr_call_not_modified(call, row->version) ? TR_OK : answer(call, 200, row, err);
}

static tr_status not_found(tr_status st, tr_error *err) {
    return st == TR_E_NOT_FOUND ? tr_fail(err, st, NULL, "there is no such activity") : st;
}

tr_status tr_activities_read(tr_call *call, tr_error *err) {
    tr_uuid id;
    tr_status st = tr_call_param_id(call, 0, &id, err);
    if (st != TR_OK)
        return st;
    concerns(call, &id);
    return not_found(tr_activity_get(call->db, &id, answer_row, call, err), err);
}

/* ---- create, replace, end ---- */

struct change {
    tr_activity row;
    tr_buf doc;
};

static void clear_change(void *change) {
    tr_buf_clear(&((struct change *)change)->doc);
}

static struct change *new_change(tr_call *call, tr_error *err) {
    struct change *c = tr_call_alloc(call, sizeof *c, clear_change, err);
    call->effect_context = c;
    return c;
}

static tr_status set_doc(struct change *c, const cJSON *body, tr_error *err) {
    tr_buf_reset(&c->doc);
    tr_status st = tr_json_print(body, &c->doc, err);
    c->row.doc = c->doc.data;
    return st;
}

static tr_status check_types(tr_call *call, tr_error *err) {
    const cJSON *name;
    int i = 0;
    cJSON_ArrayForEach(name, tr_json_member(call->body, "record_types")) {
        char pointer[32];
        tr_rectype *type = NULL;
        snprintf(pointer, sizeof pointer, "/record_types/%d", i++);
        tr_status st = tr_known_type(call, name->valuestring, pointer, &type, err);
        tr_rectype_unref(type);
        if (st != TR_OK)
            return st;
    }
    return TR_OK;
}

static tr_status take_body(tr_call *call, struct change *c, tr_error *err) {
    tr_status st = tr_activity_take(call->body, c->row.updated_at, &c->row, err);
    if (st == TR_OK)
        st = check_types(call, err);
    return st == TR_OK ? set_doc(c, call->body, err) : st;
}

static tr_status insert(void *context, tr_db *tx, tr_error *err) {
    return tr_activity_insert(tx, &((struct change *)context)->row, err);
}

tr_status tr_activities_create(tr_call *call, tr_error *err) {
    struct change *c = new_change(call, err);
    if (!c)
        return TR_E_NOMEM;
    c->row.id = tr_uuid_new();
    c->row.created_at = c->row.updated_at = tr_now_ms();
    c->row.version = 1;
    tr_status st = take_body(call, c, err);
    if (st != TR_OK)
        return st;
    call->effect = insert;
    concerns(call, &c->row.id);
    tr_call_location(call, "/v1/activities/", &c->row.id, NULL, NULL);
    return answer(call, 201, &c->row, err);
}

static tr_status keep(void *context, const tr_activity *row, tr_error *err) {
    struct change *c = context;
    c->row = *row;
    tr_buf_puts(&c->doc, row->doc);
    c->row.doc = c->doc.data;
    return tr_buf_ok(&c->doc, err);
}

static tr_status update(void *context, tr_db *tx, tr_error *err) {
    return tr_activity_update(tx, &((struct change *)context)->row, err);
}

/* The stored activity, ready to become the next version. */
static tr_status load(tr_call *call, struct change **out, tr_error *err) {
    tr_uuid id;
    struct change *c = new_change(call, err);
    tr_status st = c ? tr_call_param_id(call, 0, &id, err) : TR_E_NOMEM;
    if (st != TR_OK)
        return st;
    concerns(call, &id);
    st = not_found(tr_activity_get(call->db, &id, keep, c, err), err);
    if (st == TR_OK)
        st = tr_call_if_match(call, c->row.version, err);
    if (st != TR_OK)
        return st;
    c->row.version++;
    c->row.updated_at = tr_now_ms();
    call->effect = update;
    *out = c;
    return TR_OK;
}

tr_status tr_activities_replace(tr_call *call, tr_error *err) {
    struct change *c;
    tr_status st = load(call, &c, err);
    if (st == TR_OK && tr_activity_ended(&c->row, c->row.updated_at))
        st = tr_fail(err, TR_E_CONFLICT, NULL, "the activity has ended");
    if (st == TR_OK)
        st = take_body(call, c, err);
    return st == TR_OK ? answer(call, 200, &c->row, err) : st;
}

tr_status tr_activities_end(tr_call *call, tr_error *err) {
    struct change *c;
    tr_status st = load(call, &c, err);
    call->response->status = 204;
    if (st == TR_OK && tr_activity_ended(&c->row, c->row.updated_at))
        call->effect = NULL; /* ended before: nothing to do */
    else if (st == TR_OK)
        c->row.ended_at = c->row.updated_at;
    return st;
}
