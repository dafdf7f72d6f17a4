#include "cli/client.h"

#include <curl/curl.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/secret.h"
#include "cli/cli.h"

#define HEAD_MAX 65536

struct tr_client {
    CURL *easy;
    tr_buf base; /* the URL without its last '/' */
    char message[CURL_ERROR_SIZE];
};

/* One request on its way: what libcurl's callbacks work on. */
struct transfer {
    const tr_client_handler *handler;
    const tr_cli_body *body;
    tr_client_response *response;
    int64_t offset;   /* of the body, sent */
    tr_status status; /* of the handler */
    tr_error *err;
};

/* ---- callbacks ---- */

static size_t on_read(char *room, size_t size, size_t count, void *context) {
    struct transfer *t = context;
    long n = tr_cli_body_read(t->body, t->offset, room, size * count);
    if (n < 0)
        return CURL_READFUNC_ABORT;
    t->offset += n;
    return (size_t)n;
}

static int on_seek(void *context, curl_off_t offset, int origin) {
    struct transfer *t = context;
    if (origin != SEEK_SET || offset < 0)
        return CURL_SEEKFUNC_CANTSEEK;
    t->offset = offset;
    return CURL_SEEKFUNC_OK;
}

/* "HTTP/1.1 200 OK" begins a head anew: interim responses (1xx) come before the final one. */
static void begin_head(tr_client_response *response, const char *line, size_t n) {
    const char *space = memchr(line, ' ', n);
    tr_buf_reset(&response->head);
    response->status = 0;
    for (int i = 1; space && i <= 3 && space + i < line + n && space[i] >= '0' && space[i] <= '9'; i++)
        response->status = response->status * 10 + (space[i] - '0');
}

static size_t on_header(char *line, size_t size, size_t count, void *context) {
    struct transfer *t = context;
    tr_client_response *response = t->response;
    size_t n = size * count, trimmed = n;
    while (trimmed > 0 && (line[trimmed - 1] == '\n' || line[trimmed - 1] == '\r'))
        trimmed--;
    if (trimmed == 0) {
        if (response->status >= 200 && t->handler->head)
            t->status = t->handler->head(t->handler->context, response, t->err);
        return t->status == TR_OK ? n : 0;
    }
    if (trimmed > 5 && strncmp(line, "HTTP/", 5) == 0)
        begin_head(response, line, trimmed);
    tr_buf_append(&response->head, line, trimmed);
    tr_buf_putc(&response->head, '\n');
    if (response->head.failed || response->head.len > HEAD_MAX)
        t->status = tr_fail(t->err, TR_E_HEADERS, NULL, "the response's head is too large");
    return t->status == TR_OK ? n : 0;
}

static size_t on_body(char *bytes, size_t size, size_t count, void *context) {
    struct transfer *t = context;
    if (t->handler->body)
        t->status = t->handler->body(t->handler->context, t->response, bytes, size * count, t->err);
    return t->status == TR_OK ? size * count : 0;
}

/* Goes on only while all went well: the caller looks at rc once. */
#define SET(option, value)                                                                                   \
    do {                                                                                                     \
        if (rc == CURLE_OK)                                                                                  \
            rc = curl_easy_setopt(easy, option, value);                                                      \
    } while (0)

/* ---- the client ---- */

