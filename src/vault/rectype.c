#include "vault/rectype.h"

#include <stdlib.h>
#include <string.h>

#include "vault/rectype_internal.h"

/* ---- our keywords ---- */

tr_status tr_rectype_refuse(tr_error *err, const char *pointer, const char *keyword, const char *what) {
    tr_buf where = TR_BUF_INIT;
    tr_buf_puts(&where, pointer);
    tr_json_pointer_push(&where, keyword);
    tr_fail(err, TR_E_VALIDATION, tr_json_pointer_clip(&where), "%s", what);
    tr_buf_clear(&where);
    return TR_E_VALIDATION;
}

static bool one_of(const cJSON *json, const char *const *names, size_t count, size_t *at) {
    for (size_t i = 0; cJSON_IsString(json) && i < count; i++) {
        if (strcmp(json->valuestring, names[i]) == 0) {
            *at = i;
            return true;
        }
    }
    return false;
}

/* NULL, or what is wrong. */
typedef const char *keyword_fn(tr_rectype *type, const cJSON *json, tr_js_node *node);

static const char *take_index(tr_rectype *type, const cJSON *json, tr_js_node *node) {
    (void)type;
    bool ignore_case = cJSON_IsString(json) && strcmp(json->valuestring, "ignore-case") == 0;
    if (!cJSON_IsTrue(json) && !ignore_case)
        return "x-index must be true or \"ignore-case\"";
    node->mark |= TR_MARK_INDEX | (ignore_case ? TR_MARK_IGNORE_CASE : 0);
    return NULL;
}

static const char *take_sensitive(tr_rectype *type, const cJSON *json, tr_js_node *node) {
    /* Art. 5 let. c FADP, Art. 9 GDPR */
    static const char *const categories[] = {"religious-philosophical-political-union",
                                             "health",
                                             "intimate",
                                             "racial-ethnic",
                                             "genetic",
                                             "biometric",
                                             "criminal-administrative",
                                             "social-assistance",
                                             "sexual-orientation"};
    size_t at;
    (void)type;
    (void)node;
    return one_of(json, categories, sizeof categories / sizeof *categories, &at)
               ? NULL
               : "x-sensitive must be one of religious-philosophical-political-union, health, intimate, "
                 "racial-ethnic, genetic, biometric, criminal-administrative, social-assistance, "
                 "sexual-orientation";
}

static const char *take_mask(tr_rectype *type, const cJSON *json, tr_js_node *node) {
    static const char *const masks[] = {
        [TR_MASK_NONE] = "",     [TR_MASK_INITIAL] = "initial", [TR_MASK_LAST4] = "last4",
        [TR_MASK_YEAR] = "year", [TR_MASK_DOMAIN] = "domain",   [TR_MASK_HIDE] = "hide"};
    size_t at = TR_MASK_NONE;
    (void)type;
    if (*node->pointer == '\0')
        return "x-mask must not stand at the root";
    if (!one_of(json, masks, sizeof masks / sizeof *masks, &at) || at == TR_MASK_NONE)
        return "x-mask must be hide, initial, last4, year or domain";
    node->mark |= (uint32_t)at;
    return NULL;
}

static const char *take_retention(tr_rectype *type, const cJSON *json, tr_js_node *node) {
    if (*node->pointer != '\0')
        return "x-retention must stand at the root";
    if (!cJSON_IsString(json) ||
        !tr_js_format_find("duration")->accepts(json->valuestring, strlen(json->valuestring)))
        return "x-retention must be an ISO 8601 duration such as P10Y";
    type->retention = strdup(json->valuestring);
    return type->retention ? NULL : "out of memory";
}

static const char *take_history(tr_rectype *type, const cJSON *json, tr_js_node *node) {
    bool fits = false;
    int64_t count = -1;
    if (*node->pointer != '\0')
        return "x-history must stand at the root";
    if (!cJSON_IsNumber(json) || !tr_json_is_integer(json, &fits, &count) || !fits || count < 0 ||
        count > TR_RECTYPE_HISTORY_MAX)
        return "x-history must be an integer from 0 to 1000";
    type->history = count;
    return NULL;
}

/* Is the pointer a property's: "…/properties/name"? */
static bool is_property(const char *pointer) {
    static const char above[] = "/properties";
    const char *last = strrchr(pointer, '/');
    size_t n = last ? (size_t)(last - pointer) : 0;
    return n >= sizeof above - 1 && strncmp(last - (sizeof above - 1), above, sizeof above - 1) == 0;
}

/* Schema.org writes types with a capital letter and properties without. */
static const char *take_schema_org(tr_rectype *type, const cJSON *json, tr_js_node *node) {
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    const char *text = cJSON_IsString(json) ? json->valuestring : "";
    bool root = *node->pointer == '\0';
    size_t n = strlen(text);
    (void)type;
    if (!root && !is_property(node->pointer))
        return "x-schema-org must stand at the root or at a property";
    if (n < 1 || n > 64 || strspn(text, letters) != n || (text[0] <= 'Z') != root)
        return root ? "x-schema-org must be a type of schema.org, such as Person"
                    : "x-schema-org must be a property of schema.org, such as givenName";
    return NULL;
}

