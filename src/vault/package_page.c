/* index.html: everything that a person wants to know, to read and to print. No script, nothing from
 * elsewhere, and the page forbids itself all the rest (Content-Security-Policy). */
#include <string.h>

#include "base/encode.h"
#include "vault/package_html.h"

#define PAGE_RECORDS  200 /* of each type */
#define PAGE_ACCESSES 100

static const char style[] =
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 "
    "1rem;color:#1a1a1a;background:#fff}"
    "h1{font-size:1.8rem}h2{font-size:1.3rem;margin-top:2.2rem;border-bottom:1px solid "
    "#bbb}h3{font-size:1.05rem}"
    "table{border-collapse:collapse;width:100%;margin:.6rem 0}th,td{border:1px solid #ccc;padding:.3rem "
    ".5rem;"
    "text-align:left;vertical-align:top;overflow-wrap:anywhere}th{background:#f2f2f2;font-weight:600}"
    "td table{margin:0}td>table "
    "th{width:12rem}.id{color:#555;font-size:.85rem}ol{margin:0;padding-left:1.5rem}"
    "@media print{body{font-size:10.5pt;margin:0;max-width:none}h2{break-after:avoid}tr{break-inside:avoid}"
    "a{color:inherit;text-decoration:none}}";

/* ---- head ---- */

static tr_status put_head(tr_package *p, tr_error *err) {
    tr_buf *out = &p->out;
    const tr_bytes part = {style, sizeof style - 1};
    uint8_t hash[TR_SHA256_LEN];
    tr_status st = tr_sha256(&part, 1, hash, err);
    if (st != TR_OK)
        return st;
    tr_buf_printf(
        out,
        "<!DOCTYPE html>\n<html lang=\"%s\"><head><meta charset=\"utf-8\">\n"
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'sha256-",
        tr_language_name(p->options->language));
    tr_base64_append(out, hash, sizeof hash);
    tr_buf_puts(
        out, "'; base-uri 'none'; form-action 'none'\">\n<meta name=\"referrer\" content=\"no-referrer\">\n"
             "<meta name=\"viewport\" content=\"width=device-width\">\n");
    tr_html_element(out, "title", tr_html_say(p, TR_T_TITLE));
    tr_buf_printf(out, "<style>%s</style></head><body>\n", style);
    tr_html_element(out, "h1", tr_html_say(p, TR_T_TITLE));
    tr_html_element(out, "p", tr_html_say(p, p->options->access->own ? TR_T_INTRO : TR_T_INTRO_EXPORT));
    tr_buf_puts(out, "<table><tbody>");
    char id[TR_UUID_TEXT];
    tr_html_fact(p, TR_T_MADE_AT, tr_json_string(p->information, "made_at"));
    tr_html_fact(p, TR_T_SUBJECT, tr_json_string(p->information, "subject"));
    if (p->options->has_request) {
        tr_uuid_format(&p->options->request, id);
        tr_html_fact(p, TR_T_REQUEST, id);
    }
    tr_html_fact(p, TR_T_RESTRICTED, tr_json_string(p->information, "restricted_at"));
    tr_html_table_end(p);
    return TR_OK;
}

/* ---- the information ---- */

static tr_status put_controllers(tr_package *p, tr_error *err) {
    static const char *const members[] = {"controllers", "joint_controllers", "representative",
                                          "data_protection_officer"};
    const char *own = tr_json_string(p->information, "controller");
    bool any = own != NULL;
    tr_status st = TR_OK;
    tr_html_heading(p, TR_T_CONTROLLER);
    if (own)
        tr_html_element(&p->out, "p", own);
    for (size_t i = 0; i < sizeof members / sizeof *members && st == TR_OK; i++) {
        const cJSON *list = tr_json_member(p->information, members[i]);
        if (list && list->child)
            st = tr_html_items(&p->out, list, NULL, err);
        any = any || (list && list->child);
    }
    if (!any)
        tr_html_element(&p->out, "p", tr_html_say(p, TR_T_NOT_STATED));
    return st;
}

