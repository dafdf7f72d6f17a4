/* TLS: what is negotiated, which certificates are taken, reload under load, the self-signed certificate. */
#include "http_server.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

/* A handshake with these limits; NULL when it fails. */
static SSL *handshake(int port, int min, int max, const char *suites, const char *alpn, SSL_CTX **context) {
    int fd = connect_to(port);
    *context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_security_level(*context, 0);
    SSL_CTX_set_min_proto_version(*context, min);
    SSL_CTX_set_max_proto_version(*context, max);
    if (suites)
        assert_int_equal(SSL_CTX_set_cipher_list(*context, suites), 1);
    if (alpn)
        SSL_CTX_set_alpn_protos(*context, (const unsigned char *)alpn, (unsigned)strlen(alpn));
    SSL *ssl = SSL_new(*context);
    SSL_set_fd(ssl, fd);
    if (SSL_connect(ssl) == 1)
        return ssl;
    ERR_clear_error();
    SSL_free(ssl);
    close(fd);
    return NULL;
}

static void hang_up(SSL *ssl, SSL_CTX *context) {
    if (ssl) {
        close(SSL_get_fd(ssl));
        SSL_free(ssl);
    }
    SSL_CTX_free(context);
}

static void takes_modern_protocols_only(void **state) {
    fixture *f = *state;
    static const struct {
        int version;
        const char *suites;
        bool good;
    } cases[] = {
        {TLS1_VERSION, NULL, false},
        {TLS1_1_VERSION, NULL, false},
        {TLS1_2_VERSION, NULL, true},
        {TLS1_3_VERSION, NULL, true},
        {TLS1_2_VERSION, "ECDHE-ECDSA-AES128-GCM-SHA256", true},
        {TLS1_2_VERSION, "ECDHE-ECDSA-AES256-GCM-SHA384", true},
        {TLS1_2_VERSION, "ECDHE-ECDSA-CHACHA20-POLY1305", true},
        {TLS1_2_VERSION, "ECDHE-ECDSA-AES128-SHA:ECDHE-ECDSA-AES256-SHA384:ECDHE-ECDSA-AES128-CCM", false},
        {TLS1_2_VERSION, "AES128-GCM-SHA256:DHE-RSA-AES128-GCM-SHA256:aNULL:eNULL:RC4", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        SSL_CTX *context;
        SSL *ssl = handshake(f->port, cases[i].version, cases[i].version, cases[i].suites, NULL, &context);
        if ((ssl != NULL) != cases[i].good)
            fail_msg("case %zu", i);
        if (ssl) {
            assert_int_equal(SSL_get_secure_renegotiation_support(ssl), cases[i].version == TLS1_2_VERSION);
            assert_null(SSL_get_current_compression(ssl));
            assert_int_equal(SSL_CIPHER_is_aead(SSL_get_current_cipher(ssl)), 1);
        }
        hang_up(ssl, context);
    }
}

static void speaks_http_1_1_only(void **state) {
    fixture *f = *state;
    static const struct {
        const char *offer, *chosen;
    } cases[] = {{"\x08http/1.1", "http/1.1"}, {"\x02h2\x08http/1.1", "http/1.1"}, {"\x02h2", NULL}};
    for (size_t i = 0; i < 3; i++) {
        SSL_CTX *context;
        const unsigned char *chosen = NULL;
        unsigned n = 0;
        SSL *ssl = handshake(f->port, TLS1_2_VERSION, TLS1_3_VERSION, NULL, cases[i].offer, &context);
        assert_int_equal(ssl != NULL, cases[i].chosen != NULL);
        if (ssl) {
            SSL_get0_alpn_selected(ssl, &chosen, &n);
            assert_int_equal(n, strlen(cases[i].chosen));
            assert_memory_equal(chosen, cases[i].chosen, n);
        }
        hang_up(ssl, context);
    }
}

static void does_not_renegotiate(void **state) {
    fixture *f = *state;
    SSL_CTX *context;
    char byte;
    SSL *ssl = handshake(f->port, TLS1_2_VERSION, TLS1_2_VERSION, NULL, NULL, &context);
    assert_non_null(ssl);
    struct timeval limit = {.tv_sec = 3};
    setsockopt(SSL_get_fd(ssl), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    assert_int_equal(SSL_renegotiate(ssl), 1);
    assert_true(SSL_do_handshake(ssl) != 1 || SSL_read(ssl, &byte, 1) <= 0);
    hang_up(ssl, context);
}

static void answers_no_plain_http(void **state) {
    fixture *f = *state;
    client c = client_plain(f->port);
    assert_true(client_send(&c, "GET / HTTP/1.1\r\nHost: h\r\n\r\n"));
    while (client_more(&c)) /* an alert at most */
        assert_true(c.in_len < 8 && memcmp(c.in, "HTTP", 4) != 0);
    client_close(&c);
}

/* ---- certificates ---- */

static void fingerprint(int port, unsigned char out[32]) {
    SSL_CTX *context;
    unsigned n = 32;
    SSL *ssl = handshake(port, TLS1_2_VERSION, TLS1_3_VERSION, NULL, NULL, &context);
    assert_non_null(ssl);
    X509 *cert = SSL_get1_peer_certificate(ssl);
    assert_int_equal(X509_digest(cert, EVP_sha256(), out, &n), 1);
    X509_free(cert);
    hang_up(ssl, context);
}

static void write_text(const char *path, const char *text) {
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void replace_pair(const fixture *f) {
    bool made;
    assert_int_equal(unlink(f->cert), 0);
    assert_int_equal(unlink(f->key), 0);
    assert_int_equal(tr_tls_self_signed(f->cert, f->key, &made, NULL), TR_OK);
    assert_true(made);
}

static void reloads_or_keeps_the_old_pair(void **state) {
    fixture *f = *state;
    unsigned char first[32], second[32], again[32];
    char other_key[128], other_cert[128];
    tr_error err;
    bool made;
    fingerprint(f->port, first);
    client old = connect_client(f);
    answer a;
    replace_pair(f);
    fingerprint(f->port, again);
    assert_memory_equal(first, again, 32);
    assert_int_equal(tr_http_reload_tls(f->server, &err), TR_OK);
    fingerprint(f->port, second);
    assert_memory_not_equal(first, second, 32);
    assert_true(client_send(&old, "GET / HTTP/1.1\r\nHost: h\r\n\r\n"));
    assert_true(client_receive(&old, &a)); /* connections made before go on */
    answer_free(&a);
    client_close(&old);
    /* A key of another certificate, then a file that is none, then none. */
    (void)snprintf(other_cert, sizeof other_cert, "%s/other.pem", f->folder);
    (void)snprintf(other_key, sizeof other_key, "%s/other.key", f->folder);
    assert_int_equal(tr_tls_self_signed(other_cert, other_key, &made, NULL), TR_OK);
    assert_int_equal(rename(other_key, f->key), 0);
    assert_int_equal(tr_http_reload_tls(f->server, &err), TR_E_CONFIG);
    assert_string_equal(err.where, f->key);
    write_text(f->cert, "no certificate\n");
    assert_int_equal(tr_http_reload_tls(f->server, &err), TR_E_CONFIG);
    assert_string_equal(err.where, f->cert);
    assert_int_equal(unlink(f->cert), 0);
    assert_int_equal(tr_http_reload_tls(f->server, &err), TR_E_CONFIG);
    fingerprint(f->port, again);
    assert_memory_equal(second, again, 32);
    assert_int_equal(rename(other_cert, f->cert), 0);
    assert_int_equal(tr_http_reload_tls(f->server, &err), TR_OK);
}

typedef struct loader {
    pthread_t thread;
    int port;
    atomic_bool *end;
    int served, failed;
} loader;

static void *load(void *argument) {
    loader *l = argument;
    while (!atomic_load(l->end)) {
        SSL_CTX *context;
        SSL *ssl = handshake(l->port, TLS1_2_VERSION, TLS1_3_VERSION, NULL, NULL, &context);
        if (ssl)
            l->served++;
        else
            l->failed++;
        hang_up(ssl, context);
    }
    return NULL;
}

static void reloads_under_load_without_a_failed_handshake(void **state) {
    fixture *f = *state;
    atomic_bool stop = false;
    loader loaders[3];
    int served = 0;
    for (int i = 0; i < 3; i++) {
        loaders[i] = (loader){.port = f->port, .end = &stop};
        assert_int_equal(pthread_create(&loaders[i].thread, NULL, load, &loaders[i]), 0);
    }
    for (int i = 0; i < 60; i++) {
        replace_pair(f);
        assert_int_equal(tr_http_reload_tls(f->server, NULL), TR_OK);
    }
    atomic_store(&stop, true);
    for (int i = 0; i < 3; i++) {
        pthread_join(loaders[i].thread, NULL);
        assert_int_equal(loaders[i].failed, 0);
        served += loaders[i].served;
    }
    assert_true(served > 20);
}

static void self_signed_is_what_it_says(void **state) {
    fixture *f = *state;
    struct stat info;
    char host[256] = "";
    int64_t expires = 0;
    assert_int_equal(stat(f->key, &info), 0);
    assert_int_equal(info.st_mode & 07777, 0600);
    assert_int_equal(tr_tls_check(f->cert, f->key, &expires, NULL), TR_OK);
    int64_t days_ms = INT64_C(397) * 86400 * 1000;
    assert_true(expires > tr_now_ms() + days_ms - 600000 && expires <= tr_now_ms() + days_ms);
    FILE *file = fopen(f->cert, "r");
    X509 *cert = PEM_read_X509(file, NULL, NULL, NULL);
    fclose(file);
    assert_non_null(cert);
    assert_int_equal(X509_get_version(cert), X509_VERSION_3);
    assert_int_equal(X509_check_host(cert, "localhost", 0, 0, NULL), 1);
    assert_int_equal(X509_check_ip_asc(cert, "127.0.0.1", 0), 1);
    assert_int_equal(X509_check_ip_asc(cert, "::1", 0), 1);
    assert_int_equal(X509_check_ip_asc(cert, "127.0.0.2", 0), 0);
    assert_int_equal(gethostname(host, sizeof host - 1), 0);
    assert_int_equal(X509_check_host(cert, host, 0, 0, NULL), 1);
    assert_int_equal(X509_get_key_usage(cert), KU_DIGITAL_SIGNATURE);
    assert_int_equal(X509_get_extended_key_usage(cert), XKU_SSL_SERVER);
    assert_int_equal(X509_check_ca(cert), 0);
    /* It is trusted by whoever names it as the trust anchor, strictly checked. */
    X509_STORE *trust = X509_STORE_new();
    X509_STORE_CTX *check = X509_STORE_CTX_new();
    assert_int_equal(X509_STORE_add_cert(trust, cert), 1);
    assert_int_equal(X509_STORE_CTX_init(check, trust, cert, NULL), 1);
    X509_STORE_CTX_set_flags(check, X509_V_FLAG_X509_STRICT);
    X509_STORE_CTX_set_purpose(check, X509_PURPOSE_SSL_SERVER);
    if (X509_verify_cert(check) != 1)
        fail_msg("%s", X509_verify_cert_error_string(X509_STORE_CTX_get_error(check)));
    X509_STORE_CTX_free(check);
    X509_STORE_free(trust);
    X509_free(cert);
}

static void self_signed_never_overwrites(void **state) {
    fixture *f = *state;
    char cert[128], key[128], cert_new[160], key_new[160];
    tr_error err;
    bool made = true;
    assert_int_equal(tr_tls_self_signed(f->cert, f->key, &made, NULL), TR_OK);
    assert_false(made);
    (void)snprintf(cert, sizeof cert, "%s/one.pem", f->folder);
    (void)snprintf(key, sizeof key, "%s/one.key", f->folder);
    (void)snprintf(cert_new, sizeof cert_new, "%s.new", cert);
    (void)snprintf(key_new, sizeof key_new, "%s.new", key);
    assert_int_equal(tr_tls_self_signed(cert, key, &made, NULL), TR_OK);
    assert_int_equal(access(cert_new, F_OK), -1);
    assert_int_equal(access(key_new, F_OK), -1);
    /* A crash between the two renames is healed. */
    assert_int_equal(rename(cert, cert_new), 0);
    assert_int_equal(tr_tls_self_signed(cert, key, &made, NULL), TR_OK);
    assert_true(made);
    assert_int_equal(tr_tls_check(cert, key, NULL, NULL), TR_OK);
    /* Only one of the two: refused, and left alone. */
    assert_int_equal(unlink(cert), 0);
    assert_int_equal(tr_tls_self_signed(cert, key, &made, &err), TR_E_CONFIG);
    assert_string_equal(err.where, cert);
    assert_int_equal(access(cert, F_OK), -1);
    assert_int_equal(rename(key, cert), 0);
    assert_int_equal(tr_tls_self_signed(cert, key, &made, &err), TR_E_CONFIG);
    assert_string_equal(err.where, key);
    /* Leftovers of a crash before the first rename are replaced. */
    assert_int_equal(unlink(cert), 0);
    write_text(cert_new, "half a certi");
    write_text(key_new, "half a ke");
    assert_int_equal(tr_tls_self_signed(cert, key, &made, NULL), TR_OK);
    assert_int_equal(tr_tls_check(cert, key, NULL, NULL), TR_OK);
}

static void check_names_what_is_wrong(void **state) {
    fixture *f = *state;
    char cert[128], key[128];
    tr_error err;
    bool made;
    assert_int_equal(tr_tls_check("/nonexistent", f->key, NULL, &err), TR_E_CONFIG);
    assert_string_equal(err.where, "/nonexistent");
    assert_int_equal(tr_tls_check(f->cert, f->cert, NULL, &err), TR_E_CONFIG);
    assert_string_equal(err.where, f->cert);
    (void)snprintf(cert, sizeof cert, "%s/two.pem", f->folder);
    (void)snprintf(key, sizeof key, "%s/two.key", f->folder);
    assert_int_equal(tr_tls_self_signed(cert, key, &made, NULL), TR_OK);
    assert_int_equal(tr_tls_check(f->cert, key, NULL, &err), TR_E_CONFIG);
    assert_non_null(strstr(err.what, "not the key"));
    tr_http_server *server = NULL;
    tr_http_options options = {.listen = "127.0.0.1:0",
                               .tls = true,
                               .cert_file = f->cert,
                               .key_file = key,
                               .threads = 2,
                               .request_timeout_ms = 1000,
                               .idle_timeout_ms = 1000,
                               .handler = test_handler};
    assert_int_equal(tr_http_start(&options, &server, &err), TR_E_CONFIG);
    assert_null(server);
}

static int start_tls(void **state) {
    fixture_new(state);
    start_with(*state, true, (tr_http_options){0});
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_modern_protocols_only),
        cmocka_unit_test(speaks_http_1_1_only),
        cmocka_unit_test(does_not_renegotiate),
        cmocka_unit_test(answers_no_plain_http),
        cmocka_unit_test(reloads_or_keeps_the_old_pair),
        cmocka_unit_test(reloads_under_load_without_a_failed_handshake),
        cmocka_unit_test(self_signed_is_what_it_says),
        cmocka_unit_test(self_signed_never_overwrites),
        cmocka_unit_test(check_names_what_is_wrong),
    };
    return cmocka_run_group_tests_name("TLS", tests, start_tls, fixture_free);
}
