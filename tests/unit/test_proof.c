/* Signed statements: RFC 8037's key, what an altered one gives, the vault's key for its whole life, receipts.
 */
#include "test_vault_fixture.h"

#include "base/encode.h"
#include "crypto/sign.h"
#include "vault/audit.h"
#include "vault/datakeys.h"
#include "vault/keys.h"
#include "vault/receipt.h"

/* RFC 8037, appendix A. */
#define RFC_D         "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"
#define RFC_X         "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
#define RFC_KID       "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
#define RFC_INPUT     "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc"
#define RFC_SIGNATURE "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"

#define TYP "test+jws"

static const char about[] =
    "{\"name\":\"tresor\",\"signing_keys\":{\"keys\":["
    "{\"kty\":\"RSA\",\"kid\":\"" RFC_KID "\",\"n\":\"AQAB\",\"e\":\"AQAB\"},"
    "{\"kty\":\"OKP\",\"crv\":\"X25519\",\"kid\":\"" RFC_KID "\",\"x\":\"" RFC_X "\"},"
    "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"" RFC_KID "\",\"x\":\"" RFC_X "\"}]}}";

/* A vault that is nothing but the RFC's key. */
typedef struct signer {
    tr_vault vault;
    cJSON *keys;
} signer;

static int signer_up(void **state) {
    signer *s = calloc(1, sizeof *s);
    uint8_t seed[TR_SIGN_SEED_LEN];
    size_t n = sizeof seed;
    *state = s;
    return s && tr_base64url_decode(RFC_D, strlen(RFC_D), seed, &n) &&
                   tr_secret_copy(&s->vault.sign_key, seed, n, NULL) == TR_OK &&
                   tr_proof_name_key(&s->vault, NULL) == TR_OK &&
                   tr_json_parse(about, strlen(about), &s->keys, NULL) == TR_OK
               ? 0
               : -1;
}

static int signer_down(void **state) {
    signer *s = *state;
    tr_secret_clear(&s->vault.sign_key);
    cJSON_Delete(s->keys);
    free(s);
    return 0;
}

static char *sign_text(signer *s, const char *text, const char *typ) {
    tr_buf jws = TR_BUF_INIT;
    assert_int_equal(tr_proof_sign(&s->vault, (tr_bytes){text, strlen(text)}, typ, &jws, NULL), TR_OK);
    return tr_buf_take(&jws);
}

/* A JWS with any header, properly signed by the RFC's key. */
static char *sign_header(signer *s, const char *header, const char *text) {
    tr_buf jws = TR_BUF_INIT;
    uint8_t signature[TR_SIGNATURE_LEN];
    char part[1024];
    tr_base64url_encode(header, strlen(header), part);
    tr_buf_printf(&jws, "%s.", part);
    tr_base64url_encode(text, strlen(text), part);
    tr_buf_puts(&jws, part);
    assert_int_equal(tr_sign(&s->vault.sign_key, (tr_bytes){jws.data, jws.len}, signature, NULL), TR_OK);
    tr_base64url_encode(signature, sizeof signature, part);
    tr_buf_printf(&jws, ".%s", part);
    return tr_buf_take(&jws);
}

static tr_status verify(const cJSON *keys, const char *jws, const char *typ, const char *text) {
    tr_buf payload = TR_BUF_INIT;
    tr_status st = tr_proof_verify(keys, jws, typ, &payload, NULL);
    if (st == TR_OK)
        assert_string_equal(payload.data, text);
    else
        assert_int_equal(payload.len, 0);
    tr_buf_clear(&payload);
    return st;
}

static void test_rfc_8037(void **state) {
    signer *s = *state;
    uint8_t signature[TR_SIGNATURE_LEN];
    char text[100];
    assert_string_equal(s->vault.sign_x, RFC_X);
    assert_string_equal(s->vault.sign_kid, RFC_KID);
    const tr_bytes input = {RFC_INPUT, strlen(RFC_INPUT)};
    assert_int_equal(tr_sign(&s->vault.sign_key, input, signature, NULL), TR_OK);
    tr_base64url_encode(signature, sizeof signature, text);
    assert_string_equal(text, RFC_SIGNATURE);
    /* Its header says neither whose it is nor what it is. */
    assert_int_equal(verify(s->keys, RFC_INPUT "." RFC_SIGNATURE, TYP, ""), TR_E_MALFORMED);
}

