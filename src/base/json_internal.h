/* Shared by the json_*.c files only. */
#ifndef TR_BASE_JSON_INTERNAL_H
#define TR_BASE_JSON_INTERNAL_H

#include "base/json.h"

#define TR_NUMBER_MAX             1000 /* characters of a number's text */
#define TR_NUMBER_EXPONENT_DIGITS 15   /* so that sums of exponents stay far inside int64_t */
#define TR_DECIMAL_EXPONENT_MAX   INT64_C(1000000000000000)
#define TR_NUMBER_ROOM            40
/* A tree that a program wraps around parsed ones may be deeper than what is read. */
#define TR_JSON_TREE_DEPTH (4 * TR_JSON_MAX_DEPTH)

typedef struct tr_decimal {
    bool negative;
    size_t count; /* of digits; 0 for the number zero */
    int64_t exponent;
    char digits[TR_NUMBER_MAX + 1];
} tr_decimal;

void tr_decimal_read(const char *text, tr_decimal *d);
void tr_decimal_print(const tr_decimal *d, tr_buf *out);

/* Order of two members (const cJSON *const *) by name, for qsort and bsearch. */
int tr_json_by_name(const void *a, const void *b);
/* The members of an object, sorted by name; *members is malloc'ed (free()), or NULL when there are none. */
tr_status tr_json_sorted_members(const cJSON *object, const cJSON ***members, size_t *count, tr_error *err);

#endif
