#include "crypto/gcm.h"

#include <limits.h>
#include <string.h>

#include "crypto/evp.h"

static bool lengths_fit(const tr_bytes *ad, size_t ad_count, size_t len) {
    for (size_t i = 0; i < ad_count; i++) {
        if (ad[i].len > INT_MAX)
            return false;
    }
    return len <= INT_MAX;
}

static bool add_associated(EVP_CIPHER_CTX *ctx, const tr_bytes *ad, size_t ad_count) {
    int n;
    for (size_t i = 0; i < ad_count; i++) {
        if (ad[i].len && EVP_CipherUpdate(ctx, NULL, &n, ad[i].data, (int)ad[i].len) != 1)
            return false;
    }
    return true;
}

/* EVP takes a length of zero for an error in some versions, so it is not asked. */
static bool add_text(EVP_CIPHER_CTX *ctx, tr_bytes text, uint8_t *out) {
    int n = 0;
    return text.len == 0 ||
           (EVP_CipherUpdate(ctx, out, &n, text.data, (int)text.len) == 1 && (size_t)n == text.len);
}

tr_status tr_gcm_encrypt(const uint8_t key[TR_GCM_KEY_LEN], const uint8_t nonce[TR_GCM_NONCE_LEN],
                         const tr_bytes *ad, size_t ad_count, tr_bytes plain, uint8_t *out, tr_error *err) {
    const tr_evp *evp;
    tr_evp_thread *own;
    int n;
    tr_status st = tr_evp_get(&evp, err);
    if (st == TR_OK)
        st = tr_evp_get_thread(&own, err);
    if (st != TR_OK)
        return st;
    if (!lengths_fit(ad, ad_count, plain.len))
        return tr_fail(err, TR_E_TOO_LARGE, NULL, "too much to encrypt at once");
    uint8_t *tag = out + plain.len;
    if (EVP_EncryptInit_ex2(own->gcm, evp->aes_gcm, key, nonce, NULL) != 1 ||
        !add_associated(own->gcm, ad, ad_count) || !add_text(own->gcm, plain, out) ||
        EVP_EncryptFinal_ex(own->gcm, tag, &n) != 1 ||
        EVP_CIPHER_CTX_ctrl(own->gcm, EVP_CTRL_AEAD_GET_TAG, TR_GCM_TAG_LEN, tag) != 1)
        st = tr_evp_fail(err, TR_E_INTERNAL, "encryption failed");
    EVP_CIPHER_CTX_reset(own->gcm);
    return st;
}

tr_status tr_gcm_decrypt(const uint8_t key[TR_GCM_KEY_LEN], const uint8_t nonce[TR_GCM_NONCE_LEN],
                         const tr_bytes *ad, size_t ad_count, tr_bytes sealed, uint8_t *out, tr_error *err) {
    const tr_evp *evp;
    tr_evp_thread *own;
    uint8_t tag[TR_GCM_TAG_LEN];
    uint8_t none[TR_GCM_TAG_LEN];
    int n;
    tr_status st = tr_evp_get(&evp, err);
    if (st == TR_OK)
        st = tr_evp_get_thread(&own, err);
    if (st != TR_OK)
        return st;
    if (sealed.len < TR_GCM_TAG_LEN || !lengths_fit(ad, ad_count, sealed.len))
        return tr_fail(err, TR_E_CORRUPT, NULL, "sealed data has a length that cannot be");
    const tr_bytes text = {sealed.data, sealed.len - TR_GCM_TAG_LEN};
    memcpy(tag, (const uint8_t *)sealed.data + text.len, sizeof tag);
    if (EVP_DecryptInit_ex2(own->gcm, evp->aes_gcm, key, nonce, NULL) != 1 ||
        EVP_CIPHER_CTX_ctrl(own->gcm, EVP_CTRL_AEAD_SET_TAG, sizeof tag, tag) != 1)
        st = tr_evp_fail(err, TR_E_INTERNAL, "decryption failed");
    else if (!add_associated(own->gcm, ad, ad_count) || !add_text(own->gcm, text, out) ||
             EVP_DecryptFinal_ex(own->gcm, none, &n) != 1)
        st = tr_evp_fail(err, TR_E_CORRUPT, "sealed data does not verify");
    EVP_CIPHER_CTX_reset(own->gcm);
    return st;
}
