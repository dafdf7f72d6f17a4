/* CivetWeb, and the few things about a connection that its public interface does not tell. Only civet.c knows
 * the inside of its structures; everything above works on these calls and on civetweb.h.
 */
#ifndef TR_HTTP_CIVET_H
#define TR_HTTP_CIVET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <openssl/ssl.h>

#include "civetweb.h"

int tr_civet_socket(const struct mg_connection *conn);
/* NULL on a plain connection, and when the handshake failed. */
SSL *tr_civet_ssl(const struct mg_connection *conn);
/* The same connection, writable: CivetWeb's closing callback gets a const one. */
struct mg_connection *tr_civet_writable(const struct mg_connection *conn);

/* The request's head as it lies in CivetWeb's buffer: cut into texts in place, CR and LF included. */
void tr_civet_head(const struct mg_connection *conn, char **start, char **end);
/* The rest of that buffer: `len` bytes that were read behind the head, with room for `cap`. */
void tr_civet_input(const struct mg_connection *conn, char **bytes, size_t *len, size_t *cap);
/* What is in that rest now: the beginning of the next request. CivetWeb takes the current one as read to its
 * end, and keeps the connection or not. */
void tr_civet_settle(struct mg_connection *conn, size_t input_len, bool keep);
/* Wipe the whole buffer: heads hold tokens, bodies hold personal data. */
void tr_civet_wipe(struct mg_connection *conn);

/* The buffer is full, and no end of a head in it. */
bool tr_civet_head_overflows(const struct mg_connection *conn);

/* Milliseconds since CivetWeb began to wait for this request. */
int64_t tr_civet_age_ms(const struct mg_connection *conn);
/* Requests answered on this connection before this one. */
int tr_civet_served(const struct mg_connection *conn);
/* Does the request's version and its Connection header allow another request? */
bool tr_civet_keep_alive(const struct mg_connection *conn);
/* A request was parsed, but CivetWeb gave up on it without an answer (a target that is not a path). */
bool tr_civet_unanswered(const struct mg_connection *conn);
/* Is the server being stopped? */
bool tr_civet_stopping(const struct mg_connection *conn);
/* Let CivetWeb wait for `fd`, which it closes at its end, in place of its listening socket, which is ours
 * then. */
int tr_civet_swap_listener(const struct mg_context *ctx, int fd);

/* Close the sockets that were accepted but never got a thread. Called when all threads have ended. */
void tr_civet_close_queue(const struct mg_context *ctx);

#endif
