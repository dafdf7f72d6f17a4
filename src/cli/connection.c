#include "cli/connection.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/options.h"

#define DEFAULT_URL "https://127.0.0.1:8443"

/* What was given, else what the session has, else the default. */
static tr_status choose(const tr_connection_options *options, bool fresh, tr_connection *c, tr_error *err) {
    const char *own_url = fresh ? NULL : tr_cli_session_get(c->session, TR_SESSION_URL);
    const char *own_ca = own_url ? tr_cli_session_get(c->session, TR_SESSION_CA) : NULL;
    const char *url = options->url ? options->url : own_url ? own_url : DEFAULT_URL;
    const char *data = getenv("TRESOR_DATA");
    size_t len = strlen(url);
    if (len > 0 && url[len - 1] == '/')
        len--;
    if (len >= sizeof c->url)
        return tr_fail(err, TR_E_CONFIG, "url", "is too long");
    memcpy(c->url, url, len);
    c->url[len] = '\0';
    if (options->data)
        data = options->data;
    else if (!data || !*data)
        data = "var";
    /* A session without "ca" trusts the system's authorities, and no file that lies about. */
    if (own_url && !own_ca && !options->url && !options->ca && !options->data) {
        c->ca = NULL;
        return TR_OK;
    }
    const char *given = options->ca ? options->ca : options->data ? NULL : own_ca;
    return tr_client_authority(given, data, c->authority, sizeof c->authority, &c->ca, err);
}

tr_status tr_connection_open(const tr_connection_options *options, bool fresh, tr_connection *c,
                             tr_error *err) {
    char path[PATH_MAX];
    long seconds = 0;
    tr_status st = TR_OK;
    memset(c, 0, sizeof *c);
    if (options->timeout)
        TR_TRY(tr_option_number("--timeout", options->timeout, 1, 86400, &seconds, err));
    TR_TRY(tr_cli_session_path(options->session, path, sizeof path, err));
    TR_TRY(tr_cli_session_open(path, &c->session, err));
    TR_TRY(choose(options, fresh, c, err));
    tr_client_options client = {.url = c->url, .ca = c->ca, .quiet_seconds = seconds};
    TR_TRY(tr_client_new(&client, &c->client, err));
out:
    if (st != TR_OK)
        tr_connection_close(c);
    return st;
}

void tr_connection_close(tr_connection *c) {
    tr_client_free(c->client);
    tr_cli_session_close(c->session);
    c->client = NULL;
    c->session = NULL;
}
