/* The stream of an import. The first bytes say how long a line may be and in which parts the rest arrives.
 * The lines and batches are those of the stream alone: the same as when it comes whole, and the same lines as
 * a plain reading finds. */
#include <string.h>

#include "api/import.h"
#include "fuzz_must.h"

#define LINES_MAX 4096

typedef struct stream {
    const uint8_t *at, *end, *parts; /* parts: 8 bytes, the lengths over and over; NULL: whole */
    unsigned part;
} stream;

typedef struct seen {
    struct {
        int64_t number;
        size_t start, len, batch;
        bool too_long;
    } lines[LINES_MAX];
    size_t count, batches;
    tr_buf text;
} seen;

static long give(tr_request *request, void *buf, size_t n) {
    stream *s = request->transport;
    size_t most = (size_t)(s->end - s->at);
    if (s->parts) {
        const size_t part = 1 + (size_t)s->parts[s->part++ % 8];
        most = part < most ? part : most;
    }
    most = most < n ? most : n;
    if (most > 0)
        memcpy(buf, s->at, most);
    s->at += most;
    return (long)most;
}

static void keep(seen *out, const tr_import *import) {
    for (size_t i = 0; i < import->count && out->count < LINES_MAX; i++) {
        const tr_import_line *line = &import->lines[i];
        out->lines[out->count].number = line->number;
        out->lines[out->count].start = out->text.len;
        out->lines[out->count].len = line->len;
        out->lines[out->count].batch = out->batches;
        out->lines[out->count++].too_long = line->too_long;
        tr_buf_append(&out->text, import->text.data + line->start, line->len);
    }
    out->batches++;
}

static void read_stream(const uint8_t *data, size_t size, const uint8_t *parts, int64_t limit, seen *out) {
    static tr_import import;
    stream from = {data, data + size, parts, 0};
    tr_request request = {.has_body = true, .content_length = -1, .read = give, .transport = &from};
    static tr_config config;
    static tr_call call;
    tr_error err = {0};
    config.max_body_bytes = limit;
    call.config = &config;
    call.request = &request;
    import.call = &call;
    out->count = out->batches = 0;
    do {
        MUST(tr_import_read_batch(&import, &err) == TR_OK);
        keep(out, &import);
    } while (import.count > 0);
    MUST(import.ended && import.taken == import.in.len);
    tr_buf_clear(&import.in);
    tr_buf_clear(&import.text);
    memset(&import, 0, sizeof import);
    call.request = NULL;
}

/* What is between newlines, but lines of white space. */
static void check_lines(const uint8_t *data, size_t size, size_t limit, const seen *got) {
    const uint8_t *at = data, *end = data + size;
    size_t found = 0;
    for (int64_t number = 1; at < end; number++) {
        const uint8_t *newline = memchr(at, '\n', (size_t)(end - at));
        const size_t len = (size_t)((newline ? newline : end) - at);
        size_t white = 0;
        while (white < len && memchr(" \t\r", at[white], 3))
            white++;
        if (found == LINES_MAX)
            return;
        if (len > limit) {
            MUST(found < got->count && got->lines[found].too_long && got->lines[found].number == number);
            found++;
        } else if (white < len) {
            MUST(found < got->count && !got->lines[found].too_long && got->lines[found].number == number);
            MUST(got->lines[found].len == len &&
                 memcmp(got->text.data + got->lines[found].start, at, len) == 0);
            found++;
        }
        at += len + (newline != NULL);
    }
    MUST(found == got->count);
}

static void check_same(const seen *a, const seen *b) {
    MUST(a->count == b->count && a->batches == b->batches);
    for (size_t i = 0; i < a->count; i++)
        MUST(a->lines[i].batch == b->lines[i].batch);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static seen whole, split;
    if (size < 9)
        return 0;
    const size_t limit = 1 + (size_t)data[0];
    read_stream(data + 9, size - 9, NULL, (int64_t)limit, &whole);
    read_stream(data + 9, size - 9, data + 1, (int64_t)limit, &split);
    check_lines(data + 9, size - 9, limit, &whole);
    check_lines(data + 9, size - 9, limit, &split);
    check_same(&whole, &split);
    tr_buf_clear(&whole.text);
    tr_buf_clear(&split.text);
    return 0;
}