static void put_categories(tr_package *p) {
    static const tr_text columns[] = {TR_T_TYPE, TR_T_RECORDS, TR_T_SENSITIVE, TR_T_RETENTION, TR_T_FILES};
    const cJSON *row, *data = tr_json_member(p->information, "data");
    tr_html_heading(p, TR_T_CATEGORIES);
    if (!data || !data->child) {
        tr_html_element(&p->out, "p", tr_html_say(p, TR_T_NO_RECORDS));
        return;
    }
    tr_html_table(p, columns, sizeof columns / sizeof *columns);
    cJSON_ArrayForEach(row, data) {
        const char *name = tr_json_string(row, "type"), *title = tr_json_string(row, "title");
        const char *retention = tr_json_string(row, "retention");
        int64_t records = 0;
        (void)tr_json_int(row, "records", &records);
        tr_buf_puts(&p->out, "<tr>");
        tr_html_element(&p->out, "td", title ? title : name);
        tr_buf_printf(&p->out, "<td>%lld</td><td>", (long long)records);
        tr_html_codes(p, tr_json_member(row, "sensitive"));
        tr_buf_puts(&p->out, "</td><td>");
        tr_html_duration(p, retention);
        tr_buf_puts(&p->out, "</td><td>");
        tr_html_link(&p->out, "records/", name, ".json");
        if (tr_json_bool(row, "csv", false))
            tr_html_link(&p->out, "records/", name, ".csv");
        tr_buf_puts(&p->out, "</td></tr>\n");
    }
    tr_html_table_end(p);
}

static void put_accounts(tr_package *p) {
    const cJSON *row, *list = tr_json_member(p->information, "accounts");
    if (!list || !list->child)
        return;
    tr_html_heading(p, TR_T_ACCOUNT);
    cJSON_ArrayForEach(row, list) {
        tr_buf_puts(&p->out, "<table><tbody>");
        tr_html_fact(p, TR_T_UID, tr_json_string(row, "uid"));
        tr_html_fact(p, TR_T_NAME, tr_json_string(row, "name"));
        tr_html_fact(p, TR_T_EMAIL, tr_json_string(row, "email"));
        tr_html_table_end(p);
    }
}

static void put_purposes(tr_package *p) {
    const cJSON *row, *list = tr_json_member(p->information, "activities");
    tr_html_heading(p, TR_T_PURPOSES);
    if (!list || !list->child)
        tr_html_element(&p->out, "p", tr_html_say(p, TR_T_NOT_STATED));
    cJSON_ArrayForEach(row, list) {
        tr_buf_puts(&p->out, "<table><tbody>");
        tr_html_fact(p, TR_T_ACTIVITY, tr_json_string(row, "name"));
        tr_html_fact(p, TR_T_PURPOSE, tr_json_string(row, "purpose"));
        tr_html_fact(p, TR_T_LEGAL_BASIS, tr_json_string(row, "legal_basis"));
        tr_html_fact(p, TR_T_RETENTION, tr_json_string(row, "retention"));
        tr_html_fact(p, TR_T_ENDED, tr_json_string(row, "ended_at"));
        tr_html_table_end(p);
    }
}

static void put_person(tr_package *p, const cJSON *person) {
    const char *name = tr_json_string(person, "name"), *role = tr_json_string(person, "role");
    tr_html_element(&p->out, "td", name ? name : tr_json_string(person, "id"));
    tr_html_element(&p->out, "td", tr_html_code(p, role));
}

static void put_people(tr_package *p, const cJSON *list, tr_text none) {
    static const tr_text columns[] = {TR_T_NAME, TR_T_ROLE};
    const cJSON *person;
    if (!list || !list->child) {
        tr_html_element(&p->out, "p", tr_html_say(p, none));
        return;
    }
    tr_html_table(p, columns, 2);
    cJSON_ArrayForEach(person, list) {
        tr_buf_puts(&p->out, "<tr>");
        put_person(p, person);
        tr_buf_puts(&p->out, "</tr>\n");
    }
    tr_html_table_end(p);
}

static void put_origin(tr_package *p) {
    const cJSON *origin = tr_json_member(p->information, "origin");
    const cJSON *by = tr_json_member(origin, "registered_by");
    const char *name = tr_json_string(by, "name");
    tr_html_heading(p, TR_T_ORIGIN);
    tr_buf_puts(&p->out, "<p>");
    tr_html_escaped(&p->out, tr_html_say(p, TR_T_REGISTERED_BY));
    tr_buf_puts(&p->out, ": ");
    tr_html_escaped(&p->out, name ? name : tr_json_string(by, "id"));
    tr_buf_puts(&p->out, ", ");
    tr_html_escaped(&p->out, tr_json_string(origin, "registered_at"));
    tr_buf_puts(&p->out, "</p>\n");
    tr_html_element(&p->out, "h3", tr_html_say(p, TR_T_WRITTEN_BY));
    put_people(p, tr_json_member(origin, "written_by"), TR_T_NOBODY);
}

