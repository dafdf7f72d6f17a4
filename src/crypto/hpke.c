#include "crypto/hpke.h"

#include <string.h>

#include "crypto/evp.h"
#include "crypto/gcm.h"

#define PARTS_MAX 4

/* Section 7: identifiers of X25519 with HKDF-SHA256, HKDF-SHA256 and AES-256-GCM. */
static const uint8_t kem_suite[] = {'K', 'E', 'M', 0x00, 0x20};
static const uint8_t hpke_suite[] = {'H', 'P', 'K', 'E', 0x00, 0x20, 0x00, 0x01, 0x00, 0x02};

#define SUITE(id) ((tr_bytes){id, sizeof id})

static tr_bytes text(const char *s) {
    return (tr_bytes){s, strlen(s)};
}

/* ---- section 4: LabeledExtract and LabeledExpand ---- */

/* HKDF-Extract is HMAC with the salt as key; no salt is 32 zero bytes (RFC 5869 section 2.2). */
static tr_status extract(tr_bytes suite, const tr_secret *salt, const char *label, tr_bytes ikm,
                         tr_secret *out, tr_error *err) {
    const tr_bytes parts[PARTS_MAX] = {text("HPKE-v1"), suite, text(label), ikm};
    tr_secret zero = TR_SECRET_INIT, fresh = TR_SECRET_INIT;
    tr_status st = TR_OK;
    if (!salt)
        TR_TRY(tr_secret_alloc(&zero, TR_SHA256_LEN, err));
    TR_TRY(tr_secret_alloc(&fresh, TR_SHA256_LEN, err));
    TR_TRY(tr_hmac_sha256(salt ? salt : &zero, parts, PARTS_MAX, fresh.data, err));
    tr_secret_clear(out);
    *out = fresh;
    fresh = TR_SECRET_INIT;
out:
    tr_secret_clear(&zero);
    tr_secret_clear(&fresh);
    return st;
}

/* HKDF-Expand of at most 32 bytes: one HMAC over the labelled info and the counter 1. */
static tr_status expand(tr_bytes suite, const tr_secret *prk, const char *label, tr_bytes info, size_t len,
                        tr_secret *out, tr_error *err) {
    const uint8_t length[2] = {0, (uint8_t)len}, counter = 1;
    const tr_bytes parts[] = {{length, 2}, text("HPKE-v1"), suite, text(label), info, {&counter, 1}};
    tr_secret block = TR_SECRET_INIT;
    tr_status st = TR_OK;
    if (len > TR_SHA256_LEN)
        return tr_fail(err, TR_E_INTERNAL, NULL, "HPKE expands to at most 32 bytes");
    TR_TRY(tr_secret_alloc(&block, TR_SHA256_LEN, err));
    TR_TRY(tr_hmac_sha256(prk, parts, sizeof parts / sizeof *parts, block.data, err));
    TR_TRY(tr_secret_copy(out, block.data, len, err));
out:
    tr_secret_clear(&block);
    return st;
}

/* ---- section 7.1: X25519 ---- */

static tr_status private_pkey(const tr_secret *key, EVP_PKEY **out, tr_error *err) {
    *out = NULL;
    if (key->len != TR_HPKE_KEY_LEN)
        return tr_fail(err, TR_E_WRONG_KEY, NULL, "an X25519 private key has 32 bytes, not %zu", key->len);
    *out = EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, NULL, key->data, key->len);
    return *out ? TR_OK : tr_evp_fail(err, TR_E_INTERNAL, "an X25519 private key cannot be used");
}

tr_status tr_hpke_public(const tr_secret *private_key, uint8_t public_key[TR_HPKE_KEY_LEN], tr_error *err) {
    EVP_PKEY *own;
    size_t len = TR_HPKE_KEY_LEN;
    tr_status st = private_pkey(private_key, &own, err);
    if (st == TR_OK && (EVP_PKEY_get_raw_public_key(own, public_key, &len) != 1 || len != TR_HPKE_KEY_LEN))
        st = tr_evp_fail(err, TR_E_INTERNAL, "an X25519 public key cannot be made");
    EVP_PKEY_free(own);
    return st;
}

