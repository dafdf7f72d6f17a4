/* AES-256-GCM with a 96-bit nonce and a 128-bit tag (SP 800-38D), for what is built on it in src/crypto and
 * known-answer tests only: whoever calls this must see to it that a nonce is used once a key. */
#ifndef TR_CRYPTO_GCM_H
#define TR_CRYPTO_GCM_H

#include "base/buf.h"
#include "crypto/hash.h"

#define TR_GCM_KEY_LEN   32
#define TR_GCM_NONCE_LEN 12
#define TR_GCM_TAG_LEN   16

/* The associated data is the concatenation of the `ad` parts. Writes plain.len bytes and the tag to `out`. */
tr_status tr_gcm_encrypt(const uint8_t key[TR_GCM_KEY_LEN], const uint8_t nonce[TR_GCM_NONCE_LEN],
                         const tr_bytes *ad, size_t ad_count, tr_bytes plain, uint8_t *out, tr_error *err);
/* Writes sealed.len - 16 bytes to `out`. TR_E_CORRUPT if the tag does not verify; `out` then holds nothing of
 * use. */
tr_status tr_gcm_decrypt(const uint8_t key[TR_GCM_KEY_LEN], const uint8_t nonce[TR_GCM_NONCE_LEN],
                         const tr_bytes *ad, size_t ad_count, tr_bytes sealed, uint8_t *out, tr_error *err);

#endif
