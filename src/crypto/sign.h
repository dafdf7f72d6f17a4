/* Signatures: Ed25519 (RFC 8032, FIPS 186-5), deterministic, over the message itself (not a hash of it). The
 * private key is its 32-byte seed, so that it can be wrapped and kept like any other key. */
#ifndef TR_CRYPTO_SIGN_H
#define TR_CRYPTO_SIGN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/secret.h"
#include "crypto/hash.h"

#define TR_SIGN_SEED_LEN   32
#define TR_SIGN_PUBLIC_LEN 32
#define TR_SIGNATURE_LEN   64

/* A fresh seed. */
tr_status tr_sign_keypair(tr_secret *seed, uint8_t public_key[TR_SIGN_PUBLIC_LEN], tr_error *err);
/* TR_E_WRONG_KEY when the seed is not 32 bytes; so does tr_sign. */
tr_status tr_sign_public(const tr_secret *seed, uint8_t public_key[TR_SIGN_PUBLIC_LEN], tr_error *err);
tr_status tr_sign(const tr_secret *seed, tr_bytes message, uint8_t signature[TR_SIGNATURE_LEN],
                  tr_error *err);
/* *good says whether the signature is this key's over this message. A public key that is none gives no. */
tr_status tr_sign_verify(const uint8_t public_key[TR_SIGN_PUBLIC_LEN], tr_bytes message,
                         const uint8_t signature[TR_SIGNATURE_LEN], bool *good, tr_error *err);

#endif
