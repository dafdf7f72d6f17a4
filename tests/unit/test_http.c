/* What goes over the wire: heads, bodies, answers. Each test runs on a plain and on a TLS server. */
#include "http_server.h"

static void fetch(client *c, const char *request, answer *a) {
    assert_true(client_send(c, request));
    assert_true(client_receive(c, a));
}

static void assert_promised_headers(const fixture *f, const answer *a) {
    static const char *const always[][2] = {{"X-Content-Type-Options", "nosniff"},
                                            {"Referrer-Policy", "no-referrer"}};
    const char *id = answer_header(a, "X-Request-Id");
    tr_uuid parsed;
    assert_non_null(id);
    assert_true(tr_uuid_parse(id, strlen(id), &parsed));
    assert_int_equal(parsed.bytes[6] >> 4, 7);
    for (size_t i = 0; i < 2; i++)
        assert_string_equal(answer_header(a, always[i][0]), always[i][1]);
    const char *date = answer_header(a, "Date");
    assert_non_null(date);
    assert_int_equal(strlen(date), strlen("Sun, 06 Nov 1994 08:49:37 GMT"));
    assert_string_equal(date + 26, "GMT");
    assert_non_null(answer_header(a, "Cache-Control"));
    assert_non_null(answer_header(a, "Content-Security-Policy"));
    assert_null(answer_header(a, "Server"));
    assert_int_equal(answer_header(a, "Strict-Transport-Security") != NULL, f->tls);
}

static void assert_problem(const fixture *f, const answer *a, int status, const char *slug) {
    char type[128];
    assert_int_equal(a->status, status);
    assert_promised_headers(f, a);
    assert_string_equal(answer_header(a, "Content-Type"), "application/problem+json");
    (void)snprintf(type, sizeof type, "\"type\":\"urn:tresor:problem:%s\"", slug);
    assert_non_null(strstr(a->body, type));
    assert_non_null(strstr(a->body, answer_header(a, "X-Request-Id")));
}

static void passes_the_request_as_it_came(void **state) {
    fixture *f = *state;
    client c = connect_client(f);
    answer a;
    char expected[600];
    fetch(&c,
          "PATCH /a%20b/../%2e/c?x=%20&y=/? HTTP/1.1\r\nHost: h\r\nX-TEST: one "
          "\r\nx-test:two\r\nContent-Length: 3\r\n\r\nabc",
          &a);
    assert_int_equal(a.status, 200);
    assert_promised_headers(f, &a);
    (void)snprintf(expected, sizeof expected, "PATCH|/a%%20b/../%%2e/c|x=%%20&y=/?|127.0.0.1|1|3|one|1|%s",
                   answer_header(&a, "X-Request-Id"));
    assert_string_equal(a.body, expected);
    assert_string_equal(answer_header(&a, "Cache-Control"), "no-store");
    assert_string_equal(answer_header(&a, "Content-Security-Policy"),
                        "default-src 'none'; frame-ancestors 'none'");
    assert_string_equal(answer_header(&a, "Connection"), "keep-alive");
    answer_free(&a);
    /* The body was not read by the handler: the next request is found all the same. */
    fetch(&c, "GET / HTTP/1.1\r\nHost: h\r\n\r\n", &a);
    assert_non_null(strstr(a.body, "GET|/||127.0.0.1|0|-1|-|0|"));
    answer_free(&a);
    fetch(&c, "GET /own HTTP/1.1\r\nHost: h\r\n\r\n", &a);
    assert_string_equal(answer_header(&a, "Cache-Control"), "max-age=60");
    assert_string_equal(answer_header(&a, "Content-Security-Policy"), "default-src 'self'");
    answer_free(&a);
    client_close(&c);
}

static void serves_pipelined_requests(void **state) {
    fixture *f = *state;
    client c = connect_client(f);
    answer a;
    assert_true(
        client_send(&c, "GET /1 HTTP/1.1\r\nHost: h\r\n\r\n"
                        "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi"
                        "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
                        "3;ext=\"x\"\r\nabc\r\n10\r\n0123456789abcdef\r\n0\r\nTrailer: t\r\n\r\n"
                        "POST /2 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n"
                        "HEAD /3 HTTP/1.1\r\nHost: h\r\n\r\n"
                        "GET /4 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"));
    static const char *const bodies[] = {"GET|/1|", "hi", "abc0123456789abcdef", "POST|/2|", NULL, "GET|/4|"};
    for (int i = 0; i < 6; i++) {
        assert_true(client_receive_for(&c, &a, bodies[i] == NULL));
        assert_int_equal(a.status, 200);
        assert_promised_headers(f, &a);
        if (bodies[i])
            assert_int_equal(strncmp(a.body, bodies[i], strlen(bodies[i])), 0);
        else
            assert_true(atoi(answer_header(&a, "Content-Length")) > 40);
        assert_string_equal(answer_header(&a, "Connection"), i == 5 ? "close" : "keep-alive");
        answer_free(&a);
    }
    assert_true(client_at_end(&c));
    client_close(&c);
}