static void test_sign_and_verify(void **state) {
    signer *s = *state;
    tr_buf keys = TR_BUF_INIT;
    cJSON *jwks = NULL;
    char kid[TR_KID_LEN + 1];
    assert_int_equal(tr_proof_jwks(&s->vault, &keys, NULL), TR_OK);
    assert_int_equal(tr_json_parse(keys.data, keys.len, &jwks, NULL), TR_OK);
    static const char *const texts[] = {"", "a", "ab", "abc", "{\"caf\xc3\xa9\":[1,2,3]}"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        char *jws = sign_text(s, texts[i], TYP);
        assert_int_equal(verify(jwks, jws, TYP, texts[i]), TR_OK);
        assert_int_equal(verify(s->keys, jws, TYP, texts[i]), TR_OK);
        assert_int_equal(verify(jwks, jws, "other+jws", texts[i]), TR_E_MALFORMED);
        assert_int_equal(verify(jwks, jws, "", texts[i]), TR_E_MALFORMED);
        assert_int_equal(tr_proof_kid(jws, kid, NULL), TR_OK);
        assert_string_equal(kid, RFC_KID);
        free(jws);
    }
    cJSON_Delete(jwks);
    tr_buf_clear(&keys);
}

static void test_every_change(void **state) {
    signer *s = *state;
    static const char text[] = "{\"request\":\"0\",\"kind\":\"access\"}";
    static const char others[] = "Aw9-_.+/= \n";
    char *jws = sign_text(s, text, TYP);
    size_t len = strlen(jws);
    assert_int_equal(verify(s->keys, jws, TYP, text), TR_OK);
    for (size_t i = 0; i < len; i++) {
        char was = jws[i];
        for (const char *other = others; *other; other++) {
            jws[i] = *other;
            if (*other != was)
                assert_int_not_equal(verify(s->keys, jws, TYP, text), TR_OK);
        }
        jws[i] = '\0'; /* cut off */
        assert_int_not_equal(verify(s->keys, jws, TYP, text), TR_OK);
        jws[i] = was;
    }
    tr_buf longer = TR_BUF_INIT;
    tr_buf_printf(&longer, "%sA", jws);
    assert_int_not_equal(verify(s->keys, longer.data, TYP, text), TR_OK);
    tr_buf_reset(&longer);
    tr_buf_printf(&longer, "%s.e30", jws);
    assert_int_not_equal(verify(s->keys, longer.data, TYP, text), TR_OK);
    tr_buf_clear(&longer);
    free(jws);
}

static void test_headers(void **state) {
    signer *s = *state;
#define KID "\"kid\":\"" RFC_KID "\","
    static const struct {
        const char *header;
        tr_status st;
    } cases[] = {
        {"{\"alg\":\"EdDSA\"," KID "\"typ\":\"" TYP "\"}", TR_OK},
        {"{ \"typ\":\"" TYP "\"," KID "\"alg\":\"EdDSA\",\"cty\":\"json\"}", TR_OK},
        {"{\"alg\":\"none\"," KID "\"typ\":\"" TYP "\"}", TR_E_MALFORMED},
        {"{\"alg\":\"HS256\"," KID "\"typ\":\"" TYP "\"}", TR_E_MALFORMED},
        {"{\"alg\":\"eddsa\"," KID "\"typ\":\"" TYP "\"}", TR_E_MALFORMED},
        {"{" KID "\"typ\":\"" TYP "\"}", TR_E_MALFORMED},
        {"{\"alg\":\"EdDSA\",\"alg\":\"EdDSA\"," KID "\"typ\":\"" TYP "\"}", TR_E_MALFORMED},
        {"{\"alg\":\"EdDSA\"," KID "\"crit\":[\"b64\"],\"b64\":false,\"typ\":\"" TYP "\"}", TR_E_MALFORMED},
        {"{\"alg\":\"EdDSA\"," KID "\"typ\":5}", TR_E_MALFORMED},
        {"{\"alg\":\"EdDSA\"," KID "\"x\":1}", TR_E_MALFORMED},
        {"{\"alg\":\"EdDSA\",\"typ\":\"" TYP "\"}", TR_E_MALFORMED},
        {"{\"alg\":\"EdDSA\",\"kid\":\"another\",\"typ\":\"" TYP "\"}", TR_E_NOT_FOUND},
        {"[\"alg\",\"EdDSA\"]", TR_E_MALFORMED},
        {"", TR_E_MALFORMED},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *jws = sign_header(s, cases[i].header, "text");
        tr_status st = verify(s->keys, jws, TYP, "text");
        if (st != cases[i].st)
            fail_msg("%s: %s", cases[i].header, tr_status_slug(st));
        free(jws);
    }
    /* A key in the header itself proves nothing. */
    char *own = sign_header(s,
                            "{\"alg\":\"EdDSA\",\"kid\":\"mine\",\"typ\":\"" TYP
                            "\",\"jwk\":{\"kty\":\"OKP\",\"crv\":"
                            "\"Ed25519\",\"kid\":\"mine\",\"x\":\"" RFC_X "\"}}",
                            "text");
    assert_int_equal(verify(s->keys, own, TYP, "text"), TR_E_NOT_FOUND);
    free(own);
    static const char *const none[] = {"", ".", "..", "...", "a.b.c", "text", "e30.e30.e30"};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        assert_int_equal(verify(s->keys, none[i], TYP, ""), TR_E_MALFORMED);
}

