#include "vault/proof.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/encode.h"
#include "base/json_write.h"
#include "crypto/sign.h"
#include "vault/audit.h"
#include "vault/datakeys.h"
#include "vault/vault_internal.h"

#define HEADER_MAX 1024 /* bytes of a JWS header that are looked at */

static const char id_name[] = "vault.id"; /* in vault.db's meta */

static void append_base64url(tr_buf *out, const void *bytes, size_t n) {
    char *room = tr_buf_reserve(out, TR_BASE64URL_LEN(n) + 1);
    if (room) {
        tr_base64url_encode(bytes, n, room);
        out->len += TR_BASE64URL_LEN(n);
    }
}

/* ---- the key ---- */

struct missing {
    tr_vault *vault;
    bool key, id;
    tr_secret seed;
    tr_buf wrapped;
    uint32_t master;
    tr_uuid fresh_id;
};

tr_status tr_proof_name_vault(tr_db *tx, const tr_uuid *id, tr_error *err) {
    return tr_meta_put(tx, id_name, (tr_bytes){id->bytes, sizeof id->bytes}, err);
}

static tr_status supply(void *context, tr_db *tx, tr_error *err) {
    const struct missing *m = context;
    tr_event event = {.at = tr_now_ms(), .action = "signing_key.create", .outcome = TR_OK};
    tr_status st = TR_OK;
    if (m->id)
        st = tr_proof_name_vault(tx, &m->fresh_id, err);
    if (st == TR_OK && m->key)
        st = tr_named_key_insert(tx, TR_SIGN_KEY_NAME, m->master, (tr_bytes){m->wrapped.data, m->wrapped.len},
                                 err);
    return st == TR_OK && m->key ? tr_event_append(tx, &event, err) : st;
}

/* A key whose master key is gone is not one that never was. */
static tr_status unwrap_seed(void *context, uint32_t master, tr_bytes wrapped, tr_error *err) {
    tr_vault *vault = context;
    tr_status st = tr_keyring_unwrap(vault->ring, master, wrapped, &vault->sign_key, err);
    return st == TR_E_NOT_FOUND
               ? tr_fail(err, TR_E_CORRUPT, "keys.db", "the keyring lacks the master key of the signing key")
               : st;
}

static tr_status read_id(tr_db *db, tr_uuid *id, tr_error *err) {
    tr_buf value = TR_BUF_INIT;
    tr_status st = tr_meta_get(db, id_name, &value, err);
    if (st == TR_OK && value.len != sizeof id->bytes)
        st = tr_fail(err, TR_E_CORRUPT, "vault.db", "the vault's id is damaged");
    if (st == TR_OK)
        memcpy(id->bytes, value.data, sizeof id->bytes);
    tr_buf_clear(&value);
    return st;
}

/* Vaults from before there were receipts have neither. Nobody else uses the vault yet, so the master key is
 * not rotated in between. */
static tr_status supply_missing(struct missing *m, tr_error *err) {
    tr_vault *vault = m->vault;
    tr_status st = TR_OK;
    if (m->key)
        TR_TRY(tr_datakey_make(vault, &m->seed, &m->wrapped, &m->master, err));
    m->fresh_id = tr_uuid_new();
    TR_TRY(tr_store_write(vault->store, supply, m, err));
    if (m->id)
        vault->id = m->fresh_id;
    if (m->key)
        st = tr_secret_copy(&vault->sign_key, m->seed.data, m->seed.len, err);
out:
    tr_secret_clear(&m->seed);
    tr_buf_clear(&m->wrapped);
    return st;
}

/* The key's public half, and its thumbprint: SHA-256 of its required members, sorted (RFC 7638, RFC 8037
 * A.3). */
tr_status tr_proof_name_key(tr_vault *vault, tr_error *err) {
    uint8_t public_key[TR_SIGN_PUBLIC_LEN], hash[TR_SHA256_LEN];
    char jwk[128];
    tr_status st = tr_sign_public(&vault->sign_key, public_key, err);
    if (st != TR_OK)
        return st;
    tr_base64url_encode(public_key, sizeof public_key, vault->sign_x);
    int n = snprintf(jwk, sizeof jwk, "{\"crv\":\"Ed25519\",\"kty\":\"OKP\",\"x\":\"%s\"}", vault->sign_x);
    tr_bytes part = {jwk, (size_t)n};
    st = tr_sha256(&part, 1, hash, err);
    if (st == TR_OK)
        tr_base64url_encode(hash, sizeof hash, vault->sign_kid);
    return st;
}