static void answers_without_a_body(void **state) {
    fixture *f = *state;
    client c = connect_client(f);
    static const char *const paths[] = {"/none", "/same"};
    for (int i = 0; i < 2; i++) {
        char request[100];
        answer a;
        (void)snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: h\r\n\r\n", paths[i]);
        fetch(&c, request, &a);
        assert_int_equal(a.status, i ? 304 : 204);
        assert_null(answer_header(&a, "Content-Length"));
        assert_null(answer_header(&a, "Content-Type"));
        answer_free(&a);
    }
    client_close(&c);
}

static void streams_large_bodies(void **state) {
    fixture *f = *state;
    client c = connect_client(f);
    answer a;
    fetch(&c, "GET /big HTTP/1.1\r\nHost: h\r\n\r\n", &a);
    assert_int_equal(a.body_len, BIG_BYTES);
    for (size_t i = 0; i < BIG_BYTES; i += 10)
        assert_memory_equal(a.body + i, "0123456789", 10);
    answer_free(&a);
    fetch(&c, "GET /file HTTP/1.1\r\nHost: h\r\n\r\n", &a);
    assert_string_equal(a.body, "before:-----BEGIN CERTIFICATE-----");
    answer_free(&a);
    client_close(&c);
}

/* A body larger than all buffers, in chunks of many sizes, comes back byte for byte. */
static void reads_large_bodies(void **state) {
    fixture *f = *state;
    enum { SIZE = 700000 };
    char *body = malloc(SIZE), head[160];
    for (int chunked = 0; chunked < 2; chunked++) {
        client c = connect_client(f);
        answer a;
        for (int i = 0; i < SIZE; i++)
            body[i] = (char)('a' + (i * 7 + i / 251) % 26);
        (void)snprintf(head, sizeof head, "POST /echo HTTP/1.1\r\nHost: h\r\n%s\r\n\r\n",
                       chunked ? "Transfer-Encoding: chunked" : "Content-Length: 700000");
        assert_true(client_send(&c, head));
        for (size_t at = 0, n = 1; at < SIZE; at += n, n = n * 3 % 20011 + 1) {
            n = n > SIZE - at ? SIZE - at : n;
            (void)snprintf(head, sizeof head, "%zx\r\n", n);
            assert_true(!chunked || client_send(&c, head));
            assert_true(client_send_n(&c, body + at, n));
            assert_true(!chunked || client_send(&c, "\r\n"));
        }
        assert_true(!chunked || client_send(&c, "0\r\n\r\n"));
        assert_true(client_receive(&c, &a));
        assert_int_equal(a.body_len, SIZE);
        assert_memory_equal(a.body, body, SIZE);
        answer_free(&a);
        client_close(&c);
    }
    free(body);
}

static void says_continue_only_when_the_body_is_read(void **state) {
    fixture *f = *state;
    client c = connect_client(f);
    answer a;
    fetch(&c, "POST /echo HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n", &a);
    assert_int_equal(a.status, 100);
    answer_free(&a);
    fetch(&c, "body", &a);
    assert_string_equal(a.body, "body");
    answer_free(&a);
    /* Not read: the final answer at once, and the connection ends, since nobody knows whether a body follows.
     */
    fetch(&c, "POST /early HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n", &a);
    assert_int_equal(a.status, 413);
    assert_string_equal(answer_header(&a, "Connection"), "close");
    answer_free(&a);
    assert_true(client_at_end(&c));
    client_close(&c);
}

