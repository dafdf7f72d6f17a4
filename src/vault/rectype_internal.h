/* Shared by the rectype*.c files only. */
#ifndef TR_VAULT_RECTYPE_INTERNAL_H
#define TR_VAULT_RECTYPE_INTERNAL_H

#include <stdatomic.h>

#include "vault/jsonschema_internal.h"
#include "vault/rectype.h"

/* tr_js_node.mark: the mask in the low bits, then the index. */
typedef enum tr_mask {
    TR_MASK_NONE,
    TR_MASK_INITIAL,
    TR_MASK_LAST4,
    TR_MASK_YEAR,
    TR_MASK_DOMAIN,
    TR_MASK_HIDE
} tr_mask;
#define TR_MARK_MASK        7u
#define TR_MARK_INDEX       8u
#define TR_MARK_IGNORE_CASE 16u /* with TR_MARK_INDEX */

typedef struct tr_index_field {
    char *pointer;
    bool ignore_case;
} tr_index_field;

struct tr_rectype {
    atomic_size_t references;
    char *name;
    int64_t version;
    int64_t history;
    char *retention;
    tr_schema *schema;
    tr_index_field *fields; /* sorted */
    size_t field_count;
    bool *masked; /* by node id: does a mask stand there or somewhere below? NULL: nowhere */
};

/* Marks of all nodes that lead to a marked one by `each`; *out has one entry a node, or is NULL when nothing
 * is marked. */
typedef void tr_visit_fn(void *context, const tr_js_node *node);
typedef void tr_each_fn(const tr_schema *schema, const tr_js_node *node, tr_visit_fn *visit, void *context);
tr_status tr_rectype_reach(const tr_schema *schema, uint32_t mark, tr_each_fn *each, bool **out,
                           tr_error *err);

/* rectype_index.c: find the index fields, or say why an x-index cannot be one. */
tr_status tr_rectype_find_fields(tr_rectype *type, const tr_schema *schema, tr_error *err);
/* rectype_view.c: note where masks stand, or say why one would not work. */
tr_status tr_rectype_find_masks(tr_rectype *type, const tr_schema *schema, tr_error *err);
/* TR_E_VALIDATION at pointer + "/" + keyword. */
tr_status tr_rectype_refuse(tr_error *err, const char *pointer, const char *keyword, const char *what);

/* rectype_fields.c: what follows the first token of the pointer if that token is `key`; else NULL. */
const char *tr_pointer_descend(const char *pointer, const char *key);
/* The pointers that go on below `key`; *whole when one ends there. `out` has room for `count`. Returns how
 * many. */
size_t tr_pointers_descend(const char *const *pointers, size_t count, const char *key, const char **out,
                           bool *whole);

#endif
