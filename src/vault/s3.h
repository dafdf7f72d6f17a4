/* An S3-compatible store, as far as backups need one: objects under one prefix of one bucket, by libcurl with
 * Signature Version 4 (AWS General Reference, "Signature Version 4 signing process"; Amazon S3 API
 * Reference). Not for other layers.
 *
 * The URL is https://HOST[:PORT]/BUCKET[/PREFIX] ("path style"), http for a loopback address only. Names are
 * relative to the prefix. Each call is tried a few times when the store does not answer, is busy or fails;
 * then the store counts as away, and calls fail at once until it is worth another try. Neither the secret nor
 * the URL's query is in any error.
 *
 * Every body is signed with its SHA-256, so that the store refuses one that was changed on its way; what was
 * stored is looked at again for its size. Any thread may call; memory is a few hundred KiB a call, whatever
 * the object's size.
 */
#ifndef TR_VAULT_S3_H
#define TR_VAULT_S3_H

#include "base/config.h"
#include "crypto/hash.h"

#define TR_S3_ETAG     80
#define TR_S3_PIECE    ((size_t)4 * 1024 * 1024) /* of one tr_s3_get */
#define TR_S3_PART     ((int64_t)8 * 1024 * 1024)
#define TR_S3_NAME_MAX 128

typedef struct tr_s3 tr_s3;

/* TR_E_CONFIG names the setting. Nothing is asked of the store yet. */
tr_status tr_s3_new(const tr_config *config, tr_s3 **out, tr_error *err);
void tr_s3_free(tr_s3 *s3); /* NULL is fine; nobody is in a call */
/* From now on no call takes longer than so many milliseconds from now, and none is tried again after them. */
void tr_s3_end(tr_s3 *s3, int64_t within_ms);
/* Would a call fail at once? */
bool tr_s3_away(tr_s3 *s3);
/* Did the last call fail? Then *why is its error. */
bool tr_s3_failing(tr_s3 *s3, tr_error *why);
/* The next call is tried, though the store counts as away. */
void tr_s3_try_again(tr_s3 *s3);

/* All: TR_E_IO when the store is away, refuses or answers nonsense; what it said is in the text. */

/* `size` bytes of the file from its beginning; in parts where they are many. `sole`: TR_E_CONFLICT when the
 * store keeps older versions of the object. */
tr_status tr_s3_put_file(tr_s3 *s3, const char *name, int fd, int64_t size, bool sole, tr_error *err);
tr_status tr_s3_put(tr_s3 *s3, const char *name, tr_bytes content, bool sole, tr_error *err);

typedef struct tr_s3_object {
    int64_t size;
    char etag[TR_S3_ETAG];
} tr_s3_object;

/* Up to `room` bytes from `from` on. `about` with an empty etag gets the object's; else the object must be
 * that one still. TR_E_NOT_FOUND. */
tr_status tr_s3_get(tr_s3 *s3, const char *name, tr_s3_object *about, int64_t from, void *into, size_t room,
                    size_t *got, tr_error *err);
/* One that is not there is fine. */
tr_status tr_s3_delete(tr_s3 *s3, const char *name, tr_error *err);

typedef tr_status (*tr_s3_name_fn)(void *context, const char *name, tr_error *err);
/* The objects in a folder, by their whole names, or the folders in it by their own. Names that no backup has
 * are left out. */
tr_status tr_s3_list(tr_s3 *s3, const char *folder, bool folders, tr_s3_name_fn fn, void *context,
                     tr_error *err);
/* Uploads in parts that were cut off take up room, and keep what is in them, until somebody ends them: those
 * of the names that begin so. Nobody uploads one now. */
tr_status tr_s3_abort_uploads(tr_s3 *s3, const char *beginning, tr_error *err);
/* Can objects be listed, written and removed, and does the bucket keep only the newest? TR_E_IO;
 * TR_E_CONFLICT. */
tr_status tr_s3_check(tr_s3 *s3, tr_error *err);

#endif
