#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/secret.h"

#define FIRST_CAPACITY 64

/* Not realloc: what held personal data is wiped before it goes back to the allocator. */
static bool grow(tr_buf *b, size_t need) {
    size_t cap = b->cap ? b->cap : FIRST_CAPACITY;
    while (cap < need)
        cap *= 2;
    char *data = malloc(cap);
    if (!data)
        return false;
    if (b->data) {
        memcpy(data, b->data, b->len);
        tr_wipe(b->data, b->cap);
        free(b->data);
    }
    data[b->len] = '\0';
    b->data = data;
    b->cap = cap;
    return true;
}

char *tr_buf_reserve(tr_buf *b, size_t n) {
    if (b->failed)
        return NULL;
    if (n >= TR_BUF_MAX || b->len + n + 1 > TR_BUF_MAX ||
        (b->len + n + 1 > b->cap && !grow(b, b->len + n + 1))) {
        b->failed = true;
        return NULL;
    }
    return b->data + b->len;
}

void tr_buf_append(tr_buf *b, const void *bytes, size_t n) {
    char *room = tr_buf_reserve(b, n);
    if (!room)
        return;
    if (n)
        memcpy(room, bytes, n);
    b->len += n;
    b->data[b->len] = '\0';
}

void tr_buf_puts(tr_buf *b, const char *text) {
    tr_buf_append(b, text, strlen(text));
}

void tr_buf_putc(tr_buf *b, char c) {
    tr_buf_append(b, &c, 1);
}

void tr_buf_printf(tr_buf *b, const char *format, ...) {
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    char *room = n < 0 ? NULL : tr_buf_reserve(b, (size_t)n);
    if (room) {
        (void)vsnprintf(room, (size_t)n + 1, format, again);
        b->len += (size_t)n;
    } else {
        b->failed = true;
    }
    va_end(again);
    va_end(args);
}

static const bool escaped[256] = {[0 ... 0x1f] = true, ['"'] = true, ['\\'] = true, [0x7f] = true};

void tr_buf_json_string(tr_buf *b, const char *text, size_t n) {
    static const char short_form[] = {['\b'] = 'b', ['\f'] = 'f', ['\n'] = 'n', ['\r'] = 'r', ['\t'] = 't'};
    tr_buf_putc(b, '"');
    for (size_t i = 0, run; i < n; i = run) {
        for (run = i; run < n && !escaped[(unsigned char)text[run]];)
            run++;
        tr_buf_append(b, text + i, run - i);
        if (run == n)
            break;
        unsigned char c = (unsigned char)text[run++];
        if (c == '"' || c == '\\')
            tr_buf_append(b, (char[]){'\\', (char)c}, 2);
        else if (c < sizeof short_form && short_form[c])
            tr_buf_append(b, (char[]){'\\', short_form[c]}, 2);
        else
            tr_buf_printf(b, "\\u%04x", c);
    }
    tr_buf_putc(b, '"');
}

tr_status tr_buf_ok(const tr_buf *b, tr_error *err) {
    return b->failed ? tr_fail(err, TR_E_NOMEM, NULL, "out of memory") : TR_OK;
}

void tr_buf_reset(tr_buf *b) {
    if (b->data) {
        tr_wipe(b->data, b->len);
        b->data[0] = '\0';
    }
    b->len = 0;
    b->failed = false;
}

void tr_buf_clear(tr_buf *b) {
    if (b->data) {
        tr_wipe(b->data, b->cap); /* also what was reserved and written, but never counted */
        free(b->data);
    }
    *b = TR_BUF_INIT;
}

char *tr_buf_take(tr_buf *b) {
    if (!b->data)
        tr_buf_append(b, "", 0);
    if (b->failed) {
        tr_buf_clear(b);
        return NULL;
    }
    char *data = b->data;
    *b = TR_BUF_INIT;
    return data;
}
