/* The keywords: one table in the order in which they are checked, and the compilers of those that look at the
 * value itself. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vault/jsonschema_internal.h"

#define DIALECT    "https://json-schema.org/draft/2020-12/schema"
#define VOCABULARY "https://json-schema.org/draft/2020-12/vocab/"

static tr_js_keyword_fn dialect, vocabulary, anchor, note_string, note_bool, note_array, note_any, type_of,
    values, numbers, counts, pattern, format, unique, required, dependent_required;

/* X(name, compiler) */
#define KEYWORDS(X)                                                                                          \
    X("$schema", dialect)                                                                                    \
    X("$id", note_string) /* jsonschema_compile.c */                                                         \
    X("$anchor", anchor)                                                                                     \
    X("$dynamicAnchor", anchor)                                                                              \
    X("$vocabulary", vocabulary)                                                                             \
    X("$comment", note_string)                                                                               \
    X("title", note_string)                                                                                  \
    X("description", note_string)                                                                            \
    X("default", note_any)                                                                                   \
    X("examples", note_array)                                                                                \
    X("deprecated", note_bool)                                                                               \
    X("readOnly", note_bool)                                                                                 \
    X("writeOnly", note_bool)                                                                                \
    X("contentEncoding", note_string)                                                                        \
    X("contentMediaType", note_string)                                                                       \
    X("contentSchema", tr_js_content)                                                                        \
    X("$defs", tr_js_defs)                                                                                   \
    X("type", type_of)                                                                                       \
    X("const", values)                                                                                       \
    X("enum", values)                                                                                        \
    X("multipleOf", numbers)                                                                                 \
    X("maximum", numbers)                                                                                    \
    X("exclusiveMaximum", numbers)                                                                           \
    X("minimum", numbers)                                                                                    \
    X("exclusiveMinimum", numbers)                                                                           \
    X("maxLength", counts)                                                                                   \
    X("minLength", counts)                                                                                   \
    X("pattern", pattern)                                                                                    \
    X("format", format)                                                                                      \
    X("maxItems", counts)                                                                                    \
    X("minItems", counts)                                                                                    \
    X("uniqueItems", unique)                                                                                 \
    X("maxProperties", counts)                                                                               \
    X("minProperties", counts)                                                                               \
    X("required", required)                                                                                  \
    X("dependentRequired", dependent_required)                                                               \
    X("$ref", tr_js_reference)                                                                               \
    X("$dynamicRef", tr_js_reference)                                                                        \
    X("allOf", tr_js_all_of)                                                                                 \
    X("anyOf", tr_js_any_of)                                                                                 \
    X("oneOf", tr_js_one_of)                                                                                 \
    X("not", tr_js_not)                                                                                      \
    X("if", tr_js_if)                                                                                        \
    X("then", tr_js_if)                                                                                      \
    X("else", tr_js_if)                                                                                      \
    X("dependentSchemas", tr_js_dependent_schemas)                                                           \
    X("propertyNames", tr_js_property_names)                                                                 \
    X("properties", tr_js_members_of)                                                                        \
    X("patternProperties", tr_js_members_of)                                                                 \
    X("additionalProperties", tr_js_members_of)                                                              \
    X("prefixItems", tr_js_items_of)                                                                         \
    X("items", tr_js_items_of)                                                                               \
    X("contains", tr_js_contains_of)                                                                         \
    X("minContains", tr_js_contains_of)                                                                      \
    X("maxContains", tr_js_contains_of)                                                                      \
    X("unevaluatedItems", tr_js_unevaluated)                                                                 \
    X("unevaluatedProperties", tr_js_unevaluated)

typedef struct keyword_row {
    const char *name;
    tr_js_keyword_fn *compile;
} keyword_row;

static const keyword_row keywords[] = {
#define ROW(name, compile) {name, compile},
    KEYWORDS(ROW)
#undef ROW
};

#define KEYWORD_COUNT (sizeof keywords / sizeof *keywords)

