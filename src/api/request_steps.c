/* What an officer does with a request on its way: verify, assign, extend, refuse. */
#include <string.h>

#include "api/requests.h"
#include "base/clock.h"
#include "vault/deadline.h"

static tr_status update(void *context, tr_db *tx, tr_error *err) {
    return tr_dsr_update(tx, &((tr_dsr_case *)context)->row, err);
}

/* Load the request, which must be in one of these states. */
static tr_status begin(tr_call *call, unsigned states, tr_dsr_case **c, tr_error *err) {
    tr_status st = tr_request_load(call, c, err);
    return st == TR_OK ? tr_dsr_check_state(&(*c)->row, states, err) : st;
}

static tr_status finish(tr_call *call, tr_dsr_case *c, tr_dsr_state state, int64_t now, tr_error *err) {
    tr_dsr_touch(c, state, now);
    tr_status st = tr_dsr_seal(call->vault, call->db, c, err);
    if (st == TR_E_NOT_FOUND) /* its key is being destroyed: the next look will see what became of it */
        st = tr_fail(err, TR_E_CONFLICT, NULL, "the subject is being erased");
    if (st != TR_OK)
        return st;
    call->outcome_names_subject = true;
    call->effect = update;
    call->effect_context = c;
    return tr_request_answer(call, 200, c, err);
}

static void assign(tr_dsr_case *c, const tr_uuid *officer) {
    c->row.has_assignee = true;
    c->row.assignee = *officer;
}

/* ---- verify ---- */

tr_status tr_requests_verify(tr_call *call, tr_error *err) {
    const tr_uuid *by = &call->who->principal;
    int64_t now = tr_now_ms();
    tr_dsr_case *c;
    tr_status st = TR_OK;
    TR_TRY(begin(call, TR_DSR_IS(TR_DSR_RECEIVED), &c, err));
    TR_TRY(tr_dsr_set_verified(c, now, by, tr_json_string(call->body, "method"), err));
    TR_TRY(tr_dsr_set_text(c, "note", tr_json_string(call->body, "note"), err));
    if (!c->row.has_assignee)
        assign(c, by);
    st = finish(call, c, TR_DSR_VERIFIED, now, err);
out:
    return st;
}

/* ---- assign ---- */

static tr_status take_officer(void *context, const tr_principal *row, tr_error *err) {
    (void)err;
    *(bool *)context = row->role == TR_OFFICER && !row->disabled;
    return TR_OK;
}

tr_status tr_requests_assign(tr_call *call, tr_error *err) {
    bool good = false;
    tr_uuid officer;
    tr_dsr_case *c;
    tr_status st = begin(call, TR_DSR_ARE_UNANSWERED, &c, err);
    if (st != TR_OK)
        return st;
    if (tr_request_take_id(call->body, "officer", &officer))
        st = tr_principal_get(call->db, &officer, take_officer, &good, err);
    if (st == TR_E_NOT_FOUND || (st == TR_OK && !good))
        return tr_fail(err, TR_E_VALIDATION, "/officer", "is no officer who can sign in");
    if (st != TR_OK)
        return st;
    tr_call_concerns(call, NULL, NULL, &officer);
    assign(c, &officer);
    return finish(call, c, c->row.state, tr_now_ms(), err);
}

/* ---- extend ---- */

static tr_status latest(const tr_call *call, const tr_dsr *row, int64_t *at, tr_error *err) {
    tr_deadline_rule rule;
    if (!tr_deadline_rule_parse(call->config->deadline_rule, &rule))
        return tr_fail(err, TR_E_CONFIG, "deadline_rule", "must be fadp or gdpr");
    *at = tr_deadline_most(rule, row->received_at, (int)call->config->extension_days);
    return TR_OK;
}

static tr_status take_until(const tr_call *call, const tr_dsr *row, int64_t *until, tr_error *err) {
    const char *text = tr_json_string(call->body, "until");
    char most_text[TR_TIME_TEXT];
    int64_t most = 0;
    tr_status st = latest(call, row, &most, err);
    *until = most;
    if (st != TR_OK)
        return st;
    tr_time_format(most, most_text);
    if (most <= row->due_at ||
        (text && (!tr_time_parse(text, strlen(text), until) || *until <= row->due_at || *until > most)))
        return tr_fail(err, TR_E_VALIDATION, "/until", "must be after the date it is due, and at most %s",
                       most_text);
    return TR_OK;
}

tr_status tr_requests_extend(tr_call *call, tr_error *err) {
    int64_t now = tr_now_ms(), until = 0;
    char text[TR_TIME_TEXT];
    tr_dsr_case *c;
    tr_status st = TR_OK;
    TR_TRY(begin(call, TR_DSR_IS(TR_DSR_VERIFIED), &c, err));
    if (now > c->row.due_at)
        TR_TRY(tr_fail(err, TR_E_CONFLICT, NULL, "the request is overdue; it can be put off no more"));
    TR_TRY(take_until(call, &c->row, &until, err));
    tr_time_format(until, text);
    TR_TRY(tr_dsr_set_step(c, "extension", now, &call->who->principal, "until", text, err));
    TR_TRY(tr_dsr_set_text(c, "extension_reason", tr_json_string(call->body, "reason"), err));
    c->row.due_at = until;
    st = finish(call, c, TR_DSR_EXTENDED, now, err);
out:
    return st;
}

/* ---- refuse ---- */

tr_status tr_requests_refuse(tr_call *call, tr_error *err) {
    int64_t now = tr_now_ms();
    tr_dsr_case *c;
    tr_status st = TR_OK;
    TR_TRY(begin(call, TR_DSR_ARE_UNANSWERED, &c, err));
    TR_TRY(tr_dsr_set_step(c, "refusal", now, &call->who->principal, "legal_basis",
                           tr_json_string(call->body, "legal_basis"), err));
    TR_TRY(tr_dsr_set_text(c, "refusal_reason", tr_json_string(call->body, "reason"), err));
    st = finish(call, c, TR_DSR_REFUSED, now, err);
out:
    return st;
}
