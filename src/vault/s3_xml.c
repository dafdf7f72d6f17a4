#include "vault/s3_xml.h"

#include <expat.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"

#define PATH_ROOM 256

struct reading {
    XML_Parser parser;
    tr_s3_element_fn fn;
    void *context;
    tr_error *err;
    tr_status status;
    int depth;
    size_t path_len, before[TR_S3_XML_DEPTH]; /* the path's length outside of each open element */
    char path[PATH_ROOM];
    size_t text_len;
    char text[TR_S3_XML_TEXT + 1];
};

static void give_up(struct reading *r, const char *why) {
    if (r->status == TR_OK)
        r->status = tr_fail(r->err, TR_E_CORRUPT, NULL, "the store's answer %s", why);
    (void)XML_StopParser(r->parser, XML_FALSE);
}

static void XMLCALL on_start(void *context, const XML_Char *name, const XML_Char **attributes) {
    struct reading *r = context;
    size_t len = strlen(name);
    (void)attributes;
    if (r->status != TR_OK)
        return;
    if (r->depth == TR_S3_XML_DEPTH || r->path_len + len + 2 > sizeof r->path) {
        give_up(r, "is nested too deeply");
        return;
    }
    r->before[r->depth++] = r->path_len;
    if (r->path_len > 0)
        r->path[r->path_len++] = '/';
    memcpy(r->path + r->path_len, name, len + 1);
    r->path_len += len;
    r->text_len = 0;
}

static void XMLCALL on_text(void *context, const XML_Char *text, int len) {
    struct reading *r = context;
    if (r->status != TR_OK || len <= 0)
        return;
    if ((size_t)len > TR_S3_XML_TEXT - r->text_len) {
        give_up(r, "has too long a text");
        return;
    }
    memcpy(r->text + r->text_len, text, (size_t)len);
    r->text_len += (size_t)len;
}

static void XMLCALL on_end(void *context, const XML_Char *name) {
    struct reading *r = context;
    (void)name;
    if (r->status != TR_OK)
        return;
    r->text[r->text_len] = '\0';
    r->status = r->fn(r->context, r->path, r->text, r->err);
    if (r->status != TR_OK)
        (void)XML_StopParser(r->parser, XML_FALSE);
    r->path_len = r->before[--r->depth];
    r->path[r->path_len] = '\0';
    r->text_len = 0;
}

static void XMLCALL on_doctype(void *context, const XML_Char *name, const XML_Char *system,
                               const XML_Char *public, int internal) {
    (void)name, (void)system, (void)public, (void)internal;
    give_up(context, "has a document type");
}

tr_status tr_s3_xml_read(const void *bytes, size_t len, tr_s3_element_fn fn, void *context, tr_error *err) {
    struct reading r = {.fn = fn, .context = context, .err = err};
    if (len > INT32_MAX)
        return tr_fail(err, TR_E_CORRUPT, NULL, "the store's answer is too long");
    r.parser = XML_ParserCreate(NULL);
    if (!r.parser)
        return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    XML_SetUserData(r.parser, &r);
    XML_SetElementHandler(r.parser, on_start, on_end);
    XML_SetCharacterDataHandler(r.parser, on_text);
    XML_SetStartDoctypeDeclHandler(r.parser, on_doctype);
    if (XML_Parse(r.parser, bytes, (int)len, XML_TRUE) != XML_STATUS_OK && r.status == TR_OK)
        r.status = tr_fail(err, TR_E_CORRUPT, NULL, "the store's answer is no XML");
    XML_ParserFree(r.parser);
    return r.status == TR_STOP ? TR_OK : r.status;
}

/* ---- pages ---- */

struct paging {
    tr_s3_page *page;
    tr_s3_entry_fn fn;
    void *context;
    char key[TR_S3_XML_TEXT + 1], id[TR_S3_XML_TEXT + 1]; /* of the upload that is being read */
};

static void keep(char out[TR_S3_XML_TEXT + 1], const char *text) {
    memcpy(out, text, strlen(text) + 1);
}

/* One root alone can be in a document: so the paths do not mix. */
static tr_status take(void *context, const char *path, const char *text, tr_error *err) {
    struct paging *p = context;
    const char *slash = strchr(path, '/');
    const char *at = slash ? slash + 1 : "";
    if (strcmp(at, "Contents/Key") == 0)
        return p->fn(p->context, TR_S3_KEY, text, NULL, err);
    if (strcmp(at, "CommonPrefixes/Prefix") == 0)
        return p->fn(p->context, TR_S3_FOLDER, text, NULL, err);
    if (strcmp(at, "Upload/Key") == 0)
        keep(p->key, text);
    else if (strcmp(at, "Upload/UploadId") == 0)
        keep(p->id, text);
    else if (strcmp(at, "Upload") == 0) {
        tr_status st = p->fn(p->context, TR_S3_UPLOAD, p->key, p->id, err);
        p->key[0] = p->id[0] = '\0';
        return st;
    } else if (strcmp(at, "IsTruncated") == 0)
        p->page->more = strcmp(text, "true") == 0;
    else if (strcmp(at, "NextContinuationToken") == 0 || strcmp(at, "NextKeyMarker") == 0)
        keep(p->page->next, text);
    else if (strcmp(at, "NextUploadIdMarker") == 0)
        keep(p->page->next_id, text);
    return TR_OK;
}

tr_status tr_s3_page_read(const void *bytes, size_t len, tr_s3_page *page, tr_s3_entry_fn fn, void *context,
                          tr_error *err) {
    struct paging p = {.page = page, .fn = fn, .context = context};
    *page = (tr_s3_page){0};
    tr_status st = tr_s3_xml_read(bytes, len, take, &p, err);
    if (st == TR_OK && page->more && page->next[0] == '\0')
        st = tr_fail(err, TR_E_CORRUPT, NULL, "the store's list has no end");
    return st;
}

/* ---- one element ---- */

struct finding {
    const char *path;
    char *out;
    size_t room;
};

static tr_status look(void *context, const char *path, const char *text, tr_error *err) {
    const struct finding *f = context;
    (void)err;
    if (strcmp(path, f->path) != 0)
        return TR_OK;
    (void)snprintf(f->out, f->room, "%s", text);
    return TR_STOP;
}

tr_status tr_s3_xml_find(const void *bytes, size_t len, const char *path, char *out, size_t room,
                         tr_error *err) {
    struct finding f = {path, out, room};
    out[0] = '\0';
    return tr_s3_xml_read(bytes, len, look, &f, err);
}

void tr_s3_error_code(const void *bytes, size_t len, char *out, size_t room) {
    if (tr_s3_xml_find(bytes, len, "Error/Code", out, room, NULL) != TR_OK)
        out[0] = '\0';
    for (const char *c = out; *c; c++) {
        if (!((*c >= 'A' && *c <= 'Z') || (*c >= 'a' && *c <= 'z') || (*c >= '0' && *c <= '9'))) {
            out[0] = '\0';
            return;
        }
    }
}