/* 64 KiB that the handler left are read past; of more, the answer still arrives, and the connection ends. */
static void drains_or_closes(void **state) {
    fixture *f = *state;
    static char block[65536];
    memset(block, 'x', sizeof block);
    client c = connect_client(f);
    answer a;
    assert_true(client_send(&c, "POST /early HTTP/1.1\r\nHost: h\r\nContent-Length: 65536\r\n\r\n"));
    assert_true(client_send_n(&c, block, sizeof block));
    assert_true(client_receive(&c, &a));
    assert_string_equal(answer_header(&a, "Connection"), "keep-alive");
    answer_free(&a);
    assert_true(client_send(&c, "POST /early HTTP/1.1\r\nHost: h\r\nContent-Length: 655360\r\n\r\n"));
    for (int i = 0; i < 10; i++)
        (void)client_send_n(&c, block, sizeof block);
    assert_true(client_receive(&c, &a));
    assert_int_equal(a.status, 413);
    assert_string_equal(answer_header(&a, "Connection"), "close");
    answer_free(&a);
    assert_true(client_at_end(&c));
    client_close(&c);
}

static void closes_when_told(void **state) {
    fixture *f = *state;
    static const char *const requests[] = {
        "GET /close HTTP/1.1\r\nHost: h\r\n\r\n", "GET / HTTP/1.0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nConnection: TE, close\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nConnection: keep-alive\r\nConnection: close\r\n\r\n"};
    for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++) {
        client c = connect_client(f);
        answer a;
        fetch(&c, requests[i], &a);
        assert_int_equal(a.status, 200);
        assert_string_equal(answer_header(&a, "Connection"), "close");
        assert_true(client_at_end(&c));
        answer_free(&a);
        client_close(&c);
    }
    client c = connect_client(f);
    answer a;
    for (int i = 0; i < 2; i++) {
        fetch(&c, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", &a);
        assert_string_equal(answer_header(&a, "Connection"), "keep-alive");
        answer_free(&a);
    }
    client_close(&c);
}

#define H    "Host: h\r\n"
#define POST "POST /echo HTTP/1.1\r\n" H

/* What two parties could read differently, and what is no HTTP/1.1. */
static const char *const bad_heads[] = {
    "GET / HTTP/1.1\r\n\r\n",
    "GET / HTTP/1.1\r\n" H "Host: other\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: u@h\r\n\r\n",
    "GET / HTTP/1.1\n" H "\r\n",
    "GET / HTTP/1.1\r\r" H "\r\n",
    "GET / HTTP/1.1\r " H "\r\n",
    "GET / HTTP/1.1\n\r" H "\r\n",
    "GET / HTTP/1.1\n " H "\r\n",
    "GET / HTTP/1.1\r\nHost: h\n\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: h\n\n",
    "GET / HTTP/1.1\r\n" H "X: a\r\n folded\r\n\r\n",
    "GET / HTTP/1.1\r\n X: a\r\n" H "\r\n",
    "GET / HTTP/1.1\r\n" H "X : a\r\n\r\n",
    "GET / HTTP/1.1\r\n" H "no colon\r\n\r\n",
    "GET / HTTP/1.1\r\n" H ": no name\r\n\r\n",
    "GET / HTTP/1.1\r\n" H "X(: a\r\n\r\n",
    "GET / HTTP/1.1\r\n" H "X: a\rb\r\n\r\n",
    "GET / HTTP/1.1\r\n" H "X: a\x01\r\n\r\n",
    "GET / HTTP/1.1\r\n" H "X: a\x7f\r\n\r\n",
    "GET  / HTTP/1.1\r\n" H "\r\n",
    "GET / HTTP/1.1 \r\n" H "\r\n",
    "GET /\x80 HTTP/1.1\r\n" H "\r\n",
    "G(T / HTTP/1.1\r\n" H "\r\n",
    "GET /\r\n\r\n",
    "GET / HTTP/2.0\r\n" H "\r\n",
    "GET / HTTP/0.9\r\n" H "\r\n",
    "GET / http/1.1\r\n" H "\r\n",
    "GET http://127.0.0.1/ HTTP/1.1\r\n" H "\r\n",
    "GET https://127.0.0.1:1/x HTTP/1.1\r\n" H "\r\n",
    "GET x HTTP/1.1\r\n" H "\r\n",
    "OPTIONS * HTTP/1.1\r\n" H "\r\n",
    "CONNECT h:1 HTTP/1.1\r\n" H "\r\n",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "\r\n\r\n",
    "\x16\x03\x01\x02\x01",
    POST "Content-Length: 1\r\nContent-Length: 1\r\n\r\na",
    POST "Content-Length: 1\r\nContent-Length: 2\r\n\r\na",
    POST "Content-Length: 1, 1\r\n\r\na",
    POST "Content-Length: +1\r\n\r\na",
    POST "Content-Length: -1\r\n\r\na",
    POST "Content-Length: 0x1\r\n\r\na",
    POST "Content-Length: 1a\r\n\r\na",
    POST "Content-Length:\r\n\r\na",
    POST "Content-Length: 99999999999999999999\r\n\r\na",
    POST "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    POST "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    POST "Transfer-Encoding: identity\r\n\r\n",
    POST "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    POST "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    POST "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    POST "Expect: magic\r\nContent-Length: 1\r\n\r\na",
};