tr_status tr_hpke_keypair(tr_secret *private_key, uint8_t public_key[TR_HPKE_KEY_LEN], tr_error *err) {
    tr_secret fresh = TR_SECRET_INIT;
    tr_status st = TR_OK;
    TR_TRY(tr_secret_random(&fresh, TR_HPKE_KEY_LEN, err));
    TR_TRY(tr_hpke_public(&fresh, public_key, err));
    tr_secret_clear(private_key);
    *private_key = fresh;
    fresh = TR_SECRET_INIT;
out:
    tr_secret_clear(&fresh);
    return st;
}

/* `bad` is the status of a public key that cannot be used; OpenSSL's derivation refuses an all-zero result,
 * and so do we (section 7.1.4). */
static tr_status x25519(const tr_secret *private_key, const uint8_t public_key[TR_HPKE_KEY_LEN],
                        tr_status bad, tr_secret *shared, tr_error *err) {
    static const uint8_t zero[TR_HPKE_KEY_LEN];
    EVP_PKEY *own, *peer = NULL;
    EVP_PKEY_CTX *ctx = NULL;
    size_t len = TR_HPKE_KEY_LEN;
    tr_status st = private_pkey(private_key, &own, err);
    if (st != TR_OK)
        return st;
    peer = EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, NULL, public_key, TR_HPKE_KEY_LEN);
    ctx = EVP_PKEY_CTX_new(own, NULL);
    if (!peer || !ctx || EVP_PKEY_derive_init(ctx) != 1 || EVP_PKEY_derive_set_peer(ctx, peer) != 1)
        TR_TRY(tr_evp_fail(err, TR_E_INTERNAL, "the key agreement failed"));
    TR_TRY(tr_secret_alloc(shared, TR_HPKE_KEY_LEN, err));
    if (EVP_PKEY_derive(ctx, shared->data, &len) != 1 || len != TR_HPKE_KEY_LEN ||
        tr_equal_ct(shared->data, zero, sizeof zero))
        st = tr_evp_fail(err, bad, "the X25519 public key is none that can be used");
out:
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(peer);
    EVP_PKEY_free(own);
    return st;
}

/* ---- section 4.1: the KEM's shared secret ---- */

static tr_status kem_secret(const tr_secret *private_key, const uint8_t peer[TR_HPKE_KEY_LEN],
                            const uint8_t enc[TR_HPKE_KEY_LEN], const uint8_t recipient[TR_HPKE_KEY_LEN],
                            tr_status bad, tr_secret *out, tr_error *err) {
    uint8_t context[2 * TR_HPKE_KEY_LEN];
    tr_secret dh = TR_SECRET_INIT, prk = TR_SECRET_INIT;
    tr_status st = TR_OK;
    memcpy(context, enc, TR_HPKE_KEY_LEN);
    memcpy(context + TR_HPKE_KEY_LEN, recipient, TR_HPKE_KEY_LEN);
    TR_TRY(x25519(private_key, peer, bad, &dh, err));
    TR_TRY(extract(SUITE(kem_suite), NULL, "eae_prk", (tr_bytes){dh.data, dh.len}, &prk, err));
    TR_TRY(expand(SUITE(kem_suite), &prk, "shared_secret", SUITE(context), TR_SHA256_LEN, out, err));
out:
    tr_secret_clear(&dh);
    tr_secret_clear(&prk);
    return st;
}

/* ---- section 5.1: the key schedule, base mode; the first message's nonce is the base nonce itself ---- */

static tr_status key_schedule(const tr_secret *shared, tr_bytes info, tr_secret *key, tr_secret *nonce,
                              tr_error *err) {
    uint8_t context[1 + 2 * TR_SHA256_LEN] = {0}; /* mode_base is 0 */
    tr_secret hash = TR_SECRET_INIT, secret = TR_SECRET_INIT;
    const tr_bytes nothing = {"", 0};
    tr_status st = TR_OK;
    TR_TRY(extract(SUITE(hpke_suite), NULL, "psk_id_hash", nothing, &hash, err));
    memcpy(context + 1, hash.data, TR_SHA256_LEN);
    TR_TRY(extract(SUITE(hpke_suite), NULL, "info_hash", info, &hash, err));
    memcpy(context + 1 + TR_SHA256_LEN, hash.data, TR_SHA256_LEN);
    TR_TRY(extract(SUITE(hpke_suite), shared, "secret", nothing, &secret, err));
    TR_TRY(expand(SUITE(hpke_suite), &secret, "key", SUITE(context), TR_GCM_KEY_LEN, key, err));
    TR_TRY(expand(SUITE(hpke_suite), &secret, "base_nonce", SUITE(context), TR_GCM_NONCE_LEN, nonce, err));
out:
    tr_secret_clear(&hash);
    tr_secret_clear(&secret);
    return st;
}

