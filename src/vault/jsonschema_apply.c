/* The compilers of the keywords that apply subschemas. */
#include <stdlib.h>
#include <string.h>

#include "vault/jsonschema_internal.h"

/* Compile the subschema under `keyword` itself. */
static tr_status direct(tr_js_compiler *c, const cJSON *json, const char *keyword, tr_js_node **out) {
    size_t length = tr_js_push(c, keyword);
    tr_status st = tr_js_compile_node(c, json, keyword, out);
    tr_js_pop(c, length);
    return st;
}

static tr_status add_edge(tr_js_compiler *c, tr_js_node *node, tr_js_node *to) {
    tr_js_edge *edge = tr_arena_alloc(&c->schema->arena, sizeof *edge);
    if (!edge)
        return tr_js_no_memory(c->err);
    *edge = (tr_js_edge){node->edges, to, NULL};
    node->edges = edge;
    return TR_OK;
}

/* A subschema that applies to the same value. */
static tr_status in_place(tr_js_compiler *c, tr_js_node *node, const cJSON *json, const char *keyword,
                          tr_js_node **out) {
    tr_status st = direct(c, json, keyword, out);
    return st == TR_OK ? add_edge(c, node, *out) : st;
}

/* Compile each subschema of an array. */
static tr_status list(tr_js_compiler *c, const cJSON *json, const char *keyword, tr_js_node ***nodes,
                      size_t *count) {
    const cJSON *item;
    tr_status st = TR_OK;
    size_t i = 0;
    if (!cJSON_IsArray(json) || !json->child)
        return tr_js_refuse(c, keyword, "%s must be an array of at least one schema", keyword);
    *count = (size_t)cJSON_GetArraySize(json);
    *nodes = tr_arena_array(&c->schema->arena, *count, sizeof **nodes);
    if (!*nodes)
        return tr_js_no_memory(c->err);
    size_t length = tr_js_push(c, keyword);
    cJSON_ArrayForEach(item, json) {
        size_t inner = tr_js_push_index(c, i);
        st = tr_js_compile_node(c, item, keyword, &(*nodes)[i++]);
        tr_js_pop(c, inner);
        if (st != TR_OK)
            break;
    }
    tr_js_pop(c, length);
    return st;
}

/* Compile each subschema of an object; `each` keeps it. */
typedef tr_status keep_fn(tr_js_compiler *c, void *into, size_t i, const char *name, tr_js_node *node);

static tr_status map(tr_js_compiler *c, const cJSON *json, const char *keyword, keep_fn *keep, void *into) {
    const cJSON *entry;
    tr_status st = TR_OK;
    size_t i = 0;
    if (!cJSON_IsObject(json))
        return tr_js_refuse(c, keyword, "%s must be an object of schemas", keyword);
    size_t length = tr_js_push(c, keyword);
    cJSON_ArrayForEach(entry, json) {
        tr_js_node *node;
        size_t inner = tr_js_push(c, entry->string);
        st = tr_js_compile_node(c, entry, keyword, &node);
        if (st == TR_OK)
            st = keep(c, into, i++, entry->string, node);
        tr_js_pop(c, inner);
        if (st != TR_OK)
            break;
    }
    tr_js_pop(c, length);
    return st;
}

/* ---- core ---- */

static tr_status keep_nothing(tr_js_compiler *c, void *into, size_t i, const char *name, tr_js_node *node) {
    (void)c;
    (void)into;
    (void)i;
    (void)name;
    (void)node;
    return TR_OK;
}

tr_status tr_js_defs(tr_js_compiler *c, tr_js_node *node, const cJSON *const *found, unsigned k) {
    (void)node;
    return map(c, found[k], tr_js_keyword_name(k), keep_nothing, NULL);
}

tr_status tr_js_reference(tr_js_compiler *c, tr_js_node *node, const cJSON *const *found, unsigned k) {
    const char *keyword = tr_js_keyword_name(k);
    if (!cJSON_IsString(found[k]))
        return tr_js_refuse(c, keyword, "%s must be a string", keyword);
    tr_js_check *check = tr_js_add_check(c, node, keyword, tr_js_check_ref);
    return check ? tr_js_add_pending(c, node, check, found[k]->valuestring) : TR_E_NOMEM;
}

/* ---- in place ---- */

