/* The records of a package. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vault/datakeys.h"
#include "vault/package_internal.h"
#include "vault/records.h"

#define BATCH_ROWS  200
#define BATCH_BYTES ((size_t)256 * 1024)
#define TYPES_BATCH 100

/* ---- which there are ---- */

struct survey {
    tr_package *p;
    tr_package_type *type;
    tr_uuid last;
    int rows;
};

static tr_status count_row(void *context, const tr_record *row, tr_error *err) {
    struct survey *s = context;
    s->last = row->id;
    s->rows++;
    if (row->created_at > s->p->started_at)
        return TR_OK;
    s->type->records++;
    return tr_recipients_add(&s->p->writers, &row->updated_by, err);
}

static tr_status count_type(tr_package *p, tr_package_type *type, tr_error *err) {
    struct survey s = {.p = p, .type = type, .rows = BATCH_ROWS};
    tr_status st = TR_OK;
    for (bool first = true; st == TR_OK && s.rows == BATCH_ROWS; first = false) {
        s.rows = 0;
        st = tr_package_still(p, err);
        if (st == TR_OK)
            st = tr_record_list(p->db, &p->options->subject, type->name, first ? NULL : &s.last, BATCH_ROWS,
                                count_row, &s, err);
    }
    return st;
}

struct names {
    tr_package *p;
    char last[TR_TYPE_NAME_MAX + 1];
    int rows;
};

static tr_status take_type(void *context, const tr_type *row, tr_error *err) {
    struct names *n = context;
    tr_package *p = n->p;
    n->rows++;
    snprintf(n->last, sizeof n->last, "%s", row->name);
    if (!tr_access_may(p->options->access, row->name, TR_ACT_READ))
        return TR_OK;
    tr_package_type *grown = realloc(p->types, (p->type_count + 1) * sizeof *grown);
    if (!grown)
        return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    p->types = grown;
    p->types[p->type_count] = (tr_package_type){.records = 0};
    snprintf(p->types[p->type_count++].name, sizeof n->last, "%s", row->name);
    return TR_OK;
}

static tr_status look_at_schema(tr_package *p, tr_package_type *type, tr_error *err) {
    cJSON *schema = NULL;
    tr_status st = tr_package_schema(p, type->name, NULL, &schema, err);
    type->flat = tr_schema_is_flat(schema);
    cJSON_Delete(schema);
    return st;
}

/* All types there are, then those without records are dropped. */
tr_status tr_package_survey(tr_package *p, tr_error *err) {
    struct names n = {.p = p, .rows = TYPES_BATCH};
    tr_status st = TR_OK;
    size_t kept = 0;
    while (st == TR_OK && n.rows == TYPES_BATCH) {
        n.rows = 0;
        st = tr_type_list(p->db, n.last[0] ? n.last : NULL, TYPES_BATCH, take_type, &n, err);
    }
    for (size_t i = 0; i < p->type_count && st == TR_OK; i++) {
        st = count_type(p, &p->types[i], err);
        if (p->types[i].records > 0)
            p->types[kept++] = p->types[i];
    }
    p->type_count = st == TR_OK ? kept : p->type_count;
    for (size_t i = 0; i < p->type_count && st == TR_OK; i++)
        st = look_at_schema(p, &p->types[i], err);
    return st;
}

/* ---- one after another ---- */

struct walk {
    tr_package *p;
    tr_secret key;
    tr_rectype *type; /* where the reader sees parts only */
    tr_package_record_fn *fn;
    void *context;
    int64_t left; /* -1: no bound */
    tr_uuid last;
    bool more; /* the batch ended before the rows did */
    int rows;
};

static tr_status walk_row(void *context, const tr_record *row, tr_error *err) {
    struct walk *w = context;
    tr_package *p = w->p;
    cJSON *data = NULL;
    bool partial = false;
    w->last = row->id;
    w->rows++;
    if (row->created_at > p->started_at)
        return TR_OK;
    tr_status st = tr_record_open(&w->key, row, &data, err);
    if (st == TR_OK && !p->options->access->own)
        st = tr_access_view(p->options->access, w->type, &data, &partial, err);
    if (st == TR_OK)
        st = w->fn(w->context, p, row, data, partial, &w->key, err);
    cJSON_Delete(data);
    if (st == TR_OK)
        st = tr_buf_ok(&p->out, err);
    if (st != TR_OK)
        return st;
    if (w->left > 0 && --w->left == 0)
        return TR_STOP;
    w->more = p->out.len >= BATCH_BYTES;
    return w->more ? TR_STOP : TR_OK;
}

