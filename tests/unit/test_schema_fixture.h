/* Shared by the tests of JSON Schema. */
#ifndef TEST_SCHEMA_FIXTURE_H
#define TEST_SCHEMA_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/json.h"
#include "vault/jsonschema.h"

static inline cJSON *json(const char *text) {
    cJSON *tree = NULL;
    tr_error err = {0};
    if (tr_json_parse(text, strlen(text), &tree, &err) != TR_OK)
        fail_msg("%s: %s at %s", text, err.what, err.where);
    return tree;
}

static inline tr_status compile(const char *text, bool strict, tr_schema **out, tr_error *err) {
    const tr_schema_options options = {.assert_format = true, .strict_keywords = strict};
    cJSON *tree = json(text);
    tr_status st = tr_schema_compile(tree, "", &options, out, err);
    cJSON_Delete(tree);
    return st;
}

static inline tr_status verdict(const char *schema_text, const char *instance_text, tr_error *err) {
    tr_schema *schema = NULL;
    cJSON *instance = json(instance_text);
    tr_error fault = {0};
    if (compile(schema_text, false, &schema, &fault) != TR_OK)
        fail_msg("%s: %s at %s", schema_text, fault.what, fault.where);
    tr_status st = tr_schema_validate(schema, instance, err);
    tr_schema_free(schema);
    cJSON_Delete(instance);
    return st;
}

static inline void assert_valid(const char *schema, const char *instance) {
    tr_error err = {0};
    if (verdict(schema, instance, &err) != TR_OK)
        fail_msg("%s should take %s: %s at %s", schema, instance, err.what, err.where);
}

static inline void assert_invalid(const char *schema, const char *instance, const char *where,
                                  const char *what) {
    tr_error err = {0};
    if (verdict(schema, instance, &err) != TR_E_VALIDATION)
        fail_msg("%s should refuse %s", schema, instance);
    assert_int_equal(err.status, TR_E_VALIDATION);
    assert_string_equal(err.where, where);
    if (!strstr(err.what, what))
        fail_msg("\"%s\" should hold \"%s\"", err.what, what);
}

static inline void assert_refused(const char *schema_text, const char *where, const char *what) {
    tr_schema *schema = NULL;
    tr_error err = {0};
    if (compile(schema_text, true, &schema, &err) != TR_E_VALIDATION)
        fail_msg("%s should be refused", schema_text);
    assert_null(schema);
    if (strcmp(err.where, where) != 0 || !strstr(err.what, what))
        fail_msg("%s: \"%s\" at \"%s\", expected \"%s\" at \"%s\"", schema_text, err.what, err.where, what,
                 where);
}

#endif
