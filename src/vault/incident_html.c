/* The notice of an incident to the authority, as a page to be sent. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/markup.h"
#include "vault/incidents.h"

const char tr_incident_style[] =
    "body{font:15px/1.45 sans-serif;margin:2em auto;max-width:56em;padding:0 "
    "1em;color:#111;background:#fff}\n"
    "h1{font-size:1.6em;margin:0 0 .2em}table{border-collapse:collapse;width:100%}\n"
    "th,td{border:1px solid #999;padding:.4em .6em;text-align:left;vertical-align:top}\n"
    "th{width:18em;font-weight:600;background:#f4f4f4}th small{display:block;font-weight:400;color:#444}\n"
    "td{white-space:pre-wrap;overflow-wrap:anywhere}.unknown{color:#8a1500;font-style:italic}\n"
    "@media print{body{margin:0;max-width:none;font-size:10pt}tr{break-inside:avoid}th{background:none}}\n";

static const char page_head[] =
    "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
    "<title>Notification of a breach of data security</title>\n"
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<style>";

static const char page_rest[] =
    "</style></head><body>\n<h1>Notification of a breach of data security</h1>\n"
    "<p>To the authority: Art. 24(1) FADP with Art. 15 DPO (FDPIC), Art. 33(3) GDPR.</p>\n<main><table>\n";

/* What the law asks for: always there, and marked while it is not known. */
static void row(tr_buf *out, const char *title, const char *law, const char *text, const char *otherwise) {
    tr_buf_printf(out, "<tr><th scope=\"row\">%s", title);
    if (law[0])
        tr_buf_printf(out, "<small>%s</small>", law);
    if (text && text[0]) {
        tr_buf_puts(out, "</th><td>");
        tr_html_text(out, text, strlen(text));
    } else {
        tr_buf_printf(out, "</th><td class=\"unknown\">%s", otherwise);
    }
    tr_buf_puts(out, "</td></tr>\n");
}

#define UNKNOWN "not yet known; will follow"

static void text_row(tr_buf *out, const char *title, const char *law, const cJSON *doc, const char *member) {
    row(out, title, law, tr_json_string(doc, member), UNKNOWN);
}

static void time_row(tr_buf *out, const char *title, const char *law, int64_t ms, const char *otherwise) {
    char time[TR_TIME_TEXT] = "";
    if (ms)
        tr_time_format(ms, time);
    row(out, title, law, time, otherwise);
}

static int64_t time_of(const cJSON *doc, const char *member) {
    const char *text = tr_json_string(doc, member);
    int64_t ms = 0;
    return text && tr_time_parse(text, strlen(text), &ms) ? ms : 0;
}

static void duration_row(tr_buf *out, const cJSON *doc) {
    int64_t began = time_of(doc, "began_at"), ended = time_of(doc, "ended_at");
    char text[80] = "";
    if (began && ended) {
        int64_t minutes = (ended - began) / 60000;
        snprintf(text, sizeof text, "%lld days, %lld hours, %lld minutes", (long long)(minutes / 1440),
                 (long long)(minutes / 60 % 24), (long long)(minutes % 60));
    }
    time_row(out, "Beginning", "Art. 15(1)(b) DPO", began, UNKNOWN);
    time_row(out, "End", "Art. 15(1)(b) DPO", ended, "not yet known, or it goes on");
    row(out, "Duration", "Art. 15(1)(b) DPO", text, UNKNOWN);
}

static void add_line(tr_buf *out, const char *text) {
    if (!text || !text[0])
        return;
    tr_buf_puts(out, out->len ? "\n" : "");
    tr_buf_puts(out, text);
}

static void list_row(tr_buf *out, const char *title, const char *law, const cJSON *doc, const char *member) {
    tr_buf text = TR_BUF_INIT;
    const cJSON *item;
    cJSON_ArrayForEach(item, tr_json_member(doc, member)) {
        add_line(&text, cJSON_GetStringValue(item));
    }
    row(out, title, law, text.data, UNKNOWN);
    tr_buf_clear(&text);
}

static void count_row(tr_buf *out, const char *title, const char *law, const cJSON *doc, const char *member) {
    int64_t count = 0;
    char text[24] = "";
    if (tr_json_int(doc, member, &count))
        snprintf(text, sizeof text, "%lld", (long long)count);
    row(out, title, law, text, UNKNOWN);
}