static void test_other_key(void **state) {
    signer *s = *state;
    uint8_t public_key[TR_SIGN_PUBLIC_LEN];
    char *jws = sign_text(s, "text", TYP);
    assert_int_equal(tr_sign_keypair(&s->vault.sign_key, public_key, NULL), TR_OK);
    assert_int_equal(tr_proof_name_key(&s->vault, NULL), TR_OK);
    char *other = sign_text(s, "text", TYP);
    assert_int_equal(verify(s->keys, jws, TYP, "text"), TR_OK);
    assert_int_equal(verify(s->keys, other, TYP, "text"), TR_E_NOT_FOUND);
    /* The other key's signature under this one's name. */
    strcpy(s->vault.sign_kid, RFC_KID);
    char *posing = sign_text(s, "text", TYP);
    assert_int_equal(verify(s->keys, posing, TYP, "text"), TR_E_CORRUPT);
    free(jws);
    free(other);
    free(posing);
}

/* ---- receipts ---- */

static const tr_receipt_facts facts_of_an_erasure = {.kind = TR_DSR_ERASURE,
                                                     .received_at = 1767225600000,
                                                     .verified_at = 1767225600001,
                                                     .fulfilled_at = 1767312000000,
                                                     .records = 12,
                                                     .versions = 0,
                                                     .grants = -1,
                                                     .recipients = 2};

static void test_receipt(void **state) {
    signer *s = *state;
    tr_receipt_facts facts = facts_of_an_erasure;
    tr_buf text = TR_BUF_INIT;
    tr_error err = {0};
    cJSON *receipt = NULL;
    char id[TR_UUID_TEXT];
    facts.request = tr_uuid_new();
    facts.subject = tr_uuid_new();
    assert_int_equal(tr_receipt_make(&s->vault, &facts, &text, &err), TR_OK);
    assert_int_equal(tr_receipt_verify(s->keys, text.data, text.len, &receipt, &err), TR_OK);
    tr_uuid_format(&facts.request, id);
    assert_string_equal(tr_json_string(receipt, "request"), id);
    tr_uuid_format(&facts.subject, id);
    assert_string_equal(tr_json_string(receipt, "subject"), id);
    assert_string_equal(tr_json_string(receipt, "kind"), "erasure");
    assert_string_equal(tr_json_string(receipt, "received_at"), "2026-01-01T00:00:00.000Z");
    assert_string_equal(tr_json_string(receipt, "fulfilled_at"), "2026-01-02T00:00:00.000Z");
    assert_true(cJSON_IsNull(cJSON_GetObjectItemCaseSensitive(receipt, "extended_until")));
    const cJSON *result = tr_json_member(receipt, "result");
    int64_t n = -1;
    assert_true(tr_json_int(result, "records", &n) && n == 12);
    assert_true(tr_json_int(result, "versions", &n) && n == 0);
    assert_true(tr_json_int(result, "recipients", &n) && n == 2);
    assert_false(tr_json_int(result, "grants", &n)); /* does not apply */
    assert_int_equal(cJSON_GetArraySize(tr_json_member(receipt, "articles")), 3);
    cJSON_Delete(receipt);
    tr_buf_clear(&text);
}

