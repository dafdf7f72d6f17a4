#include "http/lobby.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/queue.h>
#include <unistd.h>

#include "base/clock.h"

#define ROOM_LEAST       256
#define ROOM_MOST        4096
#define BATCH            64   /* events, and connections accepted, in one turn */
#define HEAD_GRACE_MS    1000 /* a handshake, or a head, has this long even while others wait */
#define IDLE_GRACE_MS    250  /* who sends its next request at once keeps its connection */
#define SHED_AFTER_MS    5000
#define LOOK_MS          100          /* how often the time is looked at while somebody waits */
#define UNSENT_BYTES     (128 * 1024) /* of an answer, that the kernel holds for a peer that does not read */
#define RECORD_HEAD      5
#define RECORD_MAX       (16384 + 256)
#define RECORD_HANDSHAKE 22

/* All that come from one place. */
typedef struct address {
    unsigned char ip[16];
    int guests, waiting, inside;
} address;

struct tr_guest {
    TAILQ_ENTRY(tr_guest) place; /* in waiting, inside or unused */
    TAILQ_ENTRY(tr_guest) door;
    struct sockaddr_storage peer;
    socklen_t peer_len;
    address *from;
    int fd;
    tr_guest_state state;
    int64_t since; /* of this state, monotonic ms */
    int64_t came;
    bool at_door, shed, evicted;
};

TAILQ_HEAD(guests, tr_guest);

struct tr_lobby {
    int listener, epoll, wake, door;
    int threads, room;
    bool tls;
    int64_t patience_ms;
    pthread_t thread;
    bool running;
    atomic_bool stop;
    atomic_int ready; /* in the lobby, of that state */

    pthread_mutex_t mutex;                          /* guards what follows */
    struct guests waiting, inside, unused, leaving; /* leaving: at the door, by their `door` */
    int waiting_count, inside_count, shed_count;    /* inside: without those that are shed */
    int going;                                      /* evicted, but still inside */
    uint64_t dropped, shed;
    tr_guest *all;
    address *addresses;
    unsigned char hello[RECORD_HEAD + RECORD_MAX];
};

int tr_lobby_room(int threads) {
    int room = threads * 8;
    return room < ROOM_LEAST ? ROOM_LEAST : room > ROOM_MOST ? ROOM_MOST : room;
}

static int places(const tr_lobby *lobby) {
    return lobby->room + lobby->threads + TR_LOBBY_SHEDDERS;
}

static void signal_event(int event) {
    uint64_t one = 1;
    ssize_t n = write(event, &one, sizeof one);
    (void)n; /* full means that it is signalled already */
}

/* ---- addresses ---- */

static void place_of(const struct sockaddr_storage *peer, unsigned char ip[16]) {
    memset(ip, 0, 16);
    if (peer->ss_family == AF_INET) {
        ip[10] = ip[11] = 0xff;
        memcpy(ip + 12, &((const struct sockaddr_in *)peer)->sin_addr, 4);
    } else if (peer->ss_family == AF_INET6) {
        const struct in6_addr *six = &((const struct sockaddr_in6 *)peer)->sin6_addr;
        memcpy(ip, six, IN6_IS_ADDR_V4MAPPED(six) ? 16 : 8); /* a /64 is one customer's */
    }
}

/* There is always one: as many as guests. */
static address *address_of(tr_lobby *lobby, const struct sockaddr_storage *peer) {
    unsigned char ip[16];
    address *unused = NULL;
    place_of(peer, ip);
    for (int i = 0; i < places(lobby); i++) {
        address *a = &lobby->addresses[i];
        if (a->guests == 0)
            unused = unused ? unused : a;
        else if (memcmp(a->ip, ip, sizeof ip) == 0)
            return a;
    }
    if (unused)
        memcpy(unused->ip, ip, sizeof ip);
    return unused;
}

/* ---- coming and waiting ---- */

static void set_state(tr_lobby *lobby, tr_guest *g, tr_guest_state state) {
    if (g->state == TR_GUEST_READY)
        atomic_fetch_sub(&lobby->ready, 1);
    if (state == TR_GUEST_READY)
        atomic_fetch_add(&lobby->ready, 1);
    g->state = state;
    g->since = tr_monotonic_ms();
}

