/* The client: settings, and a request with its tries. */
#include "vault/s3_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "vault/s3_xml.h"

#define TRIES        4
#define TRIES_SILENT 2   /* of a store that does not answer in time */
#define WAIT_MS      200 /* before the second try, then twice that each */
#define AWAY_MS      1000
#define AWAY_MAX_MS  30000

/* ---- settings ---- */

static bool is_plain(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.';
}

bool tr_s3_name_good(const char *name) {
    size_t len = strlen(name);
    if (len == 0 || len >= TR_S3_NAME_MAX || name[0] == '/' || name[len - 1] == '/' || strstr(name, "//") ||
        strstr(name, ".."))
        return false;
    for (const char *c = name; *c; c++) {
        if (!is_plain(*c) && *c != '/')
            return false;
    }
    return true;
}

/* "/bucket/a/b": the names need no encoding, so that every signer sees the same. */
static tr_status split_path(tr_s3 *s3, const char *path, tr_error *err) {
    size_t len = strlen(path);
    while (len > 0 && path[len - 1] == '/')
        len--;
    if (len < 2 || len >= TR_S3_NAME_MAX)
        return tr_fail(err, TR_E_CONFIG, "backup_s3_url", "names no bucket, or too long a path");
    char names[TR_S3_NAME_MAX];
    (void)snprintf(names, sizeof names, "%.*s", (int)len - 1, path + 1);
    if (!tr_s3_name_good(names))
        return tr_fail(err, TR_E_CONFIG, "backup_s3_url",
                       "bucket and prefix may have letters, digits and - _ . only");
    char *slash = strchr(names, '/');
    if (slash) {
        (void)snprintf(s3->prefix, sizeof s3->prefix, "%s/", slash + 1);
        *slash = '\0';
    }
    size_t base = strlen(s3->base);
    return (size_t)snprintf(s3->base + base, sizeof s3->base - base, "/%s", names) < sizeof s3->base - base
               ? TR_OK
               : tr_fail(err, TR_E_CONFIG, "backup_s3_url", "is too long");
}

static bool is_loopback(const char *host) {
    const bool v4 = strncmp(host, "127.", 4) == 0 && strspn(host, "0123456789.") == strlen(host);
    return v4 || strcmp(host, "localhost") == 0 || strcmp(host, "[::1]") == 0;
}

