/* tresor keys unseal: one person's share for the server that waits for it. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json.h"
#include "cli/keys_commands.h"
#include "cli/options.h"
#include "cli/unlock.h"
#include "cli/unseal.h"

#define ANSWER_MAX 1024

static tr_status connect_to(const tr_config *config, int *out, tr_error *err) {
    struct sockaddr_un address;
    int folder = -1;
    tr_status st = tr_unseal_address(config, &address, &folder, err);
    *out = -1;
    if (st != TR_OK)
        return st;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        st = tr_fail_errno(err, TR_UNSEAL_SOCKET, "no socket");
    } else if (connect(fd, (const struct sockaddr *)&address, sizeof address) != 0) {
        bool none = errno == ENOENT || errno == ECONNREFUSED;
        st = none ? tr_fail(err, TR_E_CONFIG, config->data,
                            "no server waits for shares here: it does not run, or is open already")
                  : tr_fail_errno(err, TR_UNSEAL_SOCKET, "cannot connect to the server");
        close(fd);
    } else {
        *out = fd;
    }
    if (folder >= 0)
        close(folder);
    return st;
}

/* A share goes to nobody but the folder's owner, or root. */
static tr_status check_peer(const tr_config *config, int fd, tr_error *err) {
    struct ucred peer;
    struct stat info;
    socklen_t len = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0 || stat(config->data, &info) != 0)
        return tr_fail_errno(err, TR_UNSEAL_SOCKET, "cannot tell whose server it is");
    if (peer.uid != info.st_uid && peer.uid != 0)
        return tr_fail(err, TR_E_FORBIDDEN, TR_UNSEAL_SOCKET,
                       "another user than the folder's owner listens there");
    return TR_OK;
}

static tr_status send_all(int fd, const tr_secret *share, tr_error *err) {
    size_t sent = 0;
    while (sent < share->len) {
        ssize_t n = send(fd, share->data + sent, share->len - sent, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return tr_fail_errno(err, TR_UNSEAL_SOCKET, "cannot send the share");
        sent += (size_t)n;
    }
    return shutdown(fd, SHUT_WR) == 0 ? TR_OK : tr_fail_errno(err, TR_UNSEAL_SOCKET, "cannot send the share");
}

static tr_status receive(int fd, tr_buf *answer, tr_error *err) {
    char bytes[256];
    for (;;) {
        ssize_t n = recv(fd, bytes, sizeof bytes, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return tr_fail_errno(err, TR_UNSEAL_SOCKET, "cannot read the server's answer");
        if (n == 0)
            return answer->len
                       ? tr_buf_ok(answer, err)
                       : tr_fail(err, TR_E_IO, TR_UNSEAL_SOCKET, "the server ended without an answer");
        tr_buf_append(answer, bytes, (size_t)n);
        if (answer->len > ANSWER_MAX)
            return tr_fail(err, TR_E_TOO_LARGE, TR_UNSEAL_SOCKET, "the answer is not one of a Tresor server");
    }
}

/* Refused: by the share itself, or for another reason. */
static tr_status judge(const tr_buf *answer, tr_error *err) {
    cJSON *tree = NULL;
    tr_status st = tr_json_parse(answer->data, answer->len, &tree, err);
    if (st == TR_OK && !cJSON_IsTrue(tr_json_member(tree, "accepted"))) {
        const char *status = tr_json_string(tree, "status"), *reason = tr_json_string(tree, "reason");
        bool wrong = status && strcmp(status, tr_status_slug(TR_E_WRONG_KEY)) == 0;
        st = tr_fail(err, wrong ? TR_E_WRONG_KEY : TR_E_CONFLICT, "share", "%s",
                     reason ? reason : "it was refused");
    }
    cJSON_Delete(tree);
    return st;
}

static tr_status unseal(const tr_config *config, const char *file, tr_buf *answer, tr_error *err) {
    tr_secret share = TR_SECRET_INIT;
    int fd = -1;
    tr_status st = TR_OK;
    /* Is there anybody to send it to? The server gives a connection no time to wait for a person who types.
     */
    TR_TRY(connect_to(config, &fd, err));
    close(fd);
    fd = -1;
    TR_TRY(tr_cli_read_share(file, "share: ", &share, err));
    TR_TRY(connect_to(config, &fd, err));
    TR_TRY(check_peer(config, fd, err));
    TR_TRY(send_all(fd, &share, err));
    tr_secret_clear(&share);
    TR_TRY(receive(fd, answer, err));
    TR_TRY(tr_cli_write(answer->data, answer->len, err));
    st = judge(answer, err);
out:
    tr_secret_clear(&share);
    if (fd >= 0)
        close(fd);
    return st;
}

tr_exit tr_keys_unseal(int argc, char **argv) {
    const char *file = NULL;
    const tr_option options[] = {{.name = "--share-file", .value = &file}};
    tr_command_line line = {.options = options,
                            .option_count = 1,
                            .usage = "tresor keys unseal [--share-file FILE] [SETTING...]"};
    tr_config config;
    tr_buf answer = TR_BUF_INIT;
    tr_error err = {0};
    tr_status st = tr_options_read(argc, argv, &line, &config, &err);
    if (st == TR_OK)
        st = unseal(&config, file, &answer, &err);
    tr_buf_clear(&answer);
    return st == TR_OK ? TR_EXIT_OK : tr_cli_report(&err);
}
