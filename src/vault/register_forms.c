/* The register of processing activities as CSV and as HTML: one table says which fields there are. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/markup.h"
#include "vault/package_internal.h"
#include "vault/register.h"

static const struct field {
    const char *member, *title;
    const char *law; /* which of the two asks for it */
} fields[] = {
    {"name", "Activity", ""},
    {"controller", "Controller", "Art. 12(2)(a) FADP, Art. 30(1)(a) GDPR"},
    {"joint_controllers", "Joint controllers", "Art. 30(1)(a) GDPR"},
    {"representative", "Representative", "Art. 14 FADP, Art. 30(1)(a) GDPR"},
    {"data_protection_officer", "Data protection officer", "Art. 10 FADP, Art. 30(1)(a) GDPR"},
    {"processor", "Processor", "Art. 12(3) FADP, Art. 30(2)(a) GDPR"},
    {"purpose", "Purpose", "Art. 12(2)(b) FADP, Art. 30(1)(b) GDPR"},
    {"legal_basis", "Legal basis", "Art. 31 FADP, Art. 6 GDPR"},
    {"categories_of_subjects", "Categories of data subjects", "Art. 12(2)(c) FADP, Art. 30(1)(c) GDPR"},
    {"categories_of_data", "Categories of personal data", "Art. 12(2)(c) FADP, Art. 30(1)(c) GDPR"},
    {"record_types", "Record types in this vault", ""},
    {"categories_of_recipients", "Categories of recipients", "Art. 12(2)(d) FADP, Art. 30(1)(d) GDPR"},
    {"recipients", "Recipients", "Art. 12(2)(d) FADP, Art. 30(1)(d) GDPR"},
    {"retention", "Retention", "Art. 12(2)(e) FADP, Art. 30(1)(f) GDPR"},
    {"retention_after_end", "Kept after the end", ""},
    {"security_measures", "Security measures", "Art. 12(2)(f) FADP, Art. 30(1)(g) GDPR"},
    {"transfers", "Disclosure abroad: states and safeguards", "Art. 12(2)(g) FADP, Art. 30(1)(e) GDPR"},
    {"place_of_storage", "Place of storage", ""},
    {"automated_decisions", "Automated individual decisions", "Art. 21 FADP, Art. 22 GDPR"},
    {"expires", "Is to end", ""},
};
enum { FIELDS = sizeof fields / sizeof *fields };

/* ---- one value as a text ---- */

static void add_object(tr_buf *out, const cJSON *object) {
    static const char *const order[] = {"name", "address", "contact", "country", "safeguard", "basis"};
    const char *gap = "";
    for (size_t i = 0; i < sizeof order / sizeof *order; i++) {
        const char *text = tr_json_string(object, order[i]);
        if (!text)
            continue;
        tr_buf_puts(out, gap);
        tr_buf_puts(out, text);
        gap = ", ";
    }
}

static void add_one(tr_buf *out, const cJSON *value) {
    if (cJSON_IsString(value))
        tr_buf_puts(out, value->valuestring);
    else if (cJSON_IsObject(value))
        add_object(out, value);
}

static void value_text(tr_buf *out, const cJSON *value) {
    const cJSON *item;
    const char *gap = "";
    tr_buf_reset(out);
    if (!cJSON_IsArray(value)) {
        add_one(out, value);
        return;
    }
    cJSON_ArrayForEach(item, value) {
        tr_buf_puts(out, gap);
        add_one(out, item);
        gap = "; ";
    }
}

static void time_text(char out[TR_TIME_TEXT], int64_t ms) {
    out[0] = '\0';
    if (ms)
        tr_time_format(ms, out);
}

/* Call back for each field with its text ("" when it is not stated). */
typedef void (*field_fn)(tr_buf *out, const struct field *field, const char *text, size_t len);

static tr_status each_field(tr_buf *out, const tr_activity *row, field_fn fn, tr_error *err) {
    cJSON *doc = NULL;
    tr_buf text = TR_BUF_INIT;
    tr_status st = tr_json_parse(row->doc, strlen(row->doc), &doc, err);
    for (int i = 0; st == TR_OK && i < FIELDS; i++) {
        const cJSON *value = tr_json_member(doc, fields[i].member);
        value_text(&text, value);
        fn(out, &fields[i], text.len ? text.data : "", text.len);
        st = tr_buf_ok(&text, err);
    }
    tr_buf_clear(&text);
    cJSON_Delete(doc);
    return st == TR_OK ? tr_buf_ok(out, err) : st;
}

/* ---- CSV ---- */

static const char *const csv_own[] = {"id", "version", "created_at", "updated_at", "ended_at"};
enum { CSV_OWN = sizeof csv_own / sizeof *csv_own };

static void csv_head(tr_buf *out, int64_t now) {
    (void)now;
    for (int i = 0; i < CSV_OWN; i++)
        tr_csv_text(out, i == 0, csv_own[i]);
    for (int i = 0; i < FIELDS; i++)
        tr_csv_text(out, false, fields[i].member);
    tr_csv_end(out);
}