/* Each kind has its articles, and its name is the API's. */
static void test_receipt_kinds(void **state) {
    signer *s = *state;
    static const char *const names[] = {"access",      "portability", "rectification",
                                        "restriction", "erasure",     "objection"};
    for (int kind = 0; kind < TR_DSR_KIND_COUNT; kind++) {
        tr_receipt_facts facts = TR_RECEIPT_FACTS_INIT;
        tr_buf text = TR_BUF_INIT;
        cJSON *receipt = NULL;
        facts.kind = (tr_dsr_kind)kind;
        assert_int_equal(tr_receipt_make(&s->vault, &facts, &text, NULL), TR_OK);
        assert_int_equal(tr_receipt_verify(s->keys, text.data, text.len, &receipt, NULL), TR_OK);
        assert_string_equal(tr_json_string(receipt, "kind"), names[kind]);
        assert_true(cJSON_GetArraySize(tr_json_member(receipt, "articles")) >= 2);
        assert_int_equal(cJSON_GetArraySize(tr_json_member(receipt, "result")), 0);
        cJSON_Delete(receipt);
        tr_buf_clear(&text);
    }
    tr_receipt_facts none = TR_RECEIPT_FACTS_INIT;
    tr_buf text = TR_BUF_INIT;
    none.kind = TR_DSR_KIND_COUNT;
    assert_int_equal(tr_receipt_make(&s->vault, &none, &text, NULL), TR_E_INTERNAL);
    assert_int_equal(text.len, 0);
}

static tr_status verify_tree(const cJSON *keys, const cJSON *tree) {
    tr_buf text = TR_BUF_INIT;
    cJSON *receipt = NULL;
    assert_int_equal(tr_json_print(tree, &text, NULL), TR_OK);
    tr_status st = tr_receipt_verify(keys, text.data, text.len, &receipt, NULL);
    assert_true((st == TR_OK) == (receipt != NULL));
    cJSON_Delete(receipt);
    tr_buf_clear(&text);
    return st;
}

static void test_receipt_altered(void **state) {
    signer *s = *state;
    tr_buf text = TR_BUF_INIT;
    cJSON *tree = NULL;
    assert_int_equal(tr_receipt_make(&s->vault, &facts_of_an_erasure, &text, NULL), TR_OK);
    assert_int_equal(tr_json_parse(text.data, text.len, &tree, NULL), TR_OK);

    /* Formatted anew, in another order, beside other members: still what was signed. */
    char *pretty = cJSON_Print(tree);
    cJSON *receipt = NULL;
    assert_int_equal(tr_receipt_verify(s->keys, pretty, strlen(pretty), &receipt, NULL), TR_OK);
    cJSON_Delete(receipt);
    free(pretty);
    cJSON_AddStringToObject(tree, "state", "fulfilled");
    assert_int_equal(verify_tree(s->keys, tree), TR_OK);
    cJSON *beside = cJSON_DetachItemFromObjectCaseSensitive(tree, "receipt");
    cJSON *kind = cJSON_DetachItemFromObjectCaseSensitive(beside, "kind");
    assert_int_equal(verify_tree(s->keys, tree), TR_E_MALFORMED); /* no receipt */
    cJSON_AddItemToObject(tree, "receipt", beside);
    assert_int_equal(verify_tree(s->keys, tree), TR_E_CORRUPT); /* no kind */
    cJSON_AddItemToObject(beside, "kind", kind);
    assert_int_equal(verify_tree(s->keys, tree), TR_OK);

    cJSON_AddStringToObject(beside, "more", "");
    assert_int_equal(verify_tree(s->keys, tree), TR_E_CORRUPT);
    cJSON_DeleteItemFromObjectCaseSensitive(beside, "more");
    cJSON_ReplaceItemInObjectCaseSensitive(beside, "kind", cJSON_CreateString("access"));
    assert_int_equal(verify_tree(s->keys, tree), TR_E_CORRUPT);
    cJSON_ReplaceItemInObjectCaseSensitive(beside, "kind", cJSON_CreateString("erasure"));
    assert_int_equal(verify_tree(s->keys, tree), TR_OK);

    /* What is signed, but is no receipt. */
    char *other = sign_text(s, "{\"request\":\"x\",\"kind\":\"y\"}", TR_TYP_MANIFEST);
    cJSON_ReplaceItemInObjectCaseSensitive(tree, "jws", cJSON_CreateString(other));
    assert_int_equal(verify_tree(s->keys, tree), TR_E_MALFORMED);
    free(other);
    other = sign_text(s, "[1]", TR_TYP_RECEIPT);
    cJSON_ReplaceItemInObjectCaseSensitive(tree, "jws", cJSON_CreateString(other));
    assert_int_equal(verify_tree(s->keys, tree), TR_E_MALFORMED);
    free(other);
    assert_int_equal(tr_receipt_verify(s->keys, "", 0, &receipt, NULL), TR_E_MALFORMED);
    assert_int_equal(tr_receipt_verify(s->keys, "[]", 2, &receipt, NULL), TR_E_MALFORMED);
    cJSON_Delete(tree);
    tr_buf_clear(&text);
}

