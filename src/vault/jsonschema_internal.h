/* A compiled JSON Schema from the inside: for the jsonschema_*.c files and for the record types, which walk
 * it.
 *
 * A schema is a graph of nodes, one a subschema. A node holds its checks in the order in which they run:
 * assertions first, then what is applied in place ($ref, allOf, if ...), then what is applied to members and
 * items, last the unevaluated ones.
 */
#ifndef TR_VAULT_JSONSCHEMA_INTERNAL_H
#define TR_VAULT_JSONSCHEMA_INTERNAL_H

#include <stdint.h>

#include "base/buf.h"
#include "base/json.h"
#include "vault/jsonschema.h"
#include "vault/jsonschema_arena.h"

#define TR_JS_MAX_NODES         10000
#define TR_JS_MAX_PATTERN       1000      /* characters of a pattern */
#define TR_JS_MAX_PATTERN_BYTES (8 << 20) /* of all compiled patterns of a schema */
#define TR_JS_MAX_NESTING       256       /* subschemas inside subschemas */
#define TR_JS_MAX_IN_PLACE      128 /* subschemas that apply to one and the same value, one through the other */
#define TR_JS_MAX_DEPTH         1024 /* nested evaluations */
#define TR_JS_MAX_STEPS         5000000

typedef struct tr_js_node tr_js_node;
typedef struct tr_js_check tr_js_check;
typedef struct tr_js_run tr_js_run;
typedef struct tr_js_seen tr_js_seen;
typedef struct tr_js_pattern tr_js_pattern;
typedef struct tr_js_matcher tr_js_matcher;

typedef enum tr_js_outcome {
    TR_JS_PASS,
    TR_JS_FAIL,
    TR_JS_STOP, /* a bound is passed or memory is out: no verdict */
} tr_js_outcome;

enum {
    TR_JS_NULL = 1,
    TR_JS_BOOLEAN = 2,
    TR_JS_OBJECT = 4,
    TR_JS_ARRAY = 8,
    TR_JS_STRING = 16,
    TR_JS_NUMBER = 32,
    TR_JS_INTEGER = 64,
};

/* ---- what keywords compile to ---- */

typedef struct tr_js_property {
    const char *name;
    tr_js_node *node;
} tr_js_property;

typedef struct tr_js_pattern_property {
    const tr_js_pattern *pattern;
    tr_js_node *node;
} tr_js_pattern_property;

typedef struct tr_js_members { /* properties, patternProperties, additionalProperties */
    tr_js_property *named;     /* sorted by name */
    size_t named_count;
    tr_js_pattern_property *patterned;
    size_t patterned_count;
    tr_js_node *additional; /* or NULL */
} tr_js_members;

typedef struct tr_js_items { /* prefixItems, items */
    tr_js_node **prefix;
    size_t prefix_count;
    tr_js_node *rest; /* or NULL */
} tr_js_items;

typedef struct tr_js_list {
    tr_js_node **nodes;
    size_t count;
} tr_js_list;

typedef struct tr_js_names { /* sorted, without doubles */
    const char **names;
    size_t count;
} tr_js_names;

typedef struct tr_js_dependency {
    const char *name;
    tr_js_names required; /* dependentRequired */
    tr_js_node *node;     /* dependentSchemas */
} tr_js_dependency;

typedef struct tr_js_values { /* const, enum: in the canonical form of base/json.h, sorted */
    const char **texts;
    size_t count;
    unsigned types;
} tr_js_values;

typedef bool tr_js_format_fn(const char *text, size_t len);

typedef tr_js_outcome tr_js_check_fn(tr_js_run *run, const tr_js_check *check, const cJSON *instance,
                                     tr_js_seen *seen);

