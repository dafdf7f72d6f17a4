#include "crypto/hash.h"

#include <limits.h>
#include <openssl/core_names.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/evp.h"

struct tr_hash {
    EVP_MD_CTX *ctx;
};

static tr_status start(EVP_MD_CTX *ctx, tr_error *err) {
    const tr_evp *evp;
    tr_status st = tr_evp_get(&evp, err);
    if (st == TR_OK && EVP_DigestInit_ex2(ctx, evp->sha256, NULL) != 1)
        st = tr_evp_fail(err, TR_E_INTERNAL, "hashing failed");
    return st;
}

static tr_status finish(EVP_MD_CTX *ctx, uint8_t out[TR_SHA256_LEN], tr_error *err) {
    return EVP_DigestFinal_ex(ctx, out, NULL) == 1 ? TR_OK
                                                   : tr_evp_fail(err, TR_E_INTERNAL, "hashing failed");
}

tr_status tr_sha256(const tr_bytes *parts, size_t count, uint8_t out[TR_SHA256_LEN], tr_error *err) {
    tr_evp_thread *own;
    tr_status st = tr_evp_get_thread(&own, err);
    if (st == TR_OK)
        st = start(own->digest, err);
    for (size_t i = 0; st == TR_OK && i < count; i++) {
        if (parts[i].len && EVP_DigestUpdate(own->digest, parts[i].data, parts[i].len) != 1)
            st = tr_evp_fail(err, TR_E_INTERNAL, "hashing failed");
    }
    return st == TR_OK ? finish(own->digest, out, err) : st;
}

tr_status tr_hash_new(tr_hash **out, tr_error *err) {
    tr_hash *h = calloc(1, sizeof *h);
    tr_status st = TR_OK;
    *out = NULL;
    if (!h || !(h->ctx = EVP_MD_CTX_new()))
        st = tr_evp_fail(err, TR_E_NOMEM, "out of memory");
    else
        st = start(h->ctx, err);
    if (st == TR_OK)
        *out = h;
    else
        tr_hash_free(h);
    return st;
}

tr_status tr_hash_update(tr_hash *h, const void *bytes, size_t len, tr_error *err) {
    if (len && EVP_DigestUpdate(h->ctx, bytes, len) != 1)
        return tr_evp_fail(err, TR_E_INTERNAL, "hashing failed");
    return TR_OK;
}

tr_status tr_hash_final(tr_hash *h, uint8_t out[TR_SHA256_LEN], tr_error *err) {
    tr_status st = finish(h->ctx, out, err);
    return st == TR_OK ? start(h->ctx, err) : st;
}

void tr_hash_free(tr_hash *h) {
    if (!h)
        return;
    EVP_MD_CTX_free(h->ctx);
    free(h);
}

tr_status tr_hmac_sha256(const tr_secret *key, const tr_bytes *parts, size_t count,
                         uint8_t out[TR_SHA256_LEN], tr_error *err) {
    tr_evp_thread *own;
    size_t len = 0;
    if (key->len == 0)
        return tr_fail(err, TR_E_INTERNAL, NULL, "an empty key");
    tr_status st = tr_evp_get_thread(&own, err);
    if (st != TR_OK)
        return st;
    bool good = EVP_MAC_init(own->hmac, key->data, key->len, NULL) == 1;
    for (size_t i = 0; good && i < count; i++)
        good = parts[i].len == 0 || EVP_MAC_update(own->hmac, parts[i].data, parts[i].len) == 1;
    if (!good || EVP_MAC_final(own->hmac, out, &len, TR_SHA256_LEN) != 1 || len != TR_SHA256_LEN)
        st = tr_evp_fail(err, TR_E_INTERNAL, "the message authentication code failed");
    return st;
}

/* An OSSL_PARAM of bytes that are only read. */
static OSSL_PARAM bytes_param(const char *name, tr_bytes bytes) {
    OSSL_PARAM param = OSSL_PARAM_construct_end();
    param.key = name;
    param.data_type = OSSL_PARAM_OCTET_STRING;
    param.data = (void *)(uintptr_t)bytes.data;
    param.data_size = bytes.len;
    return param;
}

tr_status tr_hkdf_sha256(const tr_secret *key, tr_bytes salt, tr_bytes info, size_t len, tr_secret *out,
                         tr_error *err) {
    const tr_evp *evp;
    tr_secret fresh = TR_SECRET_INIT;
    EVP_KDF_CTX *ctx = NULL;
    char digest[] = "SHA256";
    OSSL_PARAM params[5];
    size_t n = 0;
    tr_status st = TR_OK;
    if (len == 0 || len > 255 * TR_SHA256_LEN || key->len == 0)
        return tr_fail(err, TR_E_INTERNAL, NULL, "HKDF cannot give %zu bytes from a key of %zu", len,
                       key->len);
    TR_TRY(tr_evp_get(&evp, err));
    TR_TRY(tr_secret_alloc(&fresh, len, err));
    params[n++] = OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0);
    params[n++] = bytes_param(OSSL_KDF_PARAM_KEY, (tr_bytes){key->data, key->len});
    if (salt.len)
        params[n++] = bytes_param(OSSL_KDF_PARAM_SALT, salt);
    if (info.len)
        params[n++] = bytes_param(OSSL_KDF_PARAM_INFO, info);
    params[n] = OSSL_PARAM_construct_end();
    ctx = EVP_KDF_CTX_new(evp->hkdf);
    if (!ctx || EVP_KDF_derive(ctx, fresh.data, len, params) != 1)
        TR_TRY(tr_evp_fail(err, TR_E_INTERNAL, "HKDF failed"));
    tr_secret_clear(out);
    *out = fresh;
    fresh = TR_SECRET_INIT;
out:
    EVP_KDF_CTX_free(ctx);
    tr_secret_clear(&fresh);
    return st;
}

static tr_status draw(void *bytes, size_t len, tr_error *err) {
    if (len > INT_MAX || RAND_bytes(bytes, (int)len) != 1)
        return tr_evp_fail(err, TR_E_INTERNAL, "the system gives no randomness");
    return TR_OK;
}

/* A token or a nonce is a few bytes, and a call of the generator costs more than they do. */
tr_status tr_random(void *bytes, size_t len, tr_error *err) {
    tr_evp_thread *own;
    if (len > sizeof own->random / 8)
        return draw(bytes, len, err);
    tr_status st = tr_evp_get_thread(&own, err);
    if (st == TR_OK && own->random_left < len) {
        own->random_left = 0;
        st = draw(own->random, sizeof own->random, err);
        own->random_left = st == TR_OK ? sizeof own->random : 0;
    }
    if (st != TR_OK)
        return st;
    uint8_t *at = own->random + (own->random_left -= len);
    memcpy(bytes, at, len);
    tr_wipe(at, len);
    return TR_OK;
}
