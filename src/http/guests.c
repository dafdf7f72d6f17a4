/* Who is in the lobby, at its door and inside, and from which address. */
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/clock.h"
#include "http/lobby_internal.h"

#define PROVEN_MS       600000 /* for so long an address is no stranger's */
#define PROVEN_NOTED_MS 1000   /* many threads say it all the time */
#define PROVEN_MOST     4      /* connections of it that go before strangers' */

static int places(const tr_lobby *lobby) {
    return lobby->room + lobby->threads + TR_LOBBY_SHEDDERS;
}

void tr_lobby_signal(int event) {
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

/* There is always one: as many as guests. Of those that nobody is left from the one goes that was not proven
 * for longest. */
static tr_address *address_of(tr_lobby *lobby, const struct sockaddr_storage *peer) {
    unsigned char ip[16];
    tr_address *unused = NULL;
    place_of(peer, ip);
    for (int i = 0; i < places(lobby); i++) {
        tr_address *a = &lobby->addresses[i];
        if (memcmp(a->ip, ip, sizeof ip) == 0)
            return a;
        if (a->guests == 0 && (!unused || a->proven < unused->proven))
            unused = a;
    }
    if (unused) {
        memcpy(unused->ip, ip, sizeof ip);
        atomic_store(&unused->proven, 0);
    }
    return unused;
}

/* Few enough for strangers to go in too when there are few threads. */
int tr_address_weight(const tr_lobby *lobby, const tr_address *a, int64_t now) {
    int64_t proven = atomic_load(&a->proven);
    int worth = (lobby->threads + 3) / 4;
    if (proven == 0 || now - proven >= PROVEN_MS)
        return a->inside;
    return a->inside - (worth < PROVEN_MOST ? worth : PROVEN_MOST);
}

/* ---- coming, waiting, going in or away ---- */

tr_guest *tr_guest_new(tr_lobby *lobby, int fd, const struct sockaddr_storage *peer, socklen_t len) {
    tr_guest *g = TAILQ_FIRST(&lobby->unused);
    tr_address *from = g ? address_of(lobby, peer) : NULL;
    if (!from)
        return NULL;
    TAILQ_REMOVE(&lobby->unused, g, place);
    memset(g, 0, sizeof *g);
    g->peer = *peer;
    g->peer_len = len;
    g->from = from;
    g->fd = fd;
    tr_lobby_mark(g, TR_GUEST_SILENT);
    g->came = g->since;
    TAILQ_INSERT_TAIL(&lobby->waiting, g, place);
    lobby->waiting_count++;
    from->guests++;
    from->waiting++;
    return g;
}

void tr_guest_ready(tr_lobby *lobby, tr_guest *g) {
    tr_lobby_mark(g, TR_GUEST_READY);
    atomic_fetch_add(&lobby->ready, 1);
}

static void stop_waiting(tr_lobby *lobby, tr_guest *g) {
    if (g->state == TR_GUEST_READY)
        atomic_fetch_sub(&lobby->ready, 1);
    TAILQ_REMOVE(&lobby->waiting, g, place);
    lobby->waiting_count--;
    g->from->waiting--;
}

static void forget(tr_lobby *lobby, tr_guest *g) {
    g->from->guests--;
    g->fd = -1;
    TAILQ_INSERT_HEAD(&lobby->unused, g, place);
}

void tr_guest_drop(tr_lobby *lobby, tr_guest *g) {
    stop_waiting(lobby, g);
    (void)close(g->fd);
    lobby->dropped++;
    forget(lobby, g);
}

void tr_guest_enter(tr_lobby *lobby, tr_guest *g, bool shed) {
    stop_waiting(lobby, g);
    tr_lobby_mark(g, TR_GUEST_HEAD);
    (void)epoll_ctl(lobby->epoll, EPOLL_CTL_DEL, g->fd, NULL);
    g->shed = shed;
    lobby->shed_count += shed;
    lobby->shed += shed;
    lobby->inside_count += !shed;
    g->from->inside += !shed;
    TAILQ_INSERT_TAIL(&lobby->inside, g, place);
    TAILQ_INSERT_TAIL(&lobby->leaving, g, door);
    g->at_door = true;
    tr_lobby_signal(lobby->door);
}

/* ---- what the server's threads ask and say ---- */

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

static tr_guest *find(const tr_lobby *lobby, int fd) {
    tr_guest *g = TAILQ_FIRST(&lobby->inside);
    while (g && (g->fd != fd || g->at_door))
        g = TAILQ_NEXT(g, place);
    return g;
}

tr_guest *tr_lobby_find(tr_lobby *lobby, int fd) {
    pthread_mutex_lock(&lobby->mutex);
    tr_guest *g = find(lobby, fd);
    pthread_mutex_unlock(&lobby->mutex);
    return g;
}

void tr_lobby_mark(tr_guest *g, tr_guest_state state) {
    if (!g)
        return;
    atomic_store(&g->since, tr_monotonic_ms());
    atomic_store(&g->state, (int)state);
}

void tr_lobby_prove(const tr_guest *g) {
    int64_t now = tr_monotonic_ms();
    if (g && now - atomic_load(&g->from->proven) >= PROVEN_NOTED_MS)
        atomic_store(&g->from->proven, now);
}

bool tr_lobby_is_quick(const tr_guest *g) {
    return g && g->quick;
}

void tr_lobby_note_quick(tr_guest *g, bool quick) {
    if (g)
        g->quick = quick;
}

bool tr_lobby_shed(const tr_guest *g) {
    return g && g->shed;
}

bool tr_lobby_evicted(const tr_guest *g) {
    return g && atomic_load(&g->evicted);
}

bool tr_lobby_crowded(const tr_lobby *lobby) {
    return atomic_load(&lobby->crowded);
}

void tr_lobby_leave(tr_lobby *lobby, int fd) {
    pthread_mutex_lock(&lobby->mutex);
    tr_guest *g = find(lobby, fd);
    if (g) {
        TAILQ_REMOVE(&lobby->inside, g, place);
        lobby->shed_count -= g->shed;
        lobby->inside_count -= !g->shed;
        g->from->inside -= !g->shed;
        forget(lobby, g);
    }
    pthread_mutex_unlock(&lobby->mutex);
    if (tr_lobby_crowded(lobby))
        tr_lobby_signal(lobby->wake);
}

void tr_lobby_get_stats(tr_lobby *lobby, tr_lobby_stats *out) {
    pthread_mutex_lock(&lobby->mutex);
    *out = (tr_lobby_stats){.waiting = lobby->waiting_count, .dropped = lobby->dropped, .shed = lobby->shed};
    pthread_mutex_unlock(&lobby->mutex);
}

/* ---- the table itself ---- */

tr_status tr_guests_init(tr_lobby *lobby, tr_error *err) {
    TAILQ_INIT(&lobby->waiting);
    TAILQ_INIT(&lobby->inside);
    TAILQ_INIT(&lobby->unused);
    TAILQ_INIT(&lobby->leaving);
    lobby->all = calloc((size_t)places(lobby), sizeof *lobby->all);
    lobby->addresses = calloc((size_t)places(lobby), sizeof *lobby->addresses);
    if (!lobby->all || !lobby->addresses)
        return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    for (int i = 0; i < places(lobby); i++)
        TAILQ_INSERT_TAIL(&lobby->unused, &lobby->all[i], place);
    return TR_OK;
}

void tr_guests_free(tr_lobby *lobby) {
    tr_guest *g;
    for (g = TAILQ_FIRST(&lobby->leaving); g; g = TAILQ_NEXT(g, door)) {
        (void)close(g->fd);
    }
    free(lobby->all);
    free(lobby->addresses);
}
