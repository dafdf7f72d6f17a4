/* Authorisation, in one place: the policy's table, and what its rules ask of the request. Default deny. */
#include <string.h>

#include "api/call.h"
#include "vault/dsr.h"
#include "vault/restriction.h"

static tr_status forbidden(tr_error *err, const char *why) {
    return tr_fail(err, TR_E_FORBIDDEN, NULL, "%s", why);
}

tr_status tr_authorise_role(tr_call *call, tr_error *err) {
    const tr_caller *who = call->who;
    tr_rule rule = tr_policy_rule(call->route->action, who->role);
    if (rule == TR_RULE_NO)
        return forbidden(err, "your role may not do this");
    if (who->password_initial && who->role != TR_SERVICE && !(call->route->flags & TR_ROUTE_INITIAL))
        return tr_fail(err, TR_E_PASSWORD_INITIAL, NULL,
                       "change the one-time password first: PUT /v1/auth/password");
    if (rule == TR_RULE_REGISTER && !who->may_register)
        return forbidden(err, "this service may not register subjects");
    return TR_OK;
}

static tr_status need_purpose(tr_call *call, tr_error *err) {
    if (!call->has_purpose)
        return tr_fail(err, TR_E_PURPOSE, "Access-Purpose", "must name the processing activity this is for");
    return tr_purpose_check(call->db, &call->purpose, err);
}

static tr_status no_grant(tr_error *err) {
    return tr_fail(err, TR_E_NO_GRANT, NULL, "no live grant allows this for this purpose");
}

static tr_status need_grant(tr_call *call, int actions, tr_error *err) {
    tr_status st = need_purpose(call, err);
    if (st == TR_OK)
        st = tr_access_load(call->db, &call->subject, &call->who->principal, &call->purpose, &call->access,
                            err);
    if (st == TR_OK && !tr_access_may(&call->access, NULL, actions))
        st = no_grant(err);
    return st;
}

/* The same for what is denied to services while the subject's data are restricted. */
static tr_status need_open_grant(tr_call *call, int actions, tr_error *err) {
    tr_status st = need_grant(call, actions, err);
    call->if_open = st == TR_OK;
    return st == TR_OK ? tr_restriction_check(call->db, &call->subject, err) : st;
}

static tr_status still_open(const tr_call *call, tr_db *tx, tr_error *err) {
    tr_subject_row row;
    tr_status st = tr_subject_get(tx, &call->subject, &row, err);
    if (st == TR_E_NOT_FOUND)
        return no_grant(err); /* erased a moment ago */
    return st == TR_OK ? tr_restriction_judge(&row, err) : st;
}

static tr_status need_own(tr_call *call, tr_error *err) {
    const tr_caller *who = call->who;
    call->access.own = call->has_subject && who->has_subject && tr_uuid_equal(&call->subject, &who->subject);
    return call->access.own ? TR_OK : forbidden(err, "these are not your own data");
}

/* ---- an officer, within a request of that subject ---- */

static unsigned request_kinds(tr_rule rule) {
    switch (rule) {
    case TR_RULE_REQUEST: return TR_DSR_KINDS_ALL;
    case TR_RULE_RECTIFY: return 1u << TR_DSR_RECTIFICATION;
    case TR_RULE_RESTRICT: return 1u << TR_DSR_RESTRICTION;
    default: return 0;
    }
}

static tr_status find_warrant(const tr_call *call, tr_db *db, tr_uuid *id, tr_error *err) {
    tr_rule rule = tr_policy_rule(call->route->action, call->who->role);
    tr_status st = call->has_subject ? tr_dsr_warrant(db, &call->subject, &call->who->principal,
                                                      request_kinds(rule), id, err)
                                     : TR_E_NOT_FOUND;
    return st == TR_E_NOT_FOUND
               ? forbidden(err, "no request of this subject is open, verified and assigned to you for it")
               : st;
}

static tr_status need_request(tr_call *call, tr_error *err) {
    tr_status st = find_warrant(call, call->db, &call->warrant, err);
    if (st != TR_OK)
        return st;
    call->has_warrant = call->access.own = true;
    call->purpose = call->warrant;
    call->event.purpose = &call->purpose;
    return TR_OK;
}

tr_status tr_authorise_again(const tr_call *call, tr_db *tx, tr_error *err) {
    tr_uuid id;
    if (tr_edition_stands(tx, call->edition))
        return TR_OK;
    if (call->if_open)
        return still_open(call, tx, err);
    return call->has_warrant ? find_warrant(call, tx, &id, err) : TR_OK;
}

tr_status tr_authorise_subject(tr_call *call, tr_error *err) {
    switch (tr_policy_rule(call->route->action, call->who->role)) {
    case TR_RULE_YES: return TR_OK;
    case TR_RULE_REGISTER: return TR_OK; /* tr_authorise_role has looked */
    case TR_RULE_OWN: return need_own(call, err);
    case TR_RULE_READ: return need_open_grant(call, TR_ACT_READ, err);
    case TR_RULE_WRITE: return need_open_grant(call, TR_ACT_WRITE, err);
    case TR_RULE_EXPORT: return need_open_grant(call, TR_ACT_EXPORT, err);
    case TR_RULE_ANY_GRANT: return need_grant(call, TR_ACT_READ | TR_ACT_WRITE | TR_ACT_EXPORT, err);
    case TR_RULE_GRANTEE: return TR_OK;
    case TR_RULE_FILTER: return call->who->role == TR_SERVICE ? need_purpose(call, err) : TR_OK;
    case TR_RULE_LINES:
        return call->has_purpose || !call->who->may_register ? need_purpose(call, err) : TR_OK;
    case TR_RULE_REQUEST:
    case TR_RULE_RECTIFY:
    case TR_RULE_RESTRICT: return need_request(call, err);
    case TR_RULE_PUBLIC:
    case TR_RULE_NO: break;
    }
    return forbidden(err, "your role may not do this");
}
