/* What a package tells of a record type, read off its schema. */
#include <string.h>

#include "vault/package_internal.h"

#define TERM "x-schema-org"

struct schema {
    tr_buf *text;
    cJSON **tree;
};

static tr_status take_schema(void *context, const tr_type *row, tr_error *err) {
    struct schema *s = context;
    if (s->text)
        tr_buf_puts(s->text, row->schema);
    tr_status st = s->tree ? tr_json_parse(row->schema, strlen(row->schema), s->tree, err) : TR_OK;
    return st == TR_E_MALFORMED ? tr_fail(err, TR_E_CORRUPT, "vault.db", "a stored type is damaged") : st;
}

tr_status tr_package_schema(tr_package *p, const char *type, tr_buf *text, cJSON **tree, tr_error *err) {
    struct schema s = {text, tree};
    if (tree)
        *tree = NULL;
    tr_status st = tr_type_get(p->db, type, take_schema, &s, err);
    return st == TR_OK && text ? tr_buf_ok(text, err) : st;
}

/* ---- flat types ---- */

static bool plain_name(const cJSON *type) {
    static const char *const names[] = {"string", "number", "integer", "boolean", "null"};
    for (size_t i = 0; cJSON_IsString(type) && i < sizeof names / sizeof *names; i++) {
        if (strcmp(type->valuestring, names[i]) == 0)
            return true;
    }
    return false;
}

static bool plain_property(const cJSON *property) {
    const cJSON *type = tr_json_member(property, "type"), *item;
    if (!cJSON_IsArray(type))
        return plain_name(type);
    cJSON_ArrayForEach(item, type) {
        if (!plain_name(item))
            return false;
    }
    return true;
}

bool tr_schema_is_flat(const cJSON *schema) {
    const cJSON *properties = tr_json_member(schema, "properties"), *property;
    if (!properties || !properties->child || tr_json_member(schema, "patternProperties"))
        return false;
    cJSON_ArrayForEach(property, properties) {
        if (!plain_property(property))
            return false;
    }
    return true;
}

/* ---- sensitive data ---- */

static bool add_once(cJSON *list, const char *text) {
    const cJSON *item;
    cJSON_ArrayForEach(item, list) {
        if (strcmp(item->valuestring, text) == 0)
            return true;
    }
    cJSON *made = cJSON_CreateString(text);
    return made && cJSON_AddItemToArray(list, made);
}

/* As deep as tr_json_parse lets a tree be. */
bool tr_schema_sensitive(const cJSON *schema, cJSON *list) {
    const char *category = cJSON_IsObject(schema) ? tr_json_string(schema, "x-sensitive") : NULL;
    bool ok = !category || add_once(list, category);
    for (const cJSON *child = schema ? schema->child : NULL; child && ok; child = child->next)
        ok = tr_schema_sensitive(child, list);
    return ok;
}

/* ---- JSON-LD 1.1: a type's terms hold within what is of that type, a property's within its value ---- */

/* Member names are those of the schema, so they are escaped here. */
static void open_member(tr_buf *out, const char *name) {
    char last = out->len ? out->data[out->len - 1] : '{';
    if (last != '{' && last != '[')
        tr_buf_putc(out, ',');
    tr_buf_json_string(out, name, strlen(name));
    tr_buf_putc(out, ':');
}

static void put_id(tr_buf *out, const char *term) {
    tr_buf id = TR_BUF_INIT;
    tr_buf_printf(&id, "schema:%s", term);
    tr_jw_text(out, "@id", id.data);
    tr_buf_clear(&id);
}

/* Both return whether they appended anything. */
static bool put_properties(const cJSON *schema, tr_buf *out);

static bool put_node(const cJSON *node, const char *name, const char *term, tr_buf *out) {
    const cJSON *items = tr_json_member(node, "items"); /* an array's terms are its items' */
    tr_buf below = TR_BUF_INIT;
    bool has_below = put_properties(cJSON_IsObject(items) ? items : node, &below);
    if (term) {
        open_member(out, name);
        tr_buf_putc(out, '{');
        put_id(out, term);
        if (has_below)
            tr_jw_raw(out, "@context", below.data, below.len);
        tr_jw_close(out, '}');
    }
    tr_buf_clear(&below);
    return term != NULL;
}

static bool put_properties(const cJSON *schema, tr_buf *out) {
    const cJSON *property;
    bool any = false;
    tr_jw_open(out, NULL, '{');
    cJSON_ArrayForEach(property, tr_json_member(schema, "properties")) {
        if (put_node(property, property->string, tr_json_string(property, TERM), out))
            any = true;
    }
    tr_jw_close(out, '}');
    return any;
}

bool tr_schema_context(const cJSON *schema, const char *name, tr_buf *out) {
    return put_node(schema, name, tr_json_string(schema, TERM), out);
}
