/* Principals: who may sign in. The operator's. */
#include <string.h>

#include "api/page.h"
#include "api/resources.h"
#include "base/clock.h"

static void members(tr_buf *out, const tr_principal *row) {
    tr_jw_uuid(out, "id", &row->id);
    tr_jw_text(out, "uid", row->uid);
    tr_jw_text(out, "name", row->name);
    tr_jw_text(out, "role", tr_role_name(row->role));
    tr_jw_uuid(out, "subject", row->has_subject ? &row->subject : NULL);
    tr_jw_bool(out, "may_register", row->may_register);
    tr_jw_bool(out, "disabled", row->disabled);
    tr_jw_bool(out, "password_initial", row->password_initial);
    tr_jw_time(out, "created_at", row->created_at);
    tr_jw_time(out, "updated_at", row->updated_at);
    tr_jw_number(out, "version", row->version);
}

/* The whole answer; `one_time` is "" when there is none. */
static void answer(tr_call *call, int status, const tr_principal *row, const char *one_time) {
    tr_buf *out = &call->response->body;
    tr_call_json(call, status);
    tr_call_etag(call, row->version);
    tr_jw_open(out, NULL, '{');
    members(out, row);
    if (one_time[0])
        tr_jw_text(out, "password", one_time);
    tr_jw_close(out, '}');
}

/* The audit entry says which principal; and a subject sees what is done to its own way in. */
static void concerns(tr_call *call, const tr_principal *row) {
    tr_call_concerns(call, row->has_subject ? &row->subject : NULL, NULL, &row->id);
}

struct change {
    tr_vault *vault;
    tr_principal_copy principal;
    tr_principal_copy stored; /* what is to be written */
    char one_time[32];
    bool ends_sessions;
    tr_role was;
};

static void clear_change(void *change) {
    tr_wipe(change, sizeof(struct change));
}

/* ---- list, read ---- */

static tr_status list_row(void *context, const tr_principal *row, tr_error *err) {
    tr_page *p = context;
    tr_buf *out = &p->call->response->body;
    tr_principal_copy copy;
    tr_status st = tr_principal_keep(&copy, row, err);
    if (st == TR_OK)
        st = tr_principal_open(p->call->vault, p->call->db, &copy, err);
    if (st == TR_OK && !tr_page_full(p, &row->id)) {
        tr_jw_open(out, NULL, '{');
        members(out, &copy.row);
        tr_jw_close(out, '}');
        tr_call_concerns(p->call, NULL, NULL, &row->id); /* whose names were shown can be found by it */
        st = tr_buf_ok(out, err);
    }
    tr_wipe(&copy, sizeof copy);
    return st == TR_E_NOT_FOUND ? TR_OK : st; /* one that is being erased */
}

tr_status tr_principals_list(tr_call *call, tr_error *err) {
    tr_page p;
    tr_status st = tr_page_begin(&p, call, err);
    return st == TR_OK
               ? tr_page_end(&p, tr_principal_list(call->db, p.after, tr_page_rows(&p), list_row, &p, err))
               : st;
}

static tr_status load(tr_call *call, struct change **out, tr_error *err) {
    tr_uuid id;
    struct change *c = tr_call_alloc(call, sizeof *c, clear_change, err);
    tr_status st = c ? tr_call_param_id(call, 0, &id, err) : TR_E_NOMEM;
    if (st == TR_OK)
        st = tr_principal_load(call->vault, call->db, &id, &c->principal, err);
    if (st == TR_OK) {
        c->vault = call->vault;
        concerns(call, &c->principal.row);
    }
    *out = c;
    return st == TR_E_NOT_FOUND ? tr_fail(err, st, NULL, "there is no such principal") : st;
}

tr_status tr_principals_read(tr_call *call, tr_error *err) {
    struct change *c;
    tr_status st = load(call, &c, err);
    if (st == TR_OK && !tr_call_not_modified(call, c->principal.row.version))
        answer(call, 200, &c->principal.row, "");
    return st;
}

/* ---- create ---- */

static tr_status no_subject(tr_error *err) {
    return tr_fail(err, TR_E_VALIDATION, "/subject", "there is no such subject");
}

static tr_status insert(void *context, tr_db *tx, tr_error *err) {
    struct change *c = context;
    tr_status st = tr_principal_add(c->vault, tx, &c->principal, &c->stored, err);
    if (st == TR_E_NOT_FOUND)
        return no_subject(err);
    return st == TR_E_CONFLICT ? tr_fail(err, st, "/uid", "another principal has this uid") : st;
}

tr_status tr_principals_create(tr_call *call, tr_error *err) {
    const char *role_name = tr_json_string(call->body, "role");
    const char *subject = tr_json_string(call->body, "subject");
    tr_role role = TR_ROLE_COUNT;
    struct change *c = tr_call_alloc(call, sizeof *c, clear_change, err);
    if (!c)
        return TR_E_NOMEM;
    if (!role_name || !tr_role_parse(role_name, &role))
        return tr_fail(err, TR_E_VALIDATION, "/role", "is no role");
    tr_status st =
        tr_principal_prepare(role, tr_json_string(call->body, "uid"), tr_json_string(call->body, "name"),
                             NULL, &c->principal, c->one_time, err);
    if (st != TR_OK)
        return st;
    c->principal.row.may_register = role == TR_SERVICE && tr_json_bool(call->body, "may_register", false);
    c->principal.row.has_subject = role == TR_SUBJECT;
    if (role == TR_SUBJECT &&
        (!subject || !tr_uuid_parse(subject, strlen(subject), &c->principal.row.subject)))
        return tr_fail(err, TR_E_VALIDATION, "/subject", "must name the data subject");
    st = tr_principal_seal(call->vault, call->db, &c->principal, &c->stored, err);
    if (st != TR_OK)
        return st == TR_E_NOT_FOUND ? no_subject(err) : st;
    c->vault = call->vault;
    concerns(call, &c->principal.row);
    call->outcome_names_subject = role == TR_SUBJECT;
    call->effect = insert;
    call->effect_context = c;
    answer(call, 201, &c->principal.row, c->one_time);
    tr_call_location(call, "/v1/principals/", &c->principal.row.id, NULL, NULL);
    return TR_OK;
}