static void stop_waiting(tr_lobby *lobby, tr_guest *g) {
    TAILQ_REMOVE(&lobby->waiting, g, place);
    lobby->waiting_count--;
    g->from->waiting--;
}

static void forget(tr_lobby *lobby, tr_guest *g) {
    g->from->guests--;
    g->fd = -1;
    TAILQ_INSERT_HEAD(&lobby->unused, g, place);
}

/* Close one that waits. */
static void drop(tr_lobby *lobby, tr_guest *g) {
    set_state(lobby, g, TR_GUEST_SILENT);
    stop_waiting(lobby, g);
    (void)close(g->fd);
    lobby->dropped++;
    forget(lobby, g);
}

/* The address with the most waiting loses its oldest, a silent one first. */
static void make_place(tr_lobby *lobby) {
    tr_guest *victim = NULL, *g;
    TAILQ_FOREACH(g, &lobby->waiting, place) {
        int more = victim ? g->from->waiting - victim->from->waiting : 1;
        if (more > 0 || (more == 0 && g->state == TR_GUEST_SILENT && victim->state != TR_GUEST_SILENT))
            victim = g;
    }
    if (victim)
        drop(lobby, victim);
}

/* Something whole was said. A TLS record that is no handshake is for OpenSSL to refuse. */
static void look(tr_lobby *lobby, tr_guest *g) {
    size_t want = lobby->tls ? sizeof lobby->hello : 1;
    ssize_t n = recv(g->fd, lobby->hello, want, MSG_PEEK | MSG_DONTWAIT);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
        drop(lobby, g);
        return;
    }
    if (n < 1)
        return;
    size_t record = n < RECORD_HEAD ? sizeof lobby->hello
                                    : RECORD_HEAD + ((size_t)lobby->hello[3] << 8) + lobby->hello[4];
    if (!lobby->tls || lobby->hello[0] != RECORD_HANDSHAKE || record > sizeof lobby->hello ||
        (size_t)n >= record)
        set_state(lobby, g, TR_GUEST_READY);
}

static bool admit(tr_lobby *lobby, int fd, const struct sockaddr_storage *peer, socklen_t len) {
    if (lobby->waiting_count >= lobby->room)
        make_place(lobby);
    tr_guest *g = TAILQ_FIRST(&lobby->unused);
    address *from = g ? address_of(lobby, peer) : NULL;
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | EPOLLET, .data.ptr = g};
    if (!from || epoll_ctl(lobby->epoll, EPOLL_CTL_ADD, fd, &event) != 0)
        return false;
    int unsent = UNSENT_BYTES;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof unsent);
    TAILQ_REMOVE(&lobby->unused, g, place);
    TAILQ_INSERT_TAIL(&lobby->waiting, g, place);
    *g = (tr_guest){.place = g->place, .peer = *peer, .peer_len = len, .from = from, .fd = fd};
    g->came = g->since = tr_monotonic_ms();
    lobby->waiting_count++;
    from->guests++;
    from->waiting++;
    look(lobby, g);
    return true;
}

/* False: no file is left, try later. */
static bool accept_some(tr_lobby *lobby) {
    for (int i = 0; i < BATCH; i++) {
        struct sockaddr_storage peer;
        socklen_t len = sizeof peer;
        memset(&peer, 0, sizeof peer);
        int fd = accept4(lobby->listener, (struct sockaddr *)&peer, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM))
            return false;
        if (fd < 0 && errno != EINTR && errno != ECONNABORTED)
            return true;
        if (fd >= 0 && !admit(lobby, fd, &peer, len)) {
            (void)close(fd);
            lobby->dropped++;
        }
    }
    return true;
}

/* ---- going in ---- */

static void let_in(tr_lobby *lobby, tr_guest *g, bool shed) {
    stop_waiting(lobby, g);
    set_state(lobby, g, TR_GUEST_HEAD);
    (void)epoll_ctl(lobby->epoll, EPOLL_CTL_DEL, g->fd, NULL);
    g->shed = shed;
    lobby->shed_count += shed;
    lobby->shed += shed;
    lobby->inside_count += !shed;
    g->from->inside += !shed;
    TAILQ_INSERT_TAIL(&lobby->inside, g, place);
    TAILQ_INSERT_TAIL(&lobby->leaving, g, door);
    g->at_door = true;
    signal_event(lobby->door);
}

