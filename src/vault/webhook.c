#include "vault/webhook.h"

#include <stdio.h>
#include <string.h>

#include "base/encode.h"
#include "base/json_write.h"

tr_status tr_webhook_sign(const tr_secret *secret, const char *id, int64_t timestamp, tr_bytes body,
                          char out[TR_WEBHOOK_SIGNATURE], tr_error *err) {
    uint8_t mac[TR_SHA256_LEN];
    char time[32];
    tr_buf text = TR_BUF_INIT;
    const int n = snprintf(time, sizeof time, ".%lld.", (long long)timestamp);
    const tr_bytes parts[] = {{id, strlen(id)}, {time, (size_t)n}, body};
    tr_status st = tr_hmac_sha256(secret, parts, 3, mac, err);
    tr_buf_puts(&text, "v1,");
    tr_base64_append(&text, mac, sizeof mac);
    if (st == TR_OK)
        st = tr_buf_ok(&text, err);
    if (st == TR_OK)
        memcpy(out, text.data, TR_WEBHOOK_SIGNATURE);
    tr_buf_clear(&text);
    return st;
}

void tr_webhook_secret_text(const tr_secret *secret, tr_buf *out) {
    tr_buf_puts(out, "whsec_");
    tr_base64_append(out, secret->data, secret->len);
}

tr_status tr_webhook_body(const tr_notice *notice, tr_buf *out, tr_error *err) {
    char type[96];
    (void)snprintf(type, sizeof type, "tresor.%s", notice->kind);
    tr_jw_open(out, NULL, '{');
    tr_jw_text(out, "type", type);
    tr_jw_time(out, "timestamp", notice->created_at);
    tr_jw_open(out, "data", '{');
    tr_jw_uuid(out, "notice", &notice->id);
    tr_jw_uuid(out, "subject", notice->has_subject ? &notice->subject : NULL);
    tr_jw_uuid(out, "request", notice->has_request ? &notice->request : NULL);
    tr_jw_raw(out, "details", notice->doc, strlen(notice->doc));
    tr_jw_close(out, '}');
    tr_jw_close(out, '}');
    return tr_buf_ok(out, err);
}