static size_t keyword_index(const char *name) {
    size_t i = 0;
    while (i < KEYWORD_COUNT && strcmp(keywords[i].name, name) != 0)
        i++;
    return i;
}

const char *tr_js_keyword_name(unsigned keyword) {
    return keywords[keyword].name;
}

const cJSON *tr_js_found(const cJSON *const *found, const char *name) {
    return found[keyword_index(name)];
}

tr_status tr_js_compile_keywords(tr_js_compiler *c, tr_js_node *node, const cJSON *json) {
    const cJSON *found[KEYWORD_COUNT] = {0};
    const cJSON *member;
    cJSON_ArrayForEach(member, json) {
        size_t i = keyword_index(member->string);
        if (i < KEYWORD_COUNT)
            found[i] = member;
        else if (c->options.strict_keywords && strncmp(member->string, "x-", 2) != 0)
            return tr_js_refuse(c, member->string, "this is not a keyword of JSON Schema 2020-12");
    }
    tr_status st = TR_OK;
    for (unsigned i = 0; st == TR_OK && i < KEYWORD_COUNT; i++)
        if (found[i])
            st = keywords[i].compile(c, node, found, i);
    return st;
}

/* ---- core and notes ---- */

static tr_status dialect(tr_js_compiler *c, tr_js_node *node, const cJSON *const *found, unsigned k) {
    const cJSON *json = found[k];
    (void)node;
    if (!cJSON_IsString(json) ||
        (strcmp(json->valuestring, DIALECT) != 0 && strcmp(json->valuestring, DIALECT "#") != 0))
        return tr_js_refuse(c, keywords[k].name, "$schema must be \"%s\"", DIALECT);
    return TR_OK;
}

static tr_status vocabulary(tr_js_compiler *c, tr_js_node *node, const cJSON *const *found, unsigned k) {
    const cJSON *entry;
    (void)node;
    if (!cJSON_IsObject(found[k]))
        return tr_js_refuse(c, keywords[k].name, "$vocabulary must be an object");
    cJSON_ArrayForEach(entry, found[k]) {
        if (!cJSON_IsBool(entry) ||
            (cJSON_IsTrue(entry) && strncmp(entry->string, VOCABULARY, strlen(VOCABULARY)) != 0))
            return tr_js_refuse(c, keywords[k].name,
                                "only the vocabularies of JSON Schema 2020-12 are taken");
    }
    return TR_OK;
}

static tr_status anchor(tr_js_compiler *c, tr_js_node *node, const cJSON *const *found, unsigned k) {
    if (!cJSON_IsString(found[k]))
        return tr_js_refuse(c, keywords[k].name, "%s must be a string", keywords[k].name);
    return tr_js_add_anchor(c, node, keywords[k].name, found[k]->valuestring,
                            strcmp(keywords[k].name, "$anchor") != 0);
}

static tr_status note(tr_js_compiler *c, unsigned k, bool right, const char *wanted) {
    return right ? TR_OK : tr_js_refuse(c, keywords[k].name, "%s must be %s", keywords[k].name, wanted);
}

static tr_status note_string(tr_js_compiler *c, tr_js_node *node, const cJSON *const *found, unsigned k) {
    (void)node;
    return note(c, k, cJSON_IsString(found[k]), "a string");
}

static tr_status note_bool(tr_js_compiler *c, tr_js_node *node, const cJSON *const *found, unsigned k) {
    (void)node;
    return note(c, k, cJSON_IsBool(found[k]), "true or false");
}

static tr_status note_array(tr_js_compiler *c, tr_js_node *node, const cJSON *const *found, unsigned k) {
    (void)node;
    return note(c, k, cJSON_IsArray(found[k]), "an array");
}

static tr_status note_any(tr_js_compiler *c, tr_js_node *node, const cJSON *const *found, unsigned k) {
    (void)c;
    (void)node;
    (void)found;
    (void)k;
    return TR_OK;
}