/* The key is got anew for each batch: when the subject is erased meanwhile there is none any more. */
static tr_status walk_batch(struct walk *w, const char *type, bool first, tr_error *err) {
    tr_package *p = w->p;
    const tr_uuid *subject = &p->options->subject;
    w->rows = 0;
    w->more = false;
    tr_status st = tr_package_still(p, err);
    if (st == TR_OK)
        st = tr_datakey_get(p->vault, p->db, subject, &w->key, err);
    if (st == TR_OK && !p->options->access->own)
        st = tr_types_load(p->vault, p->db, type, &w->type, err);
    if (st == TR_OK)
        st = tr_record_list(p->db, subject, type, first ? NULL : &w->last, BATCH_ROWS, walk_row, w, err);
    tr_rectype_unref(w->type);
    w->type = NULL;
    tr_secret_clear(&w->key);
    if (st == TR_STOP)
        st = TR_OK;
    return st == TR_OK ? tr_package_flush(p, err) : st;
}

tr_status tr_package_records(tr_package *p, const char *type, int64_t most, tr_package_record_fn *fn,
                             void *context, tr_error *err) {
    struct walk w = {.p = p, .fn = fn, .context = context, .left = most ? most : -1};
    tr_status st = TR_OK;
    bool more = true;
    for (bool first = true; st == TR_OK && more && w.left != 0; first = false) {
        st = walk_batch(&w, type, first, err);
        more = w.more || w.rows == BATCH_ROWS;
    }
    return st;
}

/* ---- records/TYPE.json ---- */

struct earlier {
    tr_package *p;
    const tr_secret *key;
};

static tr_status put_earlier(void *context, const tr_record *row, tr_error *err) {
    struct earlier *e = context;
    tr_buf *out = &e->p->out;
    cJSON *data = NULL;
    tr_status st = tr_record_open(e->key, row, &data, err);
    if (st == TR_OK) {
        tr_jw_open(out, NULL, '{');
        tr_jw_number(out, "version", row->version);
        tr_jw_time(out, "updated_at", row->updated_at);
        tr_jw_uuid(out, "updated_by", &row->updated_by);
        st = tr_jw_tree(out, "data", data, err);
        tr_jw_close(out, '}');
    }
    cJSON_Delete(data);
    return st;
}

static tr_status put_json(void *context, tr_package *p, const tr_record *row, const cJSON *data, bool partial,
                          const tr_secret *key, tr_error *err) {
    struct earlier e = {p, key};
    tr_buf *out = &p->out;
    bool *first = context;
    tr_buf_puts(out, *first ? "\n" : ",\n");
    *first = false;
    tr_buf_putc(out, '{');
    tr_jw_uuid(out, "id", &row->id);
    tr_jw_text(out, "type", row->type);
    tr_jw_number(out, "version", row->version);
    tr_jw_time(out, "created_at", row->created_at);
    tr_jw_time(out, "updated_at", row->updated_at);
    tr_jw_uuid(out, "updated_by", &row->updated_by);
    tr_status st = tr_jw_tree(out, "data", data, err);
    tr_jw_bool(out, "partial", partial);
    if (p->options->access->own) { /* a grant shows what is, not what was */
        tr_jw_open(out, "earlier", '[');
        if (st == TR_OK && row->version > 1)
            st = tr_record_versions(p->db, &row->id, TR_RECTYPE_HISTORY_MAX, put_earlier, &e, err);
        tr_jw_close(out, ']');
    }
    tr_jw_close(out, '}');
    return st;
}

static tr_status fill_json(tr_package *p, const void *context, tr_error *err) {
    const tr_package_type *type = context;
    bool first = true;
    tr_buf_puts(&p->out, "{\"type\":");
    tr_buf_json_string(&p->out, type->name, strlen(type->name));
    tr_buf_puts(&p->out, ",\"items\":[");
    tr_status st = tr_package_records(p, type->name, 0, put_json, &first, err);
    tr_buf_puts(&p->out, "\n]}\n");
    return st;
}

/* ---- records/TYPE.csv ---- */

/* What the schema does not name (any more) is in the last column. */
static tr_status put_others(tr_buf *out, const cJSON *columns, const cJSON *data, tr_error *err) {
    const cJSON *member;
    tr_buf text = TR_BUF_INIT, value = TR_BUF_INIT;
    tr_status st = TR_OK;
    cJSON_ArrayForEach(member, data) {
        if (st != TR_OK || tr_json_member(columns, member->string))
            continue;
        tr_buf_puts(&text, text.len ? "," : "{");
        tr_buf_json_string(&text, member->string, strlen(member->string));
        tr_buf_putc(&text, ':');
        tr_buf_reset(&value);
        st = tr_json_print(member, &value, err);
        tr_buf_append(&text, value.data, value.len);
    }
    if (text.len)
        tr_buf_putc(&text, '}');
    if (st == TR_OK)
        st = tr_buf_ok(&text, err);
    if (st == TR_OK)
        tr_csv_text(out, false, text.data);
    tr_buf_clear(&text);
    tr_buf_clear(&value);
    return st;
}

