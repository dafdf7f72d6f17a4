#include "cli/confinement.h"

#include <libgen.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/confine.h"
#include "base/log.h"
#include "cli/cli.h"
#include "crypto/keyring.h"
#include "vault/vault.h"

#define PLACES_MAX 96
#define LOW_PORTS  1024

/* What glibc, OpenSSL and libcurl read while they run: libraries that are loaded late, certificates, names of
 * hosts, time zones, randomness. (A resolv.conf that is replaced, not written, is the old one until the next
 * start, but where systemd-resolved keeps it.) */
static const char *const system_places[] = {"/usr/lib",
                                            "/usr/lib64",
                                            "/lib",
                                            "/lib64",
                                            "/usr/local/lib",
                                            "/etc/ld.so.cache",
                                            "/etc/ld.so.preload",
                                            "/etc/ssl",
                                            "/etc/pki",
                                            "/etc/ca-certificates",
                                            "/etc/crypto-policies",
                                            "/usr/share/ca-certificates",
                                            "/usr/local/share/ca-certificates",
                                            "/usr/share/zoneinfo",
                                            "/etc/localtime",
                                            "/etc/resolv.conf",
                                            "/etc/hosts",
                                            "/etc/nsswitch.conf",
                                            "/etc/host.conf",
                                            "/etc/gai.conf",
                                            "/etc/services",
                                            "/etc/protocols",
                                            "/run/systemd/resolve",
                                            "/dev/urandom",
                                            "/dev/random",
                                            "/dev/null",
                                            "/proc/self",
                                            "/sys/devices/system/cpu"};

typedef struct places {
    tr_place items[PLACES_MAX];
    char *texts[PLACES_MAX]; /* ours to free */
    size_t count;
    bool failed;
} places;

static void add(places *p, const char *path, size_t len, tr_place_use use) {
    char *copy = len && p->count < PLACES_MAX ? strndup(path, len) : NULL;
    if (copy) {
        p->texts[p->count] = copy;
        p->items[p->count++] = (tr_place){copy, use};
    } else if (len) {
        p->failed = true;
    }
}

/* The folder a file is in, and the one that the file it links to is in: the next certificate is a new file
 * there. */
static void add_folder_of(places *p, const char *file) {
    char path[PATH_MAX], real[PATH_MAX];
    if (!*file || strlen(file) >= sizeof path)
        return;
    memcpy(path, file, strlen(file) + 1);
    const char *folder = dirname(path);
    add(p, folder, strlen(folder), TR_PLACE_READ);
    if (!realpath(file, real))
        return;
    folder = dirname(real);
    add(p, folder, strlen(folder), TR_PLACE_READ);
}

/* The folder, or (a disk that is not mounted yet) the nearest one above that is there. */
static void add_or_above(places *p, const char *folder) {
    char path[PATH_MAX];
    if (!*folder || strlen(folder) >= sizeof path)
        return;
    memcpy(path, folder, strlen(folder) + 1);
    char *there = path;
    while (access(there, F_OK) != 0 && strcmp(there, "/") != 0 && strcmp(there, ".") != 0)
        there = dirname(there);
    if (strcmp(there, "/") != 0)
        add(p, there, strlen(there), TR_PLACE_WRITE);
}

static void add_hsm(places *p, const tr_config *config, const tr_keyring_need *need) {
    add_folder_of(p, need->pkcs11_module);
    for (const char *at = config->hsm_paths; *at; at += strspn(at, ":")) {
        size_t len = strcspn(at, ":");
        add(p, at, len, TR_PLACE_DEVICE);
        at += len;
    }
}

static bool has_hsm(const tr_keyring_need *need) {
    return strcmp(need->provider, "pkcs11") == 0;
}

/* *why: the reason for no confinement of files. */
static tr_status confine_files(const tr_config *config, const tr_keyring_need *need, int *version,
                               const char **why, tr_error *err) {
    places p = {.count = 0};
    tr_status st = TR_OK;
    if (has_hsm(need) && !config->hsm_paths[0]) {
        *why = "hsm_paths does not say what the HSM's library opens";
        return TR_OK;
    }
    for (size_t i = 0; i < sizeof system_places / sizeof *system_places; i++)
        add(&p, system_places[i], strlen(system_places[i]), TR_PLACE_READ);
    add(&p, config->data, strlen(config->data), TR_PLACE_WRITE);
    add_or_above(&p, config->backup_dir);
    add_or_above(&p, config->backup_spool);
    add_folder_of(&p, config->backup_s3_ca);
    add_folder_of(&p, config->backup_s3_secret_key_file);
    add_folder_of(&p, config->tls_cert);
    add_folder_of(&p, config->tls_key);
    add_folder_of(&p, config->outbox_ca);
    add_folder_of(&p, config->smtp_ca);
    add_folder_of(&p, config->smtp_password_file);
    if (has_hsm(need))
        add_hsm(&p, config, need);
    if (p.failed)
        st = tr_fail(err, TR_E_CONFIG, "hsm_paths", "more files and folders than can be listed");
    if (st == TR_OK)
        st = tr_confine_files(p.items, p.count, version, err);
    if (*version == 0)
        *why = "the kernel has no Landlock";
    for (size_t i = 0; i < p.count; i++)
        free(p.texts[i]);
    return st;
}

/* ---- the user ---- */

static bool is_low(const char *setting, const char *listen) {
    char host[128];
    int port = 0;
    return listen[0] && tr_cli_listen_split(setting, listen, host, sizeof host, &port, NULL) == TR_OK &&
           port > 0 && port < LOW_PORTS;
}

static bool binds_low(const tr_config *config) {
    return is_low("listen", config->listen) || is_low("metrics_listen", config->metrics_listen);
}

tr_status tr_cli_become(const tr_config *config, tr_error *err) {
    return config->run_as[0] ? tr_become(config->run_as, binds_low(config), err) : TR_OK;
}

tr_status tr_cli_become_finish(const tr_config *config, tr_error *err) {
    return config->run_as[0] && binds_low(config) ? tr_become_finish(err) : TR_OK;
}

/* ---- all ---- */

static tr_status is_strict(const char *why, bool calls, tr_error *err) {
    if (*why)
        return tr_fail(err, TR_E_CONFIG, "confine", "strict, but the files are not confined: %s", why);
    if (!calls)
        return tr_fail(err, TR_E_CONFIG, "confine", "strict, but system calls are not filtered");
    if (geteuid() == 0)
        return tr_fail(err, TR_E_CONFIG, "confine", "strict, but it runs as root: see run_as");
    return TR_OK;
}

tr_status tr_cli_confine(const tr_config *config, tr_error *err) {
    tr_keyring_need need;
    int version = 0;
    bool calls = false;
    const char *why = "";
    tr_status st = TR_OK;
    if (strcmp(config->confine, "no") == 0) {
        why = "confine is no";
    } else {
        TR_TRY(tr_vault_ring_need(config, &need, err));
        TR_TRY(confine_files(config, &need, &version, &why, err));
        TR_TRY(tr_confine_calls(has_hsm(&need), &calls, err));
        if (strcmp(config->confine, "strict") == 0)
            TR_TRY(is_strict(why, calls, err));
    }
    tr_log(*why || !calls ? TR_LOG_WARN : TR_LOG_INFO, "confined", TR_F_NUM("landlock", version),
           TR_F_BOOL("seccomp", calls), TR_F_BOOL("root", geteuid() == 0),
           TR_F_TEXT("why", *why                   ? why
                            : tr_confine_relaxed() ? "relaxed for a sanitizer"
                                                   : ""));
out:
    return st;
}