/* ---- the key's life ---- */

static char *jwks_text(vault_fixture *f) {
    tr_buf text = TR_BUF_INIT;
    assert_ok(f, tr_proof_jwks(f->vault, &text, &f->err));
    return tr_buf_take(&text);
}

static tr_status count_created(void *context, const tr_audit_row *row, tr_error *err) {
    (void)err;
    *(int *)context += memmem(row->entry.data, row->entry.len, "signing_key.create", 18) != NULL;
    return TR_OK;
}

static int created(vault_fixture *f) {
    int count = 0;
    assert_ok(f, tr_audit_list(vault_reader(f), NULL, 0, false, 1000, count_created, &count, &f->err));
    return count;
}

static void rotate_and_rewrap(vault_fixture *f) {
    uint32_t version = 0;
    bool done = false;
    tr_keys_lock(f->vault);
    assert_ok(f, tr_keys_rotate(f->vault, &version, &f->err));
    tr_keys_unlock(f->vault);
    while (!done)
        assert_ok(f, tr_keys_rewrap_some(f->vault, 100, &done, &f->err));
}

static void test_key_stays(void **state) {
    vault_fixture *f = *state;
    char *first = jwks_text(f);
    tr_uuid id = *tr_proof_vault_id(f->vault);
    rotate_and_rewrap(f);
    vault_reopen(f);
    char *second = jwks_text(f);
    assert_string_equal(first, second);
    assert_true(tr_uuid_equal(&id, tr_proof_vault_id(f->vault)));
    assert_int_equal(created(f), 0); /* init made it */
    free(first);
    free(second);
}

static void test_older_vault(void **state) {
    vault_fixture *f = *state;
    char *before = jwks_text(f);
    tr_uuid id = *tr_proof_vault_id(f->vault);
    vault_close(f);
    raw_exec(f, TR_DB_KEYS, "DELETE FROM named_keys WHERE name = 'sign'");
    raw_exec(f, TR_DB_VAULT, "DELETE FROM meta WHERE name = 'vault.id'");
    vault_open(f);
    char *made = jwks_text(f);
    tr_uuid made_id = *tr_proof_vault_id(f->vault);
    assert_string_not_equal(before, made);
    assert_false(tr_uuid_equal(&id, &made_id));
    assert_int_equal(created(f), 1);
    vault_reopen(f);
    char *again = jwks_text(f);
    assert_string_equal(made, again);
    assert_true(tr_uuid_equal(&made_id, tr_proof_vault_id(f->vault)));
    assert_int_equal(created(f), 1);
    free(before);
    free(made);
    free(again);
}

static void test_two_vaults_differ(void **state) {
    vault_fixture *f = *state;
    void *other = NULL;
    assert_int_equal(vault_up(&other), 0);
    char *a = jwks_text(f), *b = jwks_text(other);
    assert_string_not_equal(a, b);
    free(a);
    free(b);
    vault_down(&other);
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define SIGNER(test) cmocka_unit_test_setup_teardown(test, signer_up, signer_down)
#define VAULT(test)  cmocka_unit_test_setup_teardown(test, vault_up, vault_down)
        SIGNER(test_rfc_8037),      SIGNER(test_sign_and_verify),  SIGNER(test_every_change),
        SIGNER(test_headers),       SIGNER(test_other_key),        SIGNER(test_receipt),
        SIGNER(test_receipt_kinds), SIGNER(test_receipt_altered),  VAULT(test_key_stays),
        VAULT(test_older_vault),    VAULT(test_two_vaults_differ),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
