/* An HTTPS client over libcurl for one server: TLS 1.2 or newer, verified; no redirects; no proxy to this
 * machine. */
#ifndef TR_CLI_CLIENT_H
#define TR_CLI_CLIENT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "cli/files.h"

typedef struct tr_client tr_client;

typedef struct tr_client_options {
    const char *url;      /* https://HOST[:PORT]; http:// on a loopback address only */
    const char *ca;       /* the one PEM file to trust; NULL: the system's authorities */
    bool any_name;        /* take the certificate whatever name it has */
    long connect_seconds; /* until the connection stands; 0: 10 */
    long quiet_seconds;   /* without a byte either way; 0: 60 */
} tr_client_options;

/* libcurl's own start is in here too: one client a process. TR_E_CONFIG: the URL or the file will not do. */
tr_status tr_client_new(const tr_client_options *options, tr_client **out, tr_error *err);
void tr_client_free(tr_client *client);

typedef struct tr_client_request {
    const char *method;
    const char *path;           /* with the query; begins with '/' */
    const char *const *headers; /* "Name: value" */
    size_t header_count;
    const tr_cli_body *body; /* NULL: none */
} tr_client_request;

typedef struct tr_client_response {
    long status; /* 0: none came */
    tr_buf head; /* the status line and the headers, each ended by '\n' */
} tr_client_response;

/* Called once the head is complete, and then with the body's pieces. Other than TR_OK ends the request with
 * that. */
typedef struct tr_client_handler {
    tr_status (*head)(void *context, const tr_client_response *response, tr_error *err);
    tr_status (*body)(void *context, const tr_client_response *response, const char *bytes, size_t n,
                      tr_error *err);
    void *context;
} tr_client_handler;

/* TR_OK: a whole response came. TR_E_CONFIG: the server's certificate is not trusted. TR_E_IO: the connection
 * failed; *sent says whether the request may have reached the server. A handler's own failure: its status. */
tr_status tr_client_send(tr_client *client, const tr_client_request *request, tr_client_response *response,
                         const tr_client_handler *handler, bool *sent, tr_error *err);
/* Copy a header's value into out (NUL-terminated). False when there is none, or it is longer. */
bool tr_client_header(const tr_client_response *response, const char *name, char *out, size_t size);
void tr_client_response_clear(tr_client_response *response);

/* The authority to trust for a server of this machine: `given`, else tls.pem in the data folder when it is
 * there, else NULL for the system's. The answer is in room[size], an absolute name. */
tr_status tr_client_authority(const char *given, const char *data, char *room, size_t size, const char **ca,
                              tr_error *err);

#endif