/* Plain HTTP would send the token to anyone on the way: to this machine only. */
static tr_status check_url(const char *url, bool *loopback, tr_error *err) {
    char *scheme = NULL, *host = NULL;
    tr_status st = TR_OK;
    CURLU *parts = curl_url();
    if (!parts)
        return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    if (curl_url_set(parts, CURLUPART_URL, url, CURLU_DISALLOW_USER) != CURLUE_OK ||
        curl_url_get(parts, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK ||
        curl_url_get(parts, CURLUPART_HOST, &host, 0) != CURLUE_OK) {
        st = tr_fail(err, TR_E_CONFIG, "url", "is not https://HOST:PORT");
        goto out;
    }
    char *bracket = host[0] == '[' ? strchr(host, ']') : NULL;
    if (bracket)
        *bracket = '\0';
    *loopback = tr_cli_is_loopback(bracket ? host + 1 : host);
    if (strcmp(scheme, "https") != 0 && strcmp(scheme, "http") != 0)
        st = tr_fail(err, TR_E_CONFIG, "url", "begins with neither https:// nor http://");
    else if (strcmp(scheme, "http") == 0 && !*loopback)
        st = tr_fail(err, TR_E_CONFIG, "url", "http:// is for a loopback address only");
out:
    curl_free(scheme);
    curl_free(host);
    curl_url_cleanup(parts);
    return st;
}

static tr_status configure(tr_client *client, const tr_client_options *options, bool loopback,
                           tr_error *err) {
    CURL *easy = client->easy;
    CURLcode rc = CURLE_OK;
    SET(CURLOPT_ERRORBUFFER, client->message);
    SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    SET(CURLOPT_SSL_VERIFYHOST, options->any_name ? 0L : 2L);
    if (options->ca) { /* this file, and not the system's folder beside it */
        SET(CURLOPT_CAINFO, options->ca);
        SET(CURLOPT_CAPATH, NULL);
    }
    if (loopback) /* whatever the environment says */
        SET(CURLOPT_PROXY, "");
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_PATH_AS_IS, 1L);
    SET(CURLOPT_CONNECTTIMEOUT, options->connect_seconds ? options->connect_seconds : 10L);
    SET(CURLOPT_LOW_SPEED_LIMIT, 1L);
    SET(CURLOPT_LOW_SPEED_TIME, options->quiet_seconds ? options->quiet_seconds : 60L);
    SET(CURLOPT_USERAGENT, "tresor/" TRESOR_VERSION);
    return rc == CURLE_OK ? TR_OK : tr_fail(err, TR_E_INTERNAL, NULL, "libcurl: %s", curl_easy_strerror(rc));
}

tr_status tr_client_new(const tr_client_options *options, tr_client **out, tr_error *err) {
    bool loopback = false;
    *out = NULL;
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return tr_fail(err, TR_E_INTERNAL, NULL, "libcurl does not start");
    tr_client *client = calloc(1, sizeof *client);
    if (!client) {
        curl_global_cleanup();
        return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    }
    tr_status st = check_url(options->url, &loopback, err);
    if (st == TR_OK) {
        size_t len = strlen(options->url);
        tr_buf_append(&client->base, options->url, len - (options->url[len - 1] == '/'));
        client->easy = curl_easy_init();
        if (!client->easy || client->base.failed)
            st = tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    }
    if (st == TR_OK)
        st = configure(client, options, loopback, err);
    if (st == TR_OK)
        *out = client;
    else
        tr_client_free(client);
    return st;
}

void tr_client_free(tr_client *client) {
    if (client) {
        curl_easy_cleanup(client->easy);
        tr_buf_clear(&client->base);
        free(client);
    }
    curl_global_cleanup();
}

/* ---- a request ---- */

/* The list holds the token: wiped as it is freed. */
static void free_headers(struct curl_slist *list) {
    for (struct curl_slist *item = list; item; item = item->next)
        tr_wipe(item->data, strlen(item->data));
    curl_slist_free_all(list);
}

static tr_status make_headers(const tr_client_request *request, struct curl_slist **out, tr_error *err) {
    /* Without "Expect: 100-continue": a refusal comes as fast as the server reads, and no second is lost. */
    struct curl_slist *list = curl_slist_append(NULL, "Expect:");
    for (size_t i = 0; list && i < request->header_count; i++) {
        struct curl_slist *longer = curl_slist_append(list, request->headers[i]);
        if (!longer)
            free_headers(list);
        list = longer;
    }
    *out = list;
    return list ? TR_OK : tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
}

static bool may_have_body(const char *method) {
    return strcmp(method, "POST") == 0 || strcmp(method, "PUT") == 0 || strcmp(method, "PATCH") == 0;
}

static CURLcode prepare(CURL *easy, const char *url, const tr_client_request *request,
                        struct curl_slist *headers, struct transfer *t) {
    bool upload = request->body || may_have_body(request->method); /* without a body: Content-Length: 0 */
    bool head = strcmp(request->method, "HEAD") == 0;
    CURLcode rc = CURLE_OK;
    SET(CURLOPT_URL, url);
    SET(CURLOPT_NOBODY, (long)head);
    SET(CURLOPT_UPLOAD, (long)upload);
    if (!upload && !head)
        SET(CURLOPT_HTTPGET, 1L);
    SET(CURLOPT_INFILESIZE_LARGE, (curl_off_t)(request->body ? request->body->len : 0));
    SET(CURLOPT_CUSTOMREQUEST, head ? NULL : request->method);
    SET(CURLOPT_HTTPHEADER, headers);
    SET(CURLOPT_READFUNCTION, on_read);
    SET(CURLOPT_READDATA, t);
    SET(CURLOPT_SEEKFUNCTION, on_seek);
    SET(CURLOPT_SEEKDATA, t);
    SET(CURLOPT_HEADERFUNCTION, on_header);
    SET(CURLOPT_HEADERDATA, t);
    SET(CURLOPT_WRITEFUNCTION, on_body);
    SET(CURLOPT_WRITEDATA, t);
    return rc;
}

