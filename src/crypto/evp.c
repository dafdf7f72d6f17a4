#include "crypto/evp.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/params.h>
#include <pthread.h>
#include <stdlib.h>

/* The process's own: set once, then only read. */
static pthread_once_t once = PTHREAD_ONCE_INIT;
static tr_evp fetched;
static pthread_key_t thread_key;
static bool ready;

static void free_contexts(void *value) {
    tr_evp_thread *contexts = value;
    EVP_MD_CTX_free(contexts->digest);
    EVP_MAC_CTX_free(contexts->hmac);
    EVP_CIPHER_CTX_free(contexts->block);
    EVP_CIPHER_CTX_free(contexts->gcm);
    tr_wipe(contexts->random, sizeof contexts->random);
    free(contexts);
}

static void fetch(void) {
    fetched.sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    fetched.hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    fetched.hkdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
    fetched.scrypt = EVP_KDF_fetch(NULL, "SCRYPT", NULL);
    fetched.aes_ecb = EVP_CIPHER_fetch(NULL, "AES-256-ECB", NULL);
    fetched.aes_gcm = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    fetched.aes_kwp = EVP_CIPHER_fetch(NULL, "AES-256-WRAP-PAD", NULL);
    ready = fetched.sha256 && fetched.hmac && fetched.hkdf && fetched.scrypt && fetched.aes_ecb &&
            fetched.aes_gcm && fetched.aes_kwp && pthread_key_create(&thread_key, free_contexts) == 0;
}

tr_status tr_evp_fail(tr_error *err, tr_status status, const char *what) {
    ERR_clear_error();
    return tr_fail(err, status, NULL, "%s", what);
}

tr_status tr_evp_get(const tr_evp **algorithms, tr_error *err) {
    if (pthread_once(&once, fetch) != 0 || !ready)
        return tr_evp_fail(err, TR_E_INTERNAL, "OpenSSL lacks an algorithm that the vault needs");
    *algorithms = &fetched;
    return TR_OK;
}

static bool make_contexts(tr_evp_thread *contexts) {
    char digest[] = "SHA256";
    const OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
                                 OSSL_PARAM_construct_end()};
    contexts->digest = EVP_MD_CTX_new();
    contexts->hmac = EVP_MAC_CTX_new(fetched.hmac);
    contexts->block = EVP_CIPHER_CTX_new();
    contexts->gcm = EVP_CIPHER_CTX_new();
    return contexts->digest && contexts->hmac && contexts->block && contexts->gcm &&
           EVP_MAC_CTX_set_params(contexts->hmac, params) == 1;
}

tr_status tr_evp_get_thread(tr_evp_thread **contexts, tr_error *err) {
    const tr_evp *algorithms;
    tr_status st = tr_evp_get(&algorithms, err);
    if (st != TR_OK)
        return st;
    tr_evp_thread *own = pthread_getspecific(thread_key);
    if (!own) {
        own = calloc(1, sizeof *own);
        if (!own || !make_contexts(own) || pthread_setspecific(thread_key, own) != 0) {
            if (own)
                free_contexts(own);
            return tr_evp_fail(err, TR_E_NOMEM, "no memory for OpenSSL's contexts");
        }
    }
    *contexts = own;
    return TR_OK;
}
