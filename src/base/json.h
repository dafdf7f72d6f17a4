/* Strict JSON (RFC 8259, and I-JSON's rule on duplicate names, RFC 7493) into cJSON trees, digit for digit.
 *
 * cJSON keeps numbers as doubles, takes some text that is not JSON, keeps duplicate keys and does not check
 * UTF-8. So the text is read here and the tree is built with cJSON's own constructors: a number node has type
 * cJSON_Number, its valuedouble, and in `valuestring` its source text, which tr_json_print() writes back
 * unchanged. Refused by name: duplicate keys, invalid UTF-8, lone surrogates, U+0000 in a string or a key
 * (cJSON's strings end there), numbers beyond 1,000 characters or with an exponent beyond 15 digits, text
 * after the value, too deep, too many nodes. Trees are freed with cJSON_Delete(). To change a number that was
 * read here, replace its node: cJSON_SetNumberValue leaves the source text as it was.
 */
#ifndef TR_BASE_JSON_H
#define TR_BASE_JSON_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

#define TR_JSON_MAX_DEPTH 64
#define TR_JSON_MAX_NODES 200000

/* Parse all of text[0..len). On failure TR_E_MALFORMED; err->where is the JSON Pointer of the place reached,
 * err->what names the fault and the byte offset. Never quotes the input. */
tr_status tr_json_parse(const char *text, size_t len, cJSON **out, tr_error *err);

/* Append the tree as compact JSON. Numbers that tr_json_parse read keep their text. */
tr_status tr_json_print(const cJSON *tree, tr_buf *out, tr_error *err);
/* The same with object members sorted by name (bytes): for hashing and comparing; numbers keep their text. */
tr_status tr_json_print_sorted(const cJSON *tree, tr_buf *out, tr_error *err);
/* Sorted, and numbers in one normal form: the bytes of two trees are equal exactly when tr_json_equal says
 * so. */
tr_status tr_json_print_canonical(const cJSON *tree, tr_buf *out, tr_error *err);

/* RFC 7396: apply `patch`, whose objects have no duplicate names, to *target (which may be replaced; NULL
 * counts as absent). The result does not alias `patch`. On failure *target is still a sound tree, but may
 * have taken a part of the patch. */
tr_status tr_json_merge_patch(cJSON **target, const cJSON *patch, tr_error *err);

/* JSON equality of 2020-12 section 4.2.2: numbers by mathematical value (exact, not through doubles), objects
 * without order, arrays with order. */
bool tr_json_equal(const cJSON *a, const cJSON *b);

/* A number node's decimal text (its source text, or the shortest that gives the double back). `room` >= 32.
 */
const char *tr_json_number_text(const cJSON *number, char *room, size_t size);
/* True when the number's mathematical value is an integer (1, 1.0, 1e3, 10e-1); if it fits, *value is it. */
bool tr_json_is_integer(const cJSON *number, bool *fits, int64_t *value);
/* Exact order of two number nodes: -1, 0, 1. */
int tr_json_number_compare(const cJSON *a, const cJSON *b);
/* Is `number` an integer multiple of `divisor` (not zero)? Exact, for any two numbers tr_json_parse takes. */
tr_status tr_json_is_multiple(const cJSON *number, const cJSON *divisor, bool *yes, tr_error *err);

/* Look up a JSON Pointer (RFC 6901) in a tree; NULL when nothing is there. "" is the root. */
const cJSON *tr_json_pointer(const cJSON *root, const char *pointer);
/* Append "/token" with RFC 6901 escapes; tokens of more than 100 bytes are cut. */
void tr_json_pointer_push(tr_buf *pointer, const char *token);
/* The pointer's leading tokens that fit tr_error.where. */
const char *tr_json_pointer_clip(tr_buf *pointer);

/* Members by exact name; NULL when absent or of another type. */
const cJSON *tr_json_member(const cJSON *object, const char *name);
const char *tr_json_string(const cJSON *object, const char *name); /* NULL when absent or not a string */
bool tr_json_bool(const cJSON *object, const char *name, bool otherwise);
bool tr_json_int(const cJSON *object, const char *name, int64_t *value);

#endif