/* ---- update, delete ---- */

/* There must always be somebody who can sign in as operator. */
static tr_status keep_an_operator(const struct change *c, tr_db *tx, tr_error *err) {
    bool another = true;
    if (c->was != TR_OPERATOR)
        return TR_OK;
    tr_status st = tr_principal_another(tx, TR_OPERATOR, &c->principal.row.id, &another, err);
    return st == TR_OK && !another ? tr_fail(err, TR_E_CONFLICT, NULL, "this is the last operator") : st;
}

static tr_status update(void *context, tr_db *tx, tr_error *err) {
    struct change *c = context;
    int64_t ended = 0;
    tr_status st = c->principal.row.disabled ? keep_an_operator(c, tx, err) : TR_OK;
    if (st == TR_OK)
        st = tr_principal_update(tx, &c->stored.row, err);
    if (st == TR_OK && c->ends_sessions)
        st = tr_session_delete_all(tx, &c->principal.row.id, NULL, &ended, err);
    return st;
}

static void forget_sessions(tr_call *call) {
    tr_session_forget(call->vault, &((struct change *)call->effect_context)->principal.row.id, NULL);
}

static tr_status take_changes(tr_call *call, struct change *c, tr_error *err) {
    tr_principal *row = &c->principal.row;
    const char *name = tr_json_string(call->body, "name");
    bool reset = tr_json_bool(call->body, "reset_password", false);
    if (tr_json_member(call->body, "may_register") && row->role != TR_SERVICE)
        return tr_fail(err, TR_E_VALIDATION, "/may_register", "only a service may register subjects");
    if (reset && tr_uuid_equal(&row->id, &call->who->principal))
        return tr_fail(err, TR_E_CONFLICT, NULL, "change your own password by PUT /v1/auth/password");
    call->outcome_names_subject = row->has_subject;
    tr_principal changed = *row;
    changed.name = name ? name : row->name;
    changed.may_register = tr_json_bool(call->body, "may_register", row->may_register);
    changed.disabled = tr_json_bool(call->body, "disabled", row->disabled);
    changed.version++;
    changed.updated_at = tr_now_ms();
    c->was = row->role;
    c->ends_sessions = changed.disabled && !row->disabled;
    tr_principal_copy *fresh = tr_call_alloc(call, sizeof *fresh, NULL, err);
    tr_status st = fresh ? tr_principal_keep(fresh, &changed, err) : TR_E_NOMEM;
    if (st == TR_OK)
        st = tr_principal_keep(&c->principal, &fresh->row, err);
    if (st == TR_OK && reset) {
        c->ends_sessions = true;
        st = tr_principal_set_password(&c->principal, NULL, c->one_time, err);
    }
    if (st == TR_OK)
        st = tr_principal_seal(call->vault, call->db, &c->principal, &c->stored, err);
    return st == TR_E_NOT_FOUND ? tr_fail(err, st, NULL, "there is no such principal") : st;
}

tr_status tr_principals_update(tr_call *call, tr_error *err) {
    struct change *c;
    tr_status st = load(call, &c, err);
    if (st == TR_OK)
        st = tr_call_if_match(call, c->principal.row.version, err);
    if (st == TR_OK)
        st = take_changes(call, c, err);
    if (st != TR_OK)
        return st;
    call->effect = update;
    call->effect_context = c;
    call->after_commit = forget_sessions;
    call->session_ends = c->ends_sessions && tr_uuid_equal(&c->principal.row.id, &call->who->principal);
    answer(call, 200, &c->principal.row, c->one_time);
    return TR_OK;
}

static tr_status keep_version(void *context, const tr_principal *row, tr_error *err) {
    (void)err;
    *(int64_t *)context = row->version;
    return TR_OK;
}

static tr_status remove_it(void *context, tr_db *tx, tr_error *err) {
    struct change *c = context;
    int64_t version = 0;
    tr_status st = tr_principal_get(tx, &c->principal.row.id, keep_version, &version, err);
    if (st == TR_OK && version != c->principal.row.version)
        st = tr_fail(err, TR_E_PRECONDITION, NULL, "the principal was changed meanwhile");
    if (st == TR_OK)
        st = keep_an_operator(c, tx, err);
    return st == TR_OK ? tr_principal_delete(tx, &c->principal.row.id, err) : st;
}

tr_status tr_principals_delete(tr_call *call, tr_error *err) {
    struct change *c;
    tr_status st = load(call, &c, err);
    if (st == TR_OK)
        st = tr_call_if_match(call, c->principal.row.version, err);
    if (st != TR_OK)
        return st;
    c->was = c->principal.row.role;
    call->effect = remove_it;
    call->effect_context = c;
    call->after_commit = forget_sessions;
    call->session_ends = tr_uuid_equal(&c->principal.row.id, &call->who->principal);
    call->response->status = 204;
    return TR_OK;
}