tr_status tr_proof_open(tr_vault *vault, tr_error *err) {
    struct missing m = {.vault = vault};
    tr_db *db = NULL;
    tr_status st = tr_store_reader(vault->store, &db, err);
    if (st == TR_OK) {
        st = tr_named_key_get(db, TR_SIGN_KEY_NAME, unwrap_seed, vault, err);
        m.key = st == TR_E_NOT_FOUND;
    }
    if (st == TR_OK || m.key) {
        st = read_id(db, &vault->id, err);
        m.id = st == TR_E_NOT_FOUND;
    }
    if ((st == TR_OK || m.id) && (m.key || m.id))
        st = supply_missing(&m, err);
    return st == TR_OK ? tr_proof_name_key(vault, err) : st;
}

const tr_uuid *tr_proof_vault_id(const tr_vault *vault) {
    return &vault->id;
}

tr_status tr_proof_jwks(tr_vault *vault, tr_buf *out, tr_error *err) {
    tr_jw_open(out, NULL, '{');
    tr_jw_open(out, "keys", '[');
    tr_jw_open(out, NULL, '{');
    tr_jw_text(out, "kty", "OKP");
    tr_jw_text(out, "crv", "Ed25519");
    tr_jw_text(out, "alg", "EdDSA");
    tr_jw_text(out, "use", "sig");
    tr_jw_text(out, "kid", vault->sign_kid);
    tr_jw_text(out, "x", vault->sign_x);
    tr_jw_close(out, '}');
    tr_jw_close(out, ']');
    tr_jw_close(out, '}');
    return tr_buf_ok(out, err);
}

/* ---- sign ---- */

tr_status tr_proof_sign(tr_vault *vault, tr_bytes payload, const char *typ, tr_buf *jws, tr_error *err) {
    uint8_t signature[TR_SIGNATURE_LEN];
    char header[256];
    size_t begin = jws->len;
    int n = snprintf(header, sizeof header, "{\"alg\":\"EdDSA\",\"kid\":\"%s\",\"typ\":\"%s\"}",
                     vault->sign_kid, typ);
    if (n < 0 || n >= (int)sizeof header)
        return tr_fail(err, TR_E_INTERNAL, NULL, "a signature's header is too long");
    append_base64url(jws, header, (size_t)n);
    tr_buf_putc(jws, '.');
    append_base64url(jws, payload.data, payload.len);
    tr_status st = tr_buf_ok(jws, err);
    if (st == TR_OK)
        st = tr_sign(&vault->sign_key, (tr_bytes){jws->data + begin, jws->len - begin}, signature, err);
    if (st != TR_OK)
        return st;
    tr_buf_putc(jws, '.');
    append_base64url(jws, signature, sizeof signature);
    return tr_buf_ok(jws, err);
}

/* ---- verify ---- */

struct parts {
    const char *header, *payload, *signature;
    size_t header_len, payload_len, signature_len;
};

static tr_status not_jws(tr_error *err) {
    return tr_fail(err, TR_E_MALFORMED, NULL, "is no compact JWS of a Tresor vault");
}

static tr_status split(const char *jws, struct parts *p, tr_error *err) {
    const char *first = strchr(jws, '.'), *second = first ? strchr(first + 1, '.') : NULL;
    if (!second)
        return not_jws(err);
    p->header = jws;
    p->header_len = (size_t)(first - jws);
    p->payload = first + 1;
    p->payload_len = (size_t)(second - p->payload);
    p->signature = second + 1;
    p->signature_len = strlen(second + 1);
    return TR_OK;
}

/* The header's tree. "crit" would name something that this code does not understand (RFC 7515
 * section 4.1.11). */
