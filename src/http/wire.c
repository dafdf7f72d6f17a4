#include "http/wire.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#include <openssl/err.h>

#include "base/clock.h"

#define LINGER_US    ((tr_budget)1000000)
#define LINGER_BYTES ((size_t)4 * 1024 * 1024)

bool tr_wire_wait(const tr_wire *wire, short events, tr_budget *budget) {
    struct pollfd fds[2] = {{.fd = wire->fd, .events = events}, {.fd = wire->abort_event, .events = POLLIN}};
    while (*budget > 0) {
        int64_t begun = tr_monotonic_us();
        int n = poll(fds, 2, (int)((*budget + 999) / 1000));
        *budget -= tr_monotonic_us() - begun;
        if (n > 0)
            return fds[1].revents == 0;
        if (n < 0 && errno != EINTR)
            return false;
    }
    return false;
}

/* After a TLS call that gave `result`: wait for what it needs. False: nothing helps. */
static bool tls_retry(const tr_wire *wire, int result, tr_budget *budget) {
    switch (SSL_get_error(wire->ssl, result)) {
    case SSL_ERROR_WANT_READ: return tr_wire_wait(wire, POLLIN, budget);
    case SSL_ERROR_WANT_WRITE: return tr_wire_wait(wire, POLLOUT, budget);
    default: ERR_clear_error(); return false;
    }
}

static bool again(int error) {
    return error == EAGAIN || error == EWOULDBLOCK;
}

static long tls_read(const tr_wire *wire, void *buf, size_t n, tr_budget *budget) {
    for (;;) {
        size_t got = 0;
        ERR_clear_error();
        int result = SSL_read_ex(wire->ssl, buf, n, &got);
        if (result == 1)
            return (long)got;
        if (SSL_get_error(wire->ssl, result) == SSL_ERROR_ZERO_RETURN)
            return 0;
        if (!tls_retry(wire, result, budget))
            return -1;
    }
}

long tr_wire_read(const tr_wire *wire, void *buf, size_t n, tr_budget *budget) {
    if (wire->ssl)
        return tls_read(wire, buf, n, budget);
    for (;;) {
        ssize_t got = recv(wire->fd, buf, n, 0);
        if (got >= 0)
            return (long)got;
        if (errno != EINTR && (!again(errno) || !tr_wire_wait(wire, POLLIN, budget)))
            return -1;
    }
}

static bool tls_write(const tr_wire *wire, const char *bytes, size_t n, tr_budget *budget) {
    while (n > 0) {
        size_t done = 0;
        ERR_clear_error();
        int result = SSL_write_ex(wire->ssl, bytes, n, &done);
        if (result == 1) {
            bytes += done;
            n -= done;
        } else if (!tls_retry(wire, result, budget)) {
            return false;
        }
    }
    return true;
}

bool tr_wire_write(const tr_wire *wire, const void *buf, size_t n, tr_budget *budget) {
    const char *bytes = buf;
    if (wire->ssl)
        return tls_write(wire, bytes, n, budget);
    while (n > 0) {
        ssize_t done = send(wire->fd, bytes, n, MSG_NOSIGNAL);
        if (done >= 0) {
            bytes += done;
            n -= (size_t)done;
        } else if (errno != EINTR && (!again(errno) || !tr_wire_wait(wire, POLLOUT, budget))) {
            return false;
        }
    }
    return true;
}

void tr_wire_linger(const tr_wire *wire) {
    char waste[4096];
    tr_budget budget = LINGER_US;
    if (wire->ssl) {
        ERR_clear_error();
        (void)SSL_shutdown(wire->ssl);
        ERR_clear_error();
    }
    if (shutdown(wire->fd, SHUT_WR) != 0)
        return;
    for (size_t total = 0; total < LINGER_BYTES;) {
        ssize_t n = recv(wire->fd, waste, sizeof waste, 0);
        if (n > 0)
            total += (size_t)n;
        else if (n == 0 || (errno != EINTR && (!again(errno) || !tr_wire_wait(wire, POLLIN, &budget))))
            return;
    }
}
