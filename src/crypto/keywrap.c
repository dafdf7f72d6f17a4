#include "crypto/keywrap.h"

#include <string.h>

#include "crypto/evp.h"

#define KEK_LEN   32
#define SEMIBLOCK 8
#define KEY_MAX   4096 /* bytes of a key that is wrapped; RFC 5649 would allow 2^32 - 1 */

static tr_status begin(const tr_secret *kek, bool wrap, EVP_CIPHER_CTX **out, tr_error *err) {
    const tr_evp *evp;
    tr_status st = tr_evp_get(&evp, err);
    *out = NULL;
    if (st != TR_OK)
        return st;
    if (kek->len != KEK_LEN)
        return tr_fail(err, TR_E_INTERNAL, NULL, "a wrapping key of %zu bytes instead of 32", kek->len);
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    if (!ctx)
        return tr_evp_fail(err, TR_E_NOMEM, "out of memory");
    EVP_CIPHER_CTX_set_flags(ctx, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
    if (EVP_CipherInit_ex2(ctx, evp->aes_kwp, kek->data, NULL, wrap, NULL) != 1) {
        EVP_CIPHER_CTX_free(ctx);
        return tr_evp_fail(err, TR_E_INTERNAL, "key wrapping failed");
    }
    *out = ctx;
    return TR_OK;
}

tr_status tr_keywrap(const tr_secret *kek, const tr_secret *key, tr_buf *wrapped, tr_error *err) {
    EVP_CIPHER_CTX *ctx;
    int n = 0;
    if (key->len == 0 || key->len > KEY_MAX)
        return tr_fail(err, TR_E_INTERNAL, NULL, "a key of %zu bytes cannot be wrapped", key->len);
    const size_t len = (key->len + SEMIBLOCK - 1) / SEMIBLOCK * SEMIBLOCK + SEMIBLOCK;
    char *room = tr_buf_reserve(wrapped, len);
    tr_status st = tr_buf_ok(wrapped, err);
    if (st == TR_OK)
        st = begin(kek, true, &ctx, err);
    if (st != TR_OK)
        return st;
    if (EVP_EncryptUpdate(ctx, (uint8_t *)room, &n, key->data, (int)key->len) == 1 && (size_t)n == len)
        wrapped->len += len;
    else
        st = tr_evp_fail(err, TR_E_INTERNAL, "key wrapping failed");
    wrapped->data[wrapped->len] = '\0';
    EVP_CIPHER_CTX_free(ctx);
    return st;
}

tr_status tr_keyunwrap(const tr_secret *kek, tr_bytes wrapped, tr_secret *key, tr_error *err) {
    EVP_CIPHER_CTX *ctx = NULL;
    tr_secret room = TR_SECRET_INIT;
    tr_status st = TR_OK;
    int n = 0;
    if (wrapped.len < 2 * SEMIBLOCK || wrapped.len % SEMIBLOCK || wrapped.len > KEY_MAX + SEMIBLOCK)
        return tr_fail(err, TR_E_CORRUPT, NULL, "a wrapped key has a length that cannot be");
    TR_TRY(begin(kek, false, &ctx, err));
    TR_TRY(tr_secret_alloc(&room, wrapped.len, err));
    if (EVP_DecryptUpdate(ctx, room.data, &n, wrapped.data, (int)wrapped.len) != 1 || n <= 0 ||
        (size_t)n > room.len)
        TR_TRY(tr_evp_fail(err, TR_E_CORRUPT, "a wrapped key does not verify"));
    TR_TRY(tr_secret_copy(key, room.data, (size_t)n, err));
out:
    EVP_CIPHER_CTX_free(ctx);
    tr_secret_clear(&room);
    return st;
}