struct tr_js_check {
    tr_js_check *next;
    tr_js_check_fn *run;
    const char *keyword;
    union {
        unsigned types;
        int64_t limit;
        const cJSON *number;
        tr_js_values values;
        tr_js_names names;
        const tr_js_pattern *pattern;
        struct {
            const char *name;
            tr_js_format_fn *accepts; /* NULL: regex */
        } format;
        tr_js_node *node;
        tr_js_list list;
        struct {
            tr_js_node *when, *then, *otherwise; /* the last two may be NULL */
        } condition;
        struct {
            tr_js_node *node;
            int64_t min, max;
        } contains;
        struct {
            tr_js_dependency *items; /* sorted by name */
            size_t count;
        } dependencies;
        struct {
            tr_js_node *node;    /* where the reference leads at first */
            const char *dynamic; /* the dynamic anchor's name, or NULL: a plain reference */
        } reference;
        tr_js_members members;
        tr_js_items items;
    } of;
};

typedef struct tr_js_edge { /* to a node that applies to the same value */
    struct tr_js_edge *next;
    tr_js_node *to;
    const tr_js_check *dynamic; /* a $dynamicRef, which may lead elsewhere too; else NULL */
} tr_js_edge;

struct tr_js_node {
    const cJSON *json;   /* only while compiling */
    const char *pointer; /* into the schema; only while compiling */
    const char *keyword; /* under which it stands */
    tr_js_node *next;    /* in tr_schema.nodes */
    uint32_t id;         /* 0 to node_count - 1 */
    uint32_t resource;   /* the schema resource ($id) that it belongs to */
    uint32_t mark;       /* for the owner of the schema: see tr_js_hooks */
    int8_t fixed;        /* 0: the schema false, 1: true, -1: an object */
    bool unevaluated;    /* has unevaluatedItems or unevaluatedProperties */
    unsigned types;      /* of `type`; 0 when it has none */
    tr_js_check *checks;
    tr_js_check **checks_end;
    tr_js_edge *edges;
    /* For walks; NULL where there is none. */
    tr_js_node *ref;
    const tr_js_members *members;
    const tr_js_items *items;
    tr_js_node *contains, *property_names, *content, *unevaluated_items, *unevaluated_properties;
    /* For the search of loops while compiling. */
    tr_js_node *came_from;
    const tr_js_edge *to_visit;
    uint16_t height;
    uint8_t colour;
};

typedef struct tr_js_dynamic { /* a $dynamicAnchor */
    const char *name;
    uint32_t resource;
    tr_js_node *node;
} tr_js_dynamic;

struct tr_schema {
    tr_arena arena;
    tr_js_node *root;
    tr_js_node *nodes; /* all, in the order in which they were met */
    size_t node_count;
    tr_js_dynamic *dynamics; /* sorted by name, then resource */
    size_t dynamic_count;
    tr_js_pattern *patterns;
    size_t pattern_bytes;
};

/* What the owner of a schema adds to its compilation. */
typedef struct tr_js_hooks {
    void *context;
    /* Once a subschema that is an object, before its keywords; may set node->mark. */
    tr_status (*node)(void *context, const cJSON *json, tr_js_node *node, tr_error *err);
    /* Once, when all is linked; node->pointer is still there. */
    tr_status (*finish)(void *context, tr_schema *schema, tr_error *err);
} tr_js_hooks;

tr_status tr_js_compile(const cJSON *root, const char *pointer, const tr_schema_options *options,
                        const tr_js_hooks *hooks, tr_schema **out, tr_error *err);

/* ---- compiling ---- */

typedef struct tr_js_resource {
    const char *uri; /* without a fragment */
    const char *pointer;
    const cJSON *json;
    uint32_t id;
} tr_js_resource;

typedef struct tr_js_pending { /* a reference that waits for its target */
    struct tr_js_pending *next;
    tr_js_node *owner;
    tr_js_check *check;
    const char *uri; /* without the fragment */
    const char *fragment;
    bool done;
} tr_js_pending;

typedef struct tr_js_anchor {
    char *key;
    tr_js_node *node;
    bool dynamic;
} tr_js_anchor;

typedef struct tr_js_compiler {
    tr_schema *schema;
    tr_schema_options options;
    const tr_js_hooks *hooks; /* or NULL */
    tr_error *err;
    tr_arena scratch;
    tr_js_node **nodes_end;
    tr_map nodes;     /* by tr_js_node.json */
    tr_map resources; /* by uri */
    tr_map anchors;   /* by resource and name */
    tr_js_resource *resource;
    uint32_t resource_count;
    tr_buf pointer;
    size_t nesting;
    tr_js_pending *pending;
    tr_js_pending **pending_end;
    size_t dynamic_room;
} tr_js_compiler;

