/* A line that is a record type's schema, then an instance: compiling, validating, indexing and masking end,
 * whatever they are. */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "vault/rectype.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static tr_status count_value(void *context, const char *field, const void *value, size_t len, tr_error *err) {
    (void)field, (void)value, (void)err;
    *(size_t *)context += len;
    return TR_OK;
}

static void use(const tr_rectype *type, cJSON *instance) {
    size_t bytes = 0;
    tr_error err = {0};
    tr_buf found = TR_BUF_INIT;
    (void)tr_rectype_validate(type, instance, &err);
    (void)tr_rectype_index_values(type, instance, count_value, &bytes, &err);
    if (tr_rectype_index_count(type) > 0)
        (void)tr_rectype_lookup_value(type, tr_rectype_index_field(type, 0), instance, &found, &err);
    tr_buf_clear(&found);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *text = (const char *)data;
    const char *newline = size ? memchr(text, '\n', size) : NULL;
    size_t head = newline ? (size_t)(newline - text) : size;
    cJSON *schema = NULL, *instance = NULL;
    tr_rectype *type = NULL;
    tr_error err = {0};
    if (tr_json_parse(text, head, &schema, &err) == TR_OK &&
        tr_rectype_compile("fuzz", 1, schema, &type, &err) == TR_OK && newline &&
        tr_json_parse(newline + 1, size - head - 1, &instance, &err) == TR_OK)
        use(type, instance);
    tr_rectype_unref(type);
    cJSON_Delete(schema);
    cJSON_Delete(instance);
    return 0;
}
