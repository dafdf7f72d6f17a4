/* The server's side of unsealing. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json_write.h"
#include "base/log.h"
#include "cli/unseal.h"
#include "vault/vault.h"

#define READ_MS 5000 /* a connection's time to bring its share */
#define BACKLOG 4

typedef struct sealed {
    const tr_keyring_need *need;
    char ring[600];
    tr_secret shares[TR_SHARES_MAX];
    int numbers[TR_SHARES_MAX];
    size_t given;
    bool open; /* *passphrase is there */
    tr_secret *passphrase;
    char *opened_by;
} sealed;

tr_status tr_unseal_address(const tr_config *config, struct sockaddr_un *address, int *folder,
                            tr_error *err) {
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    *folder = -1;
    if ((size_t)snprintf(address->sun_path, sizeof address->sun_path, "%s/" TR_UNSEAL_SOCKET, config->data) <
        sizeof address->sun_path)
        return TR_OK;
    *folder = open(config->data, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (*folder < 0)
        return tr_fail_errno(err, config->data, "cannot open the data folder");
    (void)snprintf(address->sun_path, sizeof address->sun_path, "/proc/self/fd/%d/" TR_UNSEAL_SOCKET,
                   *folder);
    return TR_OK;
}

/* ---- the socket ---- */

/* Nobody can connect between bind and listen, so the mode is right before it matters. */
static tr_status listen_at(const struct sockaddr_un *address, int *out, tr_error *err) {
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    *out = -1;
    if (fd < 0)
        return tr_fail_errno(err, TR_UNSEAL_SOCKET, "no socket");
    (void)unlink(address->sun_path); /* what a killed server left: this one holds the lock */
    if (bind(fd, (const struct sockaddr *)address, sizeof *address) != 0 ||
        chmod(address->sun_path, 0600) != 0 || listen(fd, BACKLOG) != 0) {
        tr_status st = tr_fail_errno(err, TR_UNSEAL_SOCKET, "cannot listen for shares");
        close(fd);
        return st;
    }
    *out = fd;
    return TR_OK;
}

static bool is_allowed(int fd) {
    struct ucred peer;
    socklen_t len = sizeof peer;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 &&
           (peer.uid == geteuid() || peer.uid == 0);
}

/* Up to a line's end or the end of what the peer sends, all within READ_MS. */
static tr_status read_share(int fd, tr_secret *room, size_t *len, tr_error *err) {
    int64_t until = tr_monotonic_ms() + READ_MS;
    *len = 0;
    for (;;) {
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        int64_t left = until - tr_monotonic_ms();
        if (left <= 0 || poll(&wait, 1, (int)left) == 0)
            return tr_fail(err, TR_E_TIMEOUT, NULL, "no share came within %d s", READ_MS / 1000);
        ssize_t n = recv(fd, room->data + *len, room->len - *len, MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            continue;
        if (n < 0)
            return tr_fail_errno(err, TR_UNSEAL_SOCKET, "cannot read the share");
        const uint8_t *end = n > 0 ? memchr(room->data + *len, '\n', (size_t)n) : NULL;
        *len = end ? (size_t)(end - room->data) : *len + (size_t)n;
        if (end || n == 0)
            return TR_OK;
        if (*len == room->len)
            return tr_fail(err, TR_E_WRONG_KEY, NULL, "it is too long for a share");
    }
}

/* ---- a share ---- */

static void forget(sealed *s) {
    for (size_t i = 0; i < TR_SHARES_MAX; i++)
        tr_secret_clear(&s->shares[i]);
    s->given = 0;
}

static void note_numbers(sealed *s) {
    size_t n = (size_t)snprintf(s->opened_by, TR_UNSEAL_BY, "shares ");
    for (size_t i = 0; i < s->given && n < TR_UNSEAL_BY; i++)
        n += (size_t)snprintf(s->opened_by + n, TR_UNSEAL_BY - n, "%s%d", i ? ", " : "", s->numbers[i]);
}

/* Shares that do not fit together, though each is the ring's, are all to be given again. */
static tr_status combine(sealed *s, tr_error *err) {
    tr_status st = tr_keyring_combine(s->ring, s->shares, s->given, s->passphrase, err);
    s->open = st == TR_OK;
    note_numbers(s);
    forget(s);
    return st == TR_E_CONFIG ? tr_fail(err, TR_E_WRONG_KEY, NULL, "%s; all are to be given again", err->what)
                             : st;
}

static tr_status take(sealed *s, const tr_secret *room, size_t len, int *number, tr_error *err) {
    tr_secret *share = &s->shares[s->given];
    tr_status st = tr_secret_copy(share, room->data, len, err);
    if (st == TR_OK)
        st = tr_keyring_check_share(s->ring, share, number, err);
    if (st == TR_E_CONFIG) /* here a wrong share is a wrong key */
        st = tr_fail(err, TR_E_WRONG_KEY, NULL, "%s", err->what);
    for (size_t i = 0; st == TR_OK && i < s->given; i++) {
        if (s->numbers[i] == *number)
            st = tr_fail(err, TR_E_EXISTS, NULL, "share %d was given already", *number);
    }
    if (st != TR_OK) {
        tr_secret_clear(share);
        return st;
    }
    s->numbers[s->given++] = *number;
    return s->given == (size_t)s->need->threshold ? combine(s, err) : TR_OK;
}

static void answer(int fd, const sealed *s, tr_status st, int number, const tr_error *err) {
    tr_buf line = TR_BUF_INIT;
    int given = s->open ? s->need->threshold : (int)s->given;
    tr_jw_open(&line, NULL, '{');
    tr_jw_bool(&line, "accepted", st == TR_OK);
    if (st == TR_OK) {
        tr_jw_number(&line, "number", number);
    } else {
        tr_jw_text(&line, "status", tr_status_slug(st));
        tr_jw_text(&line, "reason", err->what);
    }
    tr_jw_number(&line, "given", given);
    tr_jw_number(&line, "missing", s->need->threshold - given);
    tr_jw_close(&line, '}');
    tr_buf_putc(&line, '\n');
    if (!line.failed) /* a peer that does not read it goes without */
        (void)send(fd, line.data, line.len, MSG_NOSIGNAL | MSG_DONTWAIT);
    tr_buf_clear(&line);
    if (st == TR_OK)
        tr_log(TR_LOG_INFO, "unseal.share", TR_F_NUM("number", number),
               TR_F_NUM("missing", s->need->threshold - given));
    else
        tr_log(TR_LOG_WARN, "unseal.refused", TR_F_TEXT("reason", err->what),
               TR_F_NUM("missing", s->need->threshold - given));
}

static void serve_one(int listener, sealed *s) {
    tr_secret room = TR_SECRET_INIT;
    tr_error err = {0};
    size_t len = 0;
    int number = 0;
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0)
        return;
    tr_status st =
        is_allowed(fd) ? TR_OK : tr_fail(&err, TR_E_FORBIDDEN, NULL, "only the owner and root may unseal");
    if (st == TR_OK)
        st = tr_secret_alloc(&room, TR_UNSEAL_SHARE_MAX, &err);
    if (st == TR_OK)
        st = read_share(fd, &room, &len, &err);
    bool nothing = st == TR_OK && len == 0; /* somebody looked whether a server waits */
    if (st == TR_OK && !nothing)
        st = take(s, &room, len, &number, &err);
    tr_secret_clear(&room);
    if (!nothing)
        answer(fd, s, st, number, &err);
    close(fd);
}

/* ---- waiting ---- */

/* True when it is time to stop. */
static bool was_told(int fd, int *stopped) {
    struct signalfd_siginfo info;
    if (read(fd, &info, sizeof info) != (ssize_t)sizeof info)
        return false;
    if (info.ssi_signo != SIGTERM &&
        info.ssi_signo != SIGINT) /* SIGHUP: there is no certificate yet to be read anew */
        return false;
    *stopped = (int)info.ssi_signo;
    return true;
}

static tr_status wait_for_shares(int listener, int signals, sealed *s, int *stopped, tr_error *err) {
    struct pollfd watched[] = {{.fd = signals, .events = POLLIN}, {.fd = listener, .events = POLLIN}};
    while (!s->open) {
        if (poll(watched, 2, -1) < 0 && errno != EINTR)
            return tr_fail_errno(err, TR_UNSEAL_SOCKET, "cannot wait for shares");
        if ((watched[0].revents & POLLIN) && was_told(signals, stopped))
            return TR_OK;
        if (watched[1].revents & POLLIN)
            serve_one(listener, s);
    }
    return TR_OK;
}

tr_status tr_unseal_wait(const tr_config *config, const tr_keyring_need *need, const sigset_t *signals,
                         tr_secret *passphrase, char opened_by[TR_UNSEAL_BY], int *stopped, tr_error *err) {
    sealed s = {.need = need, .passphrase = passphrase, .opened_by = opened_by};
    struct sockaddr_un address = {.sun_path = ""};
    int folder = -1, listener = -1, signal_fd = -1;
    tr_status st = TR_OK;
    *stopped = 0;
    TR_TRY(tr_config_path(config, TR_RING, s.ring, sizeof s.ring, err));
    TR_TRY(tr_unseal_address(config, &address, &folder, err));
    TR_TRY(listen_at(&address, &listener, err));
    signal_fd = signalfd(-1, signals, SFD_CLOEXEC | SFD_NONBLOCK);
    if (signal_fd < 0)
        TR_TRY(tr_fail_errno(err, NULL, "cannot watch for signals"));
    tr_log(TR_LOG_INFO, "sealed", TR_F_NUM("needed", need->threshold), TR_F_NUM("shares", need->shares));
    st = wait_for_shares(listener, signal_fd, &s, stopped, err);
out:
    forget(&s);
    if (listener >= 0) {
        (void)unlink(address.sun_path);
        close(listener);
    }
    if (signal_fd >= 0)
        close(signal_fd);
    if (folder >= 0)
        close(folder);
    if (s.open)
        tr_log(TR_LOG_INFO, "unsealed", TR_F_NUM("shares", need->threshold));
    return st;
}