static tr_status read_header(const struct parts *p, cJSON **out, tr_error *err) {
    char text[HEADER_MAX];
    size_t n = sizeof text;
    *out = NULL;
    if (p->header_len > TR_BASE64URL_LEN(sizeof text) ||
        !tr_base64url_decode(p->header, p->header_len, text, &n) ||
        tr_json_parse(text, n, out, NULL) != TR_OK)
        return not_jws(err);
    const char *alg = tr_json_string(*out, "alg");
    bool known = alg && strcmp(alg, "EdDSA") == 0 && tr_json_string(*out, "kid") &&
                 !cJSON_GetObjectItemCaseSensitive(*out, "crit");
    if (known)
        return TR_OK;
    cJSON_Delete(*out);
    *out = NULL;
    return not_jws(err);
}

static bool public_of(const cJSON *jwk, const char *kid, uint8_t public_key[TR_SIGN_PUBLIC_LEN]) {
    const char *kty = tr_json_string(jwk, "kty"), *crv = tr_json_string(jwk, "crv"),
               *x = tr_json_string(jwk, "x"), *id = tr_json_string(jwk, "kid");
    size_t n = TR_SIGN_PUBLIC_LEN;
    return kty && crv && x && id && strcmp(kty, "OKP") == 0 && strcmp(crv, "Ed25519") == 0 &&
           strcmp(id, kid) == 0 && strlen(x) == TR_BASE64URL_LEN(TR_SIGN_PUBLIC_LEN) &&
           tr_base64url_decode(x, strlen(x), public_key, &n) && n == TR_SIGN_PUBLIC_LEN;
}

static tr_status find_key(const cJSON *jwks, const char *kid, uint8_t public_key[TR_SIGN_PUBLIC_LEN],
                          tr_error *err) {
    const cJSON *inner = tr_json_member(jwks, "signing_keys"), *jwk;
    cJSON_ArrayForEach(jwk, tr_json_member(inner ? inner : jwks, "keys")) {
        if (public_of(jwk, kid, public_key))
            return TR_OK;
    }
    return tr_fail(err, TR_E_NOT_FOUND, NULL, "was signed by a key that is not among the given ones");
}

tr_status tr_proof_verify(const cJSON *jwks, const char *jws, const char *typ, tr_buf *payload,
                          tr_error *err) {
    struct parts p = {0};
    uint8_t public_key[TR_SIGN_PUBLIC_LEN], signature[TR_SIGNATURE_LEN];
    size_t n = sizeof signature;
    bool good = false;
    cJSON *header = NULL;
    tr_status st = TR_OK;
    TR_TRY(split(jws, &p, err));
    TR_TRY(read_header(&p, &header, err));
    const char *stated = tr_json_string(header, "typ");
    if (!stated || strcmp(stated, typ) != 0)
        TR_TRY(tr_fail(err, TR_E_MALFORMED, NULL, "is a signed statement of another kind"));
    TR_TRY(find_key(jwks, tr_json_string(header, "kid"), public_key, err));
    if (p.signature_len != TR_BASE64URL_LEN(TR_SIGNATURE_LEN) ||
        !tr_base64url_decode(p.signature, p.signature_len, signature, &n) || n != sizeof signature)
        TR_TRY(not_jws(err));
    tr_bytes signed_text = {jws, p.header_len + 1 + p.payload_len};
    TR_TRY(tr_sign_verify(public_key, signed_text, signature, &good, err));
    if (!good)
        TR_TRY(tr_fail(err, TR_E_CORRUPT, NULL, "the signature does not verify"));
    n = p.payload_len;
    char *room = tr_buf_reserve(payload, n + 1);
    if (!room)
        TR_TRY(tr_fail(err, TR_E_NOMEM, NULL, "out of memory"));
    if (!tr_base64url_decode(p.payload, p.payload_len, room, &n))
        TR_TRY(not_jws(err));
    room[n] = '\0';
    payload->len += n;
out:
    cJSON_Delete(header);
    return st;
}

tr_status tr_proof_kid(const char *jws, char kid[TR_KID_LEN + 1], tr_error *err) {
    struct parts p = {0};
    cJSON *header = NULL;
    tr_status st = split(jws, &p, err);
    if (st == TR_OK)
        st = read_header(&p, &header, err);
    if (st == TR_OK && snprintf(kid, TR_KID_LEN + 1, "%s", tr_json_string(header, "kid")) > TR_KID_LEN)
        st = not_jws(err);
    cJSON_Delete(header);
    return st;
}
