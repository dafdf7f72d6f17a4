/* Responses that are made while they are sent: chunks, cuts, slow and old clients. Each on a plain and on a
 * TLS server. */
#include "http_server.h"

#include <poll.h>

/* Read until the connection ends, or `end` is what came last. */
static bool read_until(client *c, const char *end) {
    size_t n = strlen(end);
    while (c->in_len < n || memcmp(c->in + c->in_len - n, end, n) != 0) {
        if (!client_more(c))
            return false;
    }
    return true;
}

/* The body's offset behind the head. */
static size_t body_of(const client *c) {
    const char *end = memmem(c->in, c->in_len, "\r\n\r\n", 4);
    assert_non_null(end);
    return (size_t)(end - c->in) + 4;
}

static bool head_has(const client *c, const char *text) {
    return memmem(c->in, body_of(c), text, strlen(text)) != NULL;
}

/* Decode the chunks; false: the last one is missing. */
static bool decode(const client *c, tr_buf *body) {
    for (size_t at = body_of(c);;) {
        const char *line = memmem(c->in + at, c->in_len - at, "\r\n", 2);
        if (!line)
            return false;
        size_t n = strtoul(c->in + at, NULL, 16);
        at = (size_t)(line - c->in) + 2;
        if (n == 0)
            return true;
        if (at + n + 2 > c->in_len)
            return false;
        tr_buf_append(body, c->in + at, n);
        assert_memory_equal(c->in + at + n, "\r\n", 2);
        at += n + 2;
    }
}

static void assert_digits(const char *bytes, size_t len) {
    for (size_t i = 0; i < len; i++) {
        if (bytes[i] != (char)('0' + i % 10))
            fail_msg("byte %zu is %d", i, bytes[i]);
    }
}

/* A context is given back after the last byte is out. */
static void await_cleared(int count) {
    int64_t until = tr_monotonic_ms() + 20000;
    while (atomic_load(&streams_cleared) < count && tr_monotonic_ms() < until)
        (void)poll(NULL, 0, 10);
    assert_int_equal(atomic_load(&streams_cleared), count);
}

static void comes_in_chunks(void **state) {
    fixture *f = *state;
    client c = connect_client(f);
    tr_buf body = TR_BUF_INIT;
    int cleared = atomic_load(&streams_cleared);
    for (int i = 0; i < 2; i++) { /* the connection lives on */
        c.in_len = 0;
        assert_true(client_send(&c, "GET /stream HTTP/1.1\r\nHost: h\r\n\r\n"));
        assert_true(read_until(&c, "\r\n0\r\n\r\n"));
        assert_true(head_has(&c, "Transfer-Encoding: chunked\r\n"));
        assert_false(head_has(&c, "Content-Length"));
        tr_buf_reset(&body);
        assert_true(decode(&c, &body));
        assert_int_equal(body.len, BIG_BYTES);
        assert_digits(body.data, body.len);
    }
    c.in_len = 0;
    assert_true(client_send(&c, "GET /stream/none HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"));
    assert_true(read_until(&c, "\r\n0\r\n\r\n"));
    assert_int_equal(c.in_len - body_of(&c), 5);
    client_close(&c);
    await_cleared(cleared + 3);
    tr_buf_clear(&body);
}

static void a_failure_ends_the_connection(void **state) {
    fixture *f = *state;
    client c = connect_client(f);
    tr_buf body = TR_BUF_INIT;
    assert_true(client_send(&c, "GET /stream/cut HTTP/1.1\r\nHost: h\r\n\r\n"));
    assert_false(read_until(&c, "\r\n0\r\n\r\n"));
    assert_false(decode(&c, &body));
    assert_true(body.len < BIG_BYTES);
    assert_digits(body.data, body.len);
    tr_buf_clear(&body);
    client_close(&c);
}

static void head_has_no_body(void **state) {
    fixture *f = *state;
    client c = connect_client(f);
    int cleared = atomic_load(&streams_cleared);
    assert_true(client_send(&c, "HEAD /stream HTTP/1.1\r\nHost: h\r\n\r\n"));
    assert_true(read_until(&c, "\r\n\r\n"));
    assert_int_equal(body_of(&c), c.in_len);
    assert_true(head_has(&c, "Transfer-Encoding: chunked\r\n"));
    c.in_len = 0; /* and the next request is answered on it */
    assert_true(client_send(&c, "GET /none HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"));
    assert_true(read_until(&c, "\r\n\r\n"));
    assert_memory_equal(c.in, "HTTP/1.1 204", 12);
    client_close(&c);
    await_cleared(cleared + 1);
}

static void http_1_0_gets_no_chunks(void **state) {
    fixture *f = *state;
    client c = connect_client(f);
    assert_true(client_send(&c, "GET /stream HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\n\r\n"));
    while (client_more(&c))
        ;
    size_t at = body_of(&c);
    assert_false(head_has(&c, "Transfer-Encoding"));
    assert_true(head_has(&c, "Connection: close\r\n"));
    assert_int_equal(c.in_len - at, BIG_BYTES);
    assert_digits(c.in + at, BIG_BYTES);
    client_close(&c);
}

/* Who reads nothing is given up when the request's time is over, and its thread is free again. */
static void a_client_that_does_not_read_is_given_up(void **state) {
    fixture *f = *state;
    client lazy[3], c;
    int cleared = atomic_load(&streams_cleared);
    for (size_t i = 0; i < 3; i++) {
        lazy[i] = connect_client(f);
        int small = 4096;
        (void)setsockopt(lazy[i].fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
        assert_true(client_send(&lazy[i], "GET /stream HTTP/1.1\r\nHost: h\r\n\r\n"));
    }
    await_cleared(cleared + 3);
    c = connect_client(f);
    assert_true(client_send(&c, "GET /none HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"));
    assert_true(read_until(&c, "\r\n\r\n"));
    client_close(&c);
    for (size_t i = 0; i < 3; i++)
        client_close(&lazy[i]);
}

static int plain_new(void **state) {
    fixture_new(state);
    start_with(*state, false, (tr_http_options){.threads = 4, .request_timeout_ms = 1500});
    return 0;
}

static int tls_new(void **state) {
    fixture_new(state);
    start_with(*state, true, (tr_http_options){.threads = 4, .request_timeout_ms = 1500});
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(comes_in_chunks),
        cmocka_unit_test(a_failure_ends_the_connection),
        cmocka_unit_test(head_has_no_body),
        cmocka_unit_test(http_1_0_gets_no_chunks),
        cmocka_unit_test(a_client_that_does_not_read_is_given_up),
    };
    int failed = cmocka_run_group_tests_name("plain", tests, plain_new, fixture_free);
    return failed + cmocka_run_group_tests_name("tls", tests, tls_new, fixture_free);
}