/* ---- type, const, enum ---- */

static unsigned type_named(const cJSON *name) {
    static const struct {
        const char *name;
        unsigned bit;
    } types[] = {{"null", TR_JS_NULL},      {"boolean", TR_JS_BOOLEAN}, {"object", TR_JS_OBJECT},
                 {"array", TR_JS_ARRAY},    {"string", TR_JS_STRING},   {"number", TR_JS_NUMBER},
                 {"integer", TR_JS_INTEGER}};
    for (size_t i = 0; cJSON_IsString(name) && i < sizeof types / sizeof *types; i++)
        if (strcmp(name->valuestring, types[i].name) == 0)
            return types[i].bit;
    return 0;
}

static tr_status type_of(tr_js_compiler *c, tr_js_node *node, const cJSON *const *found, unsigned k) {
    const cJSON *name;
    unsigned types = type_named(found[k]);
    bool right = types != 0;
    if (cJSON_IsArray(found[k])) {
        right = found[k]->child != NULL;
        cJSON_ArrayForEach(name, found[k]) {
            right = right && type_named(name) && !(types & type_named(name));
            types |= type_named(name);
        }
    }
    if (!right)
        return tr_js_refuse(c, "type",
                            "type must be one of null, boolean, object, array, string, number, integer, or "
                            "an array of different ones");
    tr_js_check *check = tr_js_add_check(c, node, "type", tr_js_check_type);
    if (!check)
        return TR_E_NOMEM;
    node->types = check->of.types = types;
    return TR_OK;
}

