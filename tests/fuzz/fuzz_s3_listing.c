/* Any bytes as a store's answer: a list or nothing, and every text within its limits. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "vault/s3_xml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool good) {
    if (!good)
        abort();
}

static tr_status take(void *context, tr_s3_entry kind, const char *key, const char *id, tr_error *err) {
    (void)context, (void)err;
    require(strlen(key) <= TR_S3_XML_TEXT && (kind == TR_S3_UPLOAD) == (id != NULL));
    require(!id || strlen(id) <= TR_S3_XML_TEXT);
    return TR_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    tr_s3_page page;
    tr_error err = {0};
    char code[32];
    tr_status st = tr_s3_page_read(data, size, &page, take, NULL, &err);
    require(st == TR_OK || (err.status == st && err.what[0]));
    require(st != TR_OK || !page.more || page.next[0]);
    tr_s3_error_code(data, size, code, sizeof code);
    require(strspn(code, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789") == strlen(code));
    return 0;
}