tr_status tr_js_no_memory(tr_error *err);
/* TR_E_VALIDATION at the current place and, if given, below it at `token`. */
tr_status tr_js_refuse(tr_js_compiler *c, const char *token, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Step into the schema and back; the length is what pop takes. */
size_t tr_js_push(tr_js_compiler *c, const char *token);
size_t tr_js_push_index(tr_js_compiler *c, size_t index);
void tr_js_pop(tr_js_compiler *c, size_t length);

/* Compile the subschema `json`, which stands at c->pointer under `keyword`. */
tr_status tr_js_compile_node(tr_js_compiler *c, const cJSON *json, const char *keyword, tr_js_node **out);
/* Compile the keywords of an object. */
tr_status tr_js_compile_keywords(tr_js_compiler *c, tr_js_node *node, const cJSON *json);
/* The compilers of what is applied (jsonschema_apply.c); found[] is as tr_js_compile_keywords found it. */
typedef tr_status tr_js_keyword_fn(tr_js_compiler *c, tr_js_node *node, const cJSON *const *found,
                                   unsigned keyword);
tr_js_keyword_fn tr_js_defs, tr_js_reference, tr_js_all_of, tr_js_any_of, tr_js_one_of, tr_js_not, tr_js_if,
    tr_js_dependent_schemas, tr_js_property_names, tr_js_members_of, tr_js_items_of, tr_js_contains_of,
    tr_js_content, tr_js_unevaluated;
const char *tr_js_keyword_name(unsigned keyword);
const cJSON *tr_js_found(const cJSON *const *found, const char *name);
tr_js_check *tr_js_add_check(tr_js_compiler *c, tr_js_node *node, const char *keyword, tr_js_check_fn *run);
/* A list of different strings, sorted. `token` names the place for errors. */
tr_status tr_js_read_names(tr_js_compiler *c, const cJSON *json, const char *token, tr_js_names *out);
tr_status tr_js_read_count(tr_js_compiler *c, const cJSON *json, const char *token, int64_t *out);
tr_status tr_js_add_pattern(tr_js_compiler *c, const char *text, const char *token,
                            const tr_js_pattern **out);

/* jsonschema_refs.c */
tr_status tr_js_enter_resource(tr_js_compiler *c, const cJSON *json, const char *id);
tr_status tr_js_add_anchor(tr_js_compiler *c, tr_js_node *node, const char *keyword, const char *name,
                           bool dynamic);
tr_status tr_js_add_pending(tr_js_compiler *c, tr_js_node *node, tr_js_check *check, const char *reference);
tr_status tr_js_resolve_all(tr_js_compiler *c);
tr_status tr_js_refuse_loops(tr_js_compiler *c);
/* The node of a dynamic anchor in a resource, or NULL. */
tr_js_node *tr_js_find_dynamic(const tr_schema *schema, const char *name, uint32_t resource);

/* jsonschema_uri.c: RFC 3986 section 5.2. `base` is absolute. The result has no fragment; *fragment is
 * decoded. */
tr_status tr_js_uri_resolve(tr_arena *arena, const char *base, const char *reference, const char **uri,
                            const char **fragment, tr_error *err);

/* ---- patterns ---- */

/* Translate an ECMA-262 pattern (Unicode mode) to PCRE2's syntax. NULL, or what is wrong with it. */
const char *tr_js_pattern_translate(const char *text, tr_buf *out);
/* TR_E_VALIDATION: *fault (of `size` bytes) says why; it never quotes the pattern. */
tr_status tr_js_pattern_compile(const char *text, tr_js_pattern **out, char *fault, size_t size);
void tr_js_pattern_free(tr_js_pattern *pattern);
void tr_js_patterns_free(tr_js_pattern *first);
void tr_js_pattern_link(tr_js_pattern **list, tr_js_pattern *pattern);
const char *tr_js_pattern_text(const tr_js_pattern *pattern); /* for error texts: its beginning */
size_t tr_js_pattern_bytes(const tr_js_pattern *pattern);
/* Match somewhere in the text. *effort is what may be spent, in steps, and is lowered by what was. TR_JS_STOP
 * when it does not suffice. *matcher is working memory that later calls use again (NULL at first). */
tr_js_outcome tr_js_pattern_match(const tr_js_pattern *pattern, const char *text, size_t len,
                                  tr_js_matcher **matcher, size_t *effort);
void tr_js_matcher_free(tr_js_matcher *matcher);

/* ---- formats ---- */

typedef struct tr_js_format {
    const char *name;
    bool asserted;
    tr_js_format_fn *accepts; /* NULL for regex */
} tr_js_format;
/* NULL for a name that no specification knows. */
const tr_js_format *tr_js_format_find(const char *name);

/* ---- validating ---- */

typedef struct tr_js_place { /* of the instance */
    const struct tr_js_place *outer;
    const char *key; /* NULL in an array */
    size_t index;
} tr_js_place;

typedef struct tr_js_scope { /* the resources that were entered */
    const struct tr_js_scope *outer;
    uint32_t resource;
} tr_js_scope;

/* Which members or items of one instance a node has evaluated: one bit each, in their order. */
struct tr_js_seen {
    size_t count;
    uint64_t *bits;
    uint64_t few[2];
};

struct tr_js_run {
    const tr_schema *schema;
    tr_error *err;
    tr_status stopped; /* of TR_JS_STOP */
    size_t steps_left;
    size_t depth;
    unsigned quiet; /* > 0: a failure here decides nothing yet, so it is not put into words */
    const tr_js_place *place;
    const tr_js_scope *scope;
    tr_buf scratch;
    tr_js_matcher *matcher;
};

tr_js_outcome tr_js_evaluate(tr_js_run *run, const tr_js_node *node, const cJSON *instance, tr_js_seen *seen);
tr_js_outcome tr_js_fail(tr_js_run *run, const char *keyword, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
tr_js_outcome tr_js_stop(tr_js_run *run, tr_status status, const char *what);
/* False: the steps are used up and the run is stopped. */
bool tr_js_spend(tr_js_run *run, size_t steps);
tr_js_outcome tr_js_run_match(tr_js_run *run, const tr_js_pattern *pattern, const char *text);
unsigned tr_js_type_of(const cJSON *instance); /* TR_JS_INTEGER comes with TR_JS_NUMBER */

bool tr_js_seen_begin(tr_js_run *run, tr_js_seen *seen, const cJSON *instance); /* false: stopped */
void tr_js_seen_end(tr_js_seen *seen);
void tr_js_seen_add(tr_js_seen *seen, size_t i); /* NULL is taken */
bool tr_js_seen_has(const tr_js_seen *seen, size_t i);
void tr_js_seen_add_all(tr_js_seen *seen);
void tr_js_seen_join(tr_js_seen *into, const tr_js_seen *from);

/* The part of the checks that look at the value itself (jsonschema_assert.c) and those that apply subschemas
 * (jsonschema_validate.c). */
tr_js_check_fn tr_js_check_type, tr_js_check_values, tr_js_check_multiple, tr_js_check_maximum,
    tr_js_check_minimum, tr_js_check_above, tr_js_check_below, tr_js_check_max_length, tr_js_check_min_length,
    tr_js_check_pattern, tr_js_check_format, tr_js_check_max_items, tr_js_check_min_items, tr_js_check_unique,
    tr_js_check_max_members, tr_js_check_min_members, tr_js_check_required, tr_js_check_dependent_required;
tr_js_check_fn tr_js_check_ref, tr_js_check_all, tr_js_check_any, tr_js_check_one, tr_js_check_not,
    tr_js_check_if, tr_js_check_dependent_schemas, tr_js_check_property_names, tr_js_check_members,
    tr_js_check_items, tr_js_check_contains, tr_js_check_unevaluated_items, tr_js_check_unevaluated_members;

/* Lookups in the sorted arrays above. */
tr_js_node *tr_js_member_node(const tr_js_members *members, const char *name);
bool tr_js_names_find(const tr_js_names *names, const char *name, size_t *at);

#endif
