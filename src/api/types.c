/* Record types: JSON Schemas, read by everybody and written by officers. */
#include <string.h>

#include "api/page.h"
#include "api/resources.h"
#include "base/clock.h"
#include "base/encode.h"

tr_status tr_known_type(tr_call *call, const char *name, const char *pointer, tr_rectype **out,
                        tr_error *err) {
    tr_status st = tr_types_load(call->vault, call->db, name, out, err);
    return st == TR_E_NOT_FOUND ? tr_fail(err, TR_E_VALIDATION, pointer, "there is no such record type") : st;
}

/* ---- list, read ---- */

static void members(tr_buf *out, const tr_type *row) {
    tr_jw_text(out, "name", row->name);
    tr_jw_number(out, "version", row->version);
    tr_jw_time(out, "created_at", row->created_at);
    tr_jw_time(out, "updated_at", row->updated_at);
}

struct names {
    tr_page page;
    char last[TR_TYPE_NAME_MAX + 1];
};

static tr_status list_row(void *context, const tr_type *row, tr_error *err) {
    struct names *n = context;
    tr_buf *out = &n->page.call->response->body;
    if (!tr_page_count(&n->page))
        return TR_OK;
    strncpy(n->last, row->name, sizeof n->last - 1);
    tr_jw_open(out, NULL, '{');
    members(out, row);
    tr_jw_close(out, '}');
    return tr_buf_ok(out, err);
}

/* Types are in the order of their names, and so a cursor is a name. */
tr_status tr_types_list(tr_call *call, tr_error *err) {
    struct names n = {.page = {.call = call}};
    const tr_uuid *none;
    const char *text = tr_call_query(call, "after");
    uint8_t name[TR_TYPE_NAME_MAX + 1] = {0};
    size_t len = TR_TYPE_NAME_MAX;
    tr_status st = tr_call_page(call, &n.page.left, NULL, &none, err);
    if (st == TR_OK && text &&
        (!tr_base64url_decode(text, strlen(text), name, &len) || !tr_type_name_valid((const char *)name)))
        st = tr_fail(err, TR_E_BAD_REQUEST, "after", "is no cursor of this list");
    if (st != TR_OK)
        return st;
    tr_page_open(call);
    st = tr_type_list(call->db, text ? (const char *)name : NULL, tr_page_rows(&n.page), list_row, &n, err);
    tr_page_close(call, n.page.more ? n.last : NULL, strlen(n.last));
    return st;
}

static void answer(tr_call *call, int status, const tr_type *row) {
    tr_buf *out = &call->response->body;
    tr_call_json(call, status);
    tr_call_etag(call, row->version);
    tr_jw_open(out, NULL, '{');
    members(out, row);
    tr_jw_raw(out, "schema", row->schema, strlen(row->schema));
    tr_jw_close(out, '}');
}

static tr_status answer_row(void *context, const tr_type *row, tr_error *err) {
    tr_call *call = context;
    if (tr_call_not_modified(call, row->version))
        return TR_OK;
    answer(call, 200, row);
    return tr_buf_ok(&call->response->body, err);
}

tr_status tr_types_read(tr_call *call, tr_error *err) {
    tr_call_concerns(call, NULL, call->params[0], NULL);
    tr_status st = tr_type_get(call->db, call->params[0], answer_row, call, err);
    return st == TR_E_NOT_FOUND ? tr_fail(err, st, NULL, "there is no such record type") : st;
}

/* ---- put ---- */

struct change {
    tr_type row;
    tr_buf schema;
    bool index_changed;
};

static void clear_change(void *change) {
    tr_buf_clear(&((struct change *)change)->schema);
}

static tr_status put(void *context, tr_db *tx, tr_error *err) {
    struct change *c = context;
    bool in_use = false;
    tr_status st = c->index_changed ? tr_type_in_use(tx, c->row.name, &in_use, err) : TR_OK;
    if (st == TR_OK && in_use)
        st =
            tr_fail(err, TR_E_CONFLICT, NULL, "records of this type exist: what x-index names cannot change");
    return st == TR_OK ? tr_type_put(tx, &c->row, err) : st;
}