static tr_status combine(tr_js_compiler *c, tr_js_node *node, const cJSON *json, unsigned k,
                         tr_js_check_fn *run) {
    const char *keyword = tr_js_keyword_name(k);
    tr_js_check *check = tr_js_add_check(c, node, keyword, run);
    if (!check)
        return TR_E_NOMEM;
    tr_js_list *all = &check->of.list;
    tr_status st = list(c, json, keyword, &all->nodes, &all->count);
    for (size_t i = 0; st == TR_OK && i < all->count; i++)
        st = add_edge(c, node, all->nodes[i]);
    return st;
}

tr_status tr_js_all_of(tr_js_compiler *c, tr_js_node *node, const cJSON *const *found, unsigned k) {
    return combine(c, node, found[k], k, tr_js_check_all);
}

tr_status tr_js_any_of(tr_js_compiler *c, tr_js_node *node, const cJSON *const *found, unsigned k) {
    return combine(c, node, found[k], k, tr_js_check_any);
}

tr_status tr_js_one_of(tr_js_compiler *c, tr_js_node *node, const cJSON *const *found, unsigned k) {
    return combine(c, node, found[k], k, tr_js_check_one);
}

tr_status tr_js_not(tr_js_compiler *c, tr_js_node *node, const cJSON *const *found, unsigned k) {
    tr_js_check *check = tr_js_add_check(c, node, "not", tr_js_check_not);
    return check ? in_place(c, node, found[k], "not", &check->of.node) : TR_E_NOMEM;
}

tr_status tr_js_if(tr_js_compiler *c, tr_js_node *node, const cJSON *const *found, unsigned k) {
    const cJSON *when = tr_js_found(found, "if"), *then = tr_js_found(found, "then");
    const cJSON *otherwise = tr_js_found(found, "else");
    tr_js_node *lone;
    const char *keyword = tr_js_keyword_name(k);
    if (!when) /* then and else alone assert nothing, but they may be referred to */
        return direct(c, found[k], keyword, &lone);
    if (strcmp(keyword, "if") != 0)
        return TR_OK;
    tr_js_check *check = tr_js_add_check(c, node, "if", tr_js_check_if);
    tr_status st = check ? in_place(c, node, when, "if", &check->of.condition.when) : TR_E_NOMEM;
    if (st == TR_OK && then)
        st = in_place(c, node, then, "then", &check->of.condition.then);
    if (st == TR_OK && otherwise)
        st = in_place(c, node, otherwise, "else", &check->of.condition.otherwise);
    return st;
}

static tr_status keep_dependency(tr_js_compiler *c, void *into, size_t i, const char *name,
                                 tr_js_node *node) {
    tr_js_dependency *items = into;
    items[i].node = node;
    items[i].name = tr_arena_copy(&c->schema->arena, name, strlen(name));
    return items[i].name ? TR_OK : tr_js_no_memory(c->err);
}

static int by_dependency(const void *a, const void *b) {
    return strcmp(((const tr_js_dependency *)a)->name, ((const tr_js_dependency *)b)->name);
}

tr_status tr_js_dependent_schemas(tr_js_compiler *c, tr_js_node *node, const cJSON *const *found,
                                  unsigned k) {
    size_t count = (size_t)cJSON_GetArraySize(found[k]);
    tr_js_check *check = tr_js_add_check(c, node, "dependentSchemas", tr_js_check_dependent_schemas);
    tr_js_dependency *items = tr_arena_array(&c->schema->arena, count, sizeof *items);
    if (!check || !items)
        return tr_js_no_memory(c->err);
    tr_status st = map(c, found[k], "dependentSchemas", keep_dependency, items);
    for (size_t i = 0; st == TR_OK && i < count; i++)
        st = add_edge(c, node, items[i].node);
    if (st != TR_OK)
        return st;
    qsort(items, count, sizeof *items, by_dependency);
    check->of.dependencies.items = items;
    check->of.dependencies.count = count;
    return TR_OK;
}

/* ---- members ---- */

tr_status tr_js_property_names(tr_js_compiler *c, tr_js_node *node, const cJSON *const *found, unsigned k) {
    tr_js_check *check = tr_js_add_check(c, node, "propertyNames", tr_js_check_property_names);
    tr_status st = check ? direct(c, found[k], "propertyNames", &check->of.node) : TR_E_NOMEM;
    if (st == TR_OK)
        node->property_names = check->of.node;
    return st;
}

static tr_status keep_property(tr_js_compiler *c, void *into, size_t i, const char *name, tr_js_node *node) {
    tr_js_property *named = into;
    named[i].node = node;
    named[i].name = tr_arena_copy(&c->schema->arena, name, strlen(name));
    return named[i].name ? TR_OK : tr_js_no_memory(c->err);
}