static void refuses_heads_that_can_be_read_two_ways(void **state) {
    fixture *f = *state;
    for (size_t i = 0; i < sizeof bad_heads / sizeof bad_heads[0]; i++) {
        client c = connect_client(f);
        answer a;
        assert_true(client_send(&c, bad_heads[i]));
        shutdown(c.fd, SHUT_WR); /* what is no whole head ends here */
        if (!client_receive(&c, &a))
            fail_msg("no answer to: %s", bad_heads[i]);
        if (a.status != 400)
            print_error("to: %s\n", bad_heads[i]);
        assert_problem(f, &a, 400, "bad-request");
        assert_string_equal(answer_header(&a, "Connection"), "close");
        assert_true(client_at_end(&c));
        answer_free(&a);
        client_close(&c);
    }
    /* A NUL, which no C text can hold. */
    static const char nul[] = "GET / HTTP/1.1\r\n" H "X: a\0b\r\n\r\n";
    client c = connect_client(f);
    answer a;
    assert_true(client_send_n(&c, nul, sizeof nul - 1));
    assert_true(client_receive(&c, &a));
    assert_problem(f, &a, 400, "bad-request");
    answer_free(&a);
    client_close(&c);
}

static void refuses_broken_chunks(void **state) {
    fixture *f = *state;
    static const char *const broken[] = {"x\r\n",
                                         "\r\n",
                                         "1\na\r\n",
                                         "1\r2\r\na\r\n",
                                         "-1\r\n",
                                         "0x1\r\na\r\n",
                                         "1 \r\na\r\n",
                                         "1\r\nab\r\n",
                                         "1\r\na\n",
                                         " 1\r\na\r\n",
                                         "1;\x01\r\na",
                                         "ffffffffffffffff\r\n",
                                         "7fffffffffffffff\r\n",
                                         "0\r\nno colon\r\n\r\n",
                                         "0\r\n folded: x\r\n\r\n",
                                         "0\r\n: x\r\n\r\n",
                                         "0\r\n\n"};
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        client c = connect_client(f);
        answer a;
        assert_true(client_send(&c, POST "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n"));
        fetch(&c, broken[i], &a);
        if (a.status != 400)
            print_error("to: %s\n", broken[i]);
        assert_int_equal(a.status, 400);
        assert_int_equal(atomic_load(&f->last_read), -2);
        assert_true(client_at_end(&c));
        answer_free(&a);
        client_close(&c);
    }
    /* Extensions and trailers have an end. */
    client c = connect_client(f);
    answer a;
    char *longer = malloc(40000);
    (void)snprintf(longer, 40000, POST "Transfer-Encoding: chunked\r\n\r\n1;%0*d\r\n", 30000, 0);
    fetch(&c, longer, &a);
    assert_int_equal(a.status, 400);
    answer_free(&a);
    client_close(&c);
    free(longer);
}

static void limits_the_head(void **state) {
    fixture *f = *state;
    char *head = malloc(60000);
    answer a;
    for (int kind = 0; kind < 4; kind++) {
        client c = connect_client(f);
        size_t n = 0;
        if (kind == 0) /* a target too long */
            n = (size_t)snprintf(head, 60000, "GET /%040000d HTTP/1.1\r\n" H "\r\n", 0);
        else if (kind == 1) /* a field too long */
            n = (size_t)snprintf(head, 60000, "GET / HTTP/1.1\r\n" H "X: %040000d\r\n\r\n", 0);
        else if (kind == 2) /* fits CivetWeb's buffer, but is over our limit */
            n = (size_t)snprintf(head, 60000, "GET / HTTP/1.1\r\n" H "X: %030000d\r\n\r\n", 0);
        else { /* too many fields */
            n = (size_t)snprintf(head, 60000, "GET / HTTP/1.1\r\n" H);
            for (int i = 0; i < 64; i++)
                n += (size_t)snprintf(head + n, 60000 - n, "x%d: y\r\n", i);
            n += (size_t)snprintf(head + n, 60000 - n, "\r\n");
        }
        assert_true(client_send_n(&c, head, n));
        assert_true(client_receive(&c, &a));
        assert_problem(f, &a, 431, "headers-too-large");
        assert_true(client_at_end(&c));
        answer_free(&a);
        client_close(&c);
    }
    /* 20 KiB are fine, and so is the body behind them. */
    client c = connect_client(f);
    (void)snprintf(head, 60000, POST "X: %020000d\r\nContent-Length: 2\r\n\r\nok", 0);
    fetch(&c, head, &a);
    assert_string_equal(a.body, "ok");
    answer_free(&a);
    client_close(&c);
    free(head);
}

