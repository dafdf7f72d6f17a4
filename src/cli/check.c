/* tresor serve --check: what would keep it from serving. */
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/cli.h"
#include "cli/unlock.h"
#include "crypto/keyring.h"
#include "http/server.h"
#include "vault/deadline.h"
#include "vault/outbox.h"
#include "vault/s3.h"
#include "vault/snapshots.h"
#include "vault/vault.h"

#define WARN_DAYS 14
#define DAY_MS    INT64_C(86400000)

typedef struct report {
    tr_exit first;
    bool locked; /* another process serves this folder */
} report;

static void say(const char *kind, const char *where, const char *what) {
    tr_buf line = TR_BUF_INIT;
    tr_buf_printf(&line, "%s%s%s%s\n", kind, where, *where ? ": " : "", what);
    if (!line.failed)
        (void)tr_cli_print(line.data, line.len);
    tr_buf_clear(&line);
}

static void problem(report *r, const tr_error *err) {
    tr_exit code = tr_cli_exit(err->status);
    say("problem: ", err->where, err->what[0] ? err->what : tr_status_slug(err->status));
    if (r->first == TR_EXIT_OK)
        r->first = code;
}

/* ---- the folder ---- */

static tr_status check_folder(const tr_config *config, tr_error *err) {
    struct stat info;
    if (stat(config->data, &info) != 0)
        return tr_fail(err, TR_E_CONFIG, config->data, "%s%s", strerror(errno),
                       errno == ENOENT ? "; `tresor init` makes it" : "");
    if (!S_ISDIR(info.st_mode))
        return tr_fail(err, TR_E_CONFIG, config->data, "is not a folder");
    if (info.st_uid != geteuid())
        return tr_fail(err, TR_E_CONFIG, config->data, "belongs to another user (%ld)", (long)info.st_uid);
    if (info.st_mode & 077)
        return tr_fail(err, TR_E_CONFIG, config->data, "others may enter it: chmod 700");
    return TR_OK;
}

static tr_status check_store(const tr_config *config, tr_error *err) {
    tr_s3 *store = NULL;
    tr_status st = tr_s3_new(config, &store, err);
    if (st == TR_OK)
        st = tr_s3_check(store, err);
    tr_s3_free(store);
    return st;
}

/* Whose it is only the vault can tell. */
static tr_status check_backup(const tr_config *config, tr_error *err) {
    const char *folder = config->backup_dir;
    struct stat info;
    if (!folder[0])
        return config->backup_s3_url[0] ? check_store(config, err) : TR_OK;
    if (stat(folder, &info) != 0)
        return tr_fail(err, TR_E_CONFIG, "backup_dir", "%.160s: %s", folder, strerror(errno));
    if (!S_ISDIR(info.st_mode))
        return tr_fail(err, TR_E_CONFIG, "backup_dir", "%.160s is not a folder", folder);
    if (access(folder, R_OK | W_OK | X_OK) != 0)
        return tr_fail(err, TR_E_CONFIG, "backup_dir", "%.160s cannot be written to: %s", folder,
                       strerror(errno));
    return TR_OK;
}

/* ---- keyring and databases ---- */

static tr_status check_keyring(const tr_config *config, const tr_secret *passphrase, tr_error *err) {
    tr_keyring *ring = NULL;
    tr_status st = tr_vault_ring(config, passphrase, &ring, err);
    tr_keyring_close(ring);
    return st;
}

/* Nobody types a share for a check: it says what is needed. */
static bool is_sealed(const tr_config *config) {
    char what[160];
    tr_keyring_need need;
    if (tr_vault_ring_need(config, &need, NULL) != TR_OK || strcmp(need.provider, "split") != 0)
        return false;
    snprintf(what, sizeof what,
             "%d of %d shares open it, by `tresor keys unseal` when it is served; the databases were not "
             "looked at",
             need.threshold, need.shares);
    say("note: ", "keyring", what);
    return true;
}

