/* TLS 1.2 and 1.3 (RFC 9325): AEAD suites with forward secrecy, no resumption, no renegotiation, no
 * compression.
 *
 * The SSL_CTX holds no certificate. Each handshake takes the current pair (certificate with chain, key) under
 * a lock that a reload holds only to swap it, so that no handshake sees a certificate of one file and a key
 * of another.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "base/secret.h"
#include "http/http_internal.h"

#define SUITES_1_2 "ECDHE+AESGCM:ECDHE+CHACHA20"
#define GROUPS     "X25519:P-256:P-384"

typedef struct pair {
    X509 *leaf;
    STACK_OF(X509) * chain;
    EVP_PKEY *key;
} pair;

struct tr_tls {
    SSL_CTX *context;
    char *cert_file, *key_file;
    pthread_mutex_t mutex; /* guards `current` */
    pair current;
};

/* ---- the pair ---- */

static void pair_free(pair *p) {
    X509_free(p->leaf);
    sk_X509_pop_free(p->chain, X509_free);
    EVP_PKEY_free(p->key);
    *p = (pair){0};
}

/* Never ask on the terminal. */
static int no_passphrase(char *buf, int size, int writing, void *data) {
    (void)buf;
    (void)size;
    (void)writing;
    (void)data;
    return -1;
}

static tr_status open_pem(const char *file, BIO **bio, tr_error *err) {
    if (!file || !file[0])
        return tr_fail(err, TR_E_CONFIG, NULL, "TLS needs a certificate file and a key file");
    errno = 0;
    *bio = BIO_new_file(file, "r");
    if (*bio)
        return TR_OK;
    int error = errno;
    ERR_clear_error();
    return tr_fail(err, TR_E_CONFIG, file, "cannot be read: %s", error ? strerror(error) : "unknown reason");
}

static tr_status read_chain(const char *file, pair *p, tr_error *err) {
    BIO *bio = NULL;
    X509 *more = NULL;
    tr_status st = open_pem(file, &bio, err);
    if (st != TR_OK)
        return st;
    p->leaf = PEM_read_bio_X509_AUX(bio, NULL, no_passphrase, NULL);
    p->chain = sk_X509_new_null();
    if (!p->leaf || !p->chain) {
        st = tr_fail(err, TR_E_CONFIG, file, "holds no certificate in PEM form");
        goto out;
    }
    while ((more = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL)) != NULL) {
        if (sk_X509_push(p->chain, more) <= 0) {
            X509_free(more);
            st = tr_fail(err, TR_E_NOMEM, file, "out of memory");
            goto out;
        }
    }
    if (ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
        st = tr_fail(err, TR_E_CONFIG, file, "a certificate of the chain is damaged");
out:
    ERR_clear_error();
    BIO_free(bio);
    return st;
}

/* Not through a BIO of the file: stdio would leave the key's text in memory that it does not wipe. */
static tr_status read_key(const char *file, pair *p, tr_error *err) {
    tr_secret text = TR_SECRET_INIT;
    BIO *bio = NULL;
    tr_status st = TR_OK;
    if (!file || !file[0])
        return tr_fail(err, TR_E_CONFIG, NULL, "TLS needs a certificate file and a key file");
    TR_TRY(tr_secret_from_file(&text, file, err));
    bio = BIO_new_mem_buf(text.data, (int)text.len);
    p->key = bio ? PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL) : NULL;
    if (!p->key)
        st = tr_fail(err, TR_E_CONFIG, file, "holds no private key in PEM form without a passphrase");
out:
    ERR_clear_error();
    BIO_free(bio);
    tr_secret_clear(&text);
    return st;
}

static tr_status pair_load(const char *cert_file, const char *key_file, pair *p, tr_error *err) {
    tr_status st;
    *p = (pair){0};
    TR_TRY(read_chain(cert_file, p, err));
    TR_TRY(read_key(key_file, p, err));
    if (X509_check_private_key(p->leaf, p->key) != 1)
        st = tr_fail(err, TR_E_CONFIG, key_file, "is not the key of the certificate");
out:
    ERR_clear_error();
    if (st != TR_OK)
        pair_free(p);
    return st;
}

/* Would a handshake take them? (OpenSSL refuses, for one, keys that are too short.) */
static tr_status pair_usable(const pair *p, const char *cert_file, tr_error *err) {
    tr_status st = TR_OK;
    SSL_CTX *trial = SSL_CTX_new(TLS_server_method());
    if (!trial)
        st = tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    else if (SSL_CTX_use_cert_and_key(trial, p->leaf, p->key, p->chain, 1) != 1)
        st = tr_fail(err, TR_E_CONFIG, cert_file, "OpenSSL does not take this certificate with this key");
    SSL_CTX_free(trial);
    ERR_clear_error();
    return st;
}

