/* Where connections wait until they are worth a thread.
 *
 * CivetWeb gives each connection a thread from its first moment. Here one thread accepts them and holds them
 * until they have said something whole (TLS: the ClientHello; plain: a byte), so that who says nothing, or a
 * byte a second, takes no thread from anybody. Who goes in next is decided by fairness between addresses:
 * whose address has the fewest inside, then who waits longest. One address never takes all threads: it gets
 * one more only while it has less than three times as many as are free. (An address of IPv6 is its /64.)
 *
 * While somebody waits, room is made by those inside that wait for their peer: idle ones, and those whose
 * handshake or head takes longer than a second. Who has waited five seconds is answered 503 by a thread that
 * does nothing else. When the lobby is full, the address with the most in it loses its oldest.
 *
 * An address from which somebody has lately shown a good token counts as if it had four inside less (one for
 * each four threads, when there are few): in a crowd of strangers, from however many addresses, those who
 * work with the vault go on.
 */
#ifndef TR_HTTP_LOBBY_H
#define TR_HTTP_LOBBY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/status.h"

/* Threads that answer 503 when all others are at work. */
#define TR_LOBBY_SHEDDERS 2

typedef struct tr_lobby tr_lobby;
typedef struct tr_guest tr_guest; /* a connection, from accept to close */

typedef enum tr_guest_state {
    TR_GUEST_SILENT, /* in the lobby, nothing whole was said */
    TR_GUEST_READY,  /* in the lobby, may go in */
    TR_GUEST_HEAD,   /* inside: handshake, or a request's head */
    TR_GUEST_BUSY,   /* inside: a request runs */
    TR_GUEST_IDLE    /* inside: between two requests */
} tr_guest_state;

typedef struct tr_lobby_stats {
    int waiting;
    uint64_t dropped; /* closed in the lobby: too many, or too slow */
    uint64_t shed;    /* answered 503 because no thread was free */
} tr_lobby_stats;

/* Accept from `listener` (ours from now on). room: how many may wait; patience_ms: for how long. */
tr_status tr_lobby_open(int listener, int threads, int room, bool tls, int64_t patience_ms, tr_lobby **out,
                        tr_error *err);
/* An eventfd of the caller's own, readable while somebody may be taken; -1 when there is no file left. */
int tr_lobby_door(const tr_lobby *lobby);
/* Take the next one that may go in: its socket, and as accept(2) its address; -1 with EAGAIN. */
int tr_lobby_take(tr_lobby *lobby, struct sockaddr *peer, socklen_t *len);
/* Who was taken with this socket. */
tr_guest *tr_lobby_find(tr_lobby *lobby, int fd);
/* What it does now. For the thread that serves it, without a lock; NULL does nothing. */
void tr_lobby_mark(tr_guest *guest, tr_guest_state state);
/* It has shown who it is: for ten minutes its address goes before strangers'. From any thread, without a
 * lock; NULL does nothing. */
void tr_lobby_prove(const tr_guest *guest);
/* Did its last request follow at once? For the thread that serves it; NULL never did. */
bool tr_lobby_is_quick(const tr_guest *guest);
void tr_lobby_note_quick(tr_guest *guest, bool quick);
/* It is here to be told 503. */
bool tr_lobby_shed(const tr_guest *guest);
/* It was idle or too slow while others waited: what has not arrived is not waited for. */
bool tr_lobby_evicted(const tr_guest *guest);
/* Does anybody wait who cannot go in? */
bool tr_lobby_crowded(const tr_lobby *lobby);
/* Who was taken with this socket goes: it is about to be closed. */
void tr_lobby_leave(tr_lobby *lobby, int fd);
void tr_lobby_get_stats(tr_lobby *lobby, tr_lobby_stats *out);

/* Accept nobody any more, and close those who wait. */
void tr_lobby_shut(tr_lobby *lobby);
void tr_lobby_free(tr_lobby *lobby);

#endif
