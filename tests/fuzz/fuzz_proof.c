/* What a vault has signed, as somebody hands it in. The first byte says what the rest is:
 *   0  a JWS
 *   1  a header and a payload, a newline between: signed by the key as they are
 *   2  changes to a good JWS: place (2 bytes), what its byte is xored with
 *   3  a receipt, in which $ stands for a good JWS
 * Ed25519 gives one signature for one text: whatever is taken is exactly what the key signs.
 */
#include <string.h>

#include "base/encode.h"
#include "crypto/sign.h"
#include "fuzz_must.h"
#include "vault/receipt.h"

static tr_secret seed;
static cJSON *jwks;
static tr_buf good;

static void put_base64url(tr_buf *out, const void *bytes, size_t n) {
    char *text = malloc(TR_BASE64URL_LEN(n) + 1);
    MUST(text);
    tr_base64url_encode(bytes, n, text);
    tr_buf_puts(out, text);
    free(text);
}

static void sign(const void *header, size_t header_len, const void *payload, size_t len, tr_buf *out) {
    uint8_t signature[TR_SIGNATURE_LEN];
    put_base64url(out, header, header_len);
    tr_buf_putc(out, '.');
    put_base64url(out, payload, len);
    MUST(tr_buf_ok(out, NULL) == TR_OK);
    MUST(tr_sign(&seed, (tr_bytes){out->data, out->len}, signature, NULL) == TR_OK);
    tr_buf_putc(out, '.');
    put_base64url(out, signature, sizeof signature);
}

static void set_up(void) {
    static const char header[] = "{\"alg\":\"EdDSA\",\"kid\":\"k\",\"typ\":\"" TR_TYP_RECEIPT "\"}";
    static const char payload[] = "{\"request\":\"r\",\"kind\":\"access\"}";
    uint8_t bytes[TR_SIGN_SEED_LEN], public_key[TR_SIGN_PUBLIC_LEN];
    char x[TR_BASE64URL_LEN(TR_SIGN_PUBLIC_LEN) + 1], text[200];
    if (jwks)
        return;
    memset(bytes, 7, sizeof bytes);
    MUST(tr_secret_copy(&seed, bytes, sizeof bytes, NULL) == TR_OK);
    MUST(tr_sign_public(&seed, public_key, NULL) == TR_OK);
    tr_base64url_encode(public_key, sizeof public_key, x);
    int n = snprintf(text, sizeof text,
                     "{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"k\",\"x\":\"%s\"}]}", x);
    MUST(tr_json_parse(text, (size_t)n, &jwks, NULL) == TR_OK);
    sign(header, sizeof header - 1, payload, sizeof payload - 1, &good);
}

static tr_status verify(const char *jws, tr_buf *payload) {
    tr_error err = {0};
    char kid[TR_KID_LEN + 1];
    tr_status st = tr_proof_verify(jwks, jws, TR_TYP_RECEIPT, payload, &err);
    MUST(st == TR_OK ||
         ((st == TR_E_MALFORMED || st == TR_E_NOT_FOUND || st == TR_E_CORRUPT) && err.what[0]));
    MUST(st == TR_OK || payload->len == 0);
    if (st == TR_OK)
        MUST(tr_proof_kid(jws, kid, &err) == TR_OK && strcmp(kid, "k") == 0);
    return st;
}

/* `jws` was taken: its first two parts, signed anew, are it. */
static void check_taken(const char *jws, const tr_buf *payload) {
    uint8_t header[2000];
    size_t n = sizeof header;
    tr_buf again = TR_BUF_INIT;
    MUST(tr_base64url_decode(jws, strcspn(jws, "."), header, &n));
    sign(header, n, payload->data, payload->len, &again);
    MUST(strcmp(again.data, jws) == 0);
    tr_buf_clear(&again);
}

static void try_jws(const char *jws) {
    tr_buf payload = TR_BUF_INIT;
    if (verify(jws, &payload) == TR_OK)
        check_taken(jws, &payload);
    tr_buf_clear(&payload);
}

static void try_signed(const char *text, size_t size) {
    const char *newline = memchr(text, '\n', size);
    const size_t head = newline ? (size_t)(newline - text) : size;
    const char *payload = newline ? newline + 1 : "";
    const size_t len = newline ? size - head - 1 : 0;
    tr_buf jws = TR_BUF_INIT, out = TR_BUF_INIT;
    sign(text, head, payload, len, &jws);
    tr_status st = verify(jws.data, &out);
    MUST(st != TR_E_CORRUPT);
    if (st == TR_OK)
        MUST(out.len == len && memcmp(out.data, payload, len) == 0);
    tr_buf_clear(&jws);
    tr_buf_clear(&out);
}

static void try_changes(const uint8_t *data, size_t size) {
    char jws[1000];
    tr_buf payload = TR_BUF_INIT;
    MUST(good.len < sizeof jws);
    memcpy(jws, good.data, good.len + 1);
    for (; size >= 3; data += 3, size -= 3)
        jws[(size_t)(data[0] << 8 | data[1]) % good.len] ^= (char)data[2];
    MUST((verify(jws, &payload) == TR_OK) == (strcmp(jws, good.data) == 0));
    tr_buf_clear(&payload);
}

static void try_receipt(const char *text, size_t size) {
    tr_buf receipt = TR_BUF_INIT;
    cJSON *tree = NULL;
    tr_error err = {0};
    for (size_t i = 0; i < size && receipt.len < 10000; i++) {
        if (text[i] == '$')
            tr_buf_puts(&receipt, good.data);
        else
            tr_buf_putc(&receipt, text[i]);
    }
    tr_status st = tr_receipt_verify(jwks, receipt.data ? receipt.data : "", receipt.len, &tree, &err);
    MUST((st == TR_OK) == (tree != NULL) && (st == TR_OK || err.what[0]));
    MUST(!tree || (tr_json_string(tree, "kind") && strcmp(tr_json_string(tree, "kind"), "access") == 0));
    cJSON_Delete(tree);
    tr_buf_clear(&receipt);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    set_up();
    if (size < 1 || size > 8000)
        return 0;
    char *text = malloc(size);
    MUST(text);
    memcpy(text, data + 1, size - 1);
    text[size - 1] = '\0';
    switch (data[0] % 4) {
    case 0: try_jws(text); break;
    case 1: try_signed(text, size - 1); break;
    case 2: try_changes(data + 1, size - 1); break;
    default: try_receipt(text, size - 1); break;
    }
    free(text);
    return 0;
}
