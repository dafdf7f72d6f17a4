/* The lists of a package: who accessed the data, and the subject's requests. */
#include <string.h>

#include "vault/audit.h"
#include "vault/dsr.h"
#include "vault/package_internal.h"

#define ACCESS_BATCH  500
#define REQUEST_BATCH 20

/* ---- the audit log's entries about the subject ---- */

struct walk {
    tr_package *p;
    tr_package_access_fn *fn;
    void *context;
    int64_t seq;
    int rows;
    bool ended; /* what came after the beginning */
};

static tr_status take_entry(void *context, const tr_audit_row *row, tr_error *err) {
    struct walk *w = context;
    cJSON *entry = NULL;
    w->seq = row->seq;
    w->rows++;
    w->ended = row->at > w->p->started_at;
    if (w->ended)
        return TR_OK;
    tr_status st = tr_json_parse(row->entry.data, row->entry.len, &entry, err);
    if (st == TR_E_MALFORMED)
        st = tr_fail(err, TR_E_CORRUPT, "audit.db", "entry %lld is no JSON", (long long)row->seq);
    if (st == TR_OK)
        st = w->fn(w->context, w->p, entry, row->seq, err);
    cJSON_Delete(entry);
    return st;
}

tr_status tr_package_accesses(tr_package *p, int64_t most, tr_package_access_fn *fn, void *context,
                              tr_error *err) {
    struct walk w = {.p = p, .fn = fn, .context = context, .rows = ACCESS_BATCH};
    const tr_uuid *subject = &p->options->subject;
    tr_status st = TR_OK;
    if (most)
        return tr_audit_list(p->db, subject, 0, true, (int)most, take_entry, &w, err);
    while (st == TR_OK && w.rows == ACCESS_BATCH && !w.ended) {
        w.rows = 0;
        st = tr_package_still(p, err);
        if (st == TR_OK)
            st = tr_audit_list(p->db, subject, w.seq, false, ACCESS_BATCH, take_entry, &w, err);
        if (st == TR_OK && p->zip)
            st = tr_package_flush(p, err);
    }
    return st;
}

/* ---- accesses.json, accesses.csv ---- */

struct access_names {
    const char *principal, *purpose;
    char principal_room[TR_PACKAGE_NAME + 1];
};

/* Both names, of which the second may take the first one's place in the cache. */
static tr_status find_names(tr_package *p, const cJSON *entry, struct access_names *n, tr_error *err) {
    const char *found = NULL;
    n->principal = n->purpose = NULL;
    tr_status st =
        tr_package_name_of(p, tr_json_string(entry, "principal"), tr_package_principal, &found, err);
    if (st == TR_OK && found) {
        memcpy(n->principal_room, found, strlen(found) + 1);
        n->principal = n->principal_room;
    }
    if (st == TR_OK)
        st = tr_package_name_of(p, tr_json_string(entry, "purpose"), tr_package_activity, &n->purpose, err);
    return st;
}

static tr_status access_json(void *context, tr_package *p, const cJSON *entry, int64_t seq, tr_error *err) {
    tr_buf *out = &p->out;
    struct access_names n;
    bool *first = context;
    tr_status st = find_names(p, entry, &n, err);
    tr_buf_puts(out, *first ? "\n{" : ",\n{");
    *first = false;
    tr_access_members(out, seq, entry, n.principal, n.purpose);
    tr_jw_close(out, '}');
    return st == TR_OK ? tr_buf_ok(out, err) : st;
}

static tr_status fill_access_json(tr_package *p, const void *context, tr_error *err) {
    bool first = true;
    (void)context;
    tr_buf_puts(&p->out, "{\"items\":[");
    tr_status st = tr_package_accesses(p, 0, access_json, &first, err);
    tr_buf_puts(&p->out, "\n]}\n");
    return st;
}

static tr_status access_csv(void *context, tr_package *p, const cJSON *entry, int64_t seq, tr_error *err) {
    static const char *const members[] = {"action", "type", "outcome"};
    tr_buf *out = &p->out;
    struct access_names n;
    (void)context;
    tr_status st = find_names(p, entry, &n, err);
    tr_buf_printf(out, "%lld", (long long)seq);
    tr_csv_text(out, false, tr_json_string(entry, "time"));
    tr_csv_text(out, false, n.principal);
    tr_csv_text(out, false, tr_json_string(entry, "role"));
    tr_csv_text(out, false, n.purpose);
    for (size_t i = 0; i < sizeof members / sizeof *members; i++)
        tr_csv_text(out, false, tr_json_string(entry, members[i]));
    tr_buf_printf(out, ",%d", cJSON_GetArraySize(tr_json_member(entry, "records")));
    tr_csv_end(out);
    return st == TR_OK ? tr_buf_ok(out, err) : st;
}

static tr_status fill_access_csv(tr_package *p, const void *context, tr_error *err) {
    (void)context;
    tr_buf_puts(&p->out, "\xef\xbb\xbfseq,time,name,role,purpose,action,type,outcome,records");
    tr_csv_end(&p->out);
    return tr_package_accesses(p, 0, access_csv, NULL, err);
}

/* ---- requests.json ---- */

struct requests {
    tr_package *p;
    tr_uuid last;
    int rows;
    bool first;
};

static tr_status put_request(void *context, const tr_dsr *row, tr_error *err) {
    struct requests *r = context;
    tr_package *p = r->p;
    tr_dsr_case c;
    r->last = row->id;
    r->rows++;
    tr_status st = tr_dsr_open(p->vault, p->db, row, &c, err);
    if (st != TR_OK)
        return st;
    tr_buf text = TR_BUF_INIT;
    st = tr_dsr_json(p->db, &c, p->started_at, &text, err);
    tr_buf_puts(&p->out, r->first ? "\n" : ",\n");
    r->first = false;
    tr_buf_append(&p->out, text.data, text.len);
    tr_buf_clear(&text);
    tr_dsr_clear(&c);
    return st == TR_OK ? tr_buf_ok(&p->out, err) : st;
}

static tr_status fill_requests(tr_package *p, const void *context, tr_error *err) {
    const tr_dsr_filter filter = {.subject = &p->options->subject};
    struct requests r = {.p = p, .rows = REQUEST_BATCH, .first = true};
    tr_status st = TR_OK;
    (void)context;
    tr_buf_puts(&p->out, "{\"items\":[");
    while (st == TR_OK && r.rows == REQUEST_BATCH) {
        r.rows = 0;
        st = tr_package_still(p, err);
        if (st == TR_OK)
            st = tr_dsr_list(p->db, &filter, r.first ? NULL : &r.last, REQUEST_BATCH, put_request, &r, err);
        if (st == TR_OK)
            st = tr_package_flush(p, err);
    }
    tr_buf_puts(&p->out, "\n]}\n");
    return st;
}

static tr_status fill_information(tr_package *p, const void *context, tr_error *err) {
    (void)context;
    tr_status st = tr_json_print(p->information, &p->out, err);
    tr_buf_putc(&p->out, '\n');
    return st;
}

tr_status tr_package_put_lists(tr_package *p, tr_error *err) {
    static const struct {
        const char *name;
        tr_status (*fill)(tr_package *, const void *, tr_error *);
    } files[] = {{"information.json", fill_information},
                 {"accesses.json", fill_access_json},
                 {"accesses.csv", fill_access_csv},
                 {"requests.json", fill_requests}};
    tr_status st = TR_OK;
    for (size_t i = 0; i < sizeof files / sizeof *files && st == TR_OK; i++)
        st = tr_package_file(p, files[i].name, files[i].fill, NULL, err);
    return st;
}
