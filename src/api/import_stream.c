/* The stream of an import, cut into lines and batches. Memory is bounded by one batch and one line. */
#include <string.h>

#include "api/import.h"

#define READ_CHUNK ((size_t)64 * 1024)

static tr_status fill(tr_import *import, tr_error *err) {
    tr_request *request = import->call->request;
    /* Move what is left to the front: less than a line. */
    size_t left = import->in.len - import->taken;
    if (import->taken > 0) {
        if (left > 0)
            memmove(import->in.data, import->in.data + import->taken, left);
        import->in.len = left;
        import->taken = 0;
    }
    char *room = tr_buf_reserve(&import->in, READ_CHUNK);
    if (!room)
        return tr_buf_ok(&import->in, err);
    long n = request->has_body ? request->read(request, room, READ_CHUNK) : 0;
    if (n < 0)
        return tr_broken_body(n, err);
    import->ended = n == 0;
    import->in.len += (size_t)n;
    return TR_OK;
}

/* The next line's length without its newline; false when more must be read first. */
static bool next_line(const tr_import *import, size_t *len) {
    size_t left = import->in.len - import->taken;
    const char *start = left ? import->in.data + import->taken : NULL;
    const char *end = left ? memchr(start, '\n', left) : NULL;
    *len = end ? (size_t)(end - start) : left;
    return end || import->ended;
}

static bool blank(const char *text, size_t len) {
    for (size_t i = 0; i < len; i++) {
        if (text[i] != ' ' && text[i] != '\t' && text[i] != '\r')
            return false;
    }
    return true;
}

static void add_line(tr_import *import, const char *text, size_t len, bool too_long) {
    tr_import_line *line = &import->lines[import->count++];
    memset(line, 0, sizeof *line);
    line->number = import->line;
    line->start = import->text.len;
    line->len = len;
    line->too_long = too_long;
    tr_buf_append(&import->text, text, len);
    tr_buf_putc(&import->text, '\n');
}

/* Take one line out of `in`, if there is a whole one. */
static bool take_line(tr_import *import) {
    const size_t limit = (size_t)import->call->config->max_body_bytes;
    size_t len;
    bool whole = next_line(import, &len);
    const char *start = import->in.data ? import->in.data + import->taken : "";
    if (whole && len == 0 && import->ended && import->taken == import->in.len)
        return false; /* nothing after the last newline */
    bool too_long = len > limit;
    if (!import->skipping && (whole || too_long)) {
        import->line++;
        if (too_long)
            add_line(import, "", 0, true);
        else if (!blank(start, len))
            add_line(import, start, len, false);
    }
    if (!whole && !too_long && !import->skipping)
        return false;
    import->skipping = !whole;
    import->taken += len;
    if (import->taken < import->in.len)
        import->taken++; /* the newline */
    return whole || import->taken < import->in.len;
}

tr_status tr_import_read_batch(tr_import *import, tr_error *err) {
    tr_status st = TR_OK;
    import->count = 0;
    tr_buf_reset(&import->text);
    while (import->count < TR_IMPORT_BATCH_LINES && import->text.len < TR_IMPORT_BATCH_BYTES) {
        if (take_line(import))
            continue;
        if (import->ended)
            break;
        if ((st = fill(import, err)) != TR_OK)
            return st;
    }
    st = tr_buf_ok(&import->text, err);
    const tr_bytes part = {import->text.data, import->text.len};
    return st == TR_OK ? tr_sha256(&part, 1, import->input, err) : st;
}
