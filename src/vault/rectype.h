/* Record types: a JSON Schema with our keywords, compiled.
 *
 * Beside JSON Schema 2020-12 (vault/jsonschema.h; formats assert, unknown keywords are refused) a type may
 * hold x-index      true | "ignore-case", on a string, number, integer or boolean that is reached from the
 * root through properties, items and $ref only. Its field is written as a JSON Pointer with "*" as the token
 * for an array's items: /id/bioguide, and /terms, then "*", then phone. x-sensitive  a category of Art. 5
 * let. c FADP / Art. 9 GDPR x-mask       hide | initial | last4 | year | domain x-retention  an ISO 8601
 * duration; only at the root x-history    how many earlier versions are kept, 0 to 1000; only at the root; 10
 * when absent x-schema-org what the type (at the root) or a property is called at schema.org Any other
 * keyword that begins with "x-" is refused: a mistyped x-mask must not pass as a note.
 *
 * A compiled type is immutable and counts its references, so that any number of threads may hold it.
 */
#ifndef TR_VAULT_RECTYPE_H
#define TR_VAULT_RECTYPE_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/status.h"

#define TR_RECTYPE_HISTORY_DEFAULT  10
#define TR_RECTYPE_HISTORY_MAX      1000
#define TR_RECTYPE_INDEX_FIELDS_MAX 64  /* of one type */
#define TR_RECTYPE_INDEX_VALUES_MAX 256 /* of one record */
#define TR_RECTYPE_POINTER_MAX      255 /* bytes of a grant's field, or of an index field */

typedef struct tr_rectype tr_rectype;

/* Compile; `schema` is copied as needed. The result has one reference. Faults: TR_E_VALIDATION, err->where
 * the JSON Pointer into the schema. The name is the caller's to check. */
tr_status tr_rectype_compile(const char *name, int64_t version, const cJSON *schema, tr_rectype **out,
                             tr_error *err);
tr_rectype *tr_rectype_ref(tr_rectype *type);
void tr_rectype_unref(tr_rectype *type); /* NULL is taken */

const char *tr_rectype_name(const tr_rectype *type);
int64_t tr_rectype_version(const tr_rectype *type);
int64_t tr_rectype_history(const tr_rectype *type);
const char *tr_rectype_retention(const tr_rectype *type); /* ISO 8601 duration, or NULL */

/* TR_E_VALIDATION with err->where the pointer into `data`; the texts never quote a value. */
tr_status tr_rectype_validate(const tr_rectype *type, const cJSON *data, tr_error *err);

/* ---- index ---- */

size_t tr_rectype_index_count(const tr_rectype *type);
const char *tr_rectype_index_field(const tr_rectype *type,
                                   size_t i); /* in byte order; NULL beyond the last */
bool tr_rectype_is_indexed(const tr_rectype *type, const char *field,
                           bool *ignore_case); /* ignore_case may be NULL */
/* Are the same fields indexed in the same way? (If not, what is stored cannot be found by the other.) */
bool tr_rectype_same_index(const tr_rectype *a, const tr_rectype *b);

/* What is indexed of a value: a tag byte for its kind, so that "1" and 1 differ, then the string's bytes
 * (ASCII letters in lower case where the field ignores case), the number in a normal form (1, 1.0 and 1e0 are
 * the same), or true or false. */
typedef tr_status tr_rectype_value_fn(void *context, const char *field, const void *value, size_t len,
                                      tr_error *err);
/* Call back for each different value of each index field in `data`; a callback's failure ends it and is
 * returned. More than TR_RECTYPE_INDEX_VALUES_MAX values: TR_E_VALIDATION at the field's place (nothing was
 * called back). */
tr_status tr_rectype_index_values(const tr_rectype *type, const cJSON *data, tr_rectype_value_fn *callback,
                                  void *context, tr_error *err);
/* The same bytes for a value that is looked for; they replace what `canonical` held. TR_E_VALIDATION at
 * "/field" when it is not indexed, at "/value" when the value is not a string, number or boolean. */
tr_status tr_rectype_lookup_value(const tr_rectype *type, const char *field, const cJSON *value,
                                  tr_buf *canonical, tr_error *err);

/* ---- what a grant shows, and lets change ---- */

/* `fields` in this part are a grant's: JSON Pointers through object members. NULL stands for "all", whatever
 * the count; a list of none stands for "nothing". A field that does not pass tr_rectype_pointer_valid() names
 * nothing. */

/* A pointer that a grant may hold: begins with "/", right escapes, UTF-8 without control characters, at most
 * TR_RECTYPE_POINTER_MAX bytes, no token that is just "*" (which stands for an array's items in index
 * fields). */
bool tr_rectype_pointer_valid(const char *pointer);
/* Is the pointer (or index field) one of the fields, or below one? */
bool tr_rectype_pointer_covers(const char *const *fields, size_t count, const char *pointer);
/* Does the merge patch (RFC 7396) touch only the fields? A member above a field may only be an object that
 * leads to one. */
bool tr_rectype_patch_within(const char *const *fields, size_t count, const cJSON *patch);
/* The same for the record it is meant for, and stricter: where `data` holds something else than an object
 * above a field, the patch would replace it, which is more than the field. */
bool tr_rectype_patch_within_data(const char *const *fields, size_t count, const cJSON *patch,
                                  const cJSON *data);

/* A new tree with only the members that the fields name, with their whole subtrees and the objects on the way
 * to them; nothing leads into an array. With `masked`, every value under an x-mask that any subschema,
 * whichever branch, may put there is replaced: hide null · initial first code point and "." · last4 "…" and
 * the last 4 code points when there are more than 4, else "…" · year the year of a full date or date-time,
 * else null · domain "…@" and what follows the last "@", else null. What is not a string becomes null; where
 * two masks differ, the value is hidden. Numbers keep their text. Once a type has a mask anywhere,
 * a masked view also hides (null) every member and item that no subschema describes: the record may be older
 * than the schema, and what that no longer names may have been masked. Work is bounded as in
 * tr_schema_validate; beyond the bound it fails and shows nothing. */
tr_status tr_rectype_view(const tr_rectype *type, const cJSON *data, const char *const *fields,
                          size_t field_count, bool masked, cJSON **out, tr_error *err);

#endif