static tr_status put_grants(tr_package *p, tr_error *err) {
    static const tr_text columns[] = {TR_T_NAME,    TR_T_ROLE,  TR_T_PURPOSE,  TR_T_TYPE,
                                      TR_T_ACTIONS, TR_T_UNTIL, TR_T_WITHDRAWN};
    const cJSON *row, *list = tr_json_member(p->information, "grants");
    tr_status st = TR_OK;
    tr_html_heading(p, TR_T_GRANTED);
    if (!list || !list->child) {
        tr_html_element(&p->out, "p", tr_html_say(p, TR_T_NOBODY));
        return TR_OK;
    }
    tr_html_table(p, columns, sizeof columns / sizeof *columns);
    cJSON_ArrayForEach(row, list) {
        const char *until = tr_json_string(row, "expires_at"),
                   *withdrawn = tr_json_string(row, "withdrawn_at");
        tr_buf_puts(&p->out, "<tr>");
        put_person(p, tr_json_member(row, "grantee"));
        tr_html_element(&p->out, "td", tr_json_string(row, "purpose"));
        tr_buf_puts(&p->out, "<td>");
        if (st == TR_OK)
            st = tr_html_value(&p->out, tr_json_member(row, "types"), NULL, err);
        tr_buf_puts(&p->out, "</td><td>");
        tr_html_codes(p, tr_json_member(row, "actions"));
        tr_buf_puts(&p->out, "</td>");
        tr_html_element(&p->out, "td", until ? until : "–");
        tr_html_element(&p->out, "td", withdrawn ? withdrawn : "–");
        tr_buf_puts(&p->out, "</tr>\n");
    }
    tr_html_table_end(p);
    return st;
}

static void put_transfers(tr_package *p) {
    static const tr_text columns[] = {TR_T_ACTIVITY, TR_T_COUNTRY, TR_T_SAFEGUARD};
    const cJSON *activity, *row;
    bool any = false;
    tr_html_heading(p, TR_T_TRANSFERS);
    cJSON_ArrayForEach(activity, tr_json_member(p->information, "activities")) {
        cJSON_ArrayForEach(row, tr_json_member(activity, "transfers")) {
            const char *safeguard = tr_json_string(row, "safeguard"), *basis = tr_json_string(row, "basis");
            if (!any)
                tr_html_table(p, columns, sizeof columns / sizeof *columns);
            any = true;
            tr_buf_puts(&p->out, "<tr>");
            tr_html_element(&p->out, "td", tr_json_string(activity, "name"));
            tr_html_element(&p->out, "td", tr_json_string(row, "country"));
            tr_html_element(&p->out, "td", safeguard ? safeguard : basis ? basis : "–");
            tr_buf_puts(&p->out, "</tr>\n");
        }
    }
    if (any)
        tr_html_table_end(p);
    else
        tr_html_element(&p->out, "p", tr_html_say(p, TR_T_NO_TRANSFERS));
}

static tr_status put_decisions(tr_package *p, tr_error *err) {
    const cJSON *activity;
    bool any = false;
    tr_status st = TR_OK;
    tr_html_heading(p, TR_T_DECISIONS);
    cJSON_ArrayForEach(activity, tr_json_member(p->information, "activities")) {
        const cJSON *value = tr_json_member(activity, "automated_decisions");
        if (!value || cJSON_IsNull(value) || cJSON_IsFalse(value))
            continue;
        any = true;
        tr_html_element(&p->out, "h3", tr_json_string(activity, "name"));
        tr_buf_puts(&p->out, "<p>");
        if (st == TR_OK)
            st = tr_html_value(&p->out, value, NULL, err);
        tr_buf_puts(&p->out, "</p>\n");
    }
    if (!any)
        tr_html_element(&p->out, "p", tr_html_say(p, TR_T_NO_DECISIONS));
    return st;
}

static void put_rights(tr_package *p) {
    const cJSON *right;
    tr_html_heading(p, TR_T_RIGHTS);
    tr_buf_puts(&p->out, "<ul>\n");
    cJSON_ArrayForEach(right, tr_json_member(p->information, "rights")) {
        tr_html_element(&p->out, "li", cJSON_GetStringValue(right));
    }
    tr_buf_puts(&p->out, "</ul>\n");
}

/* ---- accesses ---- */

static tr_status put_access(void *context, tr_package *p, const cJSON *entry, int64_t seq, tr_error *err) {
    static const char *const members[] = {"type", "outcome"};
    const char *name = NULL, *role = tr_json_string(entry, "role");
    (void)context;
    (void)seq;
    tr_buf_puts(&p->out, "<tr>");
    tr_html_element(&p->out, "td", tr_json_string(entry, "time"));
    tr_status st =
        tr_package_name_of(p, tr_json_string(entry, "principal"), tr_package_principal, &name, err);
    tr_html_element(&p->out, "td", name ? name : tr_json_string(entry, "principal"));
    tr_html_element(&p->out, "td", tr_html_code(p, role));
    if (st == TR_OK)
        st = tr_package_name_of(p, tr_json_string(entry, "purpose"), tr_package_activity, &name, err);
    tr_html_element(&p->out, "td", name ? name : "–");
    tr_html_element(&p->out, "td", tr_html_code(p, tr_json_string(entry, "action")));
    for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
        const char *text = tr_json_string(entry, members[i]);
        tr_html_element(&p->out, "td", text ? text : "–");
    }
    tr_buf_puts(&p->out, "</tr>\n");
    return st;
}

