/* Shared by the s3*.c files only: one request to the store. */
#ifndef TR_VAULT_S3_INTERNAL_H
#define TR_VAULT_S3_INTERNAL_H

#include <curl/curl.h>
#include <pthread.h>

#include "vault/s3.h"

#define TR_S3_ANSWER_MAX ((size_t)2 * 1024 * 1024) /* a page of a list has a thousand names */

typedef struct tr_s3_request {
    const char *method;
    const char *name;     /* the object's, NULL: the bucket itself */
    const char *query;    /* or NULL: names sorted, each with "=", values percent-encoded */
    const char *if_match; /* or NULL */
    int64_t from;         /* of a GET with `into`: the range */
    void *into;           /* what a 2xx answers goes there, up to `room`; else into the answer's body */
    size_t room;
    int fd; /* the body is a part of this file; below 0: `body` */
    int64_t offset, size;
    tr_bytes body;
} tr_s3_request;

/* Free with tr_s3_answer_clear. */
typedef struct tr_s3_answer {
    long status;    /* 2xx, 404, 412, 416 or 501 */
    int64_t size;   /* of the whole object, -1: not said */
    size_t got;     /* bytes in `into` */
    bool versioned; /* the store keeps what was there before */
    char etag[TR_S3_ETAG];
    tr_buf body;
} tr_s3_answer;
#define TR_S3_ANSWER_INIT ((tr_s3_answer){.size = -1})

tr_status tr_s3_run(tr_s3 *s3, const tr_s3_request *request, tr_s3_answer *answer, tr_error *err);
void tr_s3_answer_clear(tr_s3_answer *answer);
const char *tr_s3_prefix(const tr_s3 *s3); /* "" or "a/b/" */
const char *tr_s3_place(const tr_s3 *s3);  /* for errors: the URL that was set */
/* Append `text`, percent-encoded for a query. */
void tr_s3_encode(tr_buf *out, const char *text);
bool tr_s3_name_good(const char *name);

/* ---- s3.c, s3_transfer.c ---- */
#define TR_S3_IDLE 4 /* connections that are kept for the next call */

struct tr_s3 {
    char place[512];  /* the setting */
    char base[512];   /* scheme, authority and bucket */
    char prefix[256]; /* "" or "a/b/" */
    char signing[96], access_key[sizeof((tr_config *)0)->backup_s3_access_key];
    char ca[512];
    tr_secret secret;
    bool loopback;
    long timeout_s;
    _Atomic int64_t deadline; /* monotonic, 0: none */

    pthread_mutex_t mutex; /* what follows */
    CURL *idle[TR_S3_IDLE];
    size_t idle_count;
    int64_t away_until; /* monotonic */
    int failures;       /* calls that failed since one went well */
    tr_error why;       /* the last one's */
};

/* How many milliseconds may a call still take? */
int64_t tr_s3_left(const tr_s3 *s3);

/* A request with its tries. */
typedef struct tr_s3_transfer {
    tr_s3 *s3;
    const tr_s3_request *request;
    tr_s3_answer *answer;
    struct curl_slist *headers;
    int64_t sent;
    bool too_much; /* more was answered than was asked for */
    char sum[2 * TR_SHA256_LEN + 1];
    char message[CURL_ERROR_SIZE];
} tr_s3_transfer;

/* Before the first: the body's sum, then the headers. */
tr_status tr_s3_hash_body(tr_s3_transfer *t, tr_error *err);
tr_status tr_s3_make_headers(tr_s3_transfer *t, tr_error *err);
/* *rc says whether an answer came; what it is, is in the answer. */
tr_status tr_s3_try_once(tr_s3_transfer *t, CURLcode *rc, tr_error *err);

/* ---- s3_upload.c ---- */
tr_status tr_s3_upload_parts(tr_s3 *s3, const char *name, int fd, int64_t size, tr_s3_answer *answer,
                             tr_error *err);

#endif
