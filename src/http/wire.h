/* Bytes to and from one connection, plain or TLS, with a budget of time in place of a time-out per call: a
 * peer that sends or takes one byte now and then gets no more time than one that does nothing.
 */
#ifndef TR_HTTP_WIRE_H
#define TR_HTTP_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <openssl/ssl.h>

typedef struct tr_wire {
    int fd;          /* non-blocking */
    SSL *ssl;        /* NULL: plain */
    int abort_event; /* readable once the server gives up its connections */
} tr_wire;

/* Time that may still be spent waiting, in microseconds. */
typedef int64_t tr_budget;

/* Wait until `fd` is ready for `events` (poll(2)). False: the budget is spent, or the server gives up. */
bool tr_wire_wait(const tr_wire *wire, short events, tr_budget *budget);
/* Up to n bytes, as soon as there are any. 0: the peer has ended its side; -1: fault, or out of time. */
long tr_wire_read(const tr_wire *wire, void *buf, size_t n, tr_budget *budget);
/* All n bytes, or false. */
bool tr_wire_write(const tr_wire *wire, const void *buf, size_t n, tr_budget *budget);
/* End our side and throw away what the peer still sends, for a moment: a close with unread input would be a
 * reset, and the peer could lose the answer (RFC 9112, 9.6). */
void tr_wire_linger(const tr_wire *wire);

#endif