static tr_status put_csv(void *context, tr_package *p, const tr_record *row, const cJSON *data, bool partial,
                         const tr_secret *key, tr_error *err) {
    const cJSON *columns = context, *column;
    tr_buf *out = &p->out;
    char id[TR_UUID_TEXT], at[TR_TIME_TEXT];
    tr_status st = TR_OK;
    (void)partial;
    (void)key;
    tr_uuid_format(&row->id, id);
    tr_csv_text(out, true, id);
    tr_buf_printf(out, ",%lld", (long long)row->version);
    tr_time_format(row->created_at, at);
    tr_csv_text(out, false, at);
    tr_time_format(row->updated_at, at);
    tr_csv_text(out, false, at);
    cJSON_ArrayForEach(column, columns) {
        if (st == TR_OK)
            st = tr_csv_value(out, false, tr_json_member(data, column->string), err);
    }
    if (st == TR_OK)
        st = put_others(out, columns, data, err);
    tr_csv_end(out);
    return st;
}

static tr_status fill_csv(tr_package *p, const void *context, tr_error *err) {
    const tr_package_type *type = context;
    const cJSON *column;
    cJSON *schema = NULL;
    tr_buf *out = &p->out;
    tr_status st = tr_package_schema(p, type->name, NULL, &schema, err);
    cJSON *columns = st == TR_OK ? cJSON_DetachItemFromObjectCaseSensitive(schema, "properties") : NULL;
    tr_buf_puts(out, "\xef\xbb\xbfid,version,created_at,updated_at"); /* the mark tells spreadsheets: UTF-8 */
    cJSON_ArrayForEach(column, columns) {
        tr_csv_text(out, false, column->string);
    }
    tr_csv_text(out, false, "other");
    tr_csv_end(out);
    if (st == TR_OK)
        st = tr_package_records(p, type->name, 0, put_csv, columns, err);
    cJSON_Delete(columns);
    cJSON_Delete(schema);
    return st;
}

/* ---- schemas, context ---- */

static tr_status fill_schema(tr_package *p, const void *context, tr_error *err) {
    return tr_package_schema(p, ((const tr_package_type *)context)->name, &p->out, NULL, err);
}

/* An item is a node of its type, and its `data` are the node's properties. */
static tr_status fill_context(tr_package *p, const void *context, tr_error *err) {
    tr_buf *out = &p->out;
    tr_buf_append(out, ((const tr_buf *)context)->data, ((const tr_buf *)context)->len);
    tr_buf_puts(out, "}}\n");
    return tr_buf_ok(out, err);
}

static tr_status put_context(tr_package *p, tr_error *err) {
    tr_buf text = TR_BUF_INIT;
    tr_status st = TR_OK;
    bool any = false;
    tr_buf_puts(&text,
                "{\"@context\":{\"@version\":1.1,\"schema\":\"https://schema.org/\",\"type\":\"@type\","
                "\"items\":\"@graph\",\"data\":\"@nest\",\"id\":\"schema:identifier\"");
    for (size_t i = 0; i < p->type_count && st == TR_OK; i++) {
        cJSON *schema = NULL;
        st = tr_package_schema(p, p->types[i].name, NULL, &schema, err);
        if (st == TR_OK && tr_schema_context(schema, p->types[i].name, &text))
            any = true;
        cJSON_Delete(schema);
    }
    if (st == TR_OK)
        st = tr_buf_ok(&text, err);
    if (st == TR_OK && any)
        st = tr_package_file(p, "context.jsonld", fill_context, &text, err);
    tr_buf_clear(&text);
    return st;
}

static tr_status put_file(tr_package *p, const char *folder, const tr_package_type *type, const char *ending,
                          tr_status (*fill)(tr_package *, const void *, tr_error *), tr_error *err) {
    char name[TR_TYPE_NAME_MAX + 32];
    snprintf(name, sizeof name, "%s/%s.%s", folder, type->name, ending);
    return tr_package_file(p, name, fill, type, err);
}

tr_status tr_package_put_records(tr_package *p, tr_error *err) {
    tr_status st = TR_OK;
    for (size_t i = 0; i < p->type_count && st == TR_OK; i++) {
        const tr_package_type *type = &p->types[i];
        st = put_file(p, "records", type, "json", fill_json, err);
        if (st == TR_OK && type->flat)
            st = put_file(p, "records", type, "csv", fill_csv, err);
        if (st == TR_OK)
            st = put_file(p, "schemas", type, "json", fill_schema, err);
    }
    return st == TR_OK ? put_context(p, err) : st;
}
