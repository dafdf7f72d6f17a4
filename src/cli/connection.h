/* What `tresor call` and `tresor token` begin with: the session file, and a client for the session's server.
 */
#ifndef TR_CLI_CONNECTION_H
#define TR_CLI_CONNECTION_H

#include <limits.h>

#include "cli/client.h"
#include "cli/session.h"

typedef struct tr_connection_options {
    const char *session, *url, *ca, *data, *timeout; /* as given; NULL: not */
} tr_connection_options;

/* The options above, for a table of tr_option. */
#define TR_CONNECTION_OPTIONS(o)                                                                             \
    {.name = "--session", .value = &(o)->session}, {.name = "--url", .value = &(o)->url},                    \
        {.name = "--ca", .value = &(o)->ca}, {.name = "--data", .value = &(o)->data}, {                      \
        .name = "--timeout", .value = &(o)->timeout                                                          \
    }

/* And for --help. */
#define TR_CONNECTION_HELP                                                                                   \
    "  --session FILE     the session file [TRESOR_SESSION, else ~/.tresor-session]\n"                       \
    "  --url URL          the server [the session's, else https://127.0.0.1:8443]\n"                         \
    "  --ca FILE          the certificate or authority to trust [the session's, else DIR/tls.pem where it\n" \
    "                     is, else the system's authorities]\n"                                              \
    "  --data DIR         the data folder whose tls.pem is meant [TRESOR_DATA, else var]\n"                  \
    "  --timeout SECONDS  give a silent connection up after so long [60]\n"

typedef struct tr_connection {
    tr_cli_session *session;
    tr_client *client;
    char url[1024];
    char authority[PATH_MAX];
    const char *ca; /* in authority, or NULL: the system's */
} tr_connection;

/* Waits for the session's lock. `fresh`: the session's own URL and CA are of an earlier sign-in and do not
 * count. */
tr_status tr_connection_open(const tr_connection_options *options, bool fresh, tr_connection *connection,
                             tr_error *err);
void tr_connection_close(tr_connection *connection);

#endif
