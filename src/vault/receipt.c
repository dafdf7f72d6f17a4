#include "vault/receipt.h"

#include <string.h>

#include "base/clock.h"
#include "base/json_write.h"

#define ARTICLES_MAX 4

/* What a fulfilment of each kind answers. */
static const struct {
    const char *name;
    const char *articles[ARTICLES_MAX]; /* NULL: no more */
} kinds[TR_DSR_KIND_COUNT] = {
    [TR_DSR_ACCESS] = {"access", {"FADP Art. 25", "DPO Art. 16", "GDPR Art. 15"}},
    [TR_DSR_PORTABILITY] = {"portability", {"FADP Art. 28", "DPO Art. 20", "GDPR Art. 20"}},
    [TR_DSR_RECTIFICATION] = {"rectification", {"FADP Art. 32(1)", "GDPR Art. 16", "GDPR Art. 19"}},
    [TR_DSR_RESTRICTION] = {"restriction", {"FADP Art. 32(2)(a)", "GDPR Art. 18", "GDPR Art. 19"}},
    [TR_DSR_ERASURE] = {"erasure", {"FADP Art. 32(2)(c)", "GDPR Art. 17", "GDPR Art. 19"}},
    [TR_DSR_OBJECTION] = {"objection", {"FADP Art. 30(2)(b)", "GDPR Art. 21"}},
};

static void put_count(tr_buf *out, const char *name, int64_t count) {
    if (count >= 0)
        tr_jw_number(out, name, count);
}

static void print_facts(const tr_receipt_facts *f, const tr_uuid *vault_id, tr_buf *out) {
    tr_jw_open(out, NULL, '{');
    tr_jw_uuid(out, "vault", vault_id);
    tr_jw_uuid(out, "request", &f->request);
    tr_jw_uuid(out, "subject", &f->subject);
    tr_jw_text(out, "kind", kinds[f->kind].name);
    tr_jw_time(out, "received_at", f->received_at);
    tr_jw_time(out, "verified_at", f->verified_at);
    tr_jw_time(out, "extended_until", f->extended_until);
    tr_jw_time(out, "fulfilled_at", f->fulfilled_at);
    tr_jw_open(out, "result", '{');
    put_count(out, "records", f->records);
    put_count(out, "versions", f->versions);
    put_count(out, "grants", f->grants);
    put_count(out, "recipients", f->recipients);
    tr_jw_close(out, '}');
    tr_jw_open(out, "articles", '[');
    for (int i = 0; i < ARTICLES_MAX && kinds[f->kind].articles[i]; i++)
        tr_jw_text(out, NULL, kinds[f->kind].articles[i]);
    tr_jw_close(out, ']');
    tr_jw_time(out, "issued_at", tr_now_ms());
    tr_jw_close(out, '}');
}

tr_status tr_receipt_make(tr_vault *vault, const tr_receipt_facts *facts, tr_buf *out, tr_error *err) {
    tr_buf payload = TR_BUF_INIT, jws = TR_BUF_INIT;
    tr_status st = TR_OK;
    if ((unsigned)facts->kind >= TR_DSR_KIND_COUNT)
        TR_TRY(tr_fail(err, TR_E_INTERNAL, NULL, "a receipt for no kind of request"));
    print_facts(facts, tr_proof_vault_id(vault), &payload);
    TR_TRY(tr_buf_ok(&payload, err));
    TR_TRY(tr_proof_sign(vault, (tr_bytes){payload.data, payload.len}, TR_TYP_RECEIPT, &jws, err));
    tr_jw_open(out, NULL, '{');
    tr_jw_raw(out, "receipt", payload.data, payload.len);
    tr_jw_text(out, "jws", jws.data);
    tr_jw_close(out, '}');
    st = tr_buf_ok(out, err);
out:
    tr_buf_clear(&payload);
    tr_buf_clear(&jws);
    return st;
}

/* Whoever formats the text anew has not altered it: what it says counts. */
static tr_status same_as_signed(const cJSON *beside, const cJSON *signed_one, tr_error *err) {
    if (!cJSON_IsObject(signed_one) || !tr_json_string(signed_one, "request") ||
        !tr_json_string(signed_one, "kind"))
        return tr_fail(err, TR_E_MALFORMED, NULL, "what is signed is no receipt");
    return tr_json_equal(beside, signed_one)
               ? TR_OK
               : tr_fail(err, TR_E_CORRUPT, "/receipt", "the receipt is not what was signed");
}

tr_status tr_receipt_verify(const cJSON *jwks, const char *text, size_t len, cJSON **receipt, tr_error *err) {
    tr_buf payload = TR_BUF_INIT;
    cJSON *tree = NULL;
    tr_status st = TR_OK;
    *receipt = NULL;
    TR_TRY(tr_json_parse(text, len, &tree, err));
    const char *jws = tr_json_string(tree, "jws");
    const cJSON *beside = tr_json_member(tree, "receipt");
    if (!jws || !beside)
        TR_TRY(tr_fail(err, TR_E_MALFORMED, NULL, "is no receipt: it has no \"receipt\" and \"jws\""));
    TR_TRY(tr_proof_verify(jwks, jws, TR_TYP_RECEIPT, &payload, err));
    TR_TRY(tr_json_parse(payload.data ? payload.data : "", payload.len, receipt, err));
    st = same_as_signed(beside, *receipt, err);
out:
    if (st != TR_OK) {
        cJSON_Delete(*receipt);
        *receipt = NULL;
    }
    tr_buf_clear(&payload);
    cJSON_Delete(tree);
    return st;
}
