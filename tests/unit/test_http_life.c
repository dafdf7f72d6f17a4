/* Time: slow peers, idle peers, peers that are gone; draining and stopping. */
#include "http_server.h"

#define POST "POST /echo HTTP/1.1\r\nHost: h\r\n"

/* One request after the other: its thread is waiting for the next one without sleeping. */
static void be_quick(client *c) {
    for (int i = 0; i < 200; i++)
        get(c, HEAD, 200);
}

/* Send `byte` every 20 ms until the server answers or closes; how long that took. */
static int64_t drip(client *c, char byte) {
    int64_t begun = tr_monotonic_ms();
    while (!readable(c, 20) && tr_monotonic_ms() - begun < 10000)
        if (!client_send_n(c, &byte, 1))
            break;
    return tr_monotonic_ms() - begun;
}

/* A peer that sends a byte now and then gets no more time than the whole request may take. */
static void bounds_the_whole_request(bool tls) {
    void *state;
    static const struct {
        const char *begin;
        char byte;
    } cases[] = {
        {"GET / HTTP/1.1\r\nX: ", 'a'},
        {POST "Content-Length: 100000\r\n\r\n", 'a'},
        {POST "Transfer-Encoding: chunked\r\n\r\n5;", 'a'},
        {POST "Transfer-Encoding: chunked\r\n\r\n10000\r\n", 'a'},
        {POST "Transfer-Encoding: chunked\r\n\r\n0\r\nT: ", 'a'},
    };
    fixture_new(&state);
    fixture *f = state;
    start_with(f, tls, (tr_http_options){.request_timeout_ms = 600});
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (int second = 0; second < 2; second++) { /* also on a connection kept alive */
            client c = connect_client(f);
            answer a;
            if (second)
                get(&c, HEAD, 200);
            assert_true(client_send(&c, cases[i].begin));
            int64_t took = drip(&c, cases[i].byte);
            if (took < 400 || took > 3000)
                fail_msg("case %zu took %lld ms", i, (long long)took);
            assert_true(client_receive(&c, &a));
            assert_int_equal(a.status, 408);
            assert_string_equal(answer_header(&a, "Connection"), "close");
            assert_true(client_at_end(&c));
            answer_free(&a);
            client_close(&c);
        }
    }
    fixture_free(&state);
}

static void bounds_the_whole_request_plain(void **state) {
    (void)state;
    bounds_the_whole_request(false);
}

static void bounds_the_whole_request_tls(void **state) {
    (void)state;
    bounds_the_whole_request(true);
}

/* The idle time counts from one answer to the next request's first byte, and only then the request's time
 * begins. */
static void ends_idle_connections(void **unused) {
    (void)unused;
    void *state;
    fixture_new(&state);
    fixture *f = state;
    start_with(f, true, (tr_http_options){.idle_timeout_ms = 500, .request_timeout_ms = 5000});
    client c = connect_client(f);
    answer a;
    be_quick(&c);
    assert_false(readable(&c, 300));
    assert_true(client_send(&c, "GET / HTT"));
    assert_false(readable(&c, 600));
    get(&c, "P/1.1\r\nHost: h\r\n\r\n", 200);
    int64_t begun = tr_monotonic_ms();
    assert_true(client_at_end(&c));
    int64_t took = tr_monotonic_ms() - begun;
    assert_true(took >= 400 && took < 3000);
    assert_false(client_receive(&c, &a));
    client_close(&c);
    fixture_free(&state);
}

/* Peers that are idle, stalled, half closed or gone cost no CPU time (pi-hole/FTL issue 2973), and the server
 * serves on. */
static void dead_peers_cost_nothing(void **unused) {
    (void)unused;
    void *state;
    enum { KINDS = 7, EACH = 3 };
    client dead[KINDS * EACH];
    fixture_new(&state);
    fixture *f = state;
    start_with(f, true, (tr_http_options){.threads = 32});
    for (int i = 0; i < KINDS * EACH; i++) {
        client *c = &dead[i];
        int kind = i % KINDS;
        *c = kind == 0 ? client_plain(f->port) : client_tls(f->port);
        if (kind == 0) /* half a ClientHello */
            assert_true(client_send_n(c, "\x16\x03\x01\x02\x00\x01\x00", 7));
        if (kind == 1) /* idle after an answer */
            be_quick(c);
        if (kind == 2) /* half a head */
            assert_true(client_send(c, "GET / HTTP/1.1\r\nHost"));
        if (kind == 3) /* half a body, and our side closed without close_notify */
            assert_true(client_send(c, POST "Content-Length: 9\r\n\r\nhalf") &&
                        shutdown(c->fd, SHUT_WR) == 0);
        if (kind == 4) { /* half a TLS record, then silence */
            assert_true(client_send(c, POST "Content-Length: 9\r\n\r\nhalf"));
            assert_int_equal(send(c->fd, "\x17\x03\x03\x00\x40zzzz", 9, MSG_NOSIGNAL), 9);
        }
        if (kind == 5) { /* gone by RST in the middle of a body */
            assert_true(client_send(c, POST "Content-Length: 9\r\n\r\nhalf"));
            client_reset(c);
        }
        if (kind == 6) /* takes no answer */
            assert_true(client_send(c, "GET /big HTTP/1.1\r\nHost: h\r\n\r\n"));
    }
    client alive = connect_client(f);
    get(&alive, HEAD, 200);
    int64_t cpu = cpu_ms();
    assert_false(readable(&alive, 2000));
    cpu = cpu_ms() - cpu;
    if (cpu > 1000) /* one thread that spins takes 2000 */
        fail_msg("%lld ms of CPU time in 2 s", (long long)cpu);
    get(&alive, HEAD, 200);
    client_close(&alive);
    /* All of them at once do not keep it from stopping either. */
    int64_t begun = tr_monotonic_ms();
    tr_http_stop(f->server);
    f->server = NULL;
    int64_t took = tr_monotonic_ms() - begun;
    if (took > 2500)
        fail_msg("stopping took %lld ms", (long long)took);
    for (int i = 0; i < KINDS * EACH; i++)
        client_close(&dead[i]);
    fixture_free(&state);
}