static const struct {
    const char *name;
    keyword_fn *take;
} our_keywords[] = {
    {"x-index", take_index},         {"x-sensitive", take_sensitive}, {"x-mask", take_mask},
    {"x-retention", take_retention}, {"x-history", take_history},     {"x-schema-org", take_schema_org},
};

#define OUR_KEYWORDS (sizeof our_keywords / sizeof *our_keywords)

static tr_status take_node(void *context, const cJSON *json, tr_js_node *node, tr_error *err) {
    const cJSON *member;
    cJSON_ArrayForEach(member, json) {
        size_t i = 0;
        if (strncmp(member->string, "x-", 2) != 0)
            continue;
        while (i < OUR_KEYWORDS && strcmp(our_keywords[i].name, member->string) != 0)
            i++;
        const char *wrong = i == OUR_KEYWORDS ? "this is not a keyword of record types"
                                              : our_keywords[i].take(context, member, node);
        if (wrong)
            return tr_rectype_refuse(err, node->pointer, member->string, wrong);
    }
    return TR_OK;
}

static tr_status finish(void *context, tr_schema *schema, tr_error *err) {
    tr_rectype *type = context;
    if (schema->root->types != TR_JS_OBJECT)
        return tr_fail(err, TR_E_VALIDATION, "/type",
                       "the root of a record type must have \"type\": \"object\"");
    tr_status st = tr_rectype_find_masks(type, schema, err);
    return st == TR_OK ? tr_rectype_find_fields(type, schema, err) : st;
}

/* ---- what leads to a mark ---- */

typedef struct reach {
    const bool *marked;
    bool found;
} reach;

static void note_marked(void *context, const tr_js_node *node) {
    reach *r = context;
    r->found = r->found || r->marked[node->id];
}

tr_status tr_rectype_reach(const tr_schema *schema, uint32_t mark, tr_each_fn *each, bool **out,
                           tr_error *err) {
    bool *marked = calloc(schema->node_count, sizeof *marked);
    bool more = false;
    *out = NULL;
    if (!marked)
        return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    for (const tr_js_node *node = schema->nodes; node; node = node->next)
        more = (marked[node->id] = (node->mark & mark) != 0) || more;
    if (!more) {
        free(marked);
        return TR_OK;
    }
    while (more) {
        more = false;
        for (const tr_js_node *node = schema->nodes; node; node = node->next) {
            reach r = {marked, false};
            if (marked[node->id])
                continue;
            each(schema, node, note_marked, &r);
            more = (marked[node->id] = r.found) || more;
        }
    }
    *out = marked;
    return TR_OK;
}

/* ---- life ---- */

static void type_free(tr_rectype *type) {
    for (size_t i = 0; i < type->field_count; i++)
        free(type->fields[i].pointer);
    free(type->fields);
    free(type->masked);
    free(type->retention);
    free(type->name);
    tr_schema_free(type->schema);
    free(type);
}

tr_status tr_rectype_compile(const char *name, int64_t version, const cJSON *schema, tr_rectype **out,
                             tr_error *err) {
    const tr_schema_options options = {.assert_format = true, .strict_keywords = true};
    tr_rectype *type = calloc(1, sizeof *type);
    if (!type)
        return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    const tr_js_hooks hooks = {type, take_node, finish};
    atomic_init(&type->references, 1);
    type->version = version;
    type->history = TR_RECTYPE_HISTORY_DEFAULT;
    type->name = strdup(name);
    tr_status st = TR_E_NOMEM;
    if (type->name)
        st = tr_js_compile(schema, "", &options, &hooks, &type->schema, err);
    else
        tr_fail(err, st, NULL, "out of memory");
    if (st != TR_OK) {
        type_free(type);
        return st;
    }
    *out = type;
    return TR_OK;
}

tr_rectype *tr_rectype_ref(tr_rectype *type) {
    atomic_fetch_add_explicit(&type->references, 1, memory_order_relaxed);
    return type;
}

void tr_rectype_unref(tr_rectype *type) {
    if (type && atomic_fetch_sub_explicit(&type->references, 1, memory_order_acq_rel) == 1)
        type_free(type);
}

const char *tr_rectype_name(const tr_rectype *type) {
    return type->name;
}

int64_t tr_rectype_version(const tr_rectype *type) {
    return type->version;
}

int64_t tr_rectype_history(const tr_rectype *type) {
    return type->history;
}

const char *tr_rectype_retention(const tr_rectype *type) {
    return type->retention;
}

tr_status tr_rectype_validate(const tr_rectype *type, const cJSON *data, tr_error *err) {
    return tr_schema_validate(type->schema, data, err);
}
