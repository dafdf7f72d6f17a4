/* The parts of POST /v1/import. Not for other layers.
 *
 * The stream is cut into batches by its content alone (lines and bytes, not by how it arrives), so that the
 * same stream sent again has the same batches. A batch is one commit. With an Idempotency-Key each batch's
 * results are kept: an import that was cut off goes on where it was, when it is sent again from its
 * beginning.
 */
#ifndef TR_API_IMPORT_H
#define TR_API_IMPORT_H

#include "api/resources.h"

#define TR_IMPORT_BATCH_LINES 64
#define TR_IMPORT_BATCH_BYTES ((size_t)256 * 1024)

typedef struct tr_import_line {
    int64_t number;    /* of the line in the stream, from 1 */
    size_t start, len; /* in the batch's text */
    bool too_long;
    tr_status status;
    bool prepared; /* has something to store */
    tr_error err;
    bool registers; /* else a record of an existing subject */
    tr_registration registration;
    tr_draft draft;
    tr_uuid subject, record;
    char type[TR_TYPE_NAME_MAX + 1];
} tr_import_line;

typedef struct tr_import {
    tr_call *call;
    tr_rectype *type; /* of ?type=, or NULL */
    /* the stream */
    tr_buf in;
    size_t taken; /* of `in` */
    bool ended, skipping;
    int64_t line;
    /* the batch */
    tr_buf text;
    tr_import_line lines[TR_IMPORT_BATCH_LINES];
    size_t count;
    int64_t number;
    uint8_t input[32];
    tr_buf results;
    /* all */
    int spool;
    int64_t spooled;
    int64_t failures; /* lines at fault */
    bool anything;    /* an audit entry was made */
    bool stale;       /* the batch was not written: a line's data key has an old version of the master key */
} tr_import;

/* import_stream.c: fill the next batch. TR_OK with count 0 at the end; TR_E_TIMEOUT when the stream breaks
 * off. */
tr_status tr_import_read_batch(tr_import *import, tr_error *err);
/* import_line.c: check one line and prepare what it stores; its fault is kept in line->err. Fails only when
 * the vault is in trouble. */
tr_status tr_import_prepare_line(tr_import *import, tr_import_line *line, tr_error *err);
/* TR_E_PRECONDITION, and import->stale: the line must be prepared anew. */
tr_status tr_import_insert_line(tr_import *import, tr_import_line *line, tr_db *tx, tr_error *err);
void tr_import_clear_line(tr_import_line *line);

#endif
