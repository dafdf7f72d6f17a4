/* openapi/openapi.yaml as JSON, embedded at build (cmake/embed.py). */
#ifndef TR_API_OPENAPI_JSON_H
#define TR_API_OPENAPI_JSON_H

#include <stddef.h>

extern const char *const tr_openapi_json; /* NUL-terminated */
extern const size_t tr_openapi_json_len;

#endif
