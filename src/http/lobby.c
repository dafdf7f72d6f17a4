#include "http/lobby.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "http/lobby_internal.h"

#define BATCH            64   /* events, and connections accepted, in one turn */
#define HEAD_GRACE_MS    1000 /* a handshake, or a head, has this long even while others wait */
#define IDLE_GRACE_MS    250  /* who sends its next request at once keeps its connection */
#define SHED_AFTER_MS    5000
#define LOOK_MS          100          /* how often the time is looked at while somebody waits */
#define UNSENT_BYTES     (128 * 1024) /* of an answer, that the kernel holds for a peer that does not read */
#define RECORD_HEAD      5
#define RECORD_MAX       (16384 + 256)
#define RECORD_HANDSHAKE 22

/* ---- coming and waiting ---- */

/* The address with the most waiting loses its oldest, a silent one first. */
static void make_place(tr_lobby *lobby) {
    tr_guest *victim = NULL, *g;
    for (g = TAILQ_FIRST(&lobby->waiting); g; g = TAILQ_NEXT(g, place)) {
        int more = victim ? g->from->waiting - victim->from->waiting : 1;
        if (more > 0 || (more == 0 && g->state == TR_GUEST_SILENT && victim->state != TR_GUEST_SILENT))
            victim = g;
    }
    if (victim)
        tr_guest_drop(lobby, victim);
}

/* Is this the beginning of something that a thread can work on without waiting for more? In TLS that is a
 * whole record, or what is no handshake: that is for OpenSSL to refuse. */
static bool is_whole(const tr_lobby *lobby, int fd, const unsigned char *head, size_t n) {
    int there = 0;
    if (!lobby->tls || head[0] != RECORD_HANDSHAKE)
        return true;
    if (n < RECORD_HEAD)
        return false;
    int record = RECORD_HEAD + (head[3] << 8) + head[4];
    return record > RECORD_HEAD + RECORD_MAX || ioctl(fd, FIONREAD, &there) != 0 || there >= record;
}

static void look(tr_lobby *lobby, tr_guest *g) {
    unsigned char head[RECORD_HEAD];
    ssize_t n = recv(g->fd, head, sizeof head, MSG_PEEK | MSG_DONTWAIT);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
        tr_guest_drop(lobby, g);
    else if (n > 0 && is_whole(lobby, g->fd, head, (size_t)n))
        tr_guest_ready(lobby, g);
}

static void admit(tr_lobby *lobby, int fd, const struct sockaddr_storage *peer, socklen_t len) {
    if (lobby->waiting_count >= lobby->room)
        make_place(lobby);
    tr_guest *g = tr_guest_new(lobby, fd, peer, len);
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | EPOLLET, .data.ptr = g};
    int unsent = UNSENT_BYTES;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof unsent);
    if (!g) {
        (void)close(fd);
        lobby->dropped++;
    } else if (epoll_ctl(lobby->epoll, EPOLL_CTL_ADD, fd, &event) != 0) {
        tr_guest_drop(lobby, g);
    } else {
        look(lobby, g);
    }
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
        if (fd >= 0)
            admit(lobby, fd, &peer, len);
    }
    return true;
}

/* ---- going in ---- */

/* Does `g` go in before `other`? Its address has fewer inside; of those alike who waits longest. */
static bool goes_before(const tr_lobby *lobby, const tr_guest *g, const tr_guest *other, int64_t now) {
    return tr_address_weight(lobby, g->from, now) < tr_address_weight(lobby, other->from, now);
}

static tr_guest *next_in(const tr_lobby *lobby, int64_t now) {
    tr_guest *best = NULL, *g;
    if (atomic_load(&lobby->ready) == 0)
        return NULL;
    for (g = TAILQ_FIRST(&lobby->waiting); g; g = TAILQ_NEXT(g, place)) {
        if (g->state == TR_GUEST_READY && (!best || goes_before(lobby, g, best, now)))
            best = g;
    }
    return best;
}

static bool may_go_in(const tr_lobby *lobby, const tr_guest *g) {
    int unused = lobby->threads - lobby->inside_count;
    return g->from->inside < 3 * unused;
}

/* Does it only wait for its peer, and has done so for long enough? */
static bool may_be_evicted(const tr_guest *g, int64_t now) {
    int state = atomic_load(&g->state);
    int64_t stayed = now - atomic_load(&g->since);
    return !g->evicted && ((state == TR_GUEST_IDLE && stayed >= IDLE_GRACE_MS) ||
                           (state == TR_GUEST_HEAD && stayed >= HEAD_GRACE_MS));
}

/* What it has sent is still read: nothing that arrived is lost. */
static void evict(tr_guest *g) {
    atomic_store(&g->evicted, true);
    (void)shutdown(g->fd, SHUT_RD);
}

