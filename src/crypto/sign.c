#include "crypto/sign.h"

#include <openssl/err.h>

#include "crypto/evp.h"

static tr_status private_pkey(const tr_secret *seed, EVP_PKEY **out, tr_error *err) {
    *out = NULL;
    if (seed->len != TR_SIGN_SEED_LEN)
        return tr_fail(err, TR_E_WRONG_KEY, NULL, "an Ed25519 seed has 32 bytes, not %zu", seed->len);
    *out = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed->data, seed->len);
    return *out ? TR_OK : tr_evp_fail(err, TR_E_INTERNAL, "an Ed25519 key cannot be used");
}

tr_status tr_sign_public(const tr_secret *seed, uint8_t public_key[TR_SIGN_PUBLIC_LEN], tr_error *err) {
    EVP_PKEY *key;
    size_t len = TR_SIGN_PUBLIC_LEN;
    tr_status st = private_pkey(seed, &key, err);
    if (st == TR_OK && (EVP_PKEY_get_raw_public_key(key, public_key, &len) != 1 || len != TR_SIGN_PUBLIC_LEN))
        st = tr_evp_fail(err, TR_E_INTERNAL, "an Ed25519 public key cannot be made");
    EVP_PKEY_free(key);
    return st;
}

tr_status tr_sign_keypair(tr_secret *seed, uint8_t public_key[TR_SIGN_PUBLIC_LEN], tr_error *err) {
    tr_secret fresh = TR_SECRET_INIT;
    tr_status st = TR_OK;
    TR_TRY(tr_secret_random(&fresh, TR_SIGN_SEED_LEN, err));
    TR_TRY(tr_sign_public(&fresh, public_key, err));
    tr_secret_clear(seed);
    *seed = fresh;
    fresh = TR_SECRET_INIT;
out:
    tr_secret_clear(&fresh);
    return st;
}

tr_status tr_sign(const tr_secret *seed, tr_bytes message, uint8_t signature[TR_SIGNATURE_LEN],
                  tr_error *err) {
    EVP_PKEY *key;
    size_t len = TR_SIGNATURE_LEN;
    tr_status st = private_pkey(seed, &key, err);
    if (st != TR_OK)
        return st;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    if (!ctx || EVP_DigestSignInit(ctx, NULL, NULL, NULL, key) != 1 ||
        EVP_DigestSign(ctx, signature, &len, message.len ? message.data : "", message.len) != 1 ||
        len != TR_SIGNATURE_LEN)
        st = tr_evp_fail(err, TR_E_INTERNAL, "signing failed");
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(key);
    return st;
}

tr_status tr_sign_verify(const uint8_t public_key[TR_SIGN_PUBLIC_LEN], tr_bytes message,
                         const uint8_t signature[TR_SIGNATURE_LEN], bool *good, tr_error *err) {
    tr_status st = TR_OK;
    *good = false;
    EVP_PKEY *key = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, public_key, TR_SIGN_PUBLIC_LEN);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    if (!key || !ctx || EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, key) != 1)
        st = tr_evp_fail(err, TR_E_INTERNAL, "verifying a signature failed");
    else
        *good = EVP_DigestVerify(ctx, signature, TR_SIGNATURE_LEN, message.len ? message.data : "",
                                 message.len) == 1;
    ERR_clear_error(); /* a bad signature leaves one for the next TLS call to trip over */
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(key);
    return st;
}
