#include "base/config.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CONFIG_FILE_MAX 65536
#define NAME_MAX_LEN    48

enum kind { TEXT, BOOL, NUMBER, LEVEL };

/* The whole list of settings: what tr_config holds, what --help shows.
 * X(field, kind, fallback, least, most, meaning): least and most are a number's. */
#define SETTINGS_TABLE(X)                                                                                    \
    X(data, TEXT, "var", 0, 0, "the data folder")                                                            \
    X(init, BOOL, "no", 0, 0, "make a vault at the first start, in a data folder that holds none")           \
    X(listen, TEXT, "127.0.0.1:8443", 0, 0, "HOST:PORT to serve on")                                         \
    X(metrics_listen, TEXT, "", 0, 0, "HOST:PORT on loopback for /metrics, plain HTTP; empty: none")         \
    X(insecure_http, BOOL, "no", 0, 0, "serve plain HTTP; on loopback addresses only")                       \
    X(tls_cert, TEXT, "", 0, 0,                                                                              \
      "PEM certificate chain; empty: tls.pem in the data folder, self-signed at first start")                \
    X(tls_key, TEXT, "", 0, 0, "PEM private key; empty: tls.key in the data folder")                         \
    X(log_level, LEVEL, "info", 0, 0, "debug, info, warn or error")                                          \
    X(keyring_file, TEXT, "", 0, 0,                                                                          \
      "a file with the keyring's passphrase, or the HSM's PIN; empty: the systemd credential "               \
      "tresor-keyring, else "                                                                                \
      "keyring.passphrase in the data folder")                                                               \
    X(threads, NUMBER, "128", 4, 1024,                                                                       \
      "connections served at once, from one address at most three quarters of them; "                        \
      "32 times as many may wait")                                                                           \
    X(max_body_bytes, NUMBER, "1048576", 1024, 64 * 1024 * 1024,                                             \
      "largest JSON body, and largest line of an import")                                                    \
    X(request_timeout_ms, NUMBER, "30000", 100, 3600000, "time to read one request")                         \
    X(idle_timeout_ms, NUMBER, "15000", 100, 3600000, "time an idle connection is kept")                     \
    X(drain_timeout_ms, NUMBER, "20000", 0, 3600000, "time for running requests after SIGTERM")              \
    X(token_superseded_ms, NUMBER, "10000", 0, 600000,                                                       \
      "how long the token used last is only refused, not taken for theft")                                   \
    X(token_recovery_ms, NUMBER, "30000", 0, 600000, "how long a lost response can be asked for again")      \
    X(session_idle_s, NUMBER, "1209600", 1, 31536000, "a session ends when unused for so long")              \
    X(session_absolute_s, NUMBER, "7776000", 1, 315360000, "a session ends so long after sign-in")           \
    X(sessions_max, NUMBER, "256", 1, 100000, "live sessions of one principal, lanes included")              \
    X(idempotency_s, NUMBER, "86400", 60, 2592000, "how long the outcome of an Idempotency-Key is kept")     \
    X(sign_in_free_tries, NUMBER, "5", 1, 1000,                                                              \
      "failed sign-ins of a uid from an address before delays begin")                                        \
    X(sign_in_storm, NUMBER, "100", 0, 10000,                                                                \
      "failed sign-ins from an address, or of a uid, in ten minutes that open an incident; 0: never")        \
    X(rate_per_minute, NUMBER, "0", 0, 10000000, "requests of a principal in a minute; 0: no limit")         \
    X(backup_dir, TEXT, "", 0, 0, "the folder that snapshots go to; empty: there is no backup")              \
    X(backup_s3_url, TEXT, "", 0, 0,                                                                         \
      "or the S3-compatible store, https://HOST[:PORT]/BUCKET[/PREFIX]; empty: none")                        \
    X(backup_s3_region, TEXT, "us-east-1", 0, 0, "its region")                                               \
    X(backup_s3_access_key, TEXT, "", 0, 0, "the id of the access key for it")                               \
    X(backup_s3_secret_key_file, TEXT, "", 0, 0,                                                             \
      "a file with that key's secret; TRESOR_BACKUP_S3_SECRET_KEY may have the secret itself")               \
    X(backup_s3_ca, TEXT, "", 0, 0, "PEM certificate to trust for it; empty: the system's authorities")      \
    X(backup_s3_timeout_s, NUMBER, "30", 1, 3600, "when it is silent for so long it is given up")            \
    X(backup_spool, TEXT, "", 0, 0,                                                                          \
      "the folder in which snapshots wait for the store; empty: spool in the data folder")                   \
    X(backup_spool_bytes, NUMBER, "10737418240", 1048576, INT64_C(1) << 50, "how much may wait there")       \
    X(backup_every_s, NUMBER, "86400", 0, 31536000, "a snapshot is made so often; 0: when asked for")        \
    X(backup_keep_last, NUMBER, "7", 1, 100000, "the newest snapshots that are kept")                        \
    X(backup_keep_daily, NUMBER, "7", 0, 100000, "days of which the newest snapshot is kept")                \
    X(backup_keep_weekly, NUMBER, "5", 0, 100000, "weeks of which the newest snapshot is kept")              \
    X(backup_keep_monthly, NUMBER, "12", 0, 100000, "months of which the newest snapshot is kept")           \
    X(backup_full_every, NUMBER, "7", 1, 1000,                                                               \
      "each so many scheduled snapshots one is full, the others hold what changed since")                    \
    X(backup_log, BOOL, "no", 0, 0,                                                                          \
      "ship what changed to the backup every second, for restores to a moment")                              \
    X(backup_log_days, NUMBER, "7", 1, 3660, "how long that log is kept")                                    \
    X(backup_drill_every_s, NUMBER, "604800", 0, 31536000,                                                   \
      "the newest snapshot is restored for trial so often; 0: when asked for")                               \
    X(key_rotation, NUMBER, "90", 0, 36500, "days after which the master key is rotated; 0: never")          \
    X(controller, TEXT, "", 0, 0,                                                                            \
      "name and address of the controller, for what data subjects get; empty: as the activities say")        \
    X(deadline_rule, TEXT, "fadp", 0, 0,                                                                     \
      "when data subjects' requests are due: fadp (30 days) or gdpr (one month)")                            \
    X(time_zone, TEXT, "Europe/Zurich", 0, 0, "the controller's time zone, in which their days are counted") \
    X(extension_days, NUMBER, "60", 1, 365, "how many days such a request may be put off at most (fadp)")    \
    X(confine, TEXT, "yes", 0, 0,                                                                            \
      "confine the server to its files and system calls: yes (as far as the kernel can), strict, no")        \
    X(run_as, TEXT, "", 0, 0,                                                                                \
      "USER or USER:GROUP that a server started by root becomes; empty: it stays root")                      \
    X(hsm_paths, TEXT, "", 0, 0,                                                                             \
      "files and folders the HSM's library reads and writes, separated by a colon")                          \
    X(outbox_timeout_ms, NUMBER, "10000", 100, 120000, "time for one try to send a notice")                  \
    X(outbox_tries, NUMBER, "9", 1, 9, "so many tries, and a notice is dead")                                \
    X(outbox_allow, TEXT, "", 0, 0,                                                                          \
      "addresses, CIDR blocks and hosts, with commas between, that webhooks may go to besides public ones")  \
    X(outbox_ca, TEXT, "", 0, 0, "PEM file of certificates that webhooks trust besides the system's")        \
    X(smtp_url, TEXT, "", 0, 0,                                                                              \
      "smtp://HOST:PORT (with STARTTLS) or smtps://HOST:PORT of the mail server; empty: no mail")            \
    X(smtp_from, TEXT, "", 0, 0, "the address that mail comes from")                                         \
    X(smtp_user, TEXT, "", 0, 0, "the mail server's user; empty: no login")                                  \
    X(smtp_password_file, TEXT, "", 0, 0, "a file with its password")                                        \
    X(smtp_ca, TEXT, "", 0, 0, "PEM file of certificates that mail trusts besides the system's")