/* Whose address has the fewest inside, then who waits longest. */
static tr_guest *next_in(const tr_lobby *lobby) {
    tr_guest *best = NULL, *g;
    if (atomic_load(&lobby->ready) == 0)
        return NULL;
    TAILQ_FOREACH(g, &lobby->waiting, place)
    if (g->state == TR_GUEST_READY && (!best || g->from->inside < best->from->inside))
        best = g;
    return best;
}

static bool may_go_in(const tr_lobby *lobby, const tr_guest *g) {
    int unused = lobby->threads - lobby->inside_count;
    return g->from->inside < 3 * unused;
}

static void evict(tr_lobby *lobby, tr_guest *g) {
    g->evicted = true;
    lobby->going++;
    (void)shutdown(g->fd, SHUT_RD); /* what it has sent is still read: nothing that arrived is lost */
}

/* Does it only wait for its peer, and has done so for long enough? */
static bool may_be_evicted(const tr_guest *g, int64_t now) {
    int64_t stayed = now - g->since;
    return !g->evicted && ((g->state == TR_GUEST_IDLE && stayed >= IDLE_GRACE_MS) ||
                           (g->state == TR_GUEST_HEAD && stayed >= HEAD_GRACE_MS));
}

/* One of the address with the most inside goes, an idle one first, then the one that waits longest for its
 * peer; of no address that has less than the one that wants to come in. */
static bool evict_for(tr_lobby *lobby, const tr_guest *guest, int64_t now) {
    tr_guest *victim = NULL, *g;
    TAILQ_FOREACH(g, &lobby->inside, place) {
        if (g->shed || !may_be_evicted(g, now) ||
            (g->from != guest->from && g->from->inside <= guest->from->inside))
            continue;
        int more = victim ? g->from->inside - victim->from->inside : 1;
        int idler = victim ? (g->state == TR_GUEST_IDLE) - (victim->state == TR_GUEST_IDLE) : 1;
        if (more > 0 || (more == 0 && (idler > 0 || (idler == 0 && g->since < victim->since))))
            victim = g;
    }
    if (victim)
        evict(lobby, victim);
    return victim != NULL;
}

static void let_in_who_may(tr_lobby *lobby, int64_t now) {
    tr_guest *g, *after;
    while ((g = next_in(lobby)) && may_go_in(lobby, g))
        let_in(lobby, g, false);
    while (g && lobby->going < atomic_load(&lobby->ready) && evict_for(lobby, g, now))
        ;
    for (g = TAILQ_FIRST(&lobby->waiting); g; g = after) {
        after = TAILQ_NEXT(g, place);
        if (g->state == TR_GUEST_READY && now - g->since >= SHED_AFTER_MS &&
            lobby->shed_count < TR_LOBBY_SHEDDERS)
            let_in(lobby, g, true);
        else if (now - g->came >= lobby->patience_ms + (g->state == TR_GUEST_READY ? SHED_AFTER_MS : 0))
            drop(lobby, g);
    }
    if (lobby->shed_count > 0)
        TAILQ_FOREACH(g, &lobby->inside, place)
    if (g->shed && g->state == TR_GUEST_HEAD && may_be_evicted(g, now))
        evict(lobby, g);
}

static void turn(tr_lobby *lobby, const struct epoll_event *events, int n, bool *listening) {
    struct epoll_event listen = {.events = EPOLLIN, .data.ptr = &lobby->listener};
    uint64_t count;
    bool knocked = false;
    for (int i = 0; i < n; i++) {
        if (events[i].data.ptr == &lobby->listener)
            knocked = true;
        else if (events[i].data.ptr == &lobby->wake)
            (void)!read(lobby->wake, &count, sizeof count);
        else if (((tr_guest *)events[i].data.ptr)->state == TR_GUEST_SILENT)
            look(lobby, events[i].data.ptr);
    }
    bool files = !knocked || accept_some(lobby);
    if (files != *listening) {
        listen.events = files ? EPOLLIN : 0;
        *listening = epoll_ctl(lobby->epoll, EPOLL_CTL_MOD, lobby->listener, &listen) == 0 ? files : !files;
    }
    let_in_who_may(lobby, tr_monotonic_ms());
}

