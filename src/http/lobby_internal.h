/* Within the lobby: the table of who is there (guests.c), and the thread that decides (lobby.c). */
#ifndef TR_HTTP_LOBBY_INTERNAL_H
#define TR_HTTP_LOBBY_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>

#include "http/lobby.h"

/* All that come from one place. It is kept when nobody is left, while there is room, for what is known of it.
 */
typedef struct tr_address {
    unsigned char ip[16];
    int guests, waiting, inside;
    _Atomic int64_t proven; /* when one of them last showed who it is; 0: none has */
} tr_address;

/* What is atomic is written by the thread that serves the connection and read by the lobby's. */
struct tr_guest {
    TAILQ_ENTRY(tr_guest) place; /* in waiting, inside or unused */
    TAILQ_ENTRY(tr_guest) door;
    struct sockaddr_storage peer;
    socklen_t peer_len;
    tr_address *from;
    int fd;
    int64_t came; /* monotonic ms, as `since` */
    atomic_int state;
    _Atomic int64_t since; /* of this state; written before it */
    bool at_door, shed;
    bool quick; /* only for the thread that serves it */
    atomic_bool evicted;
};

TAILQ_HEAD(tr_guests, tr_guest);

struct tr_lobby {
    int listener, epoll, wake, door;
    int threads, room;
    bool tls;
    int64_t patience_ms, looked; /* looked: when those who wait were last looked through */
    pthread_t thread;
    bool running;
    atomic_bool stop;
    atomic_int ready;    /* in the lobby, of that state */
    atomic_bool crowded; /* one of them cannot go in; the lobby's thread says so after each look */

    pthread_mutex_t mutex;                             /* guards what follows */
    struct tr_guests waiting, inside, unused, leaving; /* leaving: at the door, by their `door` */
    int waiting_count, inside_count, shed_count;       /* inside: without those that are shed */
    uint64_t dropped, shed;
    tr_guest *all;
    tr_address *addresses;
};

tr_status tr_guests_init(tr_lobby *lobby, tr_error *err);
void tr_guests_free(tr_lobby *lobby);

/* The rest is called with the mutex held. */

/* Somebody has come, and waits. NULL: there is no place. */
tr_guest *tr_guest_new(tr_lobby *lobby, int fd, const struct sockaddr_storage *peer, socklen_t len);
/* It has said something whole. */
void tr_guest_ready(tr_lobby *lobby, tr_guest *guest);
/* How many it has inside, in the eyes of those who decide who is next: less by some when it was proven. */
int tr_address_weight(const tr_lobby *lobby, const tr_address *address, int64_t now);
/* From those who wait to the door; `shed`: to be told 503. */
void tr_guest_enter(tr_lobby *lobby, tr_guest *guest, bool shed);
/* Close one that waits. */
void tr_guest_drop(tr_lobby *lobby, tr_guest *guest);

void tr_lobby_signal(int event);

#endif
