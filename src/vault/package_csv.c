/* CSV (RFC 4180) that a spreadsheet takes for what it is: text. */
#include <string.h>

#include "vault/package_internal.h"

/* A cell that begins so is a formula to some spreadsheet (OWASP, CSV injection). The last ones are the
 * full-width forms of the first. */
static bool looks_like_formula(const char *text) {
    static const char *const wide[] = {"\xef\xbc\x9d", "\xef\xbc\x8b", "\xef\xbc\x8d", "\xef\xbc\xa0"};
    if (strchr("=+-@\t\r\n", text[0]))
        return text[0] != '\0';
    for (size_t i = 0; i < sizeof wide / sizeof *wide; i++) {
        if (strncmp(text, wide[i], 3) == 0)
            return true;
    }
    return false;
}

static void field(tr_buf *out, bool first, const char *text, bool safe) {
    if (!first)
        tr_buf_putc(out, ',');
    bool formula = !safe && looks_like_formula(text);
    bool quoted = formula || strpbrk(text, ",\"\r\n;\t") != NULL;
    if (quoted)
        tr_buf_putc(out, '"');
    if (formula)
        tr_buf_putc(out, '\'');
    for (const char *c = text; *c; c++) {
        if (*c == '"')
            tr_buf_putc(out, '"');
        tr_buf_putc(out, *c);
    }
    if (quoted)
        tr_buf_putc(out, '"');
}

void tr_csv_text(tr_buf *out, bool first, const char *text) {
    field(out, first, text ? text : "", false);
}

tr_status tr_csv_value(tr_buf *out, bool first, const cJSON *value, tr_error *err) {
    tr_buf text = TR_BUF_INIT;
    tr_status st = TR_OK;
    if (cJSON_IsString(value)) {
        tr_csv_text(out, first, value->valuestring);
        return TR_OK;
    }
    if (value && !cJSON_IsNull(value))
        st = tr_json_print(value, &text, err);
    if (st == TR_OK)
        field(out, first, text.data ? text.data : "",
              true); /* a number, true, false, or begins with a bracket */
    tr_buf_clear(&text);
    return st;
}

void tr_csv_end(tr_buf *out) {
    tr_buf_puts(out, "\r\n");
}