static void hands_unknown_methods_to_the_api(void **state) {
    fixture *f = *state;
    static const char *const methods[] = {"TRACE", "BREW", "get"};
    for (size_t i = 0; i < 3; i++) {
        char request[120], expected[80];
        client c = connect_client(f);
        answer a;
        (void)snprintf(request, sizeof request, "%s /p?q HTTP/1.1\r\n" H "Content-Length: 5\r\n\r\nhello",
                       methods[i]);
        fetch(&c, request, &a);
        (void)snprintf(expected, sizeof expected, "%s|/p|q|127.0.0.1|0|-1|-|0|", methods[i]);
        assert_int_equal(strncmp(a.body, expected, strlen(expected)), 0);
        assert_string_equal(answer_header(&a, "Connection"), "close");
        assert_true(client_at_end(&c));
        answer_free(&a);
        client_close(&c);
    }
}

static void ignores_upgrades(void **state) {
    fixture *f = *state;
    static const char *const upgrades[] = {"websocket", "h2c", "unknown/1"};
    for (size_t i = 0; i < 3; i++) {
        char request[200];
        client c = connect_client(f);
        answer a;
        (void)snprintf(request, sizeof request,
                       "GET /u HTTP/1.1\r\n" H "Connection: Upgrade, keep-alive\r\nUpgrade: %s\r\n\r\n",
                       upgrades[i]);
        for (int twice = 0; twice < 2; twice++) {
            fetch(&c, request, &a);
            assert_int_equal(a.status, 200);
            answer_free(&a);
        }
        client_close(&c);
    }
}

static void survives_a_handler_without_an_answer(void **state) {
    fixture *f = *state;
    client c = connect_client(f);
    answer a;
    fetch(&c, "GET /nothing HTTP/1.1\r\nHost: h\r\n\r\n", &a);
    assert_problem(f, &a, 500, "internal-error");
    answer_free(&a);
    client_close(&c);
}

static void counts(void **state) {
    fixture *f = *state;
    tr_http_stats before, after;
    answer a;
    tr_http_get_stats(f->server, &before);
    client c = connect_client(f);
    fetch(&c, "GET / HTTP/1.1\r\n" H "\r\n", &a);
    answer_free(&a);
    fetch(&c, "GET /nothing HTTP/1.1\r\n" H "\r\n", &a);
    answer_free(&a);
    fetch(&c, "GET / HTTP/1.1\r\n\r\n", &a);
    answer_free(&a);
    client_close(&c);
    tr_http_get_stats(f->server, &after);
    assert_int_equal(after.connections - before.connections, 1);
    assert_int_equal(after.requests - before.requests, 3);
    assert_int_equal(after.responses_4xx - before.responses_4xx, 1);
    assert_int_equal(after.responses_5xx - before.responses_5xx, 1);
}

static int start_plain(void **state) {
    fixture_new(state);
    start_with(*state, false, (tr_http_options){0});
    return 0;
}

static int start_tls(void **state) {
    fixture_new(state);
    start_with(*state, true, (tr_http_options){0});
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(passes_the_request_as_it_came),
        cmocka_unit_test(serves_pipelined_requests),
        cmocka_unit_test(answers_without_a_body),
        cmocka_unit_test(streams_large_bodies),
        cmocka_unit_test(reads_large_bodies),
        cmocka_unit_test(says_continue_only_when_the_body_is_read),
        cmocka_unit_test(drains_or_closes),
        cmocka_unit_test(closes_when_told),
        cmocka_unit_test(refuses_heads_that_can_be_read_two_ways),
        cmocka_unit_test(refuses_broken_chunks),
        cmocka_unit_test(limits_the_head),
        cmocka_unit_test(hands_unknown_methods_to_the_api),
        cmocka_unit_test(ignores_upgrades),
        cmocka_unit_test(survives_a_handler_without_an_answer),
        cmocka_unit_test(counts),
    };
    int failed = cmocka_run_group_tests_name("plain", tests, start_plain, fixture_free);
    return failed + cmocka_run_group_tests_name("TLS", tests, start_tls, fixture_free);
}
