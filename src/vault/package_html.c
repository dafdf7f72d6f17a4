/* The pieces of a page: every text that is not ours goes through tr_html_escaped. */
#include "vault/package_html.h"

#include <string.h>

#include "base/markup.h"

const char *tr_html_say(const tr_package *p, tr_text text) {
    return tr_text_in(p->options->language, text);
}

const char *tr_html_code(const tr_package *p, const char *code) {
    return code ? tr_text_of(p->options->language, code) : "–";
}

/* ---- pieces ---- */

void tr_html_escaped(tr_buf *out, const char *text) {
    tr_html_text(out, text ? text : "", text ? strlen(text) : 0);
}

void tr_html_element(tr_buf *out, const char *tag, const char *text) {
    tr_buf_printf(out, "<%s>", tag);
    tr_html_escaped(out, text);
    tr_buf_printf(out, "</%s>\n", tag);
}

void tr_html_heading(tr_package *p, tr_text text) {
    tr_html_element(&p->out, "h2", tr_html_say(p, text));
}

void tr_html_table(tr_package *p, const tr_text *columns, size_t count) {
    tr_buf_puts(&p->out, "<table><thead><tr>");
    for (size_t i = 0; i < count; i++)
        tr_html_element(&p->out, "th", tr_html_say(p, columns[i]));
    tr_buf_puts(&p->out, "</tr></thead><tbody>\n");
}

void tr_html_table_end(tr_package *p) {
    tr_buf_puts(&p->out, "</tbody></table>\n");
}

void tr_html_fact(tr_package *p, tr_text label, const char *value) {
    if (!value)
        return;
    tr_buf_puts(&p->out, "<tr>");
    tr_html_element(&p->out, "th", tr_html_say(p, label));
    tr_html_element(&p->out, "td", value);
    tr_buf_puts(&p->out, "</tr>\n");
}

void tr_html_codes(tr_package *p, const cJSON *list) {
    const cJSON *code;
    cJSON_ArrayForEach(code, list) {
        tr_html_escaped(&p->out, code == list->child ? "" : ", ");
        tr_html_escaped(&p->out, tr_html_code(p, cJSON_GetStringValue(code)));
    }
    if (!list || !list->child)
        tr_buf_puts(&p->out, "–");
}

void tr_html_duration(tr_package *p, const char *duration) {
    tr_buf text = TR_BUF_INIT;
    tr_text_duration(p->options->language, duration ? duration : "–", &text);
    tr_html_escaped(&p->out, text.data);
    tr_buf_clear(&text);
}

void tr_html_link(tr_buf *out, const char *folder, const char *name, const char *ending) {
    tr_buf_printf(out, "<a href=\"%s%s%s\">%s%s%s</a> ", folder, name, ending, folder, name,
                  ending); /* ASCII names */
}

/* ---- values: what a member is called, then what it holds ---- */

tr_status tr_html_members(tr_buf *out, const cJSON *object, const cJSON *schema, tr_error *err) {
    const cJSON *member, *properties = tr_json_member(schema, "properties");
    tr_status st = TR_OK;
    tr_buf_puts(out, "<table>");
    cJSON_ArrayForEach(member, object) {
        const cJSON *property = properties ? tr_json_member(properties, member->string) : NULL;
        const char *title = property ? tr_json_string(property, "title") : NULL;
        tr_buf_puts(out, "<tr>");
        tr_html_element(out, "th", title ? title : member->string);
        tr_buf_puts(out, "<td>");
        if (st == TR_OK)
            st = tr_html_value(out, member, property, err);
        tr_buf_puts(out, "</td></tr>\n");
    }
    tr_buf_puts(out, "</table>");
    return st;
}

tr_status tr_html_items(tr_buf *out, const cJSON *array, const cJSON *schema, tr_error *err) {
    const cJSON *item, *items = tr_json_member(schema, "items");
    tr_status st = TR_OK;
    tr_buf_puts(out, "<ol>");
    cJSON_ArrayForEach(item, array) {
        tr_buf_puts(out, "<li>");
        if (st == TR_OK)
            st = tr_html_value(out, item, items, err);
        tr_buf_puts(out, "</li>\n");
    }
    tr_buf_puts(out, "</ol>");
    return st;
}

/* As deep as a stored record may be (TR_JSON_MAX_DEPTH). */
tr_status tr_html_value(tr_buf *out, const cJSON *value, const cJSON *schema, tr_error *err) {
    tr_buf text = TR_BUF_INIT;
    if (cJSON_IsObject(value) && value->child)
        return tr_html_members(out, value, schema, err);
    if (cJSON_IsArray(value) && value->child)
        return tr_html_items(out, value, schema, err);
    if (cJSON_IsString(value)) {
        tr_html_escaped(out, value->valuestring);
        return TR_OK;
    }
    tr_status st = cJSON_IsNull(value) || !value ? TR_OK : tr_json_print(value, &text, err);
    tr_html_escaped(out, text.len ? text.data : "–");
    tr_buf_clear(&text);
    return st;
}
