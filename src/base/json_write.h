/* Write JSON text straight into a buffer: for answers, whose shape the code knows. Commas are put where they
 * belong.
 *
 * `name` is the member's name, or NULL for an item of an array (or the root). Names are static texts that
 * need no escape; texts are UTF-8 and are escaped.
 */
#ifndef TR_BASE_JSON_WRITE_H
#define TR_BASE_JSON_WRITE_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/uuid.h"

void tr_jw_open(tr_buf *out, const char *name, char bracket);     /* '{' or '[' */
void tr_jw_close(tr_buf *out, char bracket);                      /* '}' or ']' */
void tr_jw_text(tr_buf *out, const char *name, const char *text); /* NULL: null */
void tr_jw_number(tr_buf *out, const char *name, int64_t number);
void tr_jw_bool(tr_buf *out, const char *name, bool value);
void tr_jw_uuid(tr_buf *out, const char *name, const tr_uuid *id); /* NULL: null */
void tr_jw_time(tr_buf *out, const char *name, int64_t ms);        /* 0: null */
/* Text that is JSON already. */
void tr_jw_raw(tr_buf *out, const char *name, const char *json, size_t len);
/* A tree as tr_json_print writes it. */
tr_status tr_jw_tree(tr_buf *out, const char *name, const cJSON *tree, tr_error *err);
/* An array of the strings in `array` (NULL: none). */
void tr_jw_texts(tr_buf *out, const char *name, const cJSON *array);

#endif
