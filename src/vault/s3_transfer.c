/* One try of a request: connection, signature, body there and back. */
#include "vault/s3_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/encode.h"

#define CONNECT_S  10L
#define SLOW_BYTES 16384 /* a second: a transfer may take its size by this, and the time for silence */
#define ERROR_MAX  16384

static int64_t body_size(const tr_s3_request *q) {
    return q->fd >= 0 ? q->size : (int64_t)q->body.len;
}

static size_t on_read(char *room, size_t size, size_t count, void *context) {
    tr_s3_transfer *t = context;
    const tr_s3_request *q = t->request;
    const int64_t rest = body_size(q) - t->sent;
    size_t n = size * count;
    if ((int64_t)n > rest)
        n = (size_t)rest;
    if (n > 0 && q->fd >= 0) {
        ssize_t got = pread(q->fd, room, n, q->offset + t->sent);
        if (got <= 0) /* it became shorter */
            return CURL_READFUNC_ABORT;
        n = (size_t)got;
    } else if (n > 0) {
        memcpy(room, (const char *)q->body.data + t->sent, n);
    }
    t->sent += (int64_t)n;
    return n;
}

static int on_seek(void *context, curl_off_t offset, int origin) {
    tr_s3_transfer *t = context;
    if (origin != SEEK_SET || offset < 0 || offset > body_size(t->request))
        return CURL_SEEKFUNC_FAIL;
    t->sent = offset;
    return CURL_SEEKFUNC_OK;
}

/* The value of a header line of this name, without spaces around; NULL: another one. */
static const char *value_of(const char *line, size_t len, const char *name, char *out, size_t room) {
    size_t n = strlen(name);
    if (len <= n || line[n] != ':' || strncasecmp(line, name, n) != 0)
        return NULL;
    const char *at = line + n + 1, *end = line + len;
    while (at < end && (*at == ' ' || *at == '\t'))
        at++;
    while (end > at && (end[-1] == '\r' || end[-1] == '\n' || end[-1] == ' '))
        end--;
    (void)snprintf(out, room, "%.*s", (int)(end - at), at);
    return out;
}

static size_t on_header(char *line, size_t size, size_t count, void *context) {
    tr_s3_transfer *t = context;
    tr_s3_answer *a = t->answer;
    char value[128];
    const size_t len = size * count;
    if (len > 12 && strncmp(line, "HTTP/", 5) == 0) { /* interim answers come before the final one */
        const char *space = memchr(line, ' ', len - 3);
        *a = (tr_s3_answer){.size = -1, .status = space ? strtol(space + 1, NULL, 10) : 0, .body = a->body};
    } else if (value_of(line, len, "etag", value, sizeof value))
        (void)snprintf(a->etag, sizeof a->etag, "%.79s", value);
    else if (value_of(line, len, "x-amz-version-id", value, sizeof value))
        a->versioned = strcmp(value, "null") != 0;
    else if (value_of(line, len, "content-range", value, sizeof value)) {
        const char *slash = strchr(value, '/');
        a->size = slash && slash[1] >= '0' && slash[1] <= '9' ? strtoll(slash + 1, NULL, 10) : -1;
    } else if (a->size < 0 && value_of(line, len, "content-length", value, sizeof value))
        a->size = strtoll(value, NULL, 10);
    return len;
}

static size_t on_body(char *bytes, size_t size, size_t count, void *context) {
    tr_s3_transfer *t = context;
    const tr_s3_request *q = t->request;
    tr_s3_answer *a = t->answer;
    const size_t len = size * count;
    if (a->status / 100 != 2 || !q->into) {
        const size_t most = a->status / 100 == 2 ? TR_S3_ANSWER_MAX : ERROR_MAX;
        t->too_much = a->body.len + len > most;
        if (!t->too_much)
            tr_buf_append(&a->body, bytes, len);
        return t->too_much ? 0 : len;
    }
    t->too_much = len > q->room - a->got;
    if (t->too_much)
        return 0;
    memcpy((char *)q->into + a->got, bytes, len);
    a->got += len;
    return len;
}

