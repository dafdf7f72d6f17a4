/* Where snapshots go, and files there that are whole or not there at all. Not for other layers.
 *
 * A folder (target_folder.c): a file is written under a name that begins with a dot, flushed, and renamed
 * when it is complete. An S3-compatible store (target_store.c): it is written into the spool first, a folder
 * on this machine; snapshots and segments wait there for vault/snapshot_spool.h to upload them, copies of
 * keys and keyring are in the store when tr_target_commit returns and never stay in the spool. Names are
 * relative to the target ("keys.tresor", "snapshots/ID.tresor").
 */
#ifndef TR_VAULT_SNAPSHOT_TARGET_H
#define TR_VAULT_SNAPSHOT_TARGET_H

#include "base/buf.h"
#include "crypto/stream.h"
#include "vault/s3.h"

#define TR_TARGET_SNAPSHOTS "snapshots"
#define TR_TARGET_KEYS      "keys.tresor"
#define TR_TARGET_ENDING    ".tresor"

typedef struct tr_target tr_target;
typedef struct tr_spool tr_spool; /* vault/snapshot_spool.h */

/* The folder must be there: an absent one may be a disk that is not mounted. To write, the folder `snapshots`
 * is made in it. TR_E_IO names it. */
tr_status tr_target_open(const char *folder, bool write, tr_target **out, tr_error *err);
/* `spool` NULL: only to read, and only what is in the store. Asks nothing of the store yet; both must live as
 * long as the target. */
tr_status tr_target_open_store(tr_s3 *store, tr_spool *spool, tr_target **out, tr_error *err);
void tr_target_close(tr_target *target); /* NULL is fine */
/* The spool as a target of its own; NULL: there is none. */
tr_target *tr_target_spool(tr_target *target);
/* Is this file in the spool still? */
bool tr_target_spooled(tr_target *target, const char *name);

/* ---- writing ---- */

/* Remove what snapshots that were cut off left. Nobody writes one now. */
tr_status tr_target_sweep(tr_target *target, tr_error *err);
/* Remove what the writing of this file left when it was cut off, if anything. Nobody writes it now. */
tr_status tr_target_remove_part(tr_target *target, const char *name, tr_error *err);

typedef struct tr_target_file tr_target_file;

/* Make sure of a folder in the target; its own one must be there. */
tr_status tr_target_folder(tr_target *target, const char *folder, tr_error *err);
/* Remove an empty one. */
void tr_target_remove_folder(tr_target *target, const char *folder);
tr_status tr_target_begin(tr_target *target, const char *name, tr_target_file **out, tr_error *err);
/* A tr_stream_sink_fn. TR_E_DISK_FULL. */
tr_status tr_target_write(void *file, tr_bytes bytes, tr_error *err);
int64_t tr_target_written(const tr_target_file *file);
/* Flush, and let the file take its name, in the place of an older one. Frees it in any case. A failure may
 * leave it there, when only that it has its name could not be flushed. */
tr_status tr_target_commit(tr_target_file *file, tr_error *err);
void tr_target_abort(tr_target_file *file); /* NULL is fine */
/* A small file at once. One with this content already is left alone. */
tr_status tr_target_put(tr_target *target, const char *name, tr_bytes content, tr_error *err);
tr_status tr_target_remove(tr_target *target, const char *name, tr_error *err); /* TR_E_NOT_FOUND */

/* ---- reading ---- */

typedef struct tr_target_source tr_target_source;

/* An open source stays what it was when the file is replaced, or cannot be read any more. TR_E_NOT_FOUND. */
tr_status tr_target_read(tr_target *target, const char *name, tr_target_source **out, tr_error *err);
/* The same for any file, by its path. */
tr_status tr_target_read_path(const char *path, tr_target_source **out, tr_error *err);
/* A tr_stream_source_fn. */
tr_status tr_target_source_read(void *source, void *into, size_t room, size_t *got, tr_error *err);
tr_status tr_target_rewind(tr_target_source *source, tr_error *err);
int64_t tr_target_size(const tr_target_source *source);
void tr_target_source_close(tr_target_source *source); /* NULL is fine */
/* A small file whole. TR_E_NOT_FOUND. */
tr_status tr_target_get(tr_target *target, const char *name, size_t most, tr_buf *out, tr_error *err);
tr_status tr_target_get_path(const char *path, size_t most, tr_buf *out, tr_error *err);

/* The names of the snapshots, in no order. */
typedef tr_status (*tr_target_name_fn)(void *context, const char *name, tr_error *err);
tr_status tr_target_list(tr_target *target, tr_target_name_fn fn, void *context, tr_error *err);
/* The same for another folder of the target; none: no names. */
tr_status tr_target_list_in(tr_target *target, const char *folder, tr_target_name_fn fn, void *context,
                            tr_error *err);
/* The names of the folders in it. */
tr_status tr_target_folders(tr_target *target, const char *folder, tr_target_name_fn fn, void *context,
                            tr_error *err);

#endif