static int by_text(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static tr_status add_value(tr_js_compiler *c, const cJSON *json, tr_js_values *out) {
    tr_buf text = TR_BUF_INIT;
    tr_status st = tr_json_print_canonical(json, &text, c->err);
    if (st == TR_OK && !(out->texts[out->count] = tr_arena_copy(&c->schema->arena, text.data, text.len)))
        st = tr_js_no_memory(c->err);
    out->count++;
    out->types |= tr_js_type_of(json);
    tr_buf_clear(&text);
    return st;
}

static tr_status values(tr_js_compiler *c, tr_js_node *node, const cJSON *const *found, unsigned k) {
    const cJSON *json = found[k], *value;
    bool list = strcmp(keywords[k].name, "enum") == 0;
    if (list && !cJSON_IsArray(json))
        return tr_js_refuse(c, "enum", "enum must be an array");
    tr_js_check *check = tr_js_add_check(c, node, keywords[k].name, tr_js_check_values);
    if (!check)
        return TR_E_NOMEM;
    tr_js_values *out = &check->of.values;
    size_t count = list ? (size_t)cJSON_GetArraySize(json) : 1;
    tr_status st = TR_OK;
    if (!(out->texts = tr_arena_array(&c->schema->arena, count, sizeof *out->texts)))
        return tr_js_no_memory(c->err);
    if (!list)
        return add_value(c, json, out);
    cJSON_ArrayForEach(value, json) {
        if ((st = add_value(c, value, out)) != TR_OK)
            return st;
    }
    qsort(out->texts, out->count, sizeof *out->texts, by_text);
    return TR_OK;
}

/* ---- numbers ---- */

static tr_status numbers(tr_js_compiler *c, tr_js_node *node, const cJSON *const *found, unsigned k) {
    static const struct {
        const char *name;
        tr_js_check_fn *check;
    } rows[] = {{"multipleOf", tr_js_check_multiple},
                {"maximum", tr_js_check_maximum},
                {"exclusiveMaximum", tr_js_check_below},
                {"minimum", tr_js_check_minimum},
                {"exclusiveMinimum", tr_js_check_above}};
    const cJSON *json = found[k], zero = {.type = cJSON_Number};
    size_t row = 0;
    while (strcmp(rows[row].name, keywords[k].name) != 0)
        row++;
    if (!cJSON_IsNumber(json))
        return tr_js_refuse(c, rows[row].name, "%s must be a number", rows[row].name);
    if (row == 0 && tr_json_number_compare(json, &zero) <= 0)
        return tr_js_refuse(c, rows[row].name, "multipleOf must be greater than zero");
    tr_js_check *check = tr_js_add_check(c, node, rows[row].name, rows[row].check);
    cJSON *copy = tr_arena_alloc(&c->schema->arena, sizeof *copy);
    if (!check || !copy)
        return tr_js_no_memory(c->err);
    copy->type = cJSON_Number;
    copy->valuedouble = json->valuedouble;
    if (json->valuestring &&
        !(copy->valuestring = tr_arena_copy(&c->schema->arena, json->valuestring, strlen(json->valuestring))))
        return tr_js_no_memory(c->err);
    check->of.number = copy;
    return TR_OK;
}

tr_status tr_js_read_count(tr_js_compiler *c, const cJSON *json, const char *token, int64_t *out) {
    bool fits = false;
    if (!cJSON_IsNumber(json) || !tr_json_is_integer(json, &fits, out) || (fits && *out < 0) ||
        (!fits && json->valuedouble < 0))
        return tr_js_refuse(c, token, "%s must be a non-negative integer", token);
    if (!fits)
        *out = INT64_MAX;
    return TR_OK;
}

static tr_status counts(tr_js_compiler *c, tr_js_node *node, const cJSON *const *found, unsigned k) {
    static const struct {
        const char *name;
        tr_js_check_fn *check;
    } rows[] = {{"maxLength", tr_js_check_max_length},      {"minLength", tr_js_check_min_length},
                {"maxItems", tr_js_check_max_items},        {"minItems", tr_js_check_min_items},
                {"maxProperties", tr_js_check_max_members}, {"minProperties", tr_js_check_min_members}};
    size_t row = 0;
    while (strcmp(rows[row].name, keywords[k].name) != 0)
        row++;
    int64_t limit = 0;
    tr_status st = tr_js_read_count(c, found[k], rows[row].name, &limit);
    tr_js_check *check = st == TR_OK ? tr_js_add_check(c, node, rows[row].name, rows[row].check) : NULL;
    if (!check)
        return st == TR_OK ? TR_E_NOMEM : st;
    check->of.limit = limit;
    return TR_OK;
}

/* ---- strings ---- */

tr_status tr_js_add_pattern(tr_js_compiler *c, const char *text, const char *token,
                            const tr_js_pattern **out) {
    tr_js_pattern *compiled = NULL;
    char fault[160];
    tr_status st = tr_js_pattern_compile(text, &compiled, fault, sizeof fault);
    if (st == TR_E_VALIDATION)
        return tr_js_refuse(c, token, "the pattern cannot be used: %s", fault);
    if (st != TR_OK)
        return tr_js_no_memory(c->err);
    tr_js_pattern_link(&c->schema->patterns, compiled);
    c->schema->pattern_bytes += tr_js_pattern_bytes(compiled);
    if (c->schema->pattern_bytes > TR_JS_MAX_PATTERN_BYTES)
        return tr_js_refuse(c, token, "the patterns of this schema are too large together");
    *out = compiled;
    return TR_OK;
}

static tr_status pattern(tr_js_compiler *c, tr_js_node *node, const cJSON *const *found, unsigned k) {
    if (!cJSON_IsString(found[k]))
        return tr_js_refuse(c, "pattern", "pattern must be a string");
    tr_js_check *check = tr_js_add_check(c, node, "pattern", tr_js_check_pattern);
    return check ? tr_js_add_pattern(c, found[k]->valuestring, "pattern", &check->of.pattern) : TR_E_NOMEM;
}

static tr_status format(tr_js_compiler *c, tr_js_node *node, const cJSON *const *found, unsigned k) {
    if (!cJSON_IsString(found[k]))
        return tr_js_refuse(c, "format", "format must be a string");
    const tr_js_format *known = tr_js_format_find(found[k]->valuestring);
    if (!c->options.assert_format)
        return TR_OK;
    if (!known && c->options.strict_keywords)
        return tr_js_refuse(c, "format", "this format is not known");
    if (!known || !known->asserted)
        return TR_OK;
    tr_js_check *check = tr_js_add_check(c, node, "format", tr_js_check_format);
    if (!check)
        return TR_E_NOMEM;
    check->of.format.name = known->name;
    check->of.format.accepts = known->accepts;
    return TR_OK;
}

/* ---- arrays and objects ---- */

static tr_status unique(tr_js_compiler *c, tr_js_node *node, const cJSON *const *found, unsigned k) {
    if (!cJSON_IsBool(found[k]))
        return tr_js_refuse(c, "uniqueItems", "uniqueItems must be true or false");
    if (!cJSON_IsTrue(found[k]))
        return TR_OK;
    return tr_js_add_check(c, node, "uniqueItems", tr_js_check_unique) ? TR_OK : TR_E_NOMEM;
}

tr_status tr_js_read_names(tr_js_compiler *c, const cJSON *json, const char *token, tr_js_names *out) {
    const cJSON *name;
    if (!cJSON_IsArray(json))
        return tr_js_refuse(c, token, "this must be an array of strings");
    out->names = tr_arena_array(&c->schema->arena, (size_t)cJSON_GetArraySize(json), sizeof *out->names);
    if (!out->names)
        return tr_js_no_memory(c->err);
    cJSON_ArrayForEach(name, json) {
        if (!cJSON_IsString(name))
            return tr_js_refuse(c, token, "this must be an array of strings");
        const char *copy = tr_arena_copy(&c->schema->arena, name->valuestring, strlen(name->valuestring));
        if (!copy)
            return tr_js_no_memory(c->err);
        out->names[out->count++] = copy;
    }
    qsort(out->names, out->count, sizeof *out->names, by_text);
    for (size_t i = 1; i < out->count; i++)
        if (strcmp(out->names[i - 1], out->names[i]) == 0)
            return tr_js_refuse(c, token, "a name is listed twice");
    return TR_OK;
}

static tr_status required(tr_js_compiler *c, tr_js_node *node, const cJSON *const *found, unsigned k) {
    tr_js_check *check = tr_js_add_check(c, node, "required", tr_js_check_required);
    return check ? tr_js_read_names(c, found[k], "required", &check->of.names) : TR_E_NOMEM;
}

static int by_dependency(const void *a, const void *b) {
    return strcmp(((const tr_js_dependency *)a)->name, ((const tr_js_dependency *)b)->name);
}

static tr_status dependent_required(tr_js_compiler *c, tr_js_node *node, const cJSON *const *found,
                                    unsigned k) {
    const cJSON *entry;
    tr_status st = TR_OK;
    if (!cJSON_IsObject(found[k]))
        return tr_js_refuse(c, "dependentRequired", "dependentRequired must be an object");
    tr_js_check *check = tr_js_add_check(c, node, "dependentRequired", tr_js_check_dependent_required);
    size_t room = (size_t)cJSON_GetArraySize(found[k]), count = 0;
    tr_js_dependency *items = tr_arena_array(&c->schema->arena, room, sizeof *items);
    if (!check || !items)
        return tr_js_no_memory(c->err);
    size_t length = tr_js_push(c, "dependentRequired");
    cJSON_ArrayForEach(entry, found[k]) {
        items[count].name = tr_arena_copy(&c->schema->arena, entry->string, strlen(entry->string));
        st = items[count].name ? tr_js_read_names(c, entry, entry->string, &items[count].required)
                               : tr_js_no_memory(c->err);
        if (st != TR_OK)
            return st;
        count++;
    }
    tr_js_pop(c, length);
    qsort(items, count, sizeof *items, by_dependency);
    check->of.dependencies.items = items;
    check->of.dependencies.count = count;
    return TR_OK;
}
