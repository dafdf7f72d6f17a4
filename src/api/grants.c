/* Grants: who else may see a subject's records, for which purpose. Given and withdrawn by the subject alone.
 */
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "api/page.h"
#include "api/resources.h"
#include "base/clock.h"
#include "vault/access.h"

static const struct {
    int bit;
    const char *name;
} actions[] = {{TR_ACT_READ, "read"}, {TR_ACT_WRITE, "write"}, {TR_ACT_EXPORT, "export"}};
enum { ACTIONS = sizeof actions / sizeof *actions };

static void grant_json(tr_buf *out, const tr_grant *row) {
    tr_jw_open(out, NULL, '{');
    tr_jw_uuid(out, "id", &row->id);
    tr_jw_uuid(out, "subject", &row->subject);
    tr_jw_uuid(out, "grantee", &row->grantee);
    tr_jw_raw(out, "types", row->types, strlen(row->types));
    if (row->fields[0])
        tr_jw_raw(out, "fields", row->fields, strlen(row->fields));
    else
        tr_jw_text(out, "fields", NULL);
    tr_jw_bool(out, "masked", row->masked);
    tr_jw_open(out, "actions", '[');
    for (int i = 0; i < ACTIONS; i++) {
        if (row->actions & actions[i].bit)
            tr_jw_text(out, NULL, actions[i].name);
    }
    tr_jw_close(out, ']');
    tr_jw_uuid(out, "activity", &row->activity);
    tr_jw_time(out, "created_at", row->created_at);
    tr_jw_time(out, "expires", row->expires_at);
    tr_jw_time(out, "withdrawn_at", row->withdrawn_at);
    tr_jw_close(out, '}');
}

/* ---- list, read ---- */

/* A service sees only what was granted to it. */
static bool shown(const tr_call *call, const tr_grant *row) {
    return call->access.own || tr_uuid_equal(&row->grantee, &call->who->principal);
}

static tr_status list_row(void *context, const tr_grant *row, tr_error *err) {
    tr_page *p = context;
    if (!shown(p->call, row))
        return TR_OK;
    if (tr_page_full(p, &row->id))
        return TR_STOP;
    grant_json(&p->call->response->body, row);
    return tr_buf_ok(&p->call->response->body, err);
}

tr_status tr_grants_list(tr_call *call, tr_error *err) {
    tr_page p;
    tr_status st = tr_page_begin(&p, call, err);
    return st == TR_OK
               ? tr_page_end(&p, tr_grant_list(call->db, &call->subject, p.after, INT_MAX, list_row, &p, err))
               : st;
}

static tr_status no_grant(tr_error *err) {
    return tr_fail(err, TR_E_NOT_FOUND, NULL, "there is no such grant");
}

static tr_status read_row(void *context, const tr_grant *row, tr_error *err) {
    tr_call *call = context;
    if (!shown(call, row))
        return no_grant(err);
    tr_call_json(call, 200);
    grant_json(&call->response->body, row);
    return tr_buf_ok(&call->response->body, err);
}

tr_status tr_grants_read(tr_call *call, tr_error *err) {
    tr_uuid id;
    tr_status st = tr_call_param_id(call, 1, &id, err);
    if (st == TR_OK)
        st = tr_grant_get(call->db, &call->subject, &id, read_row, call, err);
    return st == TR_E_NOT_FOUND ? no_grant(err) : st;
}

/* ---- create ---- */

struct change {
    tr_grant row;
    tr_buf types, fields;
    int same; /* live grants of this grantee for this activity */
};

static void clear_change(void *change) {
    struct change *c = change;
    tr_buf_clear(&c->types);
    tr_buf_clear(&c->fields);
}

static tr_status keep_role(void *context, const tr_principal *row, tr_error *err) {
    (void)err;
    *(tr_role *)context = row->role;
    return TR_OK;
}

static tr_status check_grantee(tr_call *call, const tr_uuid *id, tr_error *err) {
    tr_role role = TR_ROLE_COUNT;
    tr_status st = tr_principal_get(call->db, id, keep_role, &role, err);
    if (st == TR_E_NOT_FOUND || (st == TR_OK && role != TR_SERVICE))
        return tr_fail(err, TR_E_VALIDATION, "/grantee", "is no service");
    return st;
}

static tr_status check_types(tr_call *call, tr_error *err) {
    const cJSON *name;
    int i = 0;
    tr_status st = TR_OK;
    cJSON_ArrayForEach(name, tr_json_member(call->body, "types")) {
        char pointer[32];
        tr_rectype *type = NULL;
        snprintf(pointer, sizeof pointer, "/types/%d", i++);
        st = tr_known_type(call, name->valuestring, pointer, &type, err);
        tr_rectype_unref(type);
        if (st != TR_OK)
            return st;
    }
    return st;
}

static tr_status check_fields(const cJSON *fields, tr_error *err) {
    const cJSON *field;
    int i = 0;
    cJSON_ArrayForEach(field, fields) {
        char pointer[32];
        snprintf(pointer, sizeof pointer, "/fields/%d", i++);
        if (!tr_rectype_pointer_valid(field->valuestring))
            return tr_fail(err, TR_E_VALIDATION, pointer, "must be a JSON Pointer of an object's member");
    }
    return TR_OK;
}