static tr_status split_url(tr_s3 *s3, const char *url, tr_error *err) {
    char *scheme = NULL, *host = NULL, *port = NULL, *path = NULL, *query = NULL;
    tr_status st = TR_OK;
    CURLU *parts = curl_url();
    if (!parts)
        return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    if (curl_url_set(parts, CURLUPART_URL, url, CURLU_DISALLOW_USER) != CURLUE_OK ||
        curl_url_get(parts, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK ||
        curl_url_get(parts, CURLUPART_HOST, &host, 0) != CURLUE_OK ||
        curl_url_get(parts, CURLUPART_PATH, &path, 0) != CURLUE_OK)
        TR_TRY(tr_fail(err, TR_E_CONFIG, "backup_s3_url",
                       "is not https://HOST[:PORT]/BUCKET[/PREFIX]; a key in it is refused"));
    if (curl_url_get(parts, CURLUPART_QUERY, &query, 0) == CURLUE_OK)
        TR_TRY(tr_fail(err, TR_E_CONFIG, "backup_s3_url", "has a query"));
    (void)curl_url_get(parts, CURLUPART_PORT, &port, 0);
    s3->loopback = is_loopback(host);
    if (strcmp(scheme, "https") != 0 && (strcmp(scheme, "http") != 0 || !s3->loopback))
        TR_TRY(tr_fail(err, TR_E_CONFIG, "backup_s3_url",
                       "must begin with https:// (http:// is for a loopback address)"));
    if ((size_t)snprintf(s3->base, sizeof s3->base, "%s://%s%s%s", scheme, host, port ? ":" : "",
                         port ? port : "") >= sizeof s3->base)
        TR_TRY(tr_fail(err, TR_E_CONFIG, "backup_s3_url", "is too long"));
    st = split_path(s3, path, err);
out:
    curl_free(scheme);
    curl_free(host);
    curl_free(port);
    curl_free(path);
    curl_free(query);
    curl_url_cleanup(parts);
    return st;
}

static tr_status read_secret(tr_s3 *s3, const tr_config *config, tr_error *err) {
    const char *value = getenv("TRESOR_BACKUP_S3_SECRET_KEY");
    if (value && *value)
        return tr_secret_copy(&s3->secret, value, strlen(value), err);
    return config->backup_s3_secret_key_file[0]
               ? tr_secret_from_file(&s3->secret, config->backup_s3_secret_key_file, err)
               : tr_fail(err, TR_E_CONFIG, "backup_s3_secret_key_file",
                         "names no file with the secret key, and TRESOR_BACKUP_S3_SECRET_KEY is not set");
}

static bool is_region(const char *text) {
    bool good = *text != '\0' && strlen(text) <= 40;
    for (; good && *text; text++)
        good = is_plain(*text);
    return good;
}

static pthread_once_t once = PTHREAD_ONCE_INIT;
static void begin_curl(void) {
    (void)curl_global_init(CURL_GLOBAL_DEFAULT);
}

tr_status tr_s3_new(const tr_config *config, tr_s3 **out, tr_error *err) {
    tr_s3 *s3 = calloc(1, sizeof *s3);
    tr_status st = TR_OK;
    *out = NULL;
    if (!s3)
        return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    (void)pthread_once(&once, begin_curl);
    pthread_mutex_init(&s3->mutex, NULL);
    memcpy(s3->place, config->backup_s3_url, sizeof s3->place);
    memcpy(s3->access_key, config->backup_s3_access_key, sizeof s3->access_key);
    memcpy(s3->ca, config->backup_s3_ca, sizeof s3->ca);
    s3->timeout_s = (long)config->backup_s3_timeout_s;
    (void)snprintf(s3->signing, sizeof s3->signing, "aws:amz:%s:s3", config->backup_s3_region);
    TR_TRY(split_url(s3, config->backup_s3_url, err));
    if (!is_region(config->backup_s3_region))
        TR_TRY(tr_fail(err, TR_E_CONFIG, "backup_s3_region", "is no region such as eu-central-1"));
    if (s3->access_key[0] == '\0' || strchr(s3->access_key, ':'))
        TR_TRY(tr_fail(err, TR_E_CONFIG, "backup_s3_access_key", "is not set, or is no access key's id"));
    if (s3->ca[0] && access(s3->ca, R_OK) != 0)
        TR_TRY(tr_fail(err, TR_E_CONFIG, "backup_s3_ca", "the file cannot be read"));
    st = read_secret(s3, config, err);
out:
    if (st != TR_OK) {
        tr_s3_free(s3);
        return st;
    }
    *out = s3;
    return TR_OK;
}

void tr_s3_free(tr_s3 *s3) {
    if (!s3)
        return;
    while (s3->idle_count > 0)
        curl_easy_cleanup(s3->idle[--s3->idle_count]);
    pthread_mutex_destroy(&s3->mutex);
    tr_secret_clear(&s3->secret);
    free(s3);
}

const char *tr_s3_prefix(const tr_s3 *s3) {
    return s3->prefix;
}

const char *tr_s3_place(const tr_s3 *s3) {
    return s3->place;
}

void tr_s3_encode(tr_buf *out, const char *text) {
    for (; *text; text++) {
        if (is_plain(*text) || *text == '~')
            tr_buf_putc(out, *text);
        else
            tr_buf_printf(out, "%%%02X", (unsigned)(unsigned char)*text);
    }
}

/* ---- away ---- */

void tr_s3_end(tr_s3 *s3, int64_t within_ms) {
    s3->deadline = tr_monotonic_ms() + within_ms;
}

int64_t tr_s3_left(const tr_s3 *s3) {
    const int64_t deadline = s3->deadline;
    return deadline == 0 ? INT64_MAX : deadline - tr_monotonic_ms();
}

static tr_status is_away(tr_s3 *s3, tr_error *err) {
    pthread_mutex_lock(&s3->mutex);
    const bool away = tr_monotonic_ms() < s3->away_until;
    if (away && err)
        *err = s3->why;
    pthread_mutex_unlock(&s3->mutex);
    return away ? TR_E_IO : TR_OK;
}

bool tr_s3_away(tr_s3 *s3) {
    return is_away(s3, NULL) != TR_OK;
}

bool tr_s3_failing(tr_s3 *s3, tr_error *why) {
    pthread_mutex_lock(&s3->mutex);
    const bool failing = s3->failures > 0;
    if (failing)
        *why = s3->why;
    pthread_mutex_unlock(&s3->mutex);
    return failing;
}

void tr_s3_try_again(tr_s3 *s3) {
    pthread_mutex_lock(&s3->mutex);
    s3->away_until = 0;
    pthread_mutex_unlock(&s3->mutex);
}

static void note(tr_s3 *s3, tr_status st, const tr_error *err) {
    pthread_mutex_lock(&s3->mutex);
    if (st == TR_OK) {
        s3->failures = 0;
        s3->away_until = 0;
    } else {
        int64_t wait = AWAY_MAX_MS;
        if (s3->failures < 5)
            wait = (int64_t)AWAY_MS << s3->failures++;
        s3->away_until = tr_monotonic_ms() + (wait < AWAY_MAX_MS ? wait : AWAY_MAX_MS);
        s3->why = *err;
    }
    pthread_mutex_unlock(&s3->mutex);
}

/* ---- all tries ---- */

typedef enum verdict { DONE, REFUSED, TRY_AGAIN, SILENT } verdict;

static verdict judge(const tr_s3_transfer *t, CURLcode rc) {
    const tr_buf *body = &t->answer->body;
    const long status = t->answer->status;
    char code[64];
    switch (rc) {
    case CURLE_OK: break;
    case CURLE_OPERATION_TIMEDOUT: return SILENT;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_BAD_FUNCTION_ARGUMENT:
    case CURLE_ABORTED_BY_CALLBACK: return REFUSED;
    default: return t->too_much ? REFUSED : TRY_AGAIN;
    }
    tr_s3_error_code(body->data ? body->data : "", body->len, code, sizeof code);
    if (status == 404 && strcmp(code, "NoSuchBucket") == 0)
        return REFUSED;
    if (status / 100 == 2 || status == 404 || status == 412 || status == 416 || status == 501)
        return DONE;
    return status >= 500 || status == 429 || status == 408 ? TRY_AGAIN : REFUSED;
}

static tr_status say(const tr_s3_transfer *t, CURLcode rc, tr_error *err) {
    const tr_s3_answer *a = t->answer;
    char code[64] = "";
    if (t->too_much)
        return tr_fail(err, TR_E_IO, t->s3->place, "the backup store answered more than was asked for");
    if (rc == CURLE_ABORTED_BY_CALLBACK)
        return tr_fail(err, TR_E_IO, t->s3->place, "the backup store was not waited for: shutting down");
    if (rc != CURLE_OK)
        return tr_fail(err, TR_E_IO, t->s3->place, "the backup store cannot be reached: %s",
                       curl_easy_strerror(rc));
    if (a->body.len > 0)
        tr_s3_error_code(a->body.data, a->body.len, code, sizeof code);
    return tr_fail(err, TR_E_IO, t->s3->place, "the backup store %s: %ld%s%s",
                   a->status == 403 || a->status == 401 ? "refuses the access key or its secret"
                   : a->status / 100 == 5               ? "fails"
                                                        : "refuses",
                   a->status, *code ? " " : "", code);
}

/* False: there is no time left for it. */
static bool wait_a_little(const tr_s3 *s3, int tries) {
    const struct timespec slice = {.tv_nsec = 20000000};
    const int64_t until = tr_monotonic_ms() + ((int64_t)WAIT_MS << (tries - 1));
    while (tr_monotonic_ms() < until && tr_s3_left(s3) > 0)
        nanosleep(&slice, NULL);
    return tr_s3_left(s3) > 0;
}

static tr_status run_tries(tr_s3_transfer *t, tr_error *err) {
    CURLcode rc = CURLE_OK;
    verdict v = TRY_AGAIN;
    for (int tries = 1;; tries++) {
        tr_status st = tr_s3_try_once(t, &rc, err);
        if (st != TR_OK)
            return st;
        v = judge(t, rc);
        if (v == DONE)
            return TR_OK;
        if (v == REFUSED || tries >= (v == SILENT ? TRIES_SILENT : TRIES) || !wait_a_little(t->s3, tries))
            return say(t, rc, err);
    }
}

tr_status tr_s3_run(tr_s3 *s3, const tr_s3_request *request, tr_s3_answer *answer, tr_error *err) {
    tr_s3_transfer t = {.s3 = s3, .request = request, .answer = answer};
    tr_error why = {0};
    tr_status st = is_away(s3, err);
    if (st != TR_OK)
        return st;
    TR_TRY(tr_s3_hash_body(&t, err));
    TR_TRY(tr_s3_make_headers(&t, err));
    st = run_tries(&t, &why);
    if (st == TR_OK || st == TR_E_IO)
        note(s3, st, &why);
    if (st != TR_OK && err)
        *err = why;
out:
    curl_slist_free_all(t.headers);
    return st;
}

void tr_s3_answer_clear(tr_s3_answer *answer) {
    tr_buf_clear(&answer->body);
}