static void contact_row(tr_buf *out, const cJSON *contact) {
    static const char *const members[] = {"name", "address", "email", "phone"};
    tr_buf text = TR_BUF_INIT;
    for (size_t i = 0; i < sizeof members / sizeof *members; i++)
        add_line(&text, tr_json_string(contact, members[i]));
    row(out, "Contact", "Art. 15(1)(g) DPO, Art. 33(3)(b) GDPR", text.data, UNKNOWN);
    tr_buf_clear(&text);
}

static tr_status add_counts(void *context, const tr_mailing *row, tr_error *err) {
    int64_t *counts = context;
    (void)err;
    counts[0] += row->told;
    counts[1] += row->unreachable;
    return TR_OK;
}

static tr_status told_row(tr_db *db, const tr_incident *incident, tr_buf *out, tr_error *err) {
    int64_t counts[2] = {0};
    char text[120] = "";
    tr_status st = tr_mailing_list(db, &incident->id, TR_INCIDENT_MAILINGS_MAX, add_counts, counts, err);
    if (counts[0] || counts[1])
        snprintf(text, sizeof text, "%lld notices to data subjects; %lld could not be reached this way",
                 (long long)counts[0], (long long)counts[1]);
    row(out, "Data subjects informed", "Art. 24(4) FADP, Art. 34 GDPR", text, "not yet");
    return st;
}

static void what_happened(tr_buf *out, const cJSON *doc, const tr_incident *incident) {
    row(out, "Kind", "Art. 15(1)(a) DPO, Art. 33(3)(a) GDPR", tr_incident_kind_name(incident->kind), "");
    text_row(out, "Nature of the breach", "Art. 15(1)(a) DPO, Art. 33(3)(a) GDPR", doc, "nature");
    duration_row(out, doc);
    time_row(out, "Controller became aware", "Art. 33(1) GDPR", incident->aware_at, UNKNOWN);
    list_row(out, "Categories of personal data", "Art. 15(1)(c) DPO, Art. 33(3)(a) GDPR", doc,
             "data_categories");
    count_row(out, "Approximate number of records", "Art. 15(1)(c) DPO, Art. 33(3)(a) GDPR", doc,
              "record_count");
    list_row(out, "Categories of data subjects", "Art. 15(1)(d) DPO, Art. 33(3)(a) GDPR", doc,
             "subject_categories");
    count_row(out, "Approximate number of data subjects", "Art. 15(1)(d) DPO, Art. 33(3)(a) GDPR", doc,
              "subject_count");
    row(out, "Risk for data subjects", "Art. 15(1)(e) DPO",
        incident->risk == TR_RISK_UNKNOWN ? NULL : tr_incident_risk_name(incident->risk), UNKNOWN);
    text_row(out, "Effects and risks", "Art. 15(1)(e) DPO, Art. 33(3)(c) GDPR", doc, "effects");
}

tr_status tr_incident_html(tr_db *db, const tr_incident_case *c, int64_t now, tr_buf *out, tr_error *err) {
    const cJSON *doc = c->doc;
    const tr_incident *incident = &c->row;
    char id[TR_UUID_TEXT], time[TR_TIME_TEXT];
    bool late = (incident->notified_at ? incident->notified_at : now) > incident->due_at;
    tr_buf_puts(out, page_head);
    tr_buf_puts(out, tr_incident_style);
    tr_buf_puts(out, page_rest);
    text_row(out, "Breach", "", doc, "title");
    what_happened(out, doc, incident);
    text_row(out, "Measures taken", "Art. 15(1)(f) DPO, Art. 33(3)(d) GDPR", doc, "measures_taken");
    text_row(out, "Measures planned", "Art. 15(1)(f) DPO, Art. 33(3)(d) GDPR", doc, "measures_planned");
    tr_status st = told_row(db, incident, out, err);
    contact_row(out, tr_json_member(doc, "contact"));
    if (late)
        text_row(out, "Reasons for the delay beyond 72 hours", "Art. 33(1) GDPR", doc, "delay_reason");
    time_row(out, "First notified", "", incident->notified_at, "this is the first notification");
    if (tr_json_string(doc, "authority_reference"))
        text_row(out, "The authority's reference", "", doc, "authority_reference");
    tr_uuid_format(&incident->id, id);
    tr_time_format(now, time);
    tr_buf_printf(out,
                  "</table></main>\n<p>Entry %s, version %lld, as of <time>%s</time>.</p></body></html>\n",
                  id, (long long)incident->version, time);
    return st == TR_OK ? tr_buf_ok(out, err) : st;
}