/* `backup_ok` false: what is wrong with the backup is said already. */
static void check_vault(report *r, const tr_config *config, bool backup_ok) {
    tr_error err = {0};
    if (config->init && tr_cli_has_vault(config, NULL) != TR_OK) {
        say("note: ", config->data, "holds no vault: the first start makes one");
        return;
    }
    if (tr_vault_check_moved(config, &err) != TR_OK) {
        problem(r, &err);
        return;
    }
    if (is_sealed(config))
        return;
    tr_secret passphrase = TR_SECRET_INIT;
    tr_vault *vault = NULL;
    tr_status st = tr_cli_unlock(config, NULL, &passphrase, &err);
    if (st == TR_OK)
        st = check_keyring(config, &passphrase, &err);
    if (st == TR_OK)
        st = tr_vault_open(config, &passphrase, &vault, &err);
    if (st == TR_OK && backup_ok)
        st = tr_snapshots_check_target(vault, &err);
    tr_vault_close(vault);
    tr_secret_clear(&passphrase);
    r->locked = st == TR_E_LOCKED;
    if (r->locked)
        tr_fail(&err, TR_E_LOCKED, config->data,
                "another process serves it: the databases and the addresses to listen on were not tried");
    if (st != TR_OK)
        problem(r, &err);
}

/* ---- TLS ---- */

static void check_expiry(report *r, const char *file, int64_t expires_ms) {
    char text[TR_TIME_TEXT], what[120];
    int64_t now = tr_now_ms();
    tr_error err = {0};
    tr_time_format(expires_ms, text);
    if (expires_ms <= now) {
        tr_fail(&err, TR_E_CONFIG, file, "the certificate expired at %s", text);
        problem(r, &err);
    } else if (expires_ms - now < WARN_DAYS * DAY_MS) {
        snprintf(what, sizeof what, "the certificate expires soon, at %s", text);
        say("warning: ", file, what);
    }
}

static void check_tls(report *r, const tr_config *config) {
    tr_cli_tls tls;
    tr_error err = {0};
    int64_t expires_ms = 0;
    if (config->insecure_http)
        return;
    tr_status st = tr_cli_tls_files(config, &tls, &err);
    if (st == TR_OK && tls.self_signed && access(tls.cert, F_OK) != 0 && access(tls.key, F_OK) != 0)
        return; /* they are made at the first start */
    if (st == TR_OK)
        st = tr_tls_check(tls.cert, tls.key, &expires_ms, &err);
    if (st == TR_OK)
        check_expiry(r, tls.cert, expires_ms);
    else
        problem(r, &err);
}

/* ---- addresses ---- */

static tr_status try_bind(const struct addrinfo *address, const char *setting, tr_error *err) {
    const int on = 1;
    tr_status st = TR_OK;
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return tr_fail(err, TR_E_CONFIG, setting, "no socket: %s", strerror(errno));
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        bind(fd, address->ai_addr, address->ai_addrlen) != 0)
        st = tr_fail(err, TR_E_CONFIG, setting, "the address cannot be listened on: %s", strerror(errno));
    close(fd);
    return st;
}

static void check_address(report *r, const char *setting, const char *listen) {
    char host[128], service[16];
    int port;
    tr_error err = {0};
    const struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    tr_status st = tr_cli_listen_split(setting, listen, host, sizeof host, &port, &err);
    if (st != TR_OK) /* said already, by the check of the settings */
        return;
    snprintf(service, sizeof service, "%d", port);
    int rc = getaddrinfo(host[0] ? host : NULL, service, &hints, &found);
    if (rc != 0)
        st = tr_fail(&err, TR_E_CONFIG, setting, "the host is not known: %s", gai_strerror(rc));
    else
        st = try_bind(found, setting, &err);
    if (found)
        freeaddrinfo(found);
    if (st != TR_OK)
        problem(r, &err);
}

/* ---- all ---- */

tr_exit tr_cli_check(const tr_config *config, const tr_error *settings) {
    report r = {.first = TR_EXIT_OK};
    tr_error err = {0};
    if (!config) {
        problem(&r, settings);
        return r.first;
    }
    if (tr_cli_check_listen(config, &err) != TR_OK)
        problem(&r, &err);
    if (tr_deadline_zone(config->time_zone, &err) != TR_OK)
        problem(&r, &err);
    if (tr_outbox_check(config, &err) != TR_OK)
        problem(&r, &err);
    if (check_folder(config, &err) != TR_OK)
        problem(&r, &err);
    const bool backup_ok = check_backup(config, &err) == TR_OK;
    if (!backup_ok)
        problem(&r, &err);
    if (access(config->data, F_OK) == 0)
        check_vault(&r, config, backup_ok);
    check_tls(&r, config);
    if (!r.locked) {
        check_address(&r, "listen", config->listen);
        if (config->metrics_listen[0])
            check_address(&r, "metrics_listen", config->metrics_listen);
    }
    if (r.first == TR_EXIT_OK)
        say("", "", "ok");
    return r.first;
}
