/* A subject that erases itself: its request is filed, verified and begun in one commit. */
#include <string.h>

#include "api/resources.h"
#include "base/clock.h"
#include "base/log.h"
#include "vault/dsr.h"
#include "vault/erasure.h"

#define WAIT_MS 20000 /* for its end; then the sweep goes on with it */

static void clear_request(void *request) {
    tr_dsr_clear(request);
}

static tr_status file_erasure(void *context, tr_db *tx, tr_error *err) {
    const tr_dsr *row = &((tr_dsr_case *)context)->row;
    tr_status st = tr_dsr_insert(tx, row, err);
    return st == TR_OK ? tr_erasure_file(tx, &row->subject, &row->id, row->received_at, err) : st;
}

/* {"request", "receipt", "jws"}: the receipt's text goes on where the id ends. */
static tr_status answer_receipt(void *context, const tr_dsr *row, tr_error *err) {
    tr_call *call = context;
    tr_buf *out = &call->response->body;
    if (!row->receipt || row->receipt[0] != '{')
        return tr_fail(err, TR_E_CORRUPT, "vault.db", "a fulfilled request has no receipt");
    tr_buf_reset(out);
    tr_call_json(call, 200);
    tr_jw_open(out, NULL, '{');
    tr_jw_uuid(out, "request", &row->id);
    tr_buf_putc(out, ',');
    tr_buf_puts(out, row->receipt + 1);
    return TR_OK;
}

/* Its answer was 202 so far. */
static void finish_erasure(tr_call *call) {
    const tr_dsr_case *request = call->effect_context;
    tr_error err = {0};
    bool done = false;
    tr_erasure_filed(call->vault, &call->subject);
    tr_status st = tr_erasure_finish(call->vault, &call->subject, WAIT_MS, &done, &err);
    if (st == TR_OK && done)
        st = tr_dsr_get(call->db, &request->row.id, answer_receipt, call, &err);
    if (st != TR_OK)
        tr_log(TR_LOG_WARN, "erasure.failed", TR_F_TEXT("status", tr_status_slug(st)),
               TR_F_TEXT("reason", err.what));
}

static tr_status make_request(tr_call *call, tr_dsr_case *request, tr_error *err) {
    const tr_uuid *who = &call->who->principal;
    int64_t now = tr_now_ms();
    tr_status st = tr_dsr_new(call->vault, &call->subject, TR_DSR_ERASURE, who, now, now, request, err);
    if (st == TR_OK)
        st = tr_dsr_set_verified(request, now, who, "own-session", err);
    return st == TR_OK ? tr_dsr_seal(call->vault, call->db, request, err) : st;
}

tr_status tr_subjects_delete(tr_call *call, tr_error *err) {
    tr_buf *out = &call->response->body;
    tr_dsr_case *request = tr_call_alloc(call, sizeof *request, clear_request, err);
    tr_status st = request ? make_request(call, request, err) : TR_E_NOMEM;
    if (st != TR_OK)
        return st;
    call->event.purpose = &request->row.id;
    call->effect = file_erasure;
    call->effect_context = request;
    call->after_commit = finish_erasure;
    call->session_ends = true;
    tr_call_json(call, 202);
    tr_jw_open(out, NULL, '{');
    tr_jw_uuid(out, "request", &request->row.id);
    tr_jw_text(out, "state", tr_dsr_state_name(TR_DSR_FULFILLING));
    tr_jw_close(out, '}');
    return TR_OK;
}
