/* What an S3 store answers in XML. Not for other layers. Through expat; a document type, which could define
 * entities, is refused, and so is whatever is too deep or too long. TR_E_CORRUPT. */
#ifndef TR_VAULT_S3_XML_H
#define TR_VAULT_S3_XML_H

#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"

#define TR_S3_XML_DEPTH 8
#define TR_S3_XML_TEXT  1024 /* bytes of one element's text */

/* For each element's end: its path ("ListBucketResult/Contents/Key") and its own text. */
typedef tr_status (*tr_s3_element_fn)(void *context, const char *path, const char *text, tr_error *err);
tr_status tr_s3_xml_read(const void *bytes, size_t len, tr_s3_element_fn fn, void *context, tr_error *err);

/* A page of ListObjectsV2 or ListMultipartUploads. */
typedef struct tr_s3_page {
    bool more;
    char next[TR_S3_XML_TEXT + 1];    /* continuation token, or key marker */
    char next_id[TR_S3_XML_TEXT + 1]; /* upload id marker */
} tr_s3_page;

typedef enum tr_s3_entry { TR_S3_KEY, TR_S3_FOLDER, TR_S3_UPLOAD } tr_s3_entry;
/* `id` is an upload's, else NULL. */
typedef tr_status (*tr_s3_entry_fn)(void *context, tr_s3_entry kind, const char *key, const char *id,
                                    tr_error *err);
tr_status tr_s3_page_read(const void *bytes, size_t len, tr_s3_page *page, tr_s3_entry_fn fn, void *context,
                          tr_error *err);

/* The text of one element, "" when it is not there: `room` bytes at `out`. */
tr_status tr_s3_xml_find(const void *bytes, size_t len, const char *path, char *out, size_t room,
                         tr_error *err);
/* The Code of an Error document, with letters and digits only; "" when it is none. */
void tr_s3_error_code(const void *bytes, size_t len, char *out, size_t room);

#endif
