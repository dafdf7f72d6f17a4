/* The pieces of a package's page: they append to p->out, or to `out`. Not for other layers. */
#ifndef TR_VAULT_PACKAGE_HTML_H
#define TR_VAULT_PACKAGE_HTML_H

#include "vault/package_internal.h"

/* In the page's language: a text of ours, and what a code of the API is called ("–" for NULL). */
const char *tr_html_say(const tr_package *p, tr_text text);
const char *tr_html_code(const tr_package *p, const char *code);

void tr_html_escaped(tr_buf *out, const char *text); /* NULL: nothing */
void tr_html_element(tr_buf *out, const char *tag, const char *text);
void tr_html_heading(tr_package *p, tr_text text);
void tr_html_table(tr_package *p, const tr_text *columns, size_t count);
void tr_html_table_end(tr_package *p);
/* A row of what it is and its value; NULL: none. */
void tr_html_fact(tr_package *p, tr_text label, const char *value);
/* To a file of the package, whose name needs no escapes. */
void tr_html_link(tr_buf *out, const char *folder, const char *name, const char *ending);
/* An array of codes, with commas; an ISO 8601 duration. */
void tr_html_codes(tr_package *p, const cJSON *list);
void tr_html_duration(tr_package *p, const char *duration);

/* A JSON value, its members called by the titles that the schema (may be NULL) gives them; an object's
 * members; an array's items. */
tr_status tr_html_value(tr_buf *out, const cJSON *value, const cJSON *schema, tr_error *err);
tr_status tr_html_members(tr_buf *out, const cJSON *object, const cJSON *schema, tr_error *err);
tr_status tr_html_items(tr_buf *out, const cJSON *array, const cJSON *schema, tr_error *err);

#endif
