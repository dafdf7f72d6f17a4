/* Requests of data subjects: filed by the person itself, or by an officer for it; listed, read, and their
 * receipts. */
#include "api/requests.h"

#include <stdio.h>
#include <string.h>

#include "api/page.h"
#include "base/clock.h"
#include "vault/deadline.h"

#define OWN_SESSION "own-session" /* how the request of someone who is signed in was verified */

static void clear_case(void *c) {
    tr_dsr_clear(c);
}

tr_dsr_case *tr_request_case(tr_call *call, tr_error *err) {
    return tr_call_alloc(call, sizeof(tr_dsr_case), clear_case, err);
}

bool tr_request_take_id(const cJSON *body, const char *name, tr_uuid *id) {
    const char *text = tr_json_string(body, name);
    return text && tr_uuid_parse(text, strlen(text), id);
}

static bool own(const tr_call *call, const tr_uuid *subject) {
    return call->who->has_subject && tr_uuid_equal(subject, &call->who->subject);
}

static bool may_know(const tr_call *call, const tr_uuid *subject) {
    return call->who->role == TR_OFFICER || own(call, subject);
}

tr_status tr_request_answer(tr_call *call, int status, const tr_dsr_case *c, tr_error *err) {
    tr_call_json(call, status);
    tr_call_etag(call, c->row.version);
    return tr_dsr_json(call->db, c, tr_now_ms(), &call->response->body, err);
}

void tr_request_concerns(tr_call *call, const tr_dsr *row) {
    tr_call_concerns(call, &row->subject, NULL, NULL);
    call->purpose = row->id;
    call->event.purpose = &call->purpose;
}

tr_status tr_request_load(tr_call *call, tr_dsr_case **out, tr_error *err) {
    tr_uuid id;
    tr_dsr_case *c = tr_request_case(call, err);
    tr_status st = c ? tr_call_param_id(call, 0, &id, err) : TR_E_NOMEM;
    if (st == TR_OK)
        st = tr_dsr_load(call->vault, call->db, &id, c, err);
    if (st == TR_E_NOT_FOUND || (st == TR_OK && !may_know(call, &c->row.subject)))
        return tr_fail(err, TR_E_NOT_FOUND, NULL, "there is no such request");
    if (st != TR_OK)
        return st;
    tr_request_concerns(call, &c->row);
    *out = c;
    return tr_call_if_match(call, c->row.version, err);
}

/* ---- list ---- */

static tr_status take_filter(const tr_call *call, tr_dsr_filter *filter, tr_uuid *subject, tr_error *err) {
    const char *text = tr_call_query(call, "subject");
    bool given, open, overdue;
    tr_status st = tr_call_flag(call, "open", &given, &open, err);
    if (st != TR_OK)
        return st;
    filter->open = given && open;
    filter->closed = given && !open;
    st = tr_call_flag(call, "overdue", &given, &overdue, err);
    if (st == TR_OK && overdue && filter->closed)
        st = tr_fail(err, TR_E_BAD_REQUEST, "overdue", "only open requests can be overdue");
    if (st == TR_OK && text && !tr_uuid_parse(text, strlen(text), subject))
        st = tr_fail(err, TR_E_BAD_REQUEST, "subject", "must be an id");
    if (st == TR_OK && text && !may_know(call, subject))
        st = tr_fail(err, TR_E_FORBIDDEN, NULL, "these are not your own requests");
    if (overdue) {
        filter->open = true;
        filter->due_before = tr_now_ms();
    }
    filter->subject = text ? subject : NULL;
    if (call->who->role == TR_SUBJECT)
        filter->subject = &call->who->subject;
    return st;
}

struct listing {
    tr_page page;
    tr_uuid subjects[TR_LIST_MAX]; /* of the requests that the entry names */
};

static tr_status list_row(void *context, const tr_dsr *row, tr_error *err) {
    struct listing *l = context;
    tr_page *p = &l->page;
    tr_dsr_case c;
    if (tr_page_full(p, &row->id))
        return TR_OK;
    tr_status st = tr_dsr_open(p->call->vault, p->call->db, row, &c, err);
    if (st != TR_OK)
        return st;
    st = tr_dsr_json(p->call->db, &c, tr_now_ms(), &p->call->response->body, err);
    tr_dsr_clear(&c);
    l->subjects[p->call->event.record_count] = row->subject;
    tr_call_concerns(p->call, NULL, NULL, &row->id);
    return st;
}