/* ---- section 6.1: single shot ---- */

tr_status tr_hpke_seal_with(const tr_secret *ephemeral, const uint8_t public_key[TR_HPKE_KEY_LEN],
                            tr_bytes info, tr_bytes aad, tr_bytes plain, tr_buf *out, tr_error *err) {
    tr_secret shared = TR_SECRET_INIT, key = TR_SECRET_INIT, nonce = TR_SECRET_INIT;
    uint8_t enc[TR_HPKE_KEY_LEN];
    tr_status st = TR_OK;
    if (plain.len > TR_HPKE_MAX)
        return tr_fail(err, TR_E_TOO_LARGE, NULL, "more than 1 MiB to seal for a public key");
    char *room = tr_buf_reserve(out, plain.len + TR_HPKE_OVERHEAD);
    TR_TRY(tr_buf_ok(out, err));
    TR_TRY(tr_hpke_public(ephemeral, enc, err));
    TR_TRY(kem_secret(ephemeral, public_key, enc, public_key, TR_E_WRONG_KEY, &shared, err));
    TR_TRY(key_schedule(&shared, info, &key, &nonce, err));
    TR_TRY(tr_gcm_encrypt(key.data, nonce.data, &aad, 1, plain, (uint8_t *)room + TR_HPKE_KEY_LEN, err));
    memcpy(room, enc, sizeof enc);
    out->len += plain.len + TR_HPKE_OVERHEAD;
out:
    if (out->data)
        out->data[out->len] = '\0';
    tr_secret_clear(&shared);
    tr_secret_clear(&key);
    tr_secret_clear(&nonce);
    return st;
}

tr_status tr_hpke_seal(const uint8_t public_key[TR_HPKE_KEY_LEN], tr_bytes info, tr_bytes aad, tr_bytes plain,
                       tr_buf *out, tr_error *err) {
    tr_secret ephemeral = TR_SECRET_INIT;
    tr_status st = tr_secret_random(&ephemeral, TR_HPKE_KEY_LEN, err);
    if (st == TR_OK)
        st = tr_hpke_seal_with(&ephemeral, public_key, info, aad, plain, out, err);
    tr_secret_clear(&ephemeral);
    return st;
}

tr_status tr_hpke_open(const tr_secret *private_key, tr_bytes info, tr_bytes aad, tr_bytes sealed,
                       tr_secret *plain, tr_error *err) {
    tr_secret shared = TR_SECRET_INIT, key = TR_SECRET_INIT, nonce = TR_SECRET_INIT, fresh = TR_SECRET_INIT;
    uint8_t own[TR_HPKE_KEY_LEN];
    const uint8_t *enc = sealed.data;
    tr_status st = TR_OK;
    if (sealed.len < TR_HPKE_OVERHEAD || sealed.len - TR_HPKE_OVERHEAD > TR_HPKE_MAX)
        return tr_fail(err, TR_E_CORRUPT, NULL,
                       "what is sealed for a public key has a length that cannot be");
    const tr_bytes ciphertext = {enc + TR_HPKE_KEY_LEN, sealed.len - TR_HPKE_KEY_LEN};
    TR_TRY(tr_hpke_public(private_key, own, err));
    TR_TRY(kem_secret(private_key, enc, enc, own, TR_E_CORRUPT, &shared, err));
    TR_TRY(key_schedule(&shared, info, &key, &nonce, err));
    TR_TRY(tr_secret_alloc(&fresh, sealed.len - TR_HPKE_OVERHEAD, err));
    st = tr_gcm_decrypt(key.data, nonce.data, &aad, 1, ciphertext, fresh.data, err);
    if (st == TR_E_CORRUPT)
        st = tr_fail(err, TR_E_WRONG_KEY, NULL, "the private key does not open what was sealed");
    if (st != TR_OK)
        goto out;
    tr_secret_clear(plain);
    *plain = fresh;
    fresh = TR_SECRET_INIT;
out:
    tr_secret_clear(&shared);
    tr_secret_clear(&key);
    tr_secret_clear(&nonce);
    tr_secret_clear(&fresh);
    return st;
}
