/* JSON Schema 2020-12 for record types and request bodies.
 *
 * The documented part: every keyword of the core, applicator, unevaluated, validation and meta-data
 * vocabularies, with $ref/$anchor/$defs/$dynamicRef inside one document; `format` asserts for date,
 * date-time, time, duration, email, uuid, uri, ipv4, ipv6, hostname, regex when asked to. Not taken:
 * references to other documents (nothing is ever fetched), other
 * `$vocabulary`. `pattern` is read as ECMA-262's (Unicode mode; jsonschema_ecma.c says how) and run by PCRE2
 * with bounded effort, so that no pattern can hold a thread (what passes the bound is reported as a
 * validation failure that says so). A compiled schema is immutable and may be used by many threads at once.
 */
#ifndef TR_VAULT_JSONSCHEMA_H
#define TR_VAULT_JSONSCHEMA_H

#include <cjson/cJSON.h>
#include <stdbool.h>

#include "base/status.h"

typedef struct tr_schema tr_schema;

typedef struct tr_schema_options {
    bool assert_format;
    /* Refuse unknown keywords (those that begin with "x-" are always taken): a typing error in a type must
     * not pass. */
    bool strict_keywords;
} tr_schema_options;

/* Compile the schema at `pointer` (JSON Pointer, "" for the root) of `root`. References resolve against
 * `root`, which is copied as needed and may be freed afterwards. Faults: TR_E_VALIDATION with the schema's
 * pointer in err->where. Limits: 10,000 subschemas; patterns of 1,000 characters. */
tr_status tr_schema_compile(const cJSON *root, const char *pointer, const tr_schema_options *options,
                            tr_schema **out, tr_error *err);
void tr_schema_free(tr_schema *schema);

/* TR_OK, or TR_E_VALIDATION: err->where is the JSON Pointer into the instance, err->what names the keyword
 * and what it wants, never the instance's value. Work is bounded: an evaluation of more than 5,000,000 steps
 * fails with TR_E_VALIDATION. */
tr_status tr_schema_validate(const tr_schema *schema, const cJSON *instance, tr_error *err);

#endif
