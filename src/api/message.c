#include "api/message.h"

#include <string.h>
#include <unistd.h>

#include "base/secret.h"

/* Not memset: the room for header fields is 8 KiB, and an answer has a handful. */
void tr_response_init(tr_response *response) {
    response->status = 0;
    response->content_type = NULL;
    response->header_count = 0;
    response->body = TR_BUF_INIT;
    response->body_fd = -1;
    response->body_fd_len = 0;
    response->stream = NULL;
    response->stream_context = NULL;
    response->stream_clear = NULL;
    response->close = response->proven = false;
}

/* Control characters could end the field, or be taken for its end (RFC 9110, 5.5). */
static bool value_valid(const char *value) {
    for (const char *c = value; *c; c++)
        if (((unsigned char)*c < 0x20 && *c != '\t') || *c == 0x7f)
            return false;
    return true;
}

bool tr_response_header(tr_response *response, const char *static_name, const char *value) {
    int at = 0;
    while (at < response->header_count && !tr_same_field(response->headers[at].name, static_name))
        at++;
    size_t len = strlen(value);
    if (at == TR_RESPONSE_HEADERS_MAX || len >= TR_HEADER_VALUE_MAX || !value_valid(value))
        return false;
    response->headers[at].name = static_name;
    memcpy(response->headers[at].value, value, len + 1);
    if (at == response->header_count)
        response->header_count++;
    return true;
}

void tr_response_clear(tr_response *response) {
    tr_wipe(response->headers, sizeof response->headers[0] * (size_t)response->header_count);
    tr_buf_clear(&response->body);
    if (response->body_fd >= 0)
        (void)close(response->body_fd);
    if (response->stream_clear)
        response->stream_clear(response->stream_context);
    tr_response_init(response);
}
