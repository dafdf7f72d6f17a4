/* OpenSSL's algorithms, fetched once a process, and contexts, made once a thread. Private to src/crypto.
 *
 * EVP_*_fetch takes a lock and searches the providers: several microseconds, more than the work itself. A
 * context is a shell that a thread uses again and again. A keyed cipher is reset right after use; the MAC
 * keeps the state that it was keyed with until it is keyed anew, in guarded memory (base/guarded.h) like all
 * of OpenSSL's: to copy and free a context for each MAC takes longer than the MAC.
 */
#ifndef TR_CRYPTO_EVP_H
#define TR_CRYPTO_EVP_H

#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <stdint.h>

#include "base/secret.h"
#include "base/status.h"

typedef struct tr_evp {
    EVP_MD *sha256;
    EVP_MAC *hmac;
    EVP_KDF *hkdf;
    EVP_KDF *scrypt;
    EVP_CIPHER *aes_ecb;
    EVP_CIPHER *aes_gcm;
    EVP_CIPHER *aes_kwp;
} tr_evp;

/* A thread's own; freed when it ends. */
typedef struct tr_evp_thread {
    EVP_MD_CTX *digest;
    EVP_MAC_CTX *hmac; /* of SHA-256; to be keyed for each use */
    EVP_CIPHER_CTX *block;
    EVP_CIPHER_CTX *gcm;
    uint8_t random[512]; /* drawn at once, for tr_random; what was given out is wiped */
    size_t random_left;
} tr_evp_thread;

/* TR_E_INTERNAL when the system's OpenSSL lacks an algorithm. */
tr_status tr_evp_get(const tr_evp **algorithms, tr_error *err);
tr_status tr_evp_get_thread(tr_evp_thread **contexts, tr_error *err);

/* As tr_fail; also empties OpenSSL's error queue, which would else surprise the next TLS call of this thread.
 */
tr_status tr_evp_fail(tr_error *err, tr_status status, const char *what);

#endif
