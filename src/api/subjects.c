/* Data subjects: registered by services, read by themselves. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/resources.h"
#include "base/clock.h"
#include "vault/datakeys.h"
#include "vault/retention.h"

tr_status tr_within(tr_status status, const char *prefix, tr_error *err) {
    if (err && status == TR_E_VALIDATION) {
        char where[sizeof err->where];
        size_t n = strlen(prefix), room = sizeof where - 1 - n;
        size_t len = strlen(err->where);
        memcpy(where, prefix, n);
        while (len > room) /* whole tokens only */
            for (len--; len > 0 && err->where[len] != '/';)
                len--;
        memcpy(where + n, err->where, len);
        where[n + len] = '\0';
        memcpy(err->where, where, n + len + 1);
    }
    return status;
}

/* ---- registration ---- */

tr_status tr_registration_make(tr_call *call, tr_registration *r, tr_error *err) {
    r->subject =
        (tr_subject_row){.id = tr_uuid_new(), .created_by = call->who->principal, .created_at = tr_now_ms()};
    r->vault = call->vault;
    return tr_datakey_make(call->vault, &r->key, &r->wrapped, &r->master, err);
}

tr_status tr_registration_add(tr_call *call, tr_registration *r, tr_rectype *type, const cJSON *data,
                              tr_error *err) {
    tr_draft *drafts = realloc(r->drafts, (r->count + 1) * sizeof *drafts);
    if (!drafts)
        return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    r->drafts = drafts;
    tr_draft *d = &drafts[r->count++];
    memset(d, 0, sizeof *d);
    d->row.id = tr_uuid_new();
    d->row.subject = r->subject.id;
    d->row.version = 1;
    d->row.created_at = d->row.updated_at = r->subject.created_at;
    d->row.updated_by = call->who->principal;
    return tr_draft_make(call->vault, &r->key, type, data, d, NULL, err);
}

void tr_registration_clear(void *registration) {
    tr_registration *r = registration;
    for (size_t i = 0; i < r->count; i++)
        tr_draft_clear(&r->drafts[i]);
    free(r->drafts);
    tr_secret_clear(&r->key);
    tr_buf_clear(&r->wrapped);
    memset(r, 0, sizeof *r);
}

bool tr_registration_stale(const tr_registration *r) {
    return tr_datakey_stale(r->vault, r->master);
}

tr_status tr_registration_insert(void *registration, tr_db *tx, tr_error *err) {
    tr_registration *r = registration;
    tr_status st = tr_subject_insert(tx, &r->subject, err);
    if (st == TR_OK)
        st = tr_datakey_insert(r->vault, tx, &r->subject.id, r->master,
                               (tr_bytes){r->wrapped.data, r->wrapped.len}, err);
    for (size_t i = 0; st == TR_OK && i < r->count; i++)
        st = tr_draft_insert(tx, &r->drafts[i], err);
    return st;
}

static tr_status add_records(tr_call *call, tr_registration *r, tr_error *err) {
    const cJSON *item;
    tr_status st = TR_OK;
    int i = 0;
    cJSON_ArrayForEach(item, tr_json_member(call->body, "records")) {
        char pointer[40];
        tr_rectype *type = NULL;
        snprintf(pointer, sizeof pointer, "/records/%d/type", i);
        st = tr_known_type(call, tr_json_string(item, "type"), pointer, &type, err);
        snprintf(pointer, sizeof pointer, "/records/%d/data", i++);
        if (st == TR_OK)
            st = tr_within(tr_registration_add(call, r, type, tr_json_member(item, "data"), err), pointer,
                           err);
        tr_rectype_unref(type);
        if (st != TR_OK)
            return st;
        tr_call_concerns(call, NULL, NULL, &r->drafts[r->count - 1].row.id);
    }
    return st;
}

tr_status tr_subjects_create(tr_call *call, tr_error *err) {
    tr_buf *out = &call->response->body;
    tr_registration *r = tr_call_alloc(call, sizeof *r, tr_registration_clear, err);
    tr_status st = r ? tr_registration_make(call, r, err) : TR_E_NOMEM;
    if (st == TR_OK)
        st = add_records(call, r, err);
    if (st != TR_OK)
        return st;
    tr_call_concerns(call, &r->subject.id, NULL, NULL);
    call->effect = tr_registration_insert;
    call->effect_context = r;
    tr_call_json(call, 201);
    tr_call_location(call, "/v1/subjects/", &r->subject.id, NULL, NULL);
    tr_jw_open(out, NULL, '{');
    tr_jw_uuid(out, "id", &r->subject.id);
    tr_jw_time(out, "created_at", r->subject.created_at);
    tr_jw_bool(out, "restricted", false);
    tr_jw_open(out, "records", '[');
    for (size_t i = 0; i < r->count; i++) {
        tr_jw_open(out, NULL, '{');
        tr_jw_uuid(out, "id", &r->drafts[i].row.id);
        tr_jw_text(out, "type", r->drafts[i].row.type);
        tr_jw_number(out, "version", 1);
        tr_jw_close(out, '}');
    }
    tr_jw_close(out, ']');
    tr_jw_close(out, '}');
    return TR_OK;
}

/* ---- read ---- */

/* A service learns of the types that it was granted, no others. */
static tr_status retention_row(void *context, const tr_retention_due *due, tr_error *err) {
    tr_call *call = context;
    if (tr_access_may(&call->access, due->type, TR_ACT_READ | TR_ACT_WRITE | TR_ACT_EXPORT))
        tr_retention_json(&call->response->body, due);
    return tr_buf_ok(&call->response->body, err);
}

tr_status tr_subjects_read(tr_call *call, tr_error *err) {
    tr_subject_row row;
    tr_buf *out = &call->response->body;
    tr_status st = tr_subject_get(call->db, &call->subject, &row, err);
    if (st != TR_OK)
        return st == TR_E_NOT_FOUND ? tr_fail(err, st, NULL, "there is no such subject") : st;
    tr_call_json(call, 200);
    tr_jw_open(out, NULL, '{');
    tr_jw_uuid(out, "id", &row.id);
    tr_jw_time(out, "created_at", row.created_at);
    tr_jw_bool(out, "restricted", row.restricted_at != 0);
    tr_jw_open(out, "retention", '[');
    st = tr_retention_list(call->vault, call->db, &call->subject, retention_row, call, err);
    tr_jw_close(out, ']');
    tr_jw_close(out, '}');
    return st == TR_OK ? tr_buf_ok(out, err) : st;
}
