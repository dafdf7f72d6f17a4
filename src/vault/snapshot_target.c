/* What all kinds of targets have in common. */
#include <stdlib.h>
#include <string.h>

#include "vault/target_internal.h"

void tr_target_close(tr_target *t) {
    if (t)
        t->kind->close(t);
}

/* ---- writing ---- */

tr_status tr_target_sweep(tr_target *t, tr_error *err) {
    return t->kind->sweep(t, err);
}

tr_status tr_target_remove_part(tr_target *t, const char *name, tr_error *err) {
    return t->kind->remove_part(t, name, err);
}

tr_status tr_target_folder(tr_target *t, const char *folder, tr_error *err) {
    return t->kind->folder(t, folder, err);
}

void tr_target_remove_folder(tr_target *t, const char *folder) {
    t->kind->remove_folder(t, folder);
}

tr_status tr_target_begin(tr_target *t, const char *name, tr_target_file **out, tr_error *err) {
    tr_status st = t->kind->begin(t, name, out, err);
    if (st == TR_OK)
        (*out)->target = t;
    return st;
}

tr_status tr_target_write(void *file, tr_bytes bytes, tr_error *err) {
    tr_target_file *f = file;
    tr_status st = f->target->kind->write(f, bytes, err);
    if (st == TR_OK)
        f->written += (int64_t)bytes.len;
    return st;
}

int64_t tr_target_written(const tr_target_file *f) {
    return f->written;
}

tr_status tr_target_commit(tr_target_file *f, tr_error *err) {
    return f->target->kind->commit(f, err);
}

void tr_target_abort(tr_target_file *f) {
    if (f)
        f->target->kind->abort(f);
}

static bool has_content(tr_target *t, const char *name, tr_bytes content) {
    tr_buf now = TR_BUF_INIT;
    bool same = tr_target_get(t, name, content.len, &now, NULL) == TR_OK && now.len == content.len &&
                memcmp(now.data, content.data, content.len) == 0;
    tr_buf_clear(&now);
    return same;
}

tr_status tr_target_put(tr_target *t, const char *name, tr_bytes content, tr_error *err) {
    tr_target_file *f = NULL;
    if (has_content(t, name, content))
        return TR_OK;
    tr_status st = tr_target_begin(t, name, &f, err);
    if (st == TR_OK)
        st = tr_target_write(f, content, err);
    if (st == TR_OK)
        return tr_target_commit(f, err);
    tr_target_abort(f);
    return st;
}

tr_status tr_target_remove(tr_target *t, const char *name, tr_error *err) {
    return t->kind->remove(t, name, err);
}

/* ---- reading ---- */

tr_status tr_target_read(tr_target *t, const char *name, tr_target_source **out, tr_error *err) {
    return t->kind->read(t, name, out, err);
}

tr_status tr_target_source_read(void *source, void *into, size_t room, size_t *got, tr_error *err) {
    tr_target_source *s = source;
    return s->kind->read(s, into, room, got, err);
}

tr_status tr_target_rewind(tr_target_source *s, tr_error *err) {
    return s->kind->rewind(s, err);
}

int64_t tr_target_size(const tr_target_source *s) {
    return s->size;
}

void tr_target_source_close(tr_target_source *s) {
    if (s)
        s->kind->close(s);
}

/* Takes the source. */
static tr_status get(tr_target_source *s, const char *name, size_t most, tr_buf *out, tr_error *err) {
    size_t got = 1;
    tr_status st = TR_OK;
    while (st == TR_OK && got > 0) {
        char *room = tr_buf_reserve(out, 4096);
        st = tr_buf_ok(out, err);
        if (st == TR_OK)
            st = tr_target_source_read(s, room, 4096, &got, err);
        if (st == TR_OK)
            out->len += got;
        if (st == TR_OK && out->len > most)
            st = tr_fail(err, TR_E_CORRUPT, name, "is too large");
    }
    tr_target_source_close(s);
    return st;
}

tr_status tr_target_get(tr_target *t, const char *name, size_t most, tr_buf *out, tr_error *err) {
    tr_target_source *s = NULL;
    tr_status st = tr_target_read(t, name, &s, err);
    return st == TR_OK ? get(s, name, most, out, err) : st;
}

tr_status tr_target_get_path(const char *path, size_t most, tr_buf *out, tr_error *err) {
    tr_target_source *s = NULL;
    tr_status st = tr_target_read_path(path, &s, err);
    return st == TR_OK ? get(s, path, most, out, err) : st;
}

tr_status tr_target_list_in(tr_target *t, const char *folder, tr_target_name_fn fn, void *context,
                            tr_error *err) {
    return t->kind->list(t, folder, false, fn, context, err);
}

tr_status tr_target_list(tr_target *t, tr_target_name_fn fn, void *context, tr_error *err) {
    return tr_target_list_in(t, TR_TARGET_SNAPSHOTS, fn, context, err);
}

tr_status tr_target_folders(tr_target *t, const char *folder, tr_target_name_fn fn, void *context,
                            tr_error *err) {
    return t->kind->list(t, folder, true, fn, context, err);
}
