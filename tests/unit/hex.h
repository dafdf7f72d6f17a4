/* Bytes from hexadecimal text, and vector files, for the unit tests. */
#ifndef TR_TEST_HEX_H
#define TR_TEST_HEX_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/encode.h"
#include "base/secret.h"
#include "crypto/hash.h"

#ifndef TRESOR_TEST_DATA
#define TRESOR_TEST_DATA "tests/data"
#endif

/* Fails the test when it is not hexadecimal. "-" and "" are no bytes. */
static inline size_t hex_bytes(const char *hex, uint8_t *out, size_t room) {
    size_t len = strcmp(hex, "-") == 0 ? 0 : strlen(hex);
    assert_true(len / 2 <= room);
    assert_true(tr_hex_decode(hex, len, out, len / 2));
    return len / 2;
}

static inline void hex_secret(const char *hex, tr_secret *out) {
    uint8_t bytes[1024];
    size_t n = hex_bytes(hex, bytes, sizeof bytes);
    assert_int_equal(tr_secret_copy(out, bytes, n, NULL), TR_OK);
}

static inline void assert_hex(const void *bytes, size_t n, const char *hex) {
    char text[4096];
    assert_true(2 * n < sizeof text);
    tr_hex_encode(bytes, n, text);
    assert_string_equal(text, hex);
}

static inline tr_bytes text_bytes(const char *text) {
    return (tr_bytes){text, strlen(text)};
}

/* The next line that is no comment, split at spaces into `count` fields; false at the end. */
static inline int next_vector(FILE *file, char *line, size_t size, char **fields, size_t count) {
    while (fgets(line, (int)size, file)) {
        char *place = NULL;
        if (line[0] == '#')
            continue;
        for (size_t i = 0; i < count; i++) {
            fields[i] = strtok_r(i == 0 ? line : NULL, " \n", &place);
            assert_non_null(fields[i]);
        }
        return 1;
    }
    return 0;
}

static inline FILE *open_vectors(const char *name) {
    char path[512];
    (void)snprintf(path, sizeof path, "%s/vectors/%s", TRESOR_TEST_DATA, name);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    return file;
}

#endif
