/* The one commit of a request: its token's end, its effect, its outcome, its audit entry. */
#include <string.h>

#include "api/call.h"

/* Does this failure concern the whole group, not just what the request asked for? */
static bool is_trouble(tr_status status) {
    return tr_problem_status(status) >= 500;
}

static tr_status effect(void *context, tr_db *tx, tr_error *err) {
    tr_call *call = context;
    tr_status st = tr_authorise_again(call, tx, err);
    if (st == TR_OK && call->effect)
        st = call->effect(call->effect_context, tx, err);
    if (st == TR_OK && call->sealed_outcome.data)
        st = tr_keep_outcome(call, tx, err);
    return st;
}

static tr_status append_entry(tr_call *call, tr_db *tx, tr_error *err) {
    call->event.outcome = call->effect_status;
    if (call->own_entries && call->effect_status == TR_OK)
        return TR_OK;
    return tr_event_append(tx, &call->event, err);
}

/* May run more than once. call->handler_status is what came out before the commit: when it failed there is no
 * effect. */
static tr_status commit_job(void *context, tr_db *tx, tr_error *err) {
    tr_call *call = context;
    tr_status st = call->ticket.persisted ? tr_token_check(tx, &call->ticket, err)
                                          : tr_token_persist(tx, &call->ticket, err);
    if (st != TR_OK)
        return st;
    call->outcome_taken = false;
    call->effect_status = call->handler_status;
    if (call->handler_status == TR_OK &&
        (call->effect || call->sealed_outcome.data || call->if_open || call->has_warrant))
        call->effect_status = tr_nested(tx, effect, call, &call->effect_error);
    bool stale = call->effect_status == TR_E_PRECONDITION && call->handler_status == TR_OK;
    if (call->outcome_taken || stale || (call->handler_status == TR_OK && is_trouble(call->effect_status))) {
        if (err)
            *err = call->effect_error;
        return call->effect_status;
    }
    return append_entry(call, tx, err);
}

tr_status tr_commit(tr_call *call, tr_status handler_status, bool *again, tr_error *err) {
    tr_status st = TR_OK;
    *again = call->outcome_taken = false;
    call->handler_status = handler_status;
    call->sealed_outcome = (tr_bytes){NULL, 0};
    if (handler_status == TR_OK && tr_keeps_outcome(call) && !call->session_ends)
        st = tr_seal_outcome(call, err);
    if (st == TR_E_NOT_FOUND) /* its subject is gone, and with it what would have been kept */
        st = TR_OK;
    tr_call_rest(call);
    if (st == TR_OK)
        st = tr_store_write(tr_vault_store(call->vault), commit_job, call, err);
    if (st != TR_OK) {
        *again = call->outcome_taken || st == TR_E_PRECONDITION;
        return st;
    }
    call->ticket.persisted = true;
    if (call->effect_status != TR_OK && handler_status == TR_OK && err)
        *err = call->effect_error;
    if (call->effect_status == TR_OK && call->after_commit)
        call->after_commit(call);
    return call->effect_status;
}