static void *run(void *argument) {
    tr_lobby *lobby = argument;
    struct epoll_event events[BATCH];
    bool listening = true;
    int timeout = -1;
    while (!atomic_load(&lobby->stop)) {
        int n = epoll_wait(lobby->epoll, events, BATCH, timeout);
        pthread_mutex_lock(&lobby->mutex);
        turn(lobby, events, n > 0 ? n : 0, &listening);
        timeout = lobby->waiting_count > 0 || lobby->shed_count > 0 || !listening ? LOOK_MS : -1;
        pthread_mutex_unlock(&lobby->mutex);
    }
    return NULL;
}

/* ---- what the server's threads say ---- */

int tr_lobby_take(tr_lobby *lobby, struct sockaddr *peer, socklen_t *len) {
    uint64_t one;
    int fd = -1;
    (void)!read(lobby->door, &one, sizeof one);
    pthread_mutex_lock(&lobby->mutex);
    tr_guest *g = TAILQ_FIRST(&lobby->leaving);
    if (g) {
        TAILQ_REMOVE(&lobby->leaving, g, door);
        g->at_door = false;
        fd = g->fd;
        memcpy(peer, &g->peer, g->peer_len < *len ? g->peer_len : *len);
        *len = g->peer_len;
    }
    pthread_mutex_unlock(&lobby->mutex);
    if (fd < 0)
        errno = EAGAIN;
    return fd;
}

tr_guest *tr_lobby_find(tr_lobby *lobby, int fd) {
    tr_guest *g;
    pthread_mutex_lock(&lobby->mutex);
    TAILQ_FOREACH(g, &lobby->inside, place)
    if (g->fd == fd && !g->at_door)
        break;
    pthread_mutex_unlock(&lobby->mutex);
    return g;
}

/* It goes, or has begun a request after all. */
static void not_going(tr_lobby *lobby, tr_guest *g) {
    if (g->evicted && g->state != TR_GUEST_BUSY)
        lobby->going--;
}

void tr_lobby_mark(tr_lobby *lobby, tr_guest *g, tr_guest_state state) {
    if (!g)
        return;
    pthread_mutex_lock(&lobby->mutex);
    if (state == TR_GUEST_BUSY)
        not_going(lobby, g);
    else if (g->evicted && g->state == TR_GUEST_BUSY)
        lobby->going++;
    set_state(lobby, g, state);
    pthread_mutex_unlock(&lobby->mutex);
}

bool tr_lobby_shed(tr_lobby *lobby, const tr_guest *g) {
    pthread_mutex_lock(&lobby->mutex);
    bool shed = g && g->shed;
    pthread_mutex_unlock(&lobby->mutex);
    return shed;
}

bool tr_lobby_evicted(tr_lobby *lobby, const tr_guest *g) {
    pthread_mutex_lock(&lobby->mutex);
    bool evicted = g && g->evicted;
    pthread_mutex_unlock(&lobby->mutex);
    return evicted;
}

bool tr_lobby_crowded(const tr_lobby *lobby) {
    return atomic_load(&lobby->ready) > 0;
}

void tr_lobby_leave(tr_lobby *lobby, tr_guest *g) {
    if (!g)
        return;
    pthread_mutex_lock(&lobby->mutex);
    not_going(lobby, g);
    TAILQ_REMOVE(&lobby->inside, g, place);
    lobby->shed_count -= g->shed;
    lobby->inside_count -= !g->shed;
    g->from->inside -= !g->shed;
    forget(lobby, g);
    pthread_mutex_unlock(&lobby->mutex);
    if (tr_lobby_crowded(lobby))
        signal_event(lobby->wake);
}

void tr_lobby_get_stats(tr_lobby *lobby, tr_lobby_stats *out) {
    pthread_mutex_lock(&lobby->mutex);
    *out = (tr_lobby_stats){.waiting = lobby->waiting_count, .dropped = lobby->dropped, .shed = lobby->shed};
    pthread_mutex_unlock(&lobby->mutex);
}