/* One of the address with the most inside goes, an idle one first, then the one that waits longest for its
 * peer; of no address that has less than the one that wants to come in. */
static bool evict_for(tr_lobby *lobby, const tr_guest *guest, int64_t now) {
    tr_guest *victim = NULL, *g;
    for (g = TAILQ_FIRST(&lobby->inside); g; g = TAILQ_NEXT(g, place)) {
        if (g->shed || !may_be_evicted(g, now) ||
            (g->from != guest->from && !goes_before(lobby, guest, g, now)))
            continue;
        int more =
            victim ? tr_address_weight(lobby, g->from, now) - tr_address_weight(lobby, victim->from, now) : 1;
        int idler = victim ? (g->state == TR_GUEST_IDLE) - (victim->state == TR_GUEST_IDLE) : 1;
        if (more > 0 || (more == 0 && (idler > 0 || (idler == 0 && g->since < victim->since))))
            victim = g;
    }
    if (victim)
        evict(victim);
    return victim != NULL;
}

/* As many are on their way out as want to come in, where so many may be sent. */
static void make_room(tr_lobby *lobby, const tr_guest *guest, int64_t now) {
    tr_guest *g;
    int going = 0;
    for (g = TAILQ_FIRST(&lobby->inside); g; g = TAILQ_NEXT(g, place)) {
        going += !g->shed && g->evicted && g->state != TR_GUEST_BUSY;
    }
    while (going < atomic_load(&lobby->ready) && evict_for(lobby, guest, now))
        going++;
}

/* Of those who have waited too long the one with the least hope of going in: whose address has the most
 * inside, then who waits longest. */
static tr_guest *next_to_shed(const tr_lobby *lobby, int64_t now) {
    tr_guest *next = NULL, *g;
    for (g = TAILQ_FIRST(&lobby->waiting); g; g = TAILQ_NEXT(g, place)) {
        if (g->state == TR_GUEST_READY && now - g->since >= SHED_AFTER_MS &&
            (!next || goes_before(lobby, next, g, now)))
            next = g;
    }
    return next;
}

static void shed_some(tr_lobby *lobby, int64_t now) {
    tr_guest *g;
    while (lobby->shed_count < TR_LOBBY_SHEDDERS && (g = next_to_shed(lobby, now)))
        tr_guest_enter(lobby, g, true);
}

/* Those who have waited too long to be told, and those who are told but do not listen. */
static void look_through(tr_lobby *lobby, int64_t now) {
    tr_guest *g, *after;
    for (g = TAILQ_FIRST(&lobby->waiting); g; g = after) {
        after = TAILQ_NEXT(g, place);
        bool ready = g->state == TR_GUEST_READY;
        if (now - g->came >= lobby->patience_ms + (ready ? SHED_AFTER_MS : 0))
            tr_guest_drop(lobby, g);
    }
    for (g = TAILQ_FIRST(&lobby->inside); g; g = TAILQ_NEXT(g, place)) {
        if (g->shed && g->state == TR_GUEST_HEAD && may_be_evicted(g, now))
            evict(g);
    }
}

static void let_in_who_may(tr_lobby *lobby) {
    int64_t now = tr_monotonic_ms();
    tr_guest *g;
    while ((g = next_in(lobby, now)) && may_go_in(lobby, g))
        tr_guest_enter(lobby, g, false);
    if (g) {
        make_room(lobby, g, now);
        shed_some(lobby, now);
    }
    if (now - lobby->looked >= LOOK_MS) {
        look_through(lobby, now);
        lobby->looked = now;
    }
    atomic_store(&lobby->crowded, atomic_load(&lobby->ready) > 0);
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
    let_in_who_may(lobby);
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

tr_status tr_lobby_open(int listener, int threads, int room, bool tls, int64_t patience_ms, tr_lobby **out,
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
    lobby->room = room;
    lobby->tls = tls;
    lobby->patience_ms = patience_ms;
    lobby->mutex = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
    TR_TRY(tr_guests_init(lobby, err));
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
        tr_lobby_signal(lobby->wake);
        (void)pthread_join(lobby->thread, NULL);
        lobby->running = false;
    }
    close_file(&lobby->listener);
    pthread_mutex_lock(&lobby->mutex);
    while (!TAILQ_EMPTY(&lobby->waiting))
        tr_guest_drop(lobby, TAILQ_FIRST(&lobby->waiting));
    pthread_mutex_unlock(&lobby->mutex);
}

void tr_lobby_free(tr_lobby *lobby) {
    if (!lobby)
        return;
    tr_lobby_shut(lobby);
    tr_guests_free(lobby);
    close_file(&lobby->epoll);
    close_file(&lobby->wake);
    close_file(&lobby->door);
    (void)pthread_mutex_destroy(&lobby->mutex);
    free(lobby);
}
