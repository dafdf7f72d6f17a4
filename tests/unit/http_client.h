/* A raw HTTP client for the tests of the http layer: it sends exactly the bytes it is given. */
#ifndef TR_TEST_HTTP_CLIENT_H
#define TR_TEST_HTTP_CLIENT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cmocka.h>
#include <openssl/ssl.h>

#define CLIENT_TIMEOUT_S 15
#define ANSWER_MAX       ((size_t)4 * 1024 * 1024)

typedef struct client {
    int fd;
    SSL_CTX *context;
    SSL *ssl;
    char *in; /* received, not yet taken */
    size_t in_len;
} client;

typedef struct answer {
    int status;
    char head[8192];
    char *body;
    size_t body_len;
} answer;

/* `last` is the last byte of the address in 127.0.0.0/24 that it comes from. */
static inline int connect_from(int last, int port) {
    int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct sockaddr_in from = {.sin_family = AF_INET};
    struct timeval limit = {.tv_sec = CLIENT_TIMEOUT_S};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    from.sin_addr.s_addr = htonl(INADDR_LOOPBACK - 1 + (uint32_t)last);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&from, sizeof from), 0);
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(fd, (struct sockaddr *)&to, sizeof to) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static inline int connect_to(int port) {
    return connect_from(1, port);
}

static inline client client_plain_from(int last, int port) {
    client c = {.fd = connect_from(last, port), .in = malloc(ANSWER_MAX)};
    assert_non_null(c.in);
    return c;
}

static inline client client_plain(int port) {
    return client_plain_from(1, port);
}

static inline client client_tls(int port) {
    client c = client_plain(port);
    c.context = SSL_CTX_new(TLS_client_method());
    c.ssl = SSL_new(c.context);
    SSL_set_fd(c.ssl, c.fd);
    assert_int_equal(SSL_connect(c.ssl), 1);
    return c;
}

static inline void client_close(client *c) {
    SSL_free(c->ssl);
    SSL_CTX_free(c->context);
    if (c->fd >= 0)
        close(c->fd);
    free(c->in);
    *c = (client){.fd = -1};
}

/* Close with RST. */
static inline void client_reset(client *c) {
    struct linger now = {.l_onoff = 1};
    setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    client_close(c);
}

static inline bool client_send_n(client *c, const char *bytes, size_t n) {
    while (n > 0) {
        ssize_t done = c->ssl ? SSL_write(c->ssl, bytes, (int)n) : send(c->fd, bytes, n, MSG_NOSIGNAL);
        if (done <= 0)
            return false;
        bytes += done;
        n -= (size_t)done;
    }
    return true;
}

static inline bool client_send(client *c, const char *text) {
    return client_send_n(c, text, strlen(text));
}

/* More bytes; false at the end of the connection. */
static inline bool client_more(client *c) {
    assert_true(c->in_len < ANSWER_MAX - 1);
    size_t room = ANSWER_MAX - 1 - c->in_len;
    ssize_t n =
        c->ssl ? SSL_read(c->ssl, c->in + c->in_len, (int)room) : recv(c->fd, c->in + c->in_len, room, 0);
    if (n <= 0)
        return false;
    c->in_len += (size_t)n;
    c->in[c->in_len] = '\0';
    return true;
}

/* Is the connection at its end, and nothing left to read? */
static inline bool client_at_end(client *c) {
    return c->in_len == 0 && !client_more(c);
}

static inline const char *answer_header(const answer *a, const char *name) {
    static char value[512];
    size_t n = strlen(name);
    for (const char *line = strstr(a->head, "\r\n"); line && line[2]; line = strstr(line + 2, "\r\n")) {
        if (strncasecmp(line + 2, name, n) == 0 && line[2 + n] == ':') {
            const char *begin = line + 2 + n + 1;
            begin += strspn(begin, " ");
            (void)snprintf(value, sizeof value, "%.*s", (int)strcspn(begin, "\r"), begin);
            return value;
        }
    }
    return NULL;
}

static inline void client_take(client *c, size_t n) {
    memmove(c->in, c->in + n, c->in_len - n);
    c->in_len -= n;
    c->in[c->in_len] = '\0';
}

/* The next answer. The caller frees a->body. */
static inline bool client_receive_for(client *c, answer *a, bool head_only) {
    char *end = NULL;
    memset(a, 0, sizeof *a);
    c->in[c->in_len] = '\0';
    while (!(end = strstr(c->in, "\r\n\r\n")))
        if (!client_more(c))
            return false;
    size_t head = (size_t)(end - c->in) + 4;
    assert_true(head < sizeof a->head);
    memcpy(a->head, c->in, head);
    assert_int_equal(sscanf(a->head, "HTTP/1.1 %d", &a->status), 1);
    client_take(c, head);
    const char *length = answer_header(a, "Content-Length");
    a->body_len = length && !head_only ? (size_t)atoll(length) : 0;
    while (c->in_len < a->body_len)
        if (!client_more(c))
            return false;
    a->body = malloc(a->body_len + 1);
    assert_non_null(a->body);
    memcpy(a->body, c->in, a->body_len);
    a->body[a->body_len] = '\0';
    client_take(c, a->body_len);
    return true;
}

static inline bool client_receive(client *c, answer *a) {
    return client_receive_for(c, a, false);
}

static inline void answer_free(answer *a) {
    free(a->body);
    a->body = NULL;
}

#define HEAD "GET / HTTP/1.1\r\nHost: h\r\n\r\n"

/* Wait up to `ms` for something to read. */
static inline bool readable(const client *c, int ms) {
    struct pollfd p = {.fd = c->fd, .events = POLLIN};
    return poll(&p, 1, ms) > 0;
}

static inline void get(client *c, const char *request, int status) {
    answer a;
    assert_true(client_send(c, request));
    assert_true(client_receive(c, &a));
    assert_int_equal(a.status, status);
    answer_free(&a);
}

#endif
