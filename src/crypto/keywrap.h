/* AES-256 Key Wrap with Padding: KWP of SP 800-38F, RFC 5649. */
#ifndef TR_CRYPTO_KEYWRAP_H
#define TR_CRYPTO_KEYWRAP_H

#include "base/buf.h"
#include "base/secret.h"
#include "crypto/hash.h"

#define TR_WRAPPED_KEY_LEN 40 /* of a 256-bit key */

tr_status tr_keywrap(const tr_secret *kek, const tr_secret *key, tr_buf *wrapped, tr_error *err);
/* TR_E_CORRUPT when the wrapped key does not verify under this key. */
tr_status tr_keyunwrap(const tr_secret *kek, tr_bytes wrapped, tr_secret *key, tr_error *err);

#endif
