/* Creating, replacing, patching and deleting records. */
#include <string.h>

#include "api/record_json.h"
#include "api/resources.h"
#include "base/clock.h"
#include "vault/holds.h"

struct write {
    tr_secret key;
    tr_draft draft;
    const cJSON *data; /* as it will be stored: of the body, or `own` */
    cJSON *own;        /* as it is stored, or as the caller sees it */
    tr_buf text;       /* the same as JSON */
    char type[TR_TYPE_NAME_MAX + 1];
    int64_t version; /* that is to be deleted; 0: any */
};

static void clear_write(void *write) {
    struct write *w = write;
    tr_draft_clear(&w->draft);
    cJSON_Delete(w->own);
    tr_buf_clear(&w->text);
    tr_secret_clear(&w->key);
}

static tr_status begin(tr_call *call, struct write **out, tr_error *err) {
    struct write *w = tr_call_alloc(call, sizeof *w, clear_write, err);
    *out = w;
    call->effect_context = w;
    return w ? tr_subject_key(call, &w->key, err) : TR_E_NOMEM;
}

static tr_status insert(void *context, tr_db *tx, tr_error *err) {
    return tr_draft_insert(tx, &((struct write *)context)->draft, err);
}

static tr_status update(void *context, tr_db *tx, tr_error *err) {
    return tr_draft_update(tx, &((struct write *)context)->draft, err);
}

/* What the caller may see of w->data, whose whole text was sealed. */
static tr_status view(tr_call *call, struct write *w, tr_rectype *type, bool *partial, tr_error *err) {
    if (tr_access_sees_all(&call->access, w->draft.row.type))
        return TR_OK;
    tr_buf_clear(&w->text);
    if (!w->own && !(w->own = cJSON_Duplicate(w->data, true)))
        return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    tr_status st = tr_access_view(&call->access, type, &w->own, partial, err);
    return st == TR_OK ? tr_json_print(w->own, &w->text, err) : st;
}

/* Seal w->data as the record's next version and answer with what the caller may see of it. */
static tr_status make(tr_call *call, struct write *w, tr_rectype *type, int status, tr_error *err) {
    bool partial = false;
    tr_record *row = &w->draft.row;
    row->subject = call->subject;
    row->updated_at = tr_now_ms();
    row->updated_by = call->who->principal;
    tr_status st =
        tr_within(tr_draft_make(call->vault, &w->key, type, w->data, &w->draft, &w->text, err), "/data", err);
    if (st != TR_OK)
        return st;
    bool reads = tr_access_may(&call->access, row->type, TR_ACT_READ);
    if (reads)
        st = view(call, w, type, &partial, err);
    tr_call_json(call, status);
    tr_call_etag(call, row->version);
    tr_call_concerns(call, NULL, row->type, &row->id);
    return st == TR_OK
               ? tr_record_json(&call->response->body, row, reads ? &w->text : NULL, partial || !reads, err)
               : st;
}

tr_status tr_records_create(tr_call *call, tr_error *err) {
    struct write *w;
    tr_rectype *type = NULL;
    const char *name = tr_json_string(call->body, "type");
    tr_status st = tr_access_write(&call->access, name, err);
    if (st == TR_OK)
        st = begin(call, &w, err);
    if (st != TR_OK)
        goto out;
    TR_TRY(tr_known_type(call, name, "/type", &type, err));
    w->data = tr_json_member(call->body, "data");
    w->draft.row.id = tr_uuid_new();
    w->draft.row.version = 1;
    w->draft.row.created_at = tr_now_ms();
    TR_TRY(make(call, w, type, 201, err));
    tr_call_location(call, "/v1/subjects/", &call->subject, "/records/", &w->draft.row.id);
    call->effect = insert;
out:
    tr_rectype_unref(type);
    return st;
}

/* ---- changes ---- */

static tr_status keep_row(void *context, const tr_record *row, tr_error *err) {
    struct write *w = context;
    w->draft.row = *row;
    strncpy(w->type, row->type, sizeof w->type - 1);
    w->draft.row.type = w->type;
    w->draft.row.sealed = (tr_bytes){NULL, 0};
    return tr_record_open(&w->key, row, &w->own, err);
}

/* The stored record, opened into w->own; the draft's row is the stored one. */
static tr_status load(tr_call *call, struct write **out, tr_error *err) {
    tr_uuid id;
    tr_status st = begin(call, out, err);
    if (st == TR_OK)
        st = tr_call_param_id(call, 1, &id, err);
    if (st == TR_OK) {
        st = tr_record_get(call->db, &call->subject, &id, keep_row, *out, err);
        if (st == TR_E_NOT_FOUND)
            st = tr_fail(err, st, NULL, "there is no such record");
    }
    if (st == TR_OK)
        tr_call_concerns(call, NULL, (*out)->type, &id);
    return st;
}

static tr_status next_version(tr_call *call, struct write *w, tr_error *err) {
    tr_rectype *type = NULL;
    tr_status st = tr_types_load(call->vault, call->db, w->type, &type, err);
    if (st == TR_OK) {
        w->draft.row.version++;
        call->effect = update;
        call->event.record_count = 0; /* `make` names it again */
        st = make(call, w, type, 200, err);
    }
    tr_rectype_unref(type);
    return st;
}

tr_status tr_records_replace(tr_call *call, tr_error *err) {
    struct write *w;
    tr_status st = load(call, &w, err);
    if (st == TR_OK)
        st = tr_access_write(&call->access, w->type, err);
    if (st == TR_OK)
        st = tr_call_if_match(call, w->draft.row.version, err);
    if (st != TR_OK)
        return st;
    cJSON_Delete(w->own);
    w->own = NULL;
    w->data = tr_json_member(call->body, "data");
    return next_version(call, w, err);
}

tr_status tr_records_patch(tr_call *call, tr_error *err) {
    struct write *w;
    const cJSON *patch = tr_json_member(call->body, "data");
    tr_status st = load(call, &w, err);
    if (st == TR_OK)
        st = tr_access_patch(&call->access, w->type, patch, w->own, err);
    if (st == TR_OK)
        st = tr_call_if_match(call, w->draft.row.version, err);
    if (st == TR_OK)
        st = tr_json_merge_patch(&w->own, patch, err);
    w->data = w->own;
    return st == TR_OK ? next_version(call, w, err) : st;
}

static tr_status remove_it(void *context, tr_db *tx, tr_error *err) {
    struct write *w = context;
    tr_status st = tr_hold_check(tx, &w->draft.row.subject, tr_now_ms(), err);
    return st == TR_OK ? tr_record_delete(tx, &w->draft.row.subject, &w->draft.row.id, w->version, err) : st;
}

tr_status tr_records_delete(tr_call *call, tr_error *err) {
    struct write *w;
    tr_status st = load(call, &w, err);
    if (st == TR_OK)
        st = tr_access_write(&call->access, w->type, err);
    if (st == TR_OK)
        st = tr_call_if_match(call, w->draft.row.version, err);
    if (st != TR_OK)
        return st;
    w->version = call->if_match ? w->draft.row.version : 0;
    call->effect = remove_it;
    call->response->status = 204;
    return TR_OK;
}