static int on_progress(void *context, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d) {
    const tr_s3_transfer *t = context;
    (void)a, (void)b, (void)c, (void)d;
    return tr_s3_left(t->s3) <= 0;
}

/* Goes on only while all went well: the caller looks at rc once. */
#define SET(option, value)                                                                                   \
    do {                                                                                                     \
        if (rc == CURLE_OK)                                                                                  \
            rc = curl_easy_setopt(easy, option, value);                                                      \
    } while (0)

static CURLcode set_store(CURL *easy, tr_s3_transfer *t) {
    tr_s3 *s3 = t->s3;
    char secret[512];
    CURLcode rc = s3->secret.len < sizeof secret ? CURLE_OK : CURLE_BAD_FUNCTION_ARGUMENT;
    if (rc != CURLE_OK)
        return rc;
    memcpy(secret, s3->secret.data, s3->secret.len);
    secret[s3->secret.len] = '\0';
    SET(CURLOPT_ERRORBUFFER, t->message);
    SET(CURLOPT_AWS_SIGV4, s3->signing);
    SET(CURLOPT_USERNAME, s3->access_key);
    SET(CURLOPT_PASSWORD, secret);
    tr_wipe(secret, sizeof secret);
    SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    if (s3->ca[0]) { /* this file, and not the system's folder beside it */
        SET(CURLOPT_CAINFO, s3->ca);
        SET(CURLOPT_CAPATH, NULL);
    }
    if (s3->loopback) /* whatever the environment says */
        SET(CURLOPT_PROXY, "");
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_PATH_AS_IS, 1L);
    SET(CURLOPT_CONNECTTIMEOUT, s3->timeout_s < CONNECT_S ? s3->timeout_s : CONNECT_S);
    SET(CURLOPT_LOW_SPEED_LIMIT, 1L);
    SET(CURLOPT_LOW_SPEED_TIME, s3->timeout_s);
    return rc;
}

static CURLcode set_request(CURL *easy, tr_s3_transfer *t) {
    const tr_s3_request *q = t->request;
    const int64_t bytes = body_size(q) + (int64_t)(q->into ? q->room : TR_S3_ANSWER_MAX);
    CURLcode rc = CURLE_OK;
    SET(CURLOPT_TIMEOUT, t->s3->timeout_s + (long)(bytes / SLOW_BYTES));
    SET(CURLOPT_HEADERFUNCTION, on_header);
    SET(CURLOPT_HEADERDATA, t);
    SET(CURLOPT_WRITEFUNCTION, on_body);
    SET(CURLOPT_WRITEDATA, t);
    SET(CURLOPT_XFERINFOFUNCTION, on_progress);
    SET(CURLOPT_XFERINFODATA, t);
    SET(CURLOPT_NOPROGRESS, 0L);
    SET(CURLOPT_HTTPHEADER, t->headers);
    if (strcmp(q->method, "HEAD") == 0)
        SET(CURLOPT_NOBODY, 1L);
    else if (strcmp(q->method, "PUT") == 0 || strcmp(q->method, "POST") == 0) {
        SET(CURLOPT_UPLOAD, 1L);
        SET(CURLOPT_INFILESIZE_LARGE, (curl_off_t)body_size(q));
        SET(CURLOPT_READFUNCTION, on_read);
        SET(CURLOPT_READDATA, t);
        SET(CURLOPT_SEEKFUNCTION, on_seek);
        SET(CURLOPT_SEEKDATA, t);
    }
    SET(CURLOPT_CUSTOMREQUEST, strcmp(q->method, "HEAD") == 0 ? NULL : q->method);
    return rc;
}

static tr_status make_url(const tr_s3 *s3, const tr_s3_request *q, tr_buf *out, tr_error *err) {
    tr_buf_puts(out, s3->base);
    if (q->name)
        tr_buf_printf(out, "/%s%s", s3->prefix, q->name);
    if (q->query)
        tr_buf_printf(out, "?%s", q->query);
    return tr_buf_ok(out, err);
}

