/* Reading records. */
#include <limits.h>
#include <string.h>

#include "api/page.h"
#include "api/record_json.h"
#include "api/resources.h"
#include "vault/datakeys.h"

/* ---- one record as JSON ---- */

static tr_status view_parts(tr_call *call, const tr_secret *key, const tr_record *row, tr_buf *text,
                            bool *partial, tr_error *err) {
    tr_rectype *type = NULL;
    cJSON *data = NULL;
    tr_status st = TR_OK;
    TR_TRY(tr_record_open(key, row, &data, err));
    TR_TRY(tr_types_load(call->vault, call->db, row->type, &type, err));
    TR_TRY(tr_access_view(&call->access, type, &data, partial, err));
    TR_TRY(tr_json_print(data, text, err));
out:
    tr_rectype_unref(type);
    cJSON_Delete(data);
    return st;
}

tr_status tr_record_view(tr_call *call, const tr_secret *key, const tr_record *row, tr_buf *text,
                         bool *partial, tr_error *err) {
    *partial = false;
    return tr_access_sees_all(&call->access, row->type) ? tr_record_open_text(key, row, text, err)
                                                        : view_parts(call, key, row, text, partial, err);
}

tr_status tr_record_json(tr_buf *out, const tr_record *row, const tr_buf *data, bool partial, tr_error *err) {
    tr_jw_open(out, NULL, '{');
    tr_jw_uuid(out, "id", &row->id);
    tr_jw_uuid(out, "subject", &row->subject);
    tr_jw_text(out, "type", row->type);
    tr_jw_number(out, "version", row->version);
    tr_jw_time(out, "created_at", row->created_at);
    tr_jw_time(out, "updated_at", row->updated_at);
    tr_jw_uuid(out, "updated_by", &row->updated_by);
    if (data)
        tr_jw_raw(out, "data", data->data, data->len);
    else
        tr_jw_text(out, "data", NULL);
    tr_jw_bool(out, "partial", partial);
    tr_jw_close(out, '}');
    return tr_buf_ok(out, err);
}

/* ---- what a read needs ---- */

struct reading {
    tr_call *call;
    tr_secret key;
    tr_page page; /* of a list */
    bool first;
};

static void clear_reading(void *reading) {
    tr_secret_clear(&((struct reading *)reading)->key);
}

static tr_status no_record(tr_error *err) {
    return tr_fail(err, TR_E_NOT_FOUND, NULL, "there is no such record");
}

tr_status tr_subject_key(tr_call *call, tr_secret *key, tr_error *err) {
    tr_status st = tr_datakey_get(call->vault, call->db, &call->subject, key, err);
    return st == TR_E_NOT_FOUND ? tr_fail(err, st, NULL, "there is no such subject") : st;
}

static tr_status begin(tr_call *call, struct reading **out, tr_error *err) {
    struct reading *r = tr_call_alloc(call, sizeof *r, clear_reading, err);
    *out = r;
    if (!r)
        return TR_E_NOMEM;
    r->call = call;
    r->first = true;
    return tr_subject_key(call, &r->key, err);
}

/* ---- one ---- */

static tr_status read_one(void *context, const tr_record *row, tr_error *err) {
    struct reading *r = context;
    tr_buf data = TR_BUF_INIT;
    bool partial;
    if (!tr_access_may(&r->call->access, row->type, TR_ACT_READ))
        return tr_fail(err, TR_E_NO_GRANT, NULL, "no live grant lets this purpose read this type");
    tr_call_concerns(r->call, NULL, row->type, &row->id);
    if (tr_call_not_modified(r->call, row->version))
        return TR_OK;
    tr_status st = tr_record_view(r->call, &r->key, row, &data, &partial, err);
    if (st == TR_OK) {
        tr_call_json(r->call, 200);
        tr_call_etag(r->call, row->version);
        st = tr_record_json(&r->call->response->body, row, &data, partial, err);
    }
    tr_buf_clear(&data);
    return st;
}