/* Of all subjects: an entry for each request, so that each finds among its accesses that its texts were
 * shown. */
static tr_status append_entries(void *context, tr_db *tx, tr_error *err) {
    const struct listing *l = context;
    const tr_event *whole = &l->page.call->event;
    tr_event event = *whole;
    tr_status st = TR_OK;
    event.outcome = TR_OK;
    if (whole->record_count == 0)
        return tr_event_append(tx, &event, err);
    for (size_t i = 0; st == TR_OK && i < whole->record_count; i++) {
        event.subject = &l->subjects[i];
        event.purpose = event.records = &whole->records[i];
        event.record_count = 1;
        st = tr_event_append(tx, &event, err);
    }
    return st;
}

tr_status tr_requests_list(tr_call *call, tr_error *err) {
    tr_uuid subject;
    tr_dsr_filter filter = {.subject = NULL};
    struct listing *l = tr_call_alloc(call, sizeof *l, NULL, err);
    tr_status st = l ? take_filter(call, &filter, &subject, err) : TR_E_NOMEM;
    if (st == TR_OK && filter.subject)
        tr_call_concerns(call, filter.subject, NULL, NULL);
    if (st == TR_OK)
        st = tr_page_begin(&l->page, call, err);
    if (st != TR_OK)
        return st;
    if (!filter.subject) {
        call->effect = append_entries;
        call->effect_context = l;
        call->own_entries = true;
    }
    const tr_uuid *after = l->page.after;
    return tr_page_end(&l->page,
                       tr_dsr_list(call->db, &filter, after, tr_page_rows(&l->page), list_row, l, err));
}

/* ---- read ---- */

static tr_status see_notice(void *context, const tr_notice *row, tr_error *err) {
    (void)row;
    (void)err;
    *(bool *)context = true;
    return TR_OK;
}

/* Becoming overdue, and notices, leave the version as it is. */
static tr_status changes_in_silence(tr_call *call, const tr_dsr *row, bool *changes, tr_error *err) {
    *changes = row->closed_at == 0 && row->due_at < tr_now_ms();
    return *changes ? TR_OK : tr_notice_list(call->db, &row->id, NULL, 1, see_notice, changes, err);
}

tr_status tr_requests_read(tr_call *call, tr_error *err) {
    tr_dsr_case *c = NULL;
    bool changes = false;
    tr_status st = tr_request_load(call, &c, err);
    if (st == TR_OK && call->if_none_match)
        st = changes_in_silence(call, &c->row, &changes, err);
    if (st != TR_OK || (!changes && tr_call_not_modified(call, c->row.version)))
        return st;
    return tr_request_answer(call, 200, c, err);
}

tr_status tr_requests_receipt(tr_call *call, tr_error *err) {
    tr_dsr_case *c = NULL;
    tr_status st = tr_request_load(call, &c, err);
    if (st == TR_OK && !c->row.receipt)
        st = tr_fail(err, TR_E_NOT_FOUND, NULL, "the request has no receipt yet");
    if (st != TR_OK)
        return st;
    tr_call_json(call, 200);
    tr_buf_append(&call->response->body, c->receipt.data, c->receipt.len);
    return tr_buf_ok(&call->response->body, err);
}

/* ---- file ---- */

static tr_status no_subject(tr_error *err) {
    return tr_fail(err, TR_E_VALIDATION, "/subject", "there is no such subject");
}

static tr_status take_subject(tr_call *call, tr_uuid *subject, tr_error *err) {
    if (!tr_request_take_id(call->body, "subject", subject))
        return tr_fail(err, TR_E_VALIDATION, "/subject", "must be an id");
    return may_know(call, subject)
               ? TR_OK
               : tr_fail(err, TR_E_FORBIDDEN, NULL, "only an officer files requests for others");
}

