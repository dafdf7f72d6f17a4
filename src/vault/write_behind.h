/* A file that is written once, from its beginning: by a thread of its own, in whole blocks, and past the page
 * cache where the file system can do that. So it costs no copy of each page, and no memory; and who flushes
 * something else to the same disk meanwhile waits for a block at most, where otherwise the kernel sends much
 * of the file at once.
 */
#ifndef TR_VAULT_WRITE_BEHIND_H
#define TR_VAULT_WRITE_BEHIND_H

#include "crypto/hash.h"

/* Used by one thread at a time. */
typedef struct tr_write_behind tr_write_behind;

/* `fd` is an empty file, the caller's, and must stay open until the end or tr_write_behind_free. What names
 * it in errors, `where`, must live as long. Takes 2 MiB at most, and no thread before there is a whole block.
 */
tr_status tr_write_behind_new(int fd, const char *where, tr_write_behind **out, tr_error *err);
/* Copied. A failure to write shows at a later call, at the latest at the end. */
tr_status tr_write_behind_put(tr_write_behind *w, tr_bytes bytes, tr_error *err);
/* All of it is written, though not flushed; nothing may follow. */
tr_status tr_write_behind_end(tr_write_behind *w, tr_error *err);
/* Without an end before, what is in the file is a beginning. NULL is fine. */
void tr_write_behind_free(tr_write_behind *w);

#endif