static void csv_field(tr_buf *out, const struct field *field, const char *text, size_t len) {
    (void)field;
    (void)len;
    tr_csv_text(out, false, text);
}

static tr_status csv_entry(tr_buf *out, const tr_activity *row, int64_t now, tr_error *err) {
    char id[TR_UUID_TEXT], version[24], time[TR_TIME_TEXT];
    const int64_t times[] = {row->created_at, row->updated_at, tr_activity_ended(row, now)};
    tr_uuid_format(&row->id, id);
    snprintf(version, sizeof version, "%lld", (long long)row->version);
    tr_csv_text(out, true, id);
    tr_csv_text(out, false, version);
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        time_text(time, times[i]);
        tr_csv_text(out, false, time);
    }
    tr_status st = each_field(out, row, csv_field, err);
    tr_csv_end(out);
    return st;
}

static void csv_foot(tr_buf *out) {
    (void)out;
}

const tr_register_form tr_register_csv = {csv_head, csv_entry, csv_foot};

/* ---- HTML ---- */

const char tr_register_style[] =
    "body{font:15px/1.45 sans-serif;margin:2em auto;max-width:60em;padding:0 "
    "1em;color:#111;background:#fff}\n"
    "h1{font-size:1.6em;margin:0 0 .2em}h2{font-size:1.2em;margin:2em 0 .4em}\n"
    "table{border-collapse:collapse;width:100%}\n"
    "th,td{border:1px solid #999;padding:.4em .6em;text-align:left;vertical-align:top}\n"
    "th{width:16em;font-weight:600;background:#f4f4f4}th small{display:block;font-weight:400;color:#444}\n"
    "td{white-space:pre-wrap;overflow-wrap:anywhere}.none{color:#555;font-style:italic}\n"
    "@media "
    "print{body{margin:0;max-width:none;font-size:10pt}article{break-inside:avoid}h2{break-after:avoid}"
    "th{background:none}}\n";

static void html_head(tr_buf *out, int64_t now) {
    char time[TR_TIME_TEXT];
    time_text(time, now);
    tr_buf_printf(out,
                  "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
                  "<title>Records of processing activities</title>\n"
                  "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
                  "<style>%s</style></head><body>\n<h1>Records of processing activities</h1>\n",
                  tr_register_style);
    tr_buf_printf(out, "<p>Art. 12 FADP (SR 235.1), Art. 30 GDPR. As of <time>%s</time>.</p>\n<main>\n",
                  time);
}

static void html_field(tr_buf *out, const struct field *field, const char *text, size_t len) {
    if (strcmp(field->member, "name") == 0)
        return; /* the heading */
    if (len == 0 && !field->law[0])
        return; /* nobody asks for it */
    tr_buf_printf(out, "<tr><th scope=\"row\">%s", field->title);
    if (field->law[0])
        tr_buf_printf(out, "<small>%s</small>", field->law);
    tr_buf_puts(out, len ? "</th><td>" : "</th><td class=\"none\">not stated");
    tr_html_text(out, text, len);
    tr_buf_puts(out, "</td></tr>\n");
}

static tr_status html_name(tr_buf *out, const tr_activity *row, tr_error *err) {
    cJSON *doc = NULL;
    tr_status st = tr_json_parse(row->doc, strlen(row->doc), &doc, err);
    const char *name = tr_json_string(doc, "name");
    if (name)
        tr_html_text(out, name, strlen(name));
    cJSON_Delete(doc);
    return st;
}

static void html_row(tr_buf *out, const char *title, const char *text) {
    tr_buf_printf(out, "<tr><th scope=\"row\">%s</th><td>%s</td></tr>\n", title, text);
}

static tr_status html_entry(tr_buf *out, const tr_activity *row, int64_t now, tr_error *err) {
    char id[TR_UUID_TEXT], time[TR_TIME_TEXT];
    int64_t ended = tr_activity_ended(row, now);
    tr_buf_puts(out, "<article>\n<h2>");
    tr_status st = html_name(out, row, err);
    tr_buf_puts(out, "</h2>\n<table>\n");
    if (st == TR_OK)
        st = each_field(out, row, html_field, err);
    time_text(time, row->created_at);
    html_row(out, "Entered", time);
    time_text(time, row->updated_at);
    html_row(out, "Last changed", time);
    time_text(time, ended);
    html_row(out, "Ended", ended ? time : "no");
    tr_uuid_format(&row->id, id);
    tr_buf_printf(out, "<tr><th scope=\"row\">Entry</th><td>%s, version %lld</td></tr>\n", id,
                  (long long)row->version);
    tr_buf_puts(out, "</table>\n</article>\n");
    return st == TR_OK ? tr_buf_ok(out, err) : st;
}

static void html_foot(tr_buf *out) {
    tr_buf_puts(out, "</main></body></html>\n");
}

const tr_register_form tr_register_html = {html_head, html_entry, html_foot};