static tr_status keep_pattern(tr_js_compiler *c, void *into, size_t i, const char *name, tr_js_node *node) {
    tr_js_pattern_property *patterned = into;
    patterned[i].node = node;
    return tr_js_add_pattern(c, name, NULL, &patterned[i].pattern);
}

static int by_property(const void *a, const void *b) {
    return strcmp(((const tr_js_property *)a)->name, ((const tr_js_property *)b)->name);
}

tr_status tr_js_members_of(tr_js_compiler *c, tr_js_node *node, const cJSON *const *found, unsigned k) {
    const cJSON *named = tr_js_found(found, "properties"),
                *patterned = tr_js_found(found, "patternProperties");
    const cJSON *additional = tr_js_found(found, "additionalProperties");
    (void)k;
    if (node->members) /* the three are one check */
        return TR_OK;
    tr_js_check *check = tr_js_add_check(c, node, "properties", tr_js_check_members);
    if (!check)
        return TR_E_NOMEM;
    tr_js_members *m = &check->of.members;
    node->members = m;
    m->named_count = (size_t)cJSON_GetArraySize(named);
    m->patterned_count = (size_t)cJSON_GetArraySize(patterned);
    m->named = tr_arena_array(&c->schema->arena, m->named_count, sizeof *m->named);
    m->patterned = tr_arena_array(&c->schema->arena, m->patterned_count, sizeof *m->patterned);
    if (!m->named || !m->patterned)
        return tr_js_no_memory(c->err);
    tr_status st = named ? map(c, named, "properties", keep_property, m->named) : TR_OK;
    if (st == TR_OK && patterned)
        st = map(c, patterned, "patternProperties", keep_pattern, m->patterned);
    if (st == TR_OK && additional)
        st = direct(c, additional, "additionalProperties", &m->additional);
    if (st == TR_OK)
        qsort(m->named, m->named_count, sizeof *m->named, by_property);
    return st;
}

/* ---- items ---- */

tr_status tr_js_items_of(tr_js_compiler *c, tr_js_node *node, const cJSON *const *found, unsigned k) {
    const cJSON *prefix = tr_js_found(found, "prefixItems"), *rest = tr_js_found(found, "items");
    (void)k;
    if (node->items)
        return TR_OK;
    tr_js_check *check = tr_js_add_check(c, node, "items", tr_js_check_items);
    if (!check)
        return TR_E_NOMEM;
    tr_js_items *items = &check->of.items;
    node->items = items;
    tr_status st = prefix ? list(c, prefix, "prefixItems", &items->prefix, &items->prefix_count) : TR_OK;
    return st == TR_OK && rest ? direct(c, rest, "items", &items->rest) : st;
}

tr_status tr_js_contains_of(tr_js_compiler *c, tr_js_node *node, const cJSON *const *found, unsigned k) {
    const cJSON *contains = tr_js_found(found, "contains"), *min = tr_js_found(found, "minContains");
    const cJSON *max = tr_js_found(found, "maxContains");
    int64_t least = 1, most = INT64_MAX;
    tr_status st = min ? tr_js_read_count(c, min, "minContains", &least) : TR_OK;
    if (st == TR_OK && max)
        st = tr_js_read_count(c, max, "maxContains", &most);
    if (st != TR_OK || !contains || strcmp(tr_js_keyword_name(k), "contains") != 0)
        return st;
    tr_js_check *check = tr_js_add_check(c, node, "contains", tr_js_check_contains);
    if (!check)
        return TR_E_NOMEM;
    check->of.contains.min = least;
    check->of.contains.max = most;
    st = direct(c, contains, "contains", &check->of.contains.node);
    node->contains = check->of.contains.node;
    return st;
}

tr_status tr_js_content(tr_js_compiler *c, tr_js_node *node, const cJSON *const *found, unsigned k) {
    return direct(c, found[k], tr_js_keyword_name(k), &node->content);
}

/* ---- unevaluated ---- */

tr_status tr_js_unevaluated(tr_js_compiler *c, tr_js_node *node, const cJSON *const *found, unsigned k) {
    const char *keyword = tr_js_keyword_name(k);
    bool items = strcmp(keyword, "unevaluatedItems") == 0;
    tr_js_check *check = tr_js_add_check(
        c, node, keyword, items ? tr_js_check_unevaluated_items : tr_js_check_unevaluated_members);
    if (!check)
        return TR_E_NOMEM;
    node->unevaluated = true;
    tr_status st = direct(c, found[k], keyword, &check->of.node);
    if (items)
        node->unevaluated_items = check->of.node;
    else
        node->unevaluated_properties = check->of.node;
    return st;
}