static void drains(void **unused) {
    (void)unused;
    void *state;
    answer a;
    fixture_new(&state);
    fixture *f = state;
    start_with(f, true, (tr_http_options){.idle_timeout_ms = 60000});
    client idle = connect_client(f), mute = connect_client(f), running = connect_client(f);
    be_quick(&idle);
    assert_true(client_send(&running, "GET /block HTTP/1.1\r\nHost: h\r\n\r\n"));
    await_blocked(f, 1);
    int64_t begun = tr_monotonic_ms();
    assert_int_equal(tr_http_drain(f->server, 800), 1); /* it still runs */
    int64_t took = tr_monotonic_ms() - begun;
    assert_true(took >= 750 && took < 3000);
    assert_true(client_at_end(&idle));
    assert_true(client_at_end(&mute));
    int fd = connect_to(f->port);
    assert_int_equal(fd, -1);
    release_blocked(f);
    assert_true(client_receive(&running, &a));
    assert_int_equal(a.status, 200);
    assert_string_equal(answer_header(&a, "Connection"), "close");
    answer_free(&a);
    client_close(&running);
    begun = tr_monotonic_ms();
    assert_int_equal(tr_http_drain(f->server, 10000), 0); /* now it has ended, long before the time is over */
    assert_true(tr_monotonic_ms() - begun < 5000);
    client_close(&idle);
    client_close(&mute);
    fixture_free(&state);
}

static void refuses_addresses_it_cannot_use(void **unused) {
    (void)unused;
    void *state;
    static const char *const bad[] = {"",           "8443",        ":8443",           "127.0.0.1",
                                      "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:70000", "127.0.0.1:80,81",
                                      "::1:80",     "a b:80",      "127.0.0.1:0s",    "0.0.0.0:0",
                                      "[::]:0",     "192.0.2.1:0", "127.0.0.1.evil:0"};
    char taken[40];
    fixture_new(&state);
    fixture *f = state;
    start_with(f, false, (tr_http_options){.listen = "localhost:0"});
    tr_http_server *server;
    tr_error err;
    tr_http_options options = {.threads = 2,
                               .request_timeout_ms = 1000,
                               .idle_timeout_ms = 1000,
                               .handler = test_handler,
                               .context = f};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        options.listen = bad[i];
        if (tr_http_start(&options, &server, &err) != TR_E_CONFIG)
            fail_msg("took %s", bad[i]);
        assert_string_equal(err.where, "listen");
        assert_null(server);
    }
    (void)snprintf(taken, sizeof taken, "127.0.0.1:%d", f->port);
    options.listen = taken;
    assert_int_equal(tr_http_start(&options, &server, &err), TR_E_CONFIG);
    assert_non_null(strstr(err.what, "Address already in use"));
    options.listen = "192.0.2.1:0"; /* not an address of this host (RFC 5737) */
    options.tls = true;
    options.cert_file = f->cert;
    options.key_file = f->key;
    assert_int_equal(tr_http_start(&options, &server, &err), TR_E_CONFIG);
    fixture_free(&state);
}

/* Starting and stopping many times leaks neither files nor threads. */
static void starts_again_and_again(void **unused) {
    (void)unused;
    void *state;
    fixture_new(&state);
    fixture *f = state;
    int lowest = -1;
    for (int i = 0; i < 20; i++) {
        start_with(f, i % 2, (tr_http_options){.threads = 4});
        client c = connect_client(f);
        get(&c, HEAD, 200);
        client second = client_plain(f->port); /* maybe never taken from the queue */
        tr_http_stop(f->server);
        f->server = NULL;
        client_close(&c);
        client_close(&second);
        int fd = dup(2);
        close(fd);
        if (i == 1)
            lowest = fd;
        assert_true(i < 2 || fd <= lowest);
    }
    fixture_free(&state);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bounds_the_whole_request_plain),
        cmocka_unit_test(bounds_the_whole_request_tls),
        cmocka_unit_test(ends_idle_connections),
        cmocka_unit_test(dead_peers_cost_nothing),
        cmocka_unit_test(drains),
        cmocka_unit_test(refuses_addresses_it_cannot_use),
        cmocka_unit_test(starts_again_and_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