tr_status tr_records_read(tr_call *call, tr_error *err) {
    struct reading *r;
    tr_uuid id;
    tr_status st = begin(call, &r, err);
    if (st == TR_OK)
        st = tr_call_param_id(call, 1, &id, err);
    if (st != TR_OK)
        return st;
    st = tr_record_get(call->db, &call->subject, &id, read_one, r, err);
    return st == TR_E_NOT_FOUND ? no_record(err) : st;
}

/* ---- list ---- */

static tr_status read_listed(void *context, const tr_record *row, tr_error *err) {
    struct reading *r = context;
    tr_buf data = TR_BUF_INIT;
    bool partial;
    if (!tr_access_may(&r->call->access, row->type, TR_ACT_READ))
        return TR_OK;
    if (tr_page_full(&r->page, &row->id))
        return TR_STOP;
    tr_call_concerns(r->call, NULL, NULL, &row->id);
    tr_status st = tr_record_view(r->call, &r->key, row, &data, &partial, err);
    if (st == TR_OK)
        st = tr_record_json(&r->call->response->body, row, &data, partial, err);
    tr_buf_clear(&data);
    return st;
}

tr_status tr_records_list(tr_call *call, tr_error *err) {
    struct reading *r;
    const char *type = tr_call_query(call, "type");
    tr_status st = begin(call, &r, err);
    if (st == TR_OK && type && !tr_type_name_valid(type))
        st = tr_fail(err, TR_E_BAD_REQUEST, "type", "is no name of a record type");
    if (st == TR_OK && type && !tr_access_may(&call->access, type, TR_ACT_READ))
        st = tr_fail(err, TR_E_NO_GRANT, NULL, "no live grant lets this purpose read this type");
    if (st == TR_OK)
        st = tr_page_begin(&r->page, call, err);
    if (st != TR_OK)
        return st;
    if (type)
        tr_call_concerns(call, NULL, type, NULL);
    st = tr_record_list(call->db, &call->subject, type, r->page.after, INT_MAX, read_listed, r, err);
    return tr_page_end(&r->page, st);
}

/* ---- versions ---- */

static tr_status read_version(void *context, const tr_record *row, tr_error *err) {
    struct reading *r = context;
    tr_buf *out = &r->call->response->body;
    tr_buf data = TR_BUF_INIT;
    bool partial;
    if (!tr_access_may(&r->call->access, row->type, TR_ACT_READ))
        return tr_fail(err, TR_E_NO_GRANT, NULL, "no live grant lets this purpose read this type");
    if (r->first)
        tr_call_concerns(r->call, NULL, row->type, &row->id);
    r->first = false;
    tr_status st = tr_record_view(r->call, &r->key, row, &data, &partial, err);
    if (st == TR_OK) {
        tr_jw_open(out, NULL, '{');
        tr_jw_number(out, "version", row->version);
        tr_jw_time(out, "updated_at", row->updated_at);
        tr_jw_uuid(out, "updated_by", &row->updated_by);
        tr_jw_raw(out, "data", data.data, data.len);
        tr_jw_bool(out, "partial", partial);
        tr_jw_close(out, '}');
        st = tr_buf_ok(out, err);
    }
    tr_buf_clear(&data);
    return st;
}

tr_status tr_records_versions(tr_call *call, tr_error *err) {
    struct reading *r;
    tr_uuid id;
    tr_status st = begin(call, &r, err);
    if (st == TR_OK)
        st = tr_call_param_id(call, 1, &id, err);
    if (st != TR_OK)
        return st;
    tr_page_open(call);
    st = tr_record_get(call->db, &call->subject, &id, read_version, r, err);
    if (st == TR_OK)
        st = tr_record_versions(call->db, &id, TR_RECTYPE_HISTORY_MAX, read_version, r, err);
    tr_page_close(call, NULL, 0);
    return st == TR_E_NOT_FOUND ? no_record(err) : st;
}
