#include "crypto/aead.h"

#include <string.h>

#include "crypto/evp.h"
#include "crypto/gcm.h"

#define VERSION      0x01
#define NONCE_LEN    24
#define NONCE_HALF   12 /* of a nonce: this much goes into the key, the rest is the nonce of AES-GCM */
#define BLOCK        16
#define AD_PARTS_MAX 16

/* Derive the key of one message: the counter-mode KDF of SP 800-108r1 over CMAC (SP 800-38B). Its input is
 * one block, so CMAC is one AES call on the block xored with the subkey K1. */
static tr_status derive_key(const tr_secret *key, const uint8_t nonce[NONCE_LEN],
                            uint8_t derived[TR_GCM_KEY_LEN], tr_error *err) {
    const tr_evp *evp;
    tr_evp_thread *own;
    uint8_t subkey[BLOCK] = {0}, input[2 * BLOCK];
    int n;
    tr_status st = tr_evp_get(&evp, err);
    if (st == TR_OK)
        st = tr_evp_get_thread(&own, err);
    if (st != TR_OK)
        return st;
    if (key->len != TR_AEAD_KEY_LEN)
        return tr_fail(err, TR_E_INTERNAL, NULL, "a key of %zu bytes instead of 32", key->len);
    if (EVP_EncryptInit_ex2(own->block, evp->aes_ecb, key->data, NULL, NULL) != 1 ||
        EVP_EncryptUpdate(own->block, subkey, &n, subkey, BLOCK) != 1 || n != BLOCK) {
        st = tr_evp_fail(err, TR_E_INTERNAL, "key derivation failed");
        goto out;
    }
    /* K1 = L doubled in GF(2^128), without a branch on secret bits. */
    uint8_t carry = subkey[0] >> 7;
    for (int i = 0; i < BLOCK - 1; i++)
        subkey[i] = (uint8_t)(subkey[i] << 1 | subkey[i + 1] >> 7);
    subkey[BLOCK - 1] = (uint8_t)(subkey[BLOCK - 1] << 1 ^ (0x87 & -carry));
    for (uint8_t counter = 1; counter <= 2; counter++) {
        uint8_t *block = input + (counter - 1) * BLOCK;
        memcpy(block, (const uint8_t[]){0, counter, 'X', 0}, 4);
        memcpy(block + 4, nonce, NONCE_HALF);
        for (int i = 0; i < BLOCK; i++)
            block[i] ^= subkey[i];
    }
    if (EVP_EncryptUpdate(own->block, derived, &n, input, sizeof input) != 1 || n != (int)sizeof input)
        st = tr_evp_fail(err, TR_E_INTERNAL, "key derivation failed");
out:
    EVP_CIPHER_CTX_reset(own->block);
    tr_wipe(subkey, sizeof subkey);
    tr_wipe(input, sizeof input);
    return st;
}

/* Append ciphertext and tag to *out. */
static tr_status encrypt(const tr_secret *key, const uint8_t nonce[NONCE_LEN], const tr_bytes *ad,
                         size_t ad_count, tr_bytes plain, tr_buf *out, tr_error *err) {
    uint8_t derived[TR_GCM_KEY_LEN];
    tr_status st = TR_OK;
    if (plain.len > TR_AEAD_MAX_PLAINTEXT)
        return tr_fail(err, TR_E_TOO_LARGE, NULL, "more than 64 MiB to seal");
    char *room = tr_buf_reserve(out, plain.len + TR_GCM_TAG_LEN);
    TR_TRY(tr_buf_ok(out, err));
    TR_TRY(derive_key(key, nonce, derived, err));
    TR_TRY(tr_gcm_encrypt(derived, nonce + NONCE_HALF, ad, ad_count, plain, (uint8_t *)room, err));
    out->len += plain.len + TR_GCM_TAG_LEN;
    out->data[out->len] = '\0';
out:
    tr_wipe(derived, sizeof derived);
    return st;
}

tr_status tr_xaes256gcm_encrypt(const tr_secret *key, const uint8_t nonce[24], tr_bytes ad, tr_bytes plain,
                                tr_buf *out, tr_error *err) {
    return encrypt(key, nonce, &ad, 1, plain, out, err);
}

/* Before each part its length, so that the boundaries are bound too. */
typedef struct bound_parts {
    tr_bytes list[2 * AD_PARTS_MAX];
    uint8_t lengths[AD_PARTS_MAX][8];
} bound_parts;

static tr_status bind_parts(const tr_bytes *ad, size_t count, bound_parts *bound, tr_error *err) {
    if (count > AD_PARTS_MAX)
        return tr_fail(err, TR_E_INTERNAL, NULL, "too many parts of associated data");
    for (size_t i = 0; i < count; i++) {
        for (int byte = 0; byte < 8; byte++)
            bound->lengths[i][byte] = (uint8_t)((uint64_t)ad[i].len >> (56 - 8 * byte));
        bound->list[2 * i] = (tr_bytes){bound->lengths[i], 8};
        bound->list[2 * i + 1] = ad[i];
    }
    return TR_OK;
}

tr_status tr_aead_seal(const tr_secret *key, const tr_bytes *ad, size_t ad_count, tr_bytes plain, tr_buf *out,
                       tr_error *err) {
    bound_parts bound;
    uint8_t nonce[NONCE_LEN];
    const size_t before = out->len;
    tr_status st = bind_parts(ad, ad_count, &bound, err);
    if (st == TR_OK)
        st = tr_random(nonce, sizeof nonce, err);
    if (st != TR_OK)
        return st;
    tr_buf_putc(out, VERSION);
    tr_buf_append(out, nonce, sizeof nonce);
    st = encrypt(key, nonce, bound.list, 2 * ad_count, plain, out, err);
    if (st != TR_OK && out->data) {
        out->len = before;
        out->data[before] = '\0';
    }
    return st;
}

tr_status tr_aead_open(const tr_secret *key, const tr_bytes *ad, size_t ad_count, tr_bytes sealed,
                       tr_buf *out, tr_error *err) {
    bound_parts bound;
    uint8_t derived[TR_GCM_KEY_LEN];
    const uint8_t *bytes = sealed.data;
    if (sealed.len < TR_AEAD_OVERHEAD || sealed.len - TR_AEAD_OVERHEAD > TR_AEAD_MAX_PLAINTEXT ||
        bytes[0] != VERSION)
        return tr_fail(err, TR_E_CORRUPT, NULL, "sealed data has no form that can be opened");
    const size_t plain_len = sealed.len - TR_AEAD_OVERHEAD;
    const uint8_t *nonce = bytes + 1;
    const tr_bytes text = {nonce + NONCE_LEN, plain_len + TR_GCM_TAG_LEN};
    char *room = tr_buf_reserve(out, plain_len);
    tr_status st = tr_buf_ok(out, err);
    if (st != TR_OK)
        return st;
    TR_TRY(bind_parts(ad, ad_count, &bound, err));
    TR_TRY(derive_key(key, nonce, derived, err));
    TR_TRY(tr_gcm_decrypt(derived, nonce + NONCE_HALF, bound.list, 2 * ad_count, text, (uint8_t *)room, err));
    out->len += plain_len;
out:
    if (st != TR_OK)
        tr_wipe(room, plain_len); /* what did not verify must not be seen */
    out->data[out->len] = '\0';
    tr_wipe(derived, sizeof derived);
    return st;
}
