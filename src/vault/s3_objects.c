/* Objects: one is written, read, removed, listed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vault/s3_internal.h"
#include "vault/s3_xml.h"

#define PAGES_MAX 10000

static tr_status unexpected(const tr_s3 *s3, const tr_s3_answer *a, tr_error *err) {
    return tr_fail(err, TR_E_IO, tr_s3_place(s3), "the backup store answered %ld where it should not",
                   a->status);
}

/* ---- write ---- */

/* Whether it stands in quotes is a matter of taste where it stands in XML. */
static bool same_etag(const char *a, const char *b) {
    const size_t skip_a = a[0] == '"', skip_b = b[0] == '"';
    const size_t len = strcspn(a + skip_a, "\""), other = strcspn(b + skip_b, "\"");
    return len > 0 && len == other && memcmp(a + skip_a, b + skip_b, len) == 0;
}

/* Is what is there now what was sent? */
static tr_status check_stored(tr_s3 *s3, const char *name, const char *etag, int64_t size, tr_error *err) {
    const tr_s3_request q = {.method = "HEAD", .name = name, .fd = -1};
    tr_s3_answer a = TR_S3_ANSWER_INIT;
    tr_status st = tr_s3_run(s3, &q, &a, err);
    if (st == TR_OK && (a.status != 200 || a.size != size || !same_etag(a.etag, etag)))
        st = tr_fail(err, TR_E_IO, tr_s3_place(s3), "the backup store does not have what was sent to it: %s",
                     name);
    tr_s3_answer_clear(&a);
    return st;
}

static tr_status put_one(tr_s3 *s3, const char *name, int fd, int64_t size, tr_bytes content, tr_s3_answer *a,
                         tr_error *err) {
    const tr_s3_request q = {.method = "PUT", .name = name, .fd = fd, .size = size, .body = content};
    tr_status st = tr_s3_run(s3, &q, a, err);
    return st == TR_OK && a->status / 100 != 2 ? unexpected(s3, a, err) : st;
}

static tr_status put(tr_s3 *s3, const char *name, int fd, int64_t size, tr_bytes content, bool sole,
                     tr_error *err) {
    tr_s3_answer a = TR_S3_ANSWER_INIT;
    tr_status st = TR_OK;
    if (fd >= 0 && size > TR_S3_PART)
        TR_TRY(tr_s3_upload_parts(s3, name, fd, size, &a, err));
    else
        TR_TRY(put_one(s3, name, fd, size, content, &a, err));
    TR_TRY(check_stored(s3, name, a.etag, size, err));
    if (sole && a.versioned)
        st = tr_fail(
            err, TR_E_CONFLICT, tr_s3_place(s3),
            "the bucket keeps older versions of its objects, with keys of persons who were erased: end "
            "its versioning and remove them");
out:
    tr_s3_answer_clear(&a);
    return st;
}

tr_status tr_s3_put_file(tr_s3 *s3, const char *name, int fd, int64_t size, bool sole, tr_error *err) {
    return put(s3, name, fd, size, (tr_bytes){NULL, 0}, sole, err);
}

tr_status tr_s3_put(tr_s3 *s3, const char *name, tr_bytes content, bool sole, tr_error *err) {
    return put(s3, name, -1, (int64_t)content.len, content, sole, err);
}

/* ---- read, remove ---- */

tr_status tr_s3_get(tr_s3 *s3, const char *name, tr_s3_object *about, int64_t from, void *into, size_t room,
                    size_t *got, tr_error *err) {
    const char *same = about->etag[0] ? about->etag : NULL;
    const tr_s3_request q = {
        .method = "GET", .name = name, .if_match = same, .fd = -1, .from = from, .into = into, .room = room};
    tr_s3_answer a = TR_S3_ANSWER_INIT;
    tr_status st = tr_s3_run(s3, &q, &a, err);
    *got = st == TR_OK ? a.got : 0;
    if (st == TR_OK && a.status == 404)
        st = tr_fail(err, TR_E_NOT_FOUND, name, "there is no such file in the backup store");
    else if (st == TR_OK && (a.status == 412 || (same && a.etag[0] && strcmp(same, a.etag) != 0)))
        st = tr_fail(err, TR_E_IO, name, "was replaced while it was read");
    else if (st == TR_OK && a.status == 416) /* an empty one has no range */
        a.size = *got = 0;
    else if (st == TR_OK && (a.status != 206 && (a.status != 200 || from > 0)))
        st = unexpected(s3, &a, err);
    if (st == TR_OK && a.size < from + (int64_t)*got)
        st = a.status == 416 ? TR_OK : unexpected(s3, &a, err);
    if (st == TR_OK && a.status != 416 && *got < room && from + (int64_t)*got != a.size)
        st = tr_fail(err, TR_E_IO, name, "the backup store answered with less than there is");
    if (st == TR_OK && !same) {
        about->size = a.size;
        memcpy(about->etag, a.etag, sizeof about->etag);
    }
    tr_s3_answer_clear(&a);
    return st;
}

