/* Health, what this is, and the API's document. */
#include "api/openapi_json.h"
#include "api/resources.h"
#include "base/clock.h"
#include "vault/proof.h"

#ifndef TRESOR_VERSION
#define TRESOR_VERSION "0.1.0"
#endif

tr_status tr_about(tr_call *call, tr_error *err) {
    tr_buf *out = &call->response->body;
    tr_buf keys = TR_BUF_INIT;
    tr_status st = tr_proof_jwks(call->vault, &keys, err);
    if (st != TR_OK)
        goto out;
    tr_call_json(call, 200);
    tr_jw_open(out, NULL, '{');
    tr_jw_text(out, "name", "tresor");
    tr_jw_text(out, "version", TRESOR_VERSION);
    tr_jw_text(out, "api", "v1");
    tr_jw_time(out, "time", tr_now_ms());
    tr_jw_uuid(out, "vault", tr_proof_vault_id(call->vault));
    tr_jw_raw(out, "signing_keys", keys.data, keys.len);
    tr_jw_close(out, '}');
out:
    tr_buf_clear(&keys);
    return st;
}

tr_status tr_health(tr_call *call, tr_error *err) {
    (void)err;
    tr_call_json(call, 200);
    tr_buf_puts(&call->response->body, "{\"status\":\"ok\"}");
    return TR_OK;
}

tr_status tr_ready(tr_call *call, tr_error *err) {
    tr_store_stats stats;
    if (call->api->draining)
        return tr_fail(err, TR_E_DRAINING, NULL, "the vault is shutting down");
    tr_store_get_stats(tr_vault_store(call->vault), &stats);
    if (stats.failed)
        return tr_fail(err, TR_E_IO, NULL, "the last commit failed");
    tr_call_json(call, 200);
    tr_buf_puts(&call->response->body, "{\"status\":\"ready\"}");
    return TR_OK;
}

tr_status tr_openapi(tr_call *call, tr_error *err) {
    (void)err;
    tr_call_json(call, 200);
    tr_buf_append(&call->response->body, tr_openapi_json, tr_openapi_json_len);
    return TR_OK;
}
