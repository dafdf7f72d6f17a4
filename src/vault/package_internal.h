/* What the files of a package share (vault/package.h). Not for other layers. */
#ifndef TR_VAULT_PACKAGE_INTERNAL_H
#define TR_VAULT_PACKAGE_INTERNAL_H

#include <cjson/cJSON.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/json_write.h"
#include "vault/package.h"
#include "vault/package_texts.h"
#include "vault/package_zip.h"
#include "vault/recipients.h"
#include "vault/types.h"

#define TR_PACKAGE_NAMES 64 /* names kept at hand */
#define TR_PACKAGE_NAME  200

typedef struct tr_package_type {
    char name[TR_TYPE_NAME_MAX + 1];
    int64_t records; /* when it began */
    bool flat;       /* has a CSV file */
} tr_package_type;

typedef struct tr_package_name { /* of a principal or an activity */
    tr_uuid id;
    bool known, found;
    char role[16]; /* of a principal */
    char text[TR_PACKAGE_NAME + 1];
} tr_package_name;

typedef struct tr_package {
    tr_vault *vault;
    tr_db *db;
    const tr_package_options *options;
    int64_t started_at;
    tr_zip *zip;
    tr_buf out; /* of the file that is being written: what has not gone into the ZIP yet */
    cJSON *files;
    cJSON *information;
    tr_package_type *types; /* that the subject has records of, and the reader may see, by name */
    size_t type_count;
    tr_recipients writers; /* principals that wrote the records */
    tr_package_name names[TR_PACKAGE_NAMES];
} tr_package;

/* ---- package.c ---- */
/* May the reader still have it? Between batches. */
tr_status tr_package_still(tr_package *p, tr_error *err);
/* What is in `out` goes into the ZIP. Never inside a callback of the store. */
tr_status tr_package_flush(tr_package *p, tr_error *err);
/* A file: what `fill` appends to p->out, flushing as it likes. */
tr_status tr_package_file(tr_package *p, const char *name,
                          tr_status (*fill)(tr_package *p, const void *context, tr_error *err),
                          const void *context, tr_error *err);

/* ---- package_names.c ---- */
/* What a principal or an activity is called; text is "" when it is gone. Valid until the next call. */
tr_status tr_package_principal(tr_package *p, const tr_uuid *id, const tr_package_name **name, tr_error *err);
tr_status tr_package_activity(tr_package *p, const tr_uuid *id, const tr_package_name **name, tr_error *err);
/* The same for an id as text; NULL, or no id: *name has no text. */
typedef tr_status tr_package_name_fn(tr_package *p, const tr_uuid *id, const tr_package_name **name,
                                     tr_error *err);
tr_status tr_package_name_of(tr_package *p, const char *id, tr_package_name_fn *of, const char **name,
                             tr_error *err);

/* ---- package_records.c ---- */
/* Find the types, count the records, note who wrote them. */
tr_status tr_package_survey(tr_package *p, tr_error *err);
typedef tr_status tr_package_record_fn(void *context, tr_package *p, const tr_record *row, const cJSON *data,
                                       bool partial, const tr_secret *key, tr_error *err);
/* The first `most` (0: all) records of a type, as the reader may see them. fn appends to p->out only. */
tr_status tr_package_records(tr_package *p, const char *type, int64_t most, tr_package_record_fn *fn,
                             void *context, tr_error *err);
/* records/, schemas/ and context.jsonld */
tr_status tr_package_put_records(tr_package *p, tr_error *err);

/* ---- package_schema.c ---- */
/* The type's schema as stored: *text, and its tree, which the caller frees; either may be NULL. */
tr_status tr_package_schema(tr_package *p, const char *type, tr_buf *text, cJSON **tree, tr_error *err);
/* Are all properties plain values (no object, no array, nothing that is decided elsewhere)? */
bool tr_schema_is_flat(const cJSON *schema);
/* The categories of x-sensitive anywhere in it are added to the array `list`, each once. */
bool tr_schema_sensitive(const cJSON *schema, cJSON *list);
/* Does the type name a term of schema.org (x-schema-org)? Then its entry of a JSON-LD context, with the terms
 * of its properties, is appended as member `name`. */
bool tr_schema_context(const cJSON *schema, const char *name, tr_buf *out);

/* ---- package_csv.c ---- */
/* One field (RFC 4180), with a comma before it unless `first`. `text` NULL: empty. A text that a spreadsheet
 * would take for a formula gets an apostrophe before it. */
void tr_csv_text(tr_buf *out, bool first, const char *text);
/* A JSON value: numbers as they are, null and NULL empty, objects and arrays as JSON. */
tr_status tr_csv_value(tr_buf *out, bool first, const cJSON *value, tr_error *err);
void tr_csv_end(tr_buf *out);

/* ---- package_info.c, package_lists.c, package_page.c ---- */
tr_status tr_package_inform(tr_package *p, tr_error *err); /* fills p->information */
typedef tr_status tr_package_access_fn(void *context, tr_package *p, const cJSON *entry, int64_t seq,
                                       tr_error *err);
/* The newest `most` entries about the subject (0: all, oldest first, flushing between batches). */
tr_status tr_package_accesses(tr_package *p, int64_t most, tr_package_access_fn *fn, void *context,
                              tr_error *err);
tr_status tr_package_put_lists(tr_package *p, tr_error *err);
tr_status tr_package_put_page(tr_package *p, tr_error *err);

#endif