/* A letter may have come before it was entered here. */
static tr_status take_received(tr_call *call, int64_t now, int64_t *at, tr_error *err) {
    const char *text = tr_json_string(call->body, "received_at");
    *at = now;
    if (!text)
        return TR_OK;
    if (call->who->role != TR_OFFICER)
        return tr_fail(err, TR_E_VALIDATION, "/received_at", "only an officer says when it came");
    if (!tr_time_parse(text, strlen(text), at) || *at > now || *at <= 0)
        return tr_fail(err, TR_E_VALIDATION, "/received_at", "must be a time that is past");
    return TR_OK;
}

static tr_status ignore_activity(void *context, const tr_activity *row, tr_error *err) {
    (void)context;
    (void)row;
    (void)err;
    return TR_OK;
}

/* Ended ones will do: grants for them may still be there. */
static tr_status check_activity(tr_call *call, const cJSON *item, int at, tr_error *err) {
    const char *text = cJSON_GetStringValue(item);
    tr_uuid id;
    tr_status st = TR_E_NOT_FOUND;
    char pointer[32];
    if (text && tr_uuid_parse(text, strlen(text), &id))
        st = tr_activity_get(call->db, &id, ignore_activity, NULL, err);
    snprintf(pointer, sizeof pointer, "/activities/%d", at);
    return st == TR_E_NOT_FOUND ? tr_fail(err, TR_E_VALIDATION, pointer, "names no processing activity") : st;
}

static tr_status take_activities(tr_call *call, tr_dsr_case *c, tr_error *err) {
    const cJSON *list = tr_json_member(call->body, "activities"), *item;
    bool objection = c->row.kind == TR_DSR_OBJECTION;
    tr_status st = TR_OK;
    int i = 0;
    if (objection != (list != NULL))
        return tr_fail(err, TR_E_VALIDATION, "/activities",
                       objection ? "must name what is objected to" : "belongs to an objection only");
    cJSON_ArrayForEach(item, list) {
        st = check_activity(call, item, i++, err);
        if (st != TR_OK)
            return st;
    }
    cJSON *copy = list ? cJSON_Duplicate(list, true) : NULL;
    if (!list || (copy && cJSON_AddItemToObject(c->doc, "activities", copy)))
        return TR_OK;
    cJSON_Delete(copy);
    return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
}

static tr_status insert(void *context, tr_db *tx, tr_error *err) {
    tr_dsr_case *c = context;
    tr_status st = tr_dsr_file(tx, &c->row, err);
    return st == TR_E_NOT_FOUND ? no_subject(err) : st;
}

static tr_status make(tr_call *call, tr_dsr_case *c, tr_error *err) {
    int64_t now = tr_now_ms(), received_at;
    const tr_uuid *by = &call->who->principal;
    tr_dsr_kind kind = TR_DSR_KIND_COUNT;
    tr_uuid subject;
    tr_status st = TR_OK;
    TR_TRY(take_subject(call, &subject, err));
    TR_TRY(take_received(call, now, &received_at, err));
    if (!tr_dsr_kind_parse(tr_json_string(call->body, "kind"), &kind))
        TR_TRY(tr_fail(err, TR_E_VALIDATION, "/kind", "is no kind of request"));
    TR_TRY(tr_dsr_new(call->vault, &subject, kind, by, received_at, now, c, err));
    TR_TRY(tr_dsr_set_text(c, "details", tr_json_string(call->body, "details"), err));
    TR_TRY(take_activities(call, c, err));
    if (call->who->role == TR_SUBJECT)
        TR_TRY(tr_dsr_set_verified(c, now, by, OWN_SESSION, err));
    st = tr_dsr_seal(call->vault, call->db, c, err);
out:
    return st == TR_E_NOT_FOUND ? no_subject(err) : st;
}

tr_status tr_requests_create(tr_call *call, tr_error *err) {
    tr_dsr_case *c = tr_request_case(call, err);
    tr_status st = c ? make(call, c, err) : TR_E_NOMEM;
    if (st != TR_OK)
        return st;
    tr_request_concerns(call, &c->row);
    call->outcome_names_subject = true;
    call->effect = insert;
    call->effect_context = c;
    tr_call_location(call, "/v1/requests/", &c->row.id, NULL, NULL);
    return tr_request_answer(call, 201, c, err);
}
