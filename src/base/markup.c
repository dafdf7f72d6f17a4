#include "base/markup.h"

void tr_html_text(tr_buf *out, const char *text, size_t len) {
    for (size_t i = 0; i < len; i++) {
        switch (text[i]) {
        case '&': tr_buf_puts(out, "&amp;"); break;
        case '<': tr_buf_puts(out, "&lt;"); break;
        case '>': tr_buf_puts(out, "&gt;"); break;
        case '"': tr_buf_puts(out, "&quot;"); break;
        case '\'': tr_buf_puts(out, "&#39;"); break;
        case '\n':
        case '\t': tr_buf_putc(out, text[i]); break;
        default: tr_buf_putc(out, (unsigned char)text[i] < 0x20 ? ' ' : text[i]); /* not allowed in HTML */
        }
    }
}