static tr_status explain(const tr_client *client, CURLcode rc, tr_error *err) {
    const char *why = client->message[0] ? client->message : curl_easy_strerror(rc);
    switch (rc) {
    case CURLE_PEER_FAILED_VERIFICATION:
        return tr_fail(err, TR_E_CONFIG, "ca", "the server's certificate is not trusted: %s", why);
    case CURLE_SSL_CACERT_BADFILE: return tr_fail(err, TR_E_CONFIG, "ca", "the file cannot be used: %s", why);
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL: return tr_fail(err, TR_E_CONFIG, "url", "cannot be used: %s", why);
    case CURLE_OUT_OF_MEMORY: return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    default: return tr_fail(err, TR_E_TIMEOUT, NULL, "the connection failed: %s", why);
    }
}

tr_status tr_client_send(tr_client *client, const tr_client_request *request, tr_client_response *response,
                         const tr_client_handler *handler, bool *sent, tr_error *err) {
    static const tr_client_handler ignore = {0};
    const tr_cli_body none = TR_CLI_NO_BODY;
    struct curl_slist *headers = NULL;
    struct transfer t = {.handler = handler ? handler : &ignore,
                         .body = request->body ? request->body : &none};
    tr_buf url = TR_BUF_INIT;
    tr_status st = TR_OK;
    t.response = response;
    t.err = err;
    *sent = false;
    tr_client_response_clear(response);
    TR_TRY(make_headers(request, &headers, err));
    tr_buf_puts(&url, client->base.data);
    tr_buf_puts(&url, request->path);
    TR_TRY(tr_buf_ok(&url, err));
    client->message[0] = '\0';
    CURLcode rc = prepare(client->easy, url.data, request, headers, &t);
    if (rc == CURLE_OK)
        rc = curl_easy_perform(client->easy);
    long request_size = 0;
    if (curl_easy_getinfo(client->easy, CURLINFO_REQUEST_SIZE, &request_size) != CURLE_OK || request_size > 0)
        *sent = true;
    if (t.status != TR_OK)
        st = t.status;
    else if (rc != CURLE_OK)
        st = explain(client, rc, err);
out:
    (void)curl_easy_setopt(client->easy, CURLOPT_HTTPHEADER, NULL);
    free_headers(headers);
    tr_buf_clear(&url);
    return st;
}

bool tr_client_header(const tr_client_response *response, const char *name, char *out, size_t size) {
    size_t name_len = strlen(name);
    for (const char *line = response->head.data, *end; line && (end = strchr(line, '\n')); line = end + 1) {
        if ((size_t)(end - line) <= name_len || line[name_len] != ':' ||
            strncasecmp(line, name, name_len) != 0)
            continue;
        const char *value = line + name_len + 1;
        while (value < end && (*value == ' ' || *value == '\t'))
            value++;
        while (end > value && (end[-1] == ' ' || end[-1] == '\t'))
            end--;
        if ((size_t)(end - value) >= size)
            return false;
        memcpy(out, value, (size_t)(end - value));
        out[end - value] = '\0';
        return true;
    }
    return false;
}

void tr_client_response_clear(tr_client_response *response) {
    tr_buf_clear(&response->head);
    response->status = 0;
}

tr_status tr_client_authority(const char *given, const char *data, char *room, size_t size, const char **ca,
                              tr_error *err) {
    char name[PATH_MAX], absolute[PATH_MAX];
    int n = snprintf(name, sizeof name, "%s%s", given ? given : data, given ? "" : "/tls.pem");
    *ca = NULL;
    if (n < 0 || (size_t)n >= sizeof name)
        return tr_fail(err, TR_E_CONFIG, "ca", "the file's name is too long");
    if (!realpath(name, absolute)) {
        if (!given && (errno == ENOENT || errno == ENOTDIR || errno == EACCES))
            return TR_OK;
        return tr_fail(err, TR_E_CONFIG, name, "cannot be opened: %s", strerror(errno));
    }
    n = snprintf(room, size, "%s", absolute);
    if (n < 0 || (size_t)n >= size)
        return tr_fail(err, TR_E_CONFIG, "ca", "the file's name is too long");
    *ca = room;
    return TR_OK;
}