/* ---- opening and closing ---- */

int tr_lobby_door(const tr_lobby *lobby) {
    return dup(lobby->door);
}

static tr_status watch(tr_lobby *lobby, int *fd, tr_error *err) {
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = fd};
    return epoll_ctl(lobby->epoll, EPOLL_CTL_ADD, *fd, &event) == 0 ? TR_OK
                                                                    : tr_fail_errno(err, NULL, "epoll_ctl");
}

static tr_status make_files(tr_lobby *lobby, tr_error *err) {
    if (fcntl(lobby->listener, F_SETFL, fcntl(lobby->listener, F_GETFL) | O_NONBLOCK) != 0)
        return tr_fail_errno(err, NULL, "fcntl");
    lobby->epoll = epoll_create1(EPOLL_CLOEXEC);
    lobby->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    lobby->door = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK | EFD_SEMAPHORE);
    if (lobby->epoll < 0 || lobby->wake < 0 || lobby->door < 0)
        return tr_fail_errno(err, NULL, "eventfd");
    tr_status st = watch(lobby, &lobby->listener, err);
    return st == TR_OK ? watch(lobby, &lobby->wake, err) : st;
}

tr_status tr_lobby_open(int listener, int threads, bool tls, int64_t patience_ms, tr_lobby **out,
                        tr_error *err) {
    tr_status st = TR_OK;
    tr_lobby *lobby = calloc(1, sizeof *lobby);
    if (!lobby) {
        (void)close(listener);
        return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    }
    lobby->listener = listener;
    lobby->epoll = lobby->wake = lobby->door = -1;
    lobby->threads = threads;
    lobby->room = tr_lobby_room(threads);
    lobby->tls = tls;
    lobby->patience_ms = patience_ms;
    lobby->mutex = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
    TAILQ_INIT(&lobby->waiting);
    TAILQ_INIT(&lobby->inside);
    TAILQ_INIT(&lobby->unused);
    TAILQ_INIT(&lobby->leaving);
    lobby->all = calloc((size_t)places(lobby), sizeof *lobby->all);
    lobby->addresses = calloc((size_t)places(lobby), sizeof *lobby->addresses);
    if (!lobby->all || !lobby->addresses) {
        st = tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
        goto out;
    }
    for (int i = 0; i < places(lobby); i++)
        TAILQ_INSERT_TAIL(&lobby->unused, &lobby->all[i], place);
    TR_TRY(make_files(lobby, err));
    lobby->running = pthread_create(&lobby->thread, NULL, run, lobby) == 0;
    if (!lobby->running) {
        st = tr_fail(err, TR_E_NOMEM, NULL, "there is no thread left");
        goto out;
    }
    *out = lobby;
    lobby = NULL;
out:
    tr_lobby_free(lobby);
    return st;
}

static void close_file(int *fd) {
    if (*fd >= 0)
        (void)close(*fd);
    *fd = -1;
}

void tr_lobby_shut(tr_lobby *lobby) {
    if (!lobby)
        return;
    atomic_store(&lobby->stop, true);
    if (lobby->running) {
        signal_event(lobby->wake);
        (void)pthread_join(lobby->thread, NULL);
        lobby->running = false;
    }
    close_file(&lobby->listener);
    pthread_mutex_lock(&lobby->mutex);
    while (!TAILQ_EMPTY(&lobby->waiting))
        drop(lobby, TAILQ_FIRST(&lobby->waiting));
    pthread_mutex_unlock(&lobby->mutex);
}

void tr_lobby_free(tr_lobby *lobby) {
    if (!lobby)
        return;
    tr_lobby_shut(lobby);
    tr_guest *g;
    TAILQ_FOREACH(g, &lobby->leaving, door)
    close_file(&g->fd);
    close_file(&lobby->epoll);
    close_file(&lobby->wake);
    close_file(&lobby->door);
    (void)pthread_mutex_destroy(&lobby->mutex);
    free(lobby->all);
    free(lobby->addresses);
    free(lobby);
}