static tr_status put_accesses(tr_package *p, tr_error *err) {
    static const tr_text columns[] = {TR_T_TIME,   TR_T_NAME, TR_T_ROLE,   TR_T_PURPOSE,
                                      TR_T_ACTION, TR_T_TYPE, TR_T_OUTCOME};
    tr_html_heading(p, TR_T_ACCESSES);
    tr_buf_puts(&p->out, "<p>");
    tr_html_escaped(&p->out, tr_html_say(p, TR_T_ACCESSES_ALL));
    tr_buf_putc(&p->out, ' ');
    tr_html_link(&p->out, "", "accesses", ".csv");
    tr_html_link(&p->out, "", "accesses", ".json");
    tr_buf_puts(&p->out, "</p>\n");
    tr_html_table(p, columns, sizeof columns / sizeof *columns);
    tr_status st = tr_package_accesses(p, PAGE_ACCESSES, put_access, NULL, err);
    tr_html_table_end(p);
    return st;
}

/* ---- the records ---- */

static tr_status put_record(void *context, tr_package *p, const tr_record *row, const cJSON *data,
                            bool partial, const tr_secret *key, tr_error *err) {
    char id[TR_UUID_TEXT], at[TR_TIME_TEXT];
    (void)key;
    tr_uuid_format(&row->id, id);
    tr_time_format(row->updated_at, at);
    tr_buf_printf(&p->out, "<p class=\"id\">%s · %s %s", id, tr_html_say(p, TR_T_CHANGED_AT), at);
    if (partial)
        tr_buf_printf(&p->out, " · %s", tr_html_say(p, TR_T_PARTIAL));
    tr_buf_puts(&p->out, "</p>\n");
    tr_status st = tr_html_members(&p->out, data, context, err);
    tr_buf_putc(&p->out, '\n');
    return st;
}

static tr_status put_type(tr_package *p, const tr_package_type *type, tr_error *err) {
    cJSON *schema = NULL;
    tr_status st = tr_package_schema(p, type->name, NULL, &schema, err);
    const char *title = tr_json_string(schema, "title");
    tr_html_element(&p->out, "h3", title ? title : type->name);
    if (st == TR_OK && type->records > PAGE_RECORDS) {
        tr_buf_puts(&p->out, "<p>");
        tr_html_escaped(&p->out, tr_html_say(p, TR_T_MORE_RECORDS));
        tr_buf_putc(&p->out, ' ');
        tr_html_link(&p->out, "records/", type->name, ".json");
        tr_buf_puts(&p->out, "</p>\n");
    }
    if (st == TR_OK)
        st = tr_package_records(p, type->name, PAGE_RECORDS, put_record, schema, err);
    cJSON_Delete(schema);
    return st;
}

static tr_status put_data(tr_package *p, tr_error *err) {
    tr_status st = TR_OK;
    tr_html_heading(p, TR_T_YOUR_RECORDS);
    if (p->type_count == 0)
        tr_html_element(&p->out, "p", tr_html_say(p, TR_T_NO_RECORDS));
    for (size_t i = 0; i < p->type_count && st == TR_OK; i++)
        st = put_type(p, &p->types[i], err);
    return st;
}

static tr_status put_information(tr_package *p, tr_error *err) {
    tr_status st = put_controllers(p, err);
    put_accounts(p);
    put_purposes(p);
    put_origin(p);
    tr_html_heading(p, TR_T_RECIPIENTS);
    put_people(p, tr_json_member(p->information, "recipients"), TR_T_NOBODY);
    if (st == TR_OK)
        st = put_grants(p, err);
    put_transfers(p);
    if (st == TR_OK)
        st = put_decisions(p, err);
    put_rights(p);
    return st == TR_OK ? tr_package_flush(p, err) : st;
}

static tr_status fill_page(tr_package *p, const void *context, tr_error *err) {
    (void)context;
    tr_status st = put_head(p, err);
    put_categories(p);
    if (st == TR_OK && p->options->access->own)
        st = put_information(p, err);
    if (st == TR_OK)
        st = put_data(p, err);
    if (st == TR_OK && p->options->access->own)
        st = put_accesses(p, err);
    tr_html_element(&p->out, "p", tr_html_say(p, TR_T_PROOF));
    tr_buf_puts(&p->out, "</body></html>\n");
    return st;
}

tr_status tr_package_put_page(tr_package *p, tr_error *err) {
    return tr_package_file(p, "index.html", fill_page, NULL, err);
}