tr_status tr_s3_delete(tr_s3 *s3, const char *name, tr_error *err) {
    const tr_s3_request q = {.method = "DELETE", .name = name, .fd = -1};
    tr_s3_answer a = TR_S3_ANSWER_INIT;
    tr_status st = tr_s3_run(s3, &q, &a, err);
    if (st == TR_OK && a.status / 100 != 2 && a.status != 404)
        st = unexpected(s3, &a, err);
    tr_s3_answer_clear(&a);
    return st;
}

/* ---- pages ---- */

static tr_status read_page(tr_s3 *s3, const tr_buf *query, tr_s3_page *page, tr_s3_entry_fn fn, void *context,
                           tr_error *err) {
    const tr_s3_request q = {.method = "GET", .query = query->data, .fd = -1};
    tr_s3_answer a = TR_S3_ANSWER_INIT;
    tr_status st = tr_buf_ok(query, err);
    if (st == TR_OK)
        st = tr_s3_run(s3, &q, &a, err);
    if (st == TR_OK && a.status == 501) { /* it cannot do that */
        tr_s3_answer_clear(&a);
        return tr_fail(err, TR_E_NOT_FOUND, tr_s3_place(s3), "the backup store cannot list that");
    }
    if (st == TR_OK && a.status != 200)
        st = unexpected(s3, &a, err);
    if (st == TR_OK)
        st = tr_s3_page_read(a.body.data ? a.body.data : "", a.body.len, page, fn, context, err);
    if (st == TR_E_CORRUPT)
        st = tr_fail(err, TR_E_IO, tr_s3_place(s3), "the backup store's list cannot be read");
    tr_s3_answer_clear(&a);
    return st;
}

struct listing {
    const char *prefix;
    bool folders;
    tr_s3_name_fn fn;
    void *context;
};

static tr_status take_name(void *context, tr_s3_entry kind, const char *key, const char *id, tr_error *err) {
    const struct listing *l = context;
    char name[TR_S3_NAME_MAX];
    const size_t len = strlen(l->prefix);
    (void)id;
    if (kind != (l->folders ? TR_S3_FOLDER : TR_S3_KEY) || strncmp(key, l->prefix, len) != 0 ||
        strlen(key) - len >= sizeof name)
        return TR_OK;
    (void)snprintf(name, sizeof name, "%s", key + len);
    if (l->folders && name[0] && name[strlen(name) - 1] == '/')
        name[strlen(name) - 1] = '\0';
    return tr_s3_name_good(name) && (!l->folders || !strchr(name, '/')) ? l->fn(l->context, name, err)
                                                                        : TR_OK;
}

struct names {
    tr_buf text; /* each with its NUL */
};

static tr_status keep_name(void *context, const char *name, tr_error *err) {
    struct names *n = context;
    tr_buf_append(&n->text, name, strlen(name) + 1);
    return tr_buf_ok(&n->text, err);
}

/* What it is called for may take its time, or ask the store for something: so not while an answer is read. */
static tr_status tell(const struct names *n, const char *folder, bool folders, tr_s3_name_fn fn,
                      void *context, tr_error *err) {
    char whole[TR_S3_NAME_MAX * 2];
    tr_status st = TR_OK;
    for (size_t at = 0; st == TR_OK && at < n->text.len; at += strlen(n->text.data + at) + 1) {
        (void)snprintf(whole, sizeof whole, "%s/%s", folder, n->text.data + at);
        st = fn(context, folders ? n->text.data + at : whole, err);
    }
    return st;
}

