/* The command line: one file a subcommand, and what they share. */
#ifndef TR_CLI_CLI_H
#define TR_CLI_CLI_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/config.h"
#include "base/secret.h"
#include "base/status.h"

#ifndef TRESOR_VERSION
#define TRESOR_VERSION "0.1.0"
#endif

/* X(name, code, meaning): every --help ends with this table. */
#define TR_EXIT_TABLE(X)                                                                                     \
    X(TR_EXIT_OK, 0, "ok")                                                                                   \
    X(TR_EXIT_FAILURE, 1, "failure")                                                                         \
    X(TR_EXIT_USAGE, 2, "wrong usage or configuration")                                                      \
    X(TR_EXIT_WRONG_KEY, 3, "the passphrase, PIN, share or key does not open it")                            \
    X(TR_EXIT_CORRUPT, 4, "stored data is damaged")                                                          \
    X(TR_EXIT_LOCKED, 5, "another process holds the data folder")                                            \
    X(TR_EXIT_AUDIT, 6, "the audit log's chain is broken")                                                   \
    X(TR_EXIT_STORAGE, 7, "storage is full or failed")                                                       \
    X(TR_EXIT_HSM, 8, "the HSM that keeps the keys is missing or fails")                                     \
    X(TR_EXIT_SHARES, 9, "too few shares of the keyring")                                                    \
    X(TR_EXIT_UNPROVEN, 10, "a receipt or package is not what the vault signed")

typedef enum tr_exit {
#define TR_EXIT_ENUM(name, code, meaning) name = code,
    TR_EXIT_TABLE(TR_EXIT_ENUM)
#undef TR_EXIT_ENUM
} tr_exit;

/* A subcommand; argv begins after its name. `help` is what --help prints before the settings and the exit
 * codes. */
typedef struct tr_cli_command {
    const char *name;
    const char *meaning;
    const char *help;
    bool settings; /* takes the settings of base/config.h: --help lists them */
    int (*run)(int argc, char **argv);
} tr_cli_command;

extern const tr_cli_command tr_cli_init, tr_cli_serve, tr_cli_health, tr_cli_call, tr_cli_token, tr_cli_audit,
    tr_cli_keys, tr_cli_request, tr_cli_backup, tr_cli_restore, tr_cli_version;

/* The exit code for a status. */
tr_exit tr_cli_exit(tr_status status);
/* Print "tresor: WHERE: WHAT" on stderr and give the exit code of err->status. */
tr_exit tr_cli_report(const tr_error *err);
/* Print "tresor: ..." on stderr and give TR_EXIT_USAGE. */
tr_exit tr_cli_usage(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Write to stdout, all of it. */
tr_status tr_cli_write(const char *text, size_t len, tr_error *err);
/* The text as a line, unless it failed before (`st`, which is then returned). Clears *text in any case. */
tr_status tr_cli_write_line(tr_buf *text, tr_status st, tr_error *err);
/* TR_EXIT_OK, or TR_EXIT_STORAGE with a message when not all of it could be written to stdout. */
tr_exit tr_cli_print(const char *text, size_t len);
/* Print a command's help on stdout. */
tr_exit tr_cli_help(const tr_cli_command *command);

/* Split HOST:PORT. "[::1]:8443" gives "::1". TR_E_CONFIG names `setting`. */
tr_status tr_cli_listen_split(const char *setting, const char *listen, char *host, size_t size, int *port,
                              tr_error *err);
/* Is it a name or address of this machine's loopback interface? */
bool tr_cli_is_loopback(const char *host);
/* Do the listen settings allow what is asked for: plain HTTP on loopback only? */
tr_status tr_cli_check_listen(const tr_config *config, tr_error *err);

/* The certificate and key to serve with. self_signed: none was given, so both may be made at the first start.
 */
typedef struct tr_cli_tls {
    const char *cert; /* in the config */
    const char *key;
    bool self_signed;
} tr_cli_tls;
tr_status tr_cli_tls_files(const tr_config *config, tr_cli_tls *tls, tr_error *err);

/* The keyring's passphrase (tr_config_passphrase), which is then no longer in this process's environment. */
tr_status tr_cli_passphrase(const tr_config *config, tr_secret *passphrase, tr_error *err);

/* `tresor serve --check`: a line a problem on stdout; the exit code of the first. `config` NULL: the settings
 * could not be read, as *err says. */
tr_exit tr_cli_check(const tr_config *config, const tr_error *err);

#endif
