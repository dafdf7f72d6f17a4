#include "base/json_write.h"

#include <string.h>

#include "base/clock.h"
#include "base/json.h"

/* What was written last tells whether a comma is due: nothing, an opening bracket, a colon or a line's end
 * want none. */
static void begin(tr_buf *out, const char *name) {
    if (out->len > 0 && !strchr("{[:\n", out->data[out->len - 1]))
        tr_buf_putc(out, ',');
    if (name) {
        tr_buf_putc(out, '"');
        tr_buf_puts(out, name);
        tr_buf_puts(out, "\":");
    }
}

void tr_jw_open(tr_buf *out, const char *name, char bracket) {
    begin(out, name);
    tr_buf_putc(out, bracket);
}

void tr_jw_close(tr_buf *out, char bracket) {
    tr_buf_putc(out, bracket);
}

void tr_jw_raw(tr_buf *out, const char *name, const char *json, size_t len) {
    begin(out, name);
    tr_buf_append(out, json, len);
}

void tr_jw_text(tr_buf *out, const char *name, const char *text) {
    begin(out, name);
    if (text)
        tr_buf_json_string(out, text, strlen(text));
    else
        tr_buf_puts(out, "null");
}

void tr_jw_number(tr_buf *out, const char *name, int64_t number) {
    begin(out, name);
    tr_buf_printf(out, "%lld", (long long)number);
}

void tr_jw_bool(tr_buf *out, const char *name, bool value) {
    begin(out, name);
    tr_buf_puts(out, value ? "true" : "false");
}

void tr_jw_uuid(tr_buf *out, const char *name, const tr_uuid *id) {
    char text[TR_UUID_TEXT];
    if (id)
        tr_uuid_format(id, text);
    tr_jw_text(out, name, id ? text : NULL);
}

void tr_jw_time(tr_buf *out, const char *name, int64_t ms) {
    char text[TR_TIME_TEXT];
    if (ms)
        tr_time_format(ms, text);
    tr_jw_text(out, name, ms ? text : NULL);
}

tr_status tr_jw_tree(tr_buf *out, const char *name, const cJSON *tree, tr_error *err) {
    tr_buf text = TR_BUF_INIT;
    tr_status st = tr_json_print(tree, &text, err);
    if (st == TR_OK)
        tr_jw_raw(out, name, text.data, text.len);
    tr_buf_clear(&text);
    return st;
}

void tr_jw_texts(tr_buf *out, const char *name, const cJSON *array) {
    const cJSON *item;
    tr_jw_open(out, name, '[');
    cJSON_ArrayForEach(item, array) {
        if (cJSON_IsString(item))
            tr_jw_text(out, NULL, item->valuestring);
    }
    tr_jw_close(out, ']');
}