/* ---- the context ---- */

static int choose_pair(SSL *ssl, void *argument) {
    tr_tls *tls = argument;
    pthread_mutex_lock(&tls->mutex);
    int good = SSL_use_cert_and_key(ssl, tls->current.leaf, tls->current.key, tls->current.chain, 1);
    pthread_mutex_unlock(&tls->mutex);
    return good == 1;
}

/* http/1.1, or no connection (RFC 7301, 3.2). */
static int choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                           const unsigned char *offered, unsigned int offered_len, void *argument) {
    static const unsigned char ours[] = "\x08http/1.1";
    (void)ssl;
    (void)argument;
    unsigned char *chosen = NULL;
    if (SSL_select_next_proto(&chosen, out_len, ours, sizeof ours - 1, offered, offered_len) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

static tr_status make_context(tr_tls *tls, tr_error *err) {
    /* The hybrid with ML-KEM where OpenSSL has it (3.5): what is recorded today must stay secret for long. */
    char hybrid[] = "X25519MLKEM768:X25519:P-256:P-384", classic[] = "X25519:P-256:P-384";
    SSL_CTX *c = tls->context = SSL_CTX_new(TLS_server_method());
    if (!c)
        return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    if (SSL_CTX_set_min_proto_version(c, TLS1_2_VERSION) != 1 ||
        SSL_CTX_set_cipher_list(c, SUITES_1_2) != 1 ||
        (SSL_CTX_set1_groups_list(c, hybrid) != 1 && SSL_CTX_set1_groups_list(c, classic) != 1) ||
        SSL_CTX_set_num_tickets(c, 0) != 1)
        return tr_fail(err, TR_E_INTERNAL, NULL, "OpenSSL does not know the suites asked for");
    ERR_clear_error();
    (void)SSL_CTX_set_options(c, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_NO_COMPRESSION |
                                     SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_TICKET | SSL_OP_PRIORITIZE_CHACHA);
    (void)SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_OFF);
    (void)SSL_CTX_set_mode(c, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_alpn_select_cb(c, choose_protocol, NULL);
    SSL_CTX_set_cert_cb(c, choose_pair, tls);
    return TR_OK;
}

tr_status tr_tls_new(const char *cert_file, const char *key_file, tr_tls **out, tr_error *err) {
    tr_status st = TR_OK;
    tr_tls *tls = calloc(1, sizeof *tls);
    if (!tls)
        return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    tls->mutex = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
    TR_TRY(pair_load(cert_file, key_file, &tls->current, err));
    TR_TRY(pair_usable(&tls->current, cert_file, err));
    tls->cert_file = strdup(cert_file);
    tls->key_file = strdup(key_file);
    if (!tls->cert_file || !tls->key_file) {
        st = tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
        goto out;
    }
    TR_TRY(make_context(tls, err));
    *out = tls;
    tls = NULL;
out:
    tr_tls_free(tls);
    return st;
}

tr_status tr_tls_reload(tr_tls *tls, tr_error *err) {
    pair fresh = {0};
    tr_status st = pair_load(tls->cert_file, tls->key_file, &fresh, err);
    if (st == TR_OK)
        st = pair_usable(&fresh, tls->cert_file, err);
    if (st == TR_OK) {
        pthread_mutex_lock(&tls->mutex);
        pair old = tls->current;
        tls->current = fresh;
        pthread_mutex_unlock(&tls->mutex);
        fresh = old;
    }
    pair_free(&fresh);
    return st;
}

SSL_CTX *tr_tls_context(const tr_tls *tls) {
    return tls->context;
}

void tr_tls_free(tr_tls *tls) {
    if (!tls)
        return;
    SSL_CTX_free(tls->context);
    pair_free(&tls->current);
    free(tls->cert_file);
    free(tls->key_file);
    (void)pthread_mutex_destroy(&tls->mutex);
    free(tls);
}

tr_status tr_tls_check(const char *cert_file, const char *key_file, int64_t *expires_ms, tr_error *err) {
    pair p;
    int days = 0, seconds = 0;
    tr_status st = pair_load(cert_file, key_file, &p, err);
    if (st != TR_OK)
        return st;
    st = pair_usable(&p, cert_file, err);
    ASN1_TIME *epoch = ASN1_TIME_set(NULL, 0);
    if (st == TR_OK && (!epoch || ASN1_TIME_diff(&days, &seconds, epoch, X509_get0_notAfter(p.leaf)) != 1))
        st = tr_fail(err, TR_E_CONFIG, cert_file, "the certificate's end cannot be read");
    if (st == TR_OK && expires_ms)
        *expires_ms = ((int64_t)days * 86400 + seconds) * 1000;
    ASN1_TIME_free(epoch);
    pair_free(&p);
    ERR_clear_error();
    return st;
}