enum {
#define INDEX(field, kind, fallback, least, most, meaning) INDEX_##field,
    SETTINGS_TABLE(INDEX)
#undef INDEX
};

/* Two tables in the same order: callers see only the first. */
static const tr_config_setting shown[] = {
#define SHOWN(field, kind, fallback, least, most, meaning) {#field, meaning, fallback},
    SETTINGS_TABLE(SHOWN)
#undef SHOWN
};

static const struct setting {
    const tr_config_setting *shown;
    enum kind kind;
    size_t offset, room;
    int64_t least, most;
} settings[] = {
#define RULE(field, kind, fallback, least, most, meaning)                                                    \
    {&shown[INDEX_##field], kind, offsetof(tr_config, field), sizeof(((tr_config *)0)->field), least, most},
    SETTINGS_TABLE(RULE)
#undef RULE
};

#define SETTINGS (sizeof settings / sizeof settings[0])

const tr_config_setting *tr_config_settings(size_t *count) {
    *count = SETTINGS;
    return shown;
}

static const struct setting *find(const char *name) {
    for (size_t i = 0; i < SETTINGS; i++) {
        if (strcmp(settings[i].shown->name, name) == 0)
            return &settings[i];
    }
    return NULL;
}

static bool parse_bool(const char *text, bool *value) {
    static const char *const words[] = {"no", "yes", "false", "true", "0", "1", "off", "on"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strcmp(text, words[i]) == 0) {
            *value = i % 2;
            return true;
        }
    }
    return false;
}

static tr_status set_number(const struct setting *s, int64_t *field, const char *text, tr_error *err) {
    char *end = NULL;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    bool bare = (*text >= '0' && *text <= '9') || *text == '-'; /* strtoll would take spaces and a plus */
    if (!bare || errno || end == text || *end || value < s->least || value > s->most)
        return tr_fail(err, TR_E_CONFIG, s->shown->name, "must be a number from %lld to %lld",
                       (long long)s->least, (long long)s->most);
    *field = value;
    return TR_OK;
}

static tr_status set(tr_config *config, const struct setting *s, const char *text, tr_error *err) {
    char *field = (char *)config + s->offset;
    switch (s->kind) {
    case TEXT:
        if (strlen(text) >= s->room)
            return tr_fail(err, TR_E_CONFIG, s->shown->name, "is longer than %zu bytes", s->room - 1);
        memcpy(field, text, strlen(text) + 1);
        return TR_OK;
    case BOOL:
        if (!parse_bool(text, (bool *)field))
            return tr_fail(err, TR_E_CONFIG, s->shown->name, "must be yes or no");
        return TR_OK;
    case LEVEL:
        if (!tr_log_level_parse(text, (tr_log_level *)(void *)field))
            return tr_fail(err, TR_E_CONFIG, s->shown->name, "must be debug, info, warn or error");
        return TR_OK;
    case NUMBER: return set_number(s, (int64_t *)(void *)field, text, err);
    }
    return tr_fail(err, TR_E_INTERNAL, s->shown->name, "a setting of no kind");
}

/* ---- flags ---- */

/* "--token-recovery-ms" names token_recovery_ms. */
static const struct setting *find_flag(const char *flag, size_t len) {
    char name[NAME_MAX_LEN];
    if (len < 3 || len >= sizeof name || strncmp(flag, "--", 2) != 0)
        return NULL;
    for (size_t i = 2; i < len; i++) {
        if (flag[i] == '_')
            return NULL;
        name[i - 2] = (char)(flag[i] == '-' ? '_' : flag[i]);
    }
    name[len - 2] = '\0';
    return find(name);
}

static bool is_own(const char *const *own, const char *arg, size_t len) {
    for (; own && *own; own++) {
        if (strlen(*own) == len && strncmp(*own, arg, len) == 0)
            return true;
    }
    return false;
}

/* The value of the flag at argv[*i]: after '=', in the next argument, or (a switch) "yes". */
static const char *flag_value(const struct setting *s, int argc, char **argv, int *i) {
    const char *equals = strchr(argv[*i], '=');
    if (equals)
        return equals + 1;
    if (s->kind == BOOL)
        return "yes";
    return *i + 1 < argc ? argv[++*i] : NULL;
}

/* Names the option, without a value after "=": that may be a secret. */
static tr_status unknown_option(const char *arg, size_t len, tr_error *err) {
    char name[NAME_MAX_LEN];
    (void)snprintf(name, sizeof name, "%.*s", (int)(len < sizeof name ? len : sizeof name - 1), arg);
    return tr_fail(err, TR_E_CONFIG, name, "is not a known option");
}

/* Apply the flags; with `only`, that setting's alone. */
static tr_status read_flags(tr_config *config, int argc, char **argv, const char *const *own,
                            const struct setting *only, char **rest, int *rest_count, tr_error *err) {
    bool flags_end = false;
    *rest_count = 0;
    for (int i = 0; i < argc; i++) {
        size_t len = strcspn(argv[i], "=");
        if (flags_end || argv[i][0] != '-' || strcmp(argv[i], "-") == 0 || is_own(own, argv[i], len)) {
            rest[(*rest_count)++] = argv[i];
            continue;
        }
        if (strcmp(argv[i], "--") == 0) {
            flags_end = true;
            continue;
        }
        const struct setting *s = find_flag(argv[i], len);
        if (!s)
            return unknown_option(argv[i], len, err);
        const char *value = flag_value(s, argc, argv, &i);
        if (!value)
            return tr_fail(err, TR_E_CONFIG, s->shown->name, "the option needs a value");
        tr_status st = !only || only == s ? set(config, s, value, err) : TR_OK;
        if (st != TR_OK)
            return st;
    }
    return TR_OK;
}

/* ---- environment ---- */

static const char *environment(const struct setting *s) {
    char name[NAME_MAX_LEN + 8] = "TRESOR_";
    size_t n = strlen(name);
    for (const char *c = s->shown->name; *c; c++)
        name[n++] = (char)(*c >= 'a' && *c <= 'z' ? *c - 'a' + 'A' : *c);
    name[n] = '\0';
    return getenv(name);
}

static tr_status read_environment(tr_config *config, tr_error *err) {
    tr_status st = TR_OK;
    for (size_t i = 0; st == TR_OK && i < SETTINGS; i++) {
        const char *value = environment(&settings[i]);
        if (value)
            st = set(config, &settings[i], value, err);
    }
    return st;
}

/* ---- file ---- */

static char *trim(char *text) {
    text += strspn(text, " \t\r");
    size_t len = strlen(text);
    while (len && strchr(" \t\r", text[len - 1]))
        text[--len] = '\0';
    return text;
}

static tr_status read_line(tr_config *config, char *line, int number, tr_error *err) {
    line = trim(line);
    if (*line == '\0' || *line == '#')
        return TR_OK;
    char *equals = strchr(line, '=');
    if (!equals)
        return tr_fail(err, TR_E_CONFIG, "tresor.conf", "line %d is not \"name = value\"", number);
    *equals = '\0';
    char *name = trim(line);
    const struct setting *s = find(name);
    if (!s || s == find("data"))
        return tr_fail(err, TR_E_CONFIG, "tresor.conf", "line %d names no setting", number);
    return set(config, s, trim(equals + 1), err);
}

static tr_status read_text(tr_config *config, char *text, tr_error *err) {
    tr_status st = TR_OK;
    int number = 1;
    for (char *line = text, *next; st == TR_OK && line; line = next, number++) {
        next = strchr(line, '\n');
        if (next)
            *next++ = '\0';
        st = read_line(config, line, number, err);
    }
    return st;
}

static tr_status read_file(tr_config *config, tr_error *err) {
    char path[600];
    tr_status st = tr_config_path(config, "tresor.conf", path, sizeof path, err);
    if (st != TR_OK)
        return st;
    FILE *file = fopen(path, "re");
    if (!file) {
        if (errno == ENOENT || errno == ENOTDIR)
            return TR_OK;
        return tr_fail(err, TR_E_CONFIG, "tresor.conf", "cannot be read: %s", strerror(errno));
    }
    char *text = malloc(CONFIG_FILE_MAX + 1);
    size_t n = text ? fread(text, 1, CONFIG_FILE_MAX + 1, file) : 0;
    if (!text)
        st = tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    else if (ferror(file) || n > CONFIG_FILE_MAX || memchr(text, '\0', n))
        st = tr_fail(err, TR_E_CONFIG, "tresor.conf", "cannot be read, is no text, or has more than 64 KiB");
    if (st == TR_OK) {
        text[n] = '\0';
        st = read_text(config, text, err);
    }
    (void)fclose(file);
    free(text);
    return st;
}

/* ---- all ---- */

tr_status tr_config_load(int argc, char **argv, const char *const *own_flags, tr_config *config, char **rest,
                         int *rest_count, tr_error *err) {
    const struct setting *data = find("data");
    const char *value = environment(data);
    tr_status st = TR_OK;
    memset(config, 0, sizeof *config);
    for (size_t i = 0; st == TR_OK && i < SETTINGS; i++)
        st = set(config, &settings[i], settings[i].shown->fallback, err);
    if (st == TR_OK && value)
        st = set(config, data, value, err);
    if (st == TR_OK)
        st = read_flags(config, argc, argv, own_flags, data, rest, rest_count, err);
    if (st == TR_OK)
        st = read_file(config, err);
    if (st == TR_OK)
        st = read_environment(config, err);
    if (st == TR_OK)
        st = read_flags(config, argc, argv, own_flags, NULL, rest, rest_count, err);
    if (st == TR_OK && config->data[0] == '\0')
        st = tr_fail(err, TR_E_CONFIG, "data", "names no folder");
    if (st == TR_OK && strcmp(config->deadline_rule, "fadp") != 0 &&
        strcmp(config->deadline_rule, "gdpr") != 0)
        st = tr_fail(err, TR_E_CONFIG, "deadline_rule", "must be fadp or gdpr");
    if (st == TR_OK && strcmp(config->confine, "yes") != 0 && strcmp(config->confine, "strict") != 0 &&
        strcmp(config->confine, "no") != 0)
        st = tr_fail(err, TR_E_CONFIG, "confine", "must be yes, strict or no");
    if (st == TR_OK && config->backup_dir[0] && config->backup_s3_url[0])
        st = tr_fail(err, TR_E_CONFIG, "backup_s3_url",
                     "and backup_dir are both set: snapshots go to one of them");
    if (st == TR_OK && config->backup_spool[0] == '\0')
        st = tr_config_path(config, "spool", config->backup_spool, sizeof config->backup_spool, err);
    if (st == TR_OK && (config->tls_cert[0] == '\0') != (config->tls_key[0] == '\0'))
        st = tr_fail(err, TR_E_CONFIG, "tls_key", "tls_cert and tls_key must be given together");
    if (st == TR_OK && config->tls_cert[0] == '\0')
        st = tr_config_path(config, "tls.pem", config->tls_cert, sizeof config->tls_cert, err);
    if (st == TR_OK && config->tls_key[0] == '\0')
        st = tr_config_path(config, "tls.key", config->tls_key, sizeof config->tls_key, err);
    return st;
}

bool tr_config_has_backup(const tr_config *config) {
    return config->backup_dir[0] != '\0' || config->backup_s3_url[0] != '\0';
}

/* systemd.exec(5): LoadCredential= and SetCredentialEncrypted= put a file into a folder of the service's own.
 */
static bool credential_path(char *path, size_t size) {
    const char *folder = getenv("CREDENTIALS_DIRECTORY");
    if (!folder || !*folder || (size_t)snprintf(path, size, "%s/tresor-keyring", folder) >= size)
        return false;
    return access(path, F_OK) == 0;
}

bool tr_config_passphrase_given(const tr_config *config) {
    char path[PATH_MAX];
    const char *value = getenv("TRESOR_KEYRING");
    return (value && *value) || config->keyring_file[0] || credential_path(path, sizeof path);
}

tr_status tr_config_passphrase(const tr_config *config, tr_secret *passphrase, tr_error *err) {
    char path[PATH_MAX];
    const char *value = getenv("TRESOR_KEYRING");
    if (value && *value)
        return tr_secret_copy(passphrase, value, strlen(value), err);
    if (config->keyring_file[0])
        return tr_secret_from_file(passphrase, config->keyring_file, err);
    if (credential_path(path, sizeof path))
        return tr_secret_from_file(passphrase, path, err);
    tr_status st = tr_config_path(config, "keyring.passphrase", path, sizeof path, err);
    return st == TR_OK ? tr_secret_from_file(passphrase, path, err) : st;
}

tr_status tr_config_smtp_password(const tr_config *config, tr_secret *password, tr_error *err) {
    const char *value = getenv("TRESOR_SMTP_PASSWORD");
    if (value && *value)
        return tr_secret_copy(password, value, strlen(value), err);
    return config->smtp_password_file[0] ? tr_secret_from_file(password, config->smtp_password_file, err)
                                         : tr_fail(err, TR_E_CONFIG, "smtp_password_file",
                                                   "is needed with smtp_user (or TRESOR_SMTP_PASSWORD)");
}

tr_status tr_config_path(const tr_config *config, const char *name, char *out, size_t size, tr_error *err) {
    int n = snprintf(out, size, "%s/%s", config->data, name);
    return n > 0 && (size_t)n < size
               ? TR_OK
               : tr_fail(err, TR_E_CONFIG, "data", "the data folder's name is too long");
}