static tr_status check_activity(tr_call *call, const tr_uuid *id, tr_error *err) {
    tr_status st = tr_purpose_check(call->db, id, err);
    return st == TR_E_PURPOSE
               ? tr_fail(err, TR_E_VALIDATION, "/activity", "names no live processing activity")
               : st;
}

static tr_status take_expiry(const cJSON *body, int64_t now, int64_t *at, tr_error *err) {
    const char *text = tr_json_string(body, "expires");
    *at = 0;
    if (text && (!tr_time_parse(text, strlen(text), at) || *at <= now))
        return tr_fail(err, TR_E_VALIDATION, "/expires", "must be a time to come");
    return TR_OK;
}

static int action_bits(const cJSON *names) {
    const cJSON *name;
    int bits = 0;
    cJSON_ArrayForEach(name, names) {
        for (int i = 0; i < ACTIONS; i++)
            bits |= strcmp(name->valuestring, actions[i].name) == 0 ? actions[i].bit : 0;
    }
    return bits;
}

static bool take_id(const cJSON *body, const char *name, tr_uuid *id) {
    const char *text = tr_json_string(body, name);
    return text && tr_uuid_parse(text, strlen(text), id);
}

static tr_status take_body(tr_call *call, struct change *c, tr_error *err) {
    const cJSON *body = call->body, *fields = tr_json_member(body, "fields");
    tr_grant *row = &c->row;
    tr_status st = TR_OK;
    row->id = tr_uuid_new();
    row->subject = call->subject;
    row->created_at = tr_now_ms();
    row->masked = tr_json_bool(body, "masked", false);
    row->actions = action_bits(tr_json_member(body, "actions"));
    if (!take_id(body, "grantee", &row->grantee) || !take_id(body, "activity", &row->activity))
        TR_TRY(tr_fail(err, TR_E_VALIDATION, NULL, "grantee and activity must be ids"));
    TR_TRY(check_grantee(call, &row->grantee, err));
    TR_TRY(check_types(call, err));
    TR_TRY(check_fields(fields, err));
    TR_TRY(check_activity(call, &row->activity, err));
    TR_TRY(take_expiry(body, row->created_at, &row->expires_at, err));
    TR_TRY(tr_json_print(tr_json_member(body, "types"), &c->types, err));
    if (fields)
        TR_TRY(tr_json_print(fields, &c->fields, err));
    row->types = c->types.data;
    row->fields = c->fields.data ? c->fields.data : "";
out:
    return st;
}

static tr_status count_same(void *context, const tr_grant *row, tr_error *err) {
    struct change *c = context;
    (void)err;
    c->same += tr_uuid_equal(&row->activity, &c->row.activity);
    return TR_OK;
}

static tr_status insert(void *context, tr_db *tx, tr_error *err) {
    struct change *c = context;
    c->same = 0;
    tr_status st = tr_grant_live(tx, &c->row.subject, &c->row.grantee, c->row.created_at, count_same, c, err);
    if (st == TR_OK && c->same >= TR_PERMITS_MAX)
        st =
            tr_fail(err, TR_E_CONFLICT, NULL,
                    "this service has %d live grants for this activity; withdraw some first", TR_PERMITS_MAX);
    return st == TR_OK ? tr_grant_insert(tx, &c->row, err) : st;
}

tr_status tr_grants_create(tr_call *call, tr_error *err) {
    struct change *c = tr_call_alloc(call, sizeof *c, clear_change, err);
    tr_status st = c ? take_body(call, c, err) : TR_E_NOMEM;
    if (st != TR_OK)
        return st;
    call->effect = insert;
    call->effect_context = c;
    tr_call_json(call, 201);
    tr_call_location(call, "/v1/subjects/", &call->subject, "/grants/", &c->row.id);
    grant_json(&call->response->body, &c->row);
    return TR_OK;
}

/* ---- withdraw ---- */

static tr_status keep_grant(void *context, const tr_grant *row, tr_error *err) {
    struct change *c = context;
    (void)err;
    c->row = (tr_grant){.id = row->id, .subject = row->subject, .withdrawn_at = row->withdrawn_at};
    return TR_OK;
}

static tr_status withdraw(void *context, tr_db *tx, tr_error *err) {
    struct change *c = context;
    return tr_grant_withdraw(tx, &c->row.subject, &c->row.id, tr_now_ms(), err);
}

tr_status tr_grants_withdraw(tr_call *call, tr_error *err) {
    tr_uuid id;
    struct change *c = tr_call_alloc(call, sizeof *c, clear_change, err);
    tr_status st = c ? tr_call_param_id(call, 1, &id, err) : TR_E_NOMEM;
    if (st == TR_OK)
        st = tr_grant_get(call->db, &call->subject, &id, keep_grant, c, err);
    if (st != TR_OK)
        return st == TR_E_NOT_FOUND ? no_grant(err) : st;
    if (!c->row.withdrawn_at) {
        call->effect = withdraw;
        call->effect_context = c;
    }
    call->response->status = 204;
    return TR_OK;
}
