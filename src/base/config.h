/* Settings: command-line flag, then TRESOR_* environment variable, then DIR/tresor.conf (`name = value`
 * lines, `#` comments), then the default. The table in config.c is the whole list; `--help` and the README's
 * table come from it.
 */
#ifndef TR_BASE_CONFIG_H
#define TR_BASE_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/secret.h"

/* Each setting NAME is flag --name-with-dashes, variable TRESOR_NAME and file key name_with_underscores. */
typedef struct tr_config {
    char data[512];           /* --data DIR; TRESOR_DATA; default "var" */
    bool init;                /* serve makes a vault where there is none; default no */
    char listen[128];         /* --listen HOST:PORT; default 127.0.0.1:8443 */
    char metrics_listen[128]; /* plain HTTP, loopback only; default "" (none): /metrics on its own listener */
    bool insecure_http; /* --insecure-http: serve plain HTTP; refused unless every listen address is loopback
                         */
    char tls_cert[512]; /* PEM chain; default DIR/tls.pem, self-signed at first start */
    char tls_key[512];  /* PEM key; default DIR/tls.key */
    tr_log_level log_level; /* default info */
    char keyring_file[512]; /* --keyring-file: a file with the keyring's passphrase (TRESOR_KEYRING_FILE). The
                               passphrase itself may be in TRESOR_KEYRING. Default: DIR/keyring.passphrase,
                               made by init */
    int64_t threads;        /* connections served at once; 4..4096, default 128 */
    int64_t max_body_bytes; /* default 1 MiB; 1 KiB..64 MiB */
    int64_t request_timeout_ms;  /* reading one request; default 30000 */
    int64_t idle_timeout_ms;     /* keep-alive; default 15000 */
    int64_t drain_timeout_ms;    /* SIGTERM; default 20000 */
    int64_t token_superseded_ms; /* window in which the predecessor is only told so; default 10000 */
    int64_t token_recovery_ms;   /* window for recovery of a lost response; default 30000 */
    int64_t session_idle_s;      /* default 14 days = 1209600 */
    int64_t session_absolute_s;  /* default 90 days = 7776000 */
    int64_t sessions_max;        /* live sessions of one principal; default 256 */
    int64_t idempotency_s;       /* how long an outcome is kept; default 86400 */
    int64_t sign_in_free_tries;  /* failures before delays begin; default 5 */
    int64_t sign_in_storm;       /* failures in ten minutes that open an incident; 0 = never; default 100 */
    int64_t rate_per_minute;     /* authenticated requests of a principal; 0 = no limit (default) */
    int64_t key_rotation;        /* days after which a master key is replaced; 0 = never; default 90 */
    char controller[400];        /* who is responsible, for packages; default "": what the activities say */
    char deadline_rule[8];       /* "fadp" (default) or "gdpr": when requests of data subjects are due */
    char time_zone[64];          /* the controller's, an IANA name; default Europe/Zurich */
    int64_t extension_days;      /* how far such a request may be put off at most (fadp); default 60 */
    char backup_dir[512];        /* where snapshots go (vault/snapshots.h); default "": no backup */
    char backup_s3_url[512];     /* or to this store (vault/s3.h), https://HOST[:PORT]/BUCKET[/PREFIX] */
    char backup_s3_region[64];   /* default us-east-1 */
    char backup_s3_access_key[160];      /* its id */
    char backup_s3_secret_key_file[512]; /* or TRESOR_BACKUP_S3_SECRET_KEY has the secret itself */
    char backup_s3_ca[512];              /* PEM; default "": the system's authorities */
    int64_t backup_s3_timeout_s;         /* a silent store is given up after so long; default 30 */
    char backup_spool[512];     /* what waits for the store (vault/snapshot_spool.h); default DIR/spool */
    int64_t backup_spool_bytes; /* how much at most; default 10 GiB */
    int64_t backup_every_s;     /* a snapshot is made so often; 0 = only when asked for; default 86400 */
    int64_t backup_full_every;  /* scheduled snapshots that one full one serves, itself included; default 7 */
    bool backup_log;            /* ship a log for restores to a moment (vault/snapshot_log.h); default no */
    int64_t backup_log_days;    /* how long it is kept; default 7 */
    int64_t backup_drill_every_s; /* a restore is tried so often (vault/drill.h); 0 = only when asked for;
                                     default 604800 */
    int64_t outbox_timeout_ms;    /* one try to send a notice (vault/outbox.h); default 10000 */
    int64_t outbox_tries;         /* then it is dead; default 9 */
    char outbox_allow[1024]; /* addresses, CIDR blocks, hosts that webhooks may go to besides public ones */
    char outbox_ca[512];     /* PEM: trusted for webhooks besides the system's; default "": none */
    char smtp_url[256];      /* smtp://HOST:PORT (STARTTLS) or smtps://HOST:PORT; default "": no mail */
    char smtp_from[256];     /* the sender's address */
    char smtp_user[256];     /* default "": no login */
    char smtp_password_file[512]; /* the password itself may be in TRESOR_SMTP_PASSWORD */
    char smtp_ca[512];            /* as outbox_ca, for the mail server */
    int64_t backup_keep_last, backup_keep_daily, backup_keep_weekly, backup_keep_monthly; /* 7, 7, 5, 12 */
    char confine[8];      /* "yes" (default), "strict" or "no": cli/confinement.h */
    char run_as[96];      /* whom root becomes to serve; default "": nobody else */
    char hsm_paths[1024]; /* what an HSM's library opens; default "" */
} tr_config;

typedef struct tr_config_setting {
    const char *name;    /* "token_superseded_ms" */
    const char *meaning; /* one line for --help */
    const char *fallback;
} tr_config_setting;

/* The table, for --help and the README test. */
const tr_config_setting *tr_config_settings(size_t *count);

/* Read flags (argv after the subcommand), environment and file. Unknown flags, unknown keys in the file,
 * values out of range: TR_E_CONFIG with the setting's name in err->where. `--data` is found first, then its
 * file is read. Flags named in `own_flags` (NULL-terminated, e.g. "--check") are the subcommand's own and are
 * left alone; `rest` (room for argc entries) receives them and positional arguments in order. */
tr_status tr_config_load(int argc, char **argv, const char *const *own_flags, tr_config *config, char **rest,
                         int *rest_count, tr_error *err);
/* Is there a folder or a store that snapshots go to? */
bool tr_config_has_backup(const tr_config *config);
/* The keyring's passphrase, or the PIN of the token that keeps its keys: TRESOR_KEYRING, else the file
 * keyring_file, else the systemd credential tresor-keyring ($CREDENTIALS_DIRECTORY/tresor-keyring), else
 * DIR/keyring.passphrase. */
tr_status tr_config_passphrase(const tr_config *config, tr_secret *passphrase, tr_error *err);
/* Is it given by one of these but the last? */
bool tr_config_passphrase_given(const tr_config *config);
/* The mail server's password: TRESOR_SMTP_PASSWORD, else the file smtp_password_file; TR_E_CONFIG without. */
tr_status tr_config_smtp_password(const tr_config *config, tr_secret *password, tr_error *err);
/* DIR/name into out. */
tr_status tr_config_path(const tr_config *config, const char *name, char *out, size_t size, tr_error *err);

#endif