tr_status tr_s3_list(tr_s3 *s3, const char *folder, bool folders, tr_s3_name_fn fn, void *context,
                     tr_error *err) {
    char prefix[sizeof((tr_config *)0)->backup_s3_url + TR_S3_NAME_MAX];
    struct names names = {TR_BUF_INIT};
    struct listing l = {.prefix = prefix, .folders = folders, .fn = keep_name, .context = &names};
    tr_s3_page page = {.more = true};
    tr_buf query = TR_BUF_INIT;
    tr_status st = TR_OK;
    (void)snprintf(prefix, sizeof prefix, "%s%s/", tr_s3_prefix(s3), folder);
    for (int pages = 0; st == TR_OK && page.more && pages < PAGES_MAX; pages++) {
        tr_buf_reset(&query);
        if (page.next[0]) {
            tr_buf_puts(&query, "continuation-token=");
            tr_s3_encode(&query, page.next);
            tr_buf_putc(&query, '&');
        }
        tr_buf_puts(&query, "delimiter=%2F&list-type=2&max-keys=1000&prefix=");
        tr_s3_encode(&query, prefix);
        st = read_page(s3, &query, &page, take_name, &l, err);
    }
    if (st == TR_OK && page.more)
        st = tr_fail(err, TR_E_IO, tr_s3_place(s3), "the backup store's list has no end");
    if (st == TR_OK)
        st = tell(&names, folder, folders, fn, context, err);
    tr_buf_clear(&query);
    tr_buf_clear(&names.text);
    return st;
}

/* ---- uploads that were cut off ---- */

struct uploads {
    tr_s3 *s3;
    const char *beginning;
    struct names names; /* object and upload id, by turns */
};

static tr_status take_upload(void *context, tr_s3_entry kind, const char *key, const char *id,
                             tr_error *err) {
    struct uploads *u = context;
    const char *prefix = tr_s3_prefix(u->s3);
    const size_t len = strlen(prefix);
    if (kind != TR_S3_UPLOAD || strncmp(key, prefix, len) != 0 ||
        strncmp(key + len, u->beginning, strlen(u->beginning)) != 0 || !tr_s3_name_good(key + len) ||
        id[0] == '\0')
        return TR_OK;
    tr_status st = keep_name(&u->names, key + len, err);
    return st == TR_OK ? keep_name(&u->names, id, err) : st;
}

static tr_status abort_one(tr_s3 *s3, const char *name, const char *id, tr_error *err) {
    tr_buf query = TR_BUF_INIT;
    tr_s3_answer a = TR_S3_ANSWER_INIT;
    tr_buf_puts(&query, "uploadId=");
    tr_s3_encode(&query, id);
    const tr_s3_request q = {.method = "DELETE", .name = name, .query = query.data, .fd = -1};
    tr_status st = tr_buf_ok(&query, err);
    if (st == TR_OK)
        st = tr_s3_run(s3, &q, &a, err);
    tr_s3_answer_clear(&a);
    tr_buf_clear(&query);
    return st;
}

tr_status tr_s3_abort_uploads(tr_s3 *s3, const char *beginning, tr_error *err) {
    struct uploads u = {.s3 = s3, .beginning = beginning};
    tr_s3_page page = {.more = true};
    tr_buf query = TR_BUF_INIT;
    tr_status st = TR_OK;
    for (int pages = 0; st == TR_OK && page.more && pages < PAGES_MAX; pages++) {
        tr_buf_reset(&query);
        if (page.next[0]) {
            tr_buf_puts(&query, "key-marker=");
            tr_s3_encode(&query, page.next);
            tr_buf_putc(&query, '&');
        }
        tr_buf_puts(&query, "prefix=");
        tr_s3_encode(&query, tr_s3_prefix(s3));
        tr_s3_encode(&query, beginning);
        if (page.next[0]) {
            tr_buf_puts(&query, "&upload-id-marker=");
            tr_s3_encode(&query, page.next_id);
        }
        tr_buf_puts(&query, "&uploads=");
        st = read_page(s3, &query, &page, take_upload, &u, err);
    }
    if (st == TR_E_NOT_FOUND) /* a store without such lists has nothing to end */
        st = TR_OK;
    const tr_buf *text = &u.names.text;
    for (size_t at = 0; st == TR_OK && at < text->len;) {
        const char *name = text->data + at, *id = name + strlen(name) + 1;
        st = abort_one(s3, name, id, err);
        at += strlen(name) + strlen(id) + 2;
    }
    tr_buf_clear(&query);
    tr_buf_clear(&u.names.text);
    return st;
}

/* ---- check ---- */

static tr_status take_none(void *context, const char *name, tr_error *err) {
    (void)context, (void)name, (void)err;
    return TR_OK;
}

tr_status tr_s3_check(tr_s3 *s3, tr_error *err) {
    static const char probe[] = "check", content[] = "written by tresor serve --check\n";
    tr_status st = TR_OK;
    TR_TRY(tr_s3_list(s3, "snapshots", false, take_none, NULL, err));
    TR_TRY(tr_s3_put(s3, probe, (tr_bytes){content, sizeof content - 1}, true, err));
    st = tr_s3_delete(s3, probe, err);
out:
    return st;
}
