/* Any bytes as JSON: what is taken must come back the same after it is printed and read again. */
#include <stdlib.h>

#include "base/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool good) {
    if (!good)
        abort();
}

/* The first half is patched with the second (RFC 7396): the result must be sound. */
static void patch(const char *text, size_t size) {
    cJSON *target = NULL, *change = NULL;
    tr_error err = {0};
    if (tr_json_parse(text, size / 2, &target, NULL) == TR_OK &&
        tr_json_parse(text + size / 2, size - size / 2, &change, NULL) == TR_OK &&
        tr_json_merge_patch(&target, change, &err) == TR_OK) {
        tr_buf out = TR_BUF_INIT;
        require(tr_json_print(target, &out, &err) == TR_OK);
        tr_buf_clear(&out);
    }
    cJSON_Delete(target);
    cJSON_Delete(change);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *text = (const char *)data;
    cJSON *tree = NULL, *again = NULL;
    tr_buf out = TR_BUF_INIT, canonical = TR_BUF_INIT;
    tr_error err = {0};
    if (tr_json_parse(text, size, &tree, &err) == TR_OK) {
        require(tr_json_print(tree, &out, &err) == TR_OK);
        require(tr_json_parse(out.data, out.len, &again, &err) == TR_OK);
        require(tr_json_equal(tree, again));
        require(tr_json_print_canonical(tree, &canonical, &err) == TR_OK);
    } else {
        require(err.status == TR_E_MALFORMED || err.status == TR_E_NOMEM);
    }
    cJSON_Delete(tree);
    cJSON_Delete(again);
    tr_buf_clear(&out);
    tr_buf_clear(&canonical);
    patch(text, size);
    return 0;
}
