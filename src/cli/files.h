/* Files of the command line: read whole, replaced whole, locked. */
#ifndef TR_CLI_FILES_H
#define TR_CLI_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

/* Append the whole file, of at most `most` bytes. *missing (may be NULL): there is no such file, and TR_OK.
 */
tr_status tr_file_read(const char *path, size_t most, tr_buf *out, bool *missing, tr_error *err);
/* The same from an open file. `name` is for messages. */
tr_status tr_file_read_fd(int fd, const char *name, size_t most, tr_buf *out, tr_error *err);
/* Put the bytes in the file's place, 0600: a temporary file, fsync, rename, fsync of the folder. Old or new,
 * never half. A symbolic link stays, and what it points to is replaced. */
tr_status tr_file_replace(const char *path, const void *bytes, size_t len, tr_error *err);
/* The same where no file is yet; TR_E_EXISTS. */
tr_status tr_file_create(const char *path, const void *bytes, size_t len, tr_error *err);
/* Remove it durably; a missing one is fine. */
tr_status tr_file_remove(const char *path, tr_error *err);

/* Make renames in the folder that `path` is in last. */
tr_status tr_file_flush_folder(const char *path, tr_error *err);

/* Wait for the lock file (made when missing, never removed) and hold it until the descriptor is closed. */
tr_status tr_file_lock(const char *path, int *fd, tr_error *err);
/* The same with the folder that `path` is in as the lock: leaves nothing behind. */
tr_status tr_file_lock_folder(const char *path, int *fd, tr_error *err);

/* What a request sends: text, or the first `len` bytes of a file that can be read from its beginning again.
 */
typedef struct tr_cli_body {
    const char *text; /* NULL: in the file, or nothing */
    int fd;           /* -1: none */
    int64_t len;
} tr_cli_body;
#define TR_CLI_NO_BODY ((tr_cli_body){.fd = -1})

/* Open a file as a body; "-" is stdin. What cannot be read twice is copied to a temporary file without a
 * name. */
tr_status tr_cli_body_open(const char *path, tr_cli_body *body, tr_error *err);
/* Up to n bytes at `offset`; 0 at the end, -1 on failure. */
long tr_cli_body_read(const tr_cli_body *body, int64_t offset, void *room, size_t n);
void tr_cli_body_close(tr_cli_body *body);

#endif