static tr_status keep_times(void *context, const tr_type *row, tr_error *err) {
    struct change *c = context;
    (void)err;
    c->row.version = row->version;
    c->row.created_at = row->created_at;
    return TR_OK;
}

/* If-Match and If-None-Match: * against what is stored; version 0: nothing is. */
static tr_status check_stored(tr_call *call, int64_t version, tr_error *err) {
    if (version > 0 && call->if_none_match && strcmp(call->if_none_match, "*") == 0)
        return tr_fail(err, TR_E_PRECONDITION, "If-None-Match", "the type exists");
    if (version == 0 && call->if_match)
        return tr_fail(err, TR_E_PRECONDITION, "If-Match", "the type does not exist");
    return tr_call_if_match(call, version, err);
}

static tr_status prepare(tr_call *call, struct change *c, tr_error *err) {
    tr_rectype *fresh = NULL, *stored = NULL;
    const char *name = call->params[0];
    tr_status st = tr_type_get(call->db, name, keep_times, c, err);
    if (st == TR_E_NOT_FOUND)
        st = TR_OK;
    if (st != TR_OK)
        goto out;
    TR_TRY(check_stored(call, c->row.version, err));
    TR_TRY(tr_rectype_compile(name, c->row.version + 1, call->body, &fresh, err));
    if (c->row.version > 0) {
        st = tr_types_load(call->vault, call->db, name, &stored, err);
        if (st == TR_E_NOT_FOUND) /* removed since the look above */
            st = tr_fail(err, TR_E_PRECONDITION, NULL, "the type was changed meanwhile");
        if (st != TR_OK)
            goto out;
        c->index_changed = !tr_rectype_same_index(stored, fresh);
    }
    TR_TRY(tr_json_print(call->body, &c->schema, err));
    c->row.name = name;
    c->row.schema = c->schema.data;
    c->row.version++;
    c->row.updated_at = tr_now_ms();
    if (!c->row.created_at)
        c->row.created_at = c->row.updated_at;
out:
    tr_rectype_unref(fresh);
    tr_rectype_unref(stored);
    return st;
}

tr_status tr_types_put(tr_call *call, tr_error *err) {
    if (!tr_type_name_valid(call->params[0]))
        return tr_fail(err, TR_E_BAD_REQUEST, "name", "must match ^[a-z][a-z0-9_-]{0,63}$");
    struct change *c = tr_call_alloc(call, sizeof *c, clear_change, err);
    if (!c)
        return TR_E_NOMEM;
    tr_call_concerns(call, NULL, call->params[0], NULL);
    tr_status st = prepare(call, c, err);
    if (st != TR_OK)
        return st;
    call->effect = put;
    call->effect_context = c;
    answer(call, c->row.version == 1 ? 201 : 200, &c->row);
    return TR_OK;
}

/* ---- delete ---- */

static tr_status remove_it(void *context, tr_db *tx, tr_error *err) {
    struct change *c = context;
    tr_type_stamp stamp;
    tr_status st = tr_type_stamp_get(tx, c->row.name, &stamp, err);
    if (st == TR_OK && stamp.version != c->row.version)
        return tr_fail(err, TR_E_PRECONDITION, NULL, "the type was changed meanwhile");
    if (st == TR_OK)
        st = tr_type_delete(tx, c->row.name, err);
    return st == TR_E_CONFLICT ? tr_fail(err, st, NULL, "records of this type exist") : st;
}

tr_status tr_types_delete(tr_call *call, tr_error *err) {
    struct change *c = tr_call_alloc(call, sizeof *c, clear_change, err);
    if (!c)
        return TR_E_NOMEM;
    tr_call_concerns(call, NULL, call->params[0], NULL);
    tr_status st = tr_type_get(call->db, call->params[0], keep_times, c, err);
    if (st == TR_E_NOT_FOUND)
        return tr_fail(err, st, NULL, "there is no such record type");
    if (st == TR_OK)
        st = tr_call_if_match(call, c->row.version, err);
    c->row.name = call->params[0];
    call->effect = remove_it;
    call->effect_context = c;
    call->response->status = 204;
    return st;
}
