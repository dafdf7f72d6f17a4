/* Shared by the tests of record types. */
#ifndef TEST_RECTYPE_FIXTURE_H
#define TEST_RECTYPE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/json.h"
#include "vault/rectype.h"

static inline cJSON *json(const char *text) {
    cJSON *tree = NULL;
    tr_error err = {0};
    if (tr_json_parse(text, strlen(text), &tree, &err) != TR_OK)
        fail_msg("%s: %s at %s", text, err.what, err.where);
    return tree;
}

static inline tr_rectype *compile(const char *schema_text) {
    tr_rectype *type = NULL;
    tr_error err = {0};
    cJSON *schema = json(schema_text);
    if (tr_rectype_compile("person", 3, schema, &type, &err) != TR_OK)
        fail_msg("%s: %s at %s", schema_text, err.what, err.where);
    cJSON_Delete(schema);
    return type;
}

static const char person[] =
    "{\"type\":\"object\",\"x-retention\":\"P10Y\",\"x-history\":5,\"required\":[\"id\"],\"properties\":{"
    "\"id\":{\"type\":\"object\",\"properties\":{\"bioguide\":{\"type\":\"string\",\"x-index\":true},"
    "\"govtrack\":{\"type\":[\"integer\",\"null\"],\"x-index\":true}}},"
    "\"email\":{\"$ref\":\"#/$defs/email\"},"
    "\"active\":{\"type\":\"boolean\",\"x-index\":true},"
    "\"religion\":{\"type\":\"string\",\"x-sensitive\":\"religious-philosophical-political-union\",\"x-"
    "mask\":\"hide\"},"
    "\"terms\":{\"type\":\"array\",\"items\":{\"type\":\"object\",\"properties\":{\"phone\":{\"type\":"
    "\"string\","
    "\"x-index\":true,\"x-mask\":\"last4\"}}}},"
    "\"tags\":{\"type\":\"array\",\"items\":{\"type\":\"string\",\"x-index\":\"ignore-case\"}}},"
    "\"$defs\":{\"email\":{\"type\":\"string\",\"format\":\"email\",\"x-index\":\"ignore-case\",\"x-mask\":"
    "\"domain\"}}}";

#endif
