/* A large object, in parts. What fails is ended in the store too; what a kill leaves, tr_s3_abort_uploads
 * ends. */
#include <stdio.h>
#include <string.h>

#include "vault/s3_internal.h"
#include "vault/s3_xml.h"

#define PARTS_MAX 10000 /* Amazon S3's limit */

struct upload {
    tr_s3 *s3;
    const char *name;
    int fd;
    int64_t size;
    char id[TR_S3_XML_TEXT + 1];
    tr_buf parts; /* the list that completes it */
};

static tr_status begin(struct upload *u, tr_error *err) {
    const tr_s3_request q = {.method = "POST", .name = u->name, .query = "uploads=", .fd = -1};
    tr_s3_answer a = TR_S3_ANSWER_INIT;
    tr_status st = tr_s3_run(u->s3, &q, &a, err);
    if (st == TR_OK && (a.status != 200 || tr_s3_xml_find(a.body.data ? a.body.data : "", a.body.len,
                                                          "InitiateMultipartUploadResult/UploadId", u->id,
                                                          sizeof u->id, NULL) != TR_OK))
        u->id[0] = '\0';
    if (st == TR_OK && u->id[0] == '\0')
        st = tr_fail(err, TR_E_IO, tr_s3_place(u->s3), "the backup store gave no id for an upload in parts");
    tr_s3_answer_clear(&a);
    return st;
}

static tr_status send_part(struct upload *u, int number, int64_t at, int64_t size, tr_error *err) {
    tr_buf query = TR_BUF_INIT;
    tr_s3_answer a = TR_S3_ANSWER_INIT;
    tr_buf_printf(&query, "partNumber=%d&uploadId=", number);
    tr_s3_encode(&query, u->id);
    const tr_s3_request q = {
        .method = "PUT", .name = u->name, .query = query.data, .fd = u->fd, .offset = at, .size = size};
    tr_status st = tr_buf_ok(&query, err);
    if (st == TR_OK)
        st = tr_s3_run(u->s3, &q, &a, err);
    if (st == TR_OK && (a.status / 100 != 2 || a.etag[0] == '\0' || strpbrk(a.etag, "<>&")))
        st = tr_fail(err, TR_E_IO, tr_s3_place(u->s3), "the backup store did not take a part of %s", u->name);
    tr_buf_printf(&u->parts, "<Part><PartNumber>%d</PartNumber><ETag>%s</ETag></Part>", number, a.etag);
    tr_s3_answer_clear(&a);
    tr_buf_clear(&query);
    return st;
}

/* The answer may be 200 with an Error in it. */
static tr_status complete(struct upload *u, tr_s3_answer *answer, tr_error *err) {
    tr_buf query = TR_BUF_INIT;
    char etag[TR_S3_ETAG];
    tr_buf_puts(&query, "uploadId=");
    tr_s3_encode(&query, u->id);
    tr_buf_puts(&u->parts, "</CompleteMultipartUpload>");
    const tr_s3_request q = {.method = "POST",
                             .name = u->name,
                             .query = query.data,
                             .fd = -1,
                             .body = {u->parts.data, u->parts.len}};
    tr_status st = tr_buf_ok(&query, err);
    if (st == TR_OK)
        st = tr_buf_ok(&u->parts, err);
    if (st == TR_OK)
        st = tr_s3_run(u->s3, &q, answer, err);
    if (st == TR_OK &&
        (answer->status != 200 ||
         tr_s3_xml_find(answer->body.data ? answer->body.data : "", answer->body.len,
                        "CompleteMultipartUploadResult/ETag", etag, sizeof etag, NULL) != TR_OK ||
         etag[0] == '\0'))
        st = tr_fail(err, TR_E_IO, tr_s3_place(u->s3),
                     "the backup store did not put the parts of %s together", u->name);
    if (st == TR_OK)
        memcpy(answer->etag, etag, sizeof answer->etag);
    tr_buf_clear(&query);
    return st;
}

static void give_up(struct upload *u) {
    tr_buf query = TR_BUF_INIT;
    tr_s3_answer a = TR_S3_ANSWER_INIT;
    tr_buf_puts(&query, "uploadId=");
    tr_s3_encode(&query, u->id);
    const tr_s3_request q = {.method = "DELETE", .name = u->name, .query = query.data, .fd = -1};
    if (tr_buf_ok(&query, NULL) == TR_OK)
        (void)tr_s3_run(u->s3, &q, &a, NULL);
    tr_s3_answer_clear(&a);
    tr_buf_clear(&query);
}

tr_status tr_s3_upload_parts(tr_s3 *s3, const char *name, int fd, int64_t size, tr_s3_answer *answer,
                             tr_error *err) {
    struct upload u = {.s3 = s3, .name = name, .fd = fd, .size = size};
    const int64_t least = (size + PARTS_MAX - 1) / PARTS_MAX;
    const int64_t part = least > TR_S3_PART ? least : TR_S3_PART;
    int number = 0;
    tr_status st = TR_OK;
    TR_TRY(begin(&u, err));
    tr_buf_puts(&u.parts, "<CompleteMultipartUpload>");
    for (int64_t at = 0; at < size; at += part)
        TR_TRY(send_part(&u, ++number, at, size - at < part ? size - at : part, err));
    st = complete(&u, answer, err);
out:
    if (st != TR_OK && u.id[0])
        give_up(&u);
    tr_buf_clear(&u.parts);
    return st;
}