static tr_status add_header(struct curl_slist **list, const char *name, const char *value, tr_error *err) {
    char line[256];
    (void)snprintf(line, sizeof line, "%s: %.200s", name, value);
    struct curl_slist *grown = curl_slist_append(*list, line);
    if (!grown)
        return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    *list = grown;
    return TR_OK;
}

tr_status tr_s3_make_headers(tr_s3_transfer *t, tr_error *err) {
    const tr_s3_request *q = t->request;
    char range[64];
    tr_status st = TR_OK;
    TR_TRY(add_header(&t->headers, "x-amz-content-sha256", t->sum, err));
    if (q->if_match)
        TR_TRY(add_header(&t->headers, "If-Match", q->if_match, err));
    if (q->into) {
        (void)snprintf(range, sizeof range, "bytes=%lld-%lld", (long long)q->from,
                       (long long)(q->from + (int64_t)q->room - 1));
        st = add_header(&t->headers, "Range", range, err);
    }
out:
    return st;
}

tr_status tr_s3_hash_body(tr_s3_transfer *t, tr_error *err) {
    char room[65536];
    uint8_t sum[TR_SHA256_LEN];
    tr_hash *hash = NULL;
    size_t n = 1;
    tr_status st = TR_OK;
    TR_TRY(tr_hash_new(&hash, err));
    for (t->sent = 0; n > 0;) {
        n = on_read(room, 1, sizeof room, t);
        if (n == CURL_READFUNC_ABORT)
            TR_TRY(tr_fail(err, TR_E_IO, NULL, "what is to be sent cannot be read"));
        TR_TRY(tr_hash_update(hash, room, n, err));
    }
    TR_TRY(tr_hash_final(hash, sum, err));
    tr_hex_encode(sum, sizeof sum, t->sum);
out:
    t->sent = 0;
    tr_hash_free(hash);
    return st;
}

static CURL *take_handle(tr_s3 *s3) {
    CURL *easy = NULL;
    pthread_mutex_lock(&s3->mutex);
    if (s3->idle_count > 0)
        easy = s3->idle[--s3->idle_count];
    pthread_mutex_unlock(&s3->mutex);
    if (!easy)
        return curl_easy_init();
    return easy;
}

/* Its connection is kept, and nothing else: not the secret, as far as libcurl lets go of it. */
static void give_handle(tr_s3 *s3, CURL *easy) {
    curl_easy_reset(easy);
    pthread_mutex_lock(&s3->mutex);
    if (s3->idle_count < TR_S3_IDLE) {
        s3->idle[s3->idle_count++] = easy;
        easy = NULL;
    }
    pthread_mutex_unlock(&s3->mutex);
    curl_easy_cleanup(easy);
}

/* rc says whether an answer came; what it is, is in the answer. */
tr_status tr_s3_try_once(tr_s3_transfer *t, CURLcode *rc, tr_error *err) {
    tr_buf url = TR_BUF_INIT;
    CURL *easy = NULL;
    tr_status st = TR_OK;
    t->sent = 0;
    t->too_much = false;
    tr_buf_reset(&t->answer->body);
    *t->answer = (tr_s3_answer){.size = -1, .body = t->answer->body};
    TR_TRY(make_url(t->s3, t->request, &url, err));
    easy = take_handle(t->s3);
    if (!easy)
        TR_TRY(tr_fail(err, TR_E_NOMEM, NULL, "out of memory"));
    *rc = curl_easy_setopt(easy, CURLOPT_URL, url.data);
    if (*rc == CURLE_OK)
        *rc = set_store(easy, t);
    if (*rc == CURLE_OK)
        *rc = set_request(easy, t);
    if (*rc == CURLE_OK)
        *rc = curl_easy_perform(easy);
    give_handle(t->s3, easy);
    st = tr_buf_ok(&t->answer->body, err);
out:
    tr_buf_clear(&url);
    return st;
}
