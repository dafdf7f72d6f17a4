/* An S3-compatible store behind a spool. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vault/snapshot_spool.h"
#include "vault/target_internal.h"

#define FIRST_PIECE ((size_t)32 * 1024) /* a head, and most segments whole */

typedef struct store {
    tr_target base;
    tr_s3 *s3;
    tr_spool *spool; /* NULL: only read */
} store;

typedef struct file {
    tr_target_file base;
    const store *in;
    tr_target_file *inner; /* in the spool */
    bool stays;            /* there, until it is uploaded */
    int64_t taken;         /* of the spool's room */
    char name[128];
} file;

typedef struct source {
    tr_target_source base;
    tr_s3 *s3;
    tr_s3_object about;
    int64_t at; /* where the piece ends */
    char *piece;
    size_t len, used, room;
    char name[128];
} source;

static const tr_target_kind kind;
static const tr_source_kind source_kind;

static store *of(tr_target *target) {
    return (store *)(void *)target;
}

static tr_target *spool_of(const store *t) {
    return t->spool ? tr_spool_target(t->spool) : NULL;
}

tr_status tr_target_open_store(tr_s3 *s3, tr_spool *spool, tr_target **out, tr_error *err) {
    store *t = calloc(1, sizeof *t);
    *out = NULL;
    if (!t)
        return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    *t = (store){.base = {&kind}, .s3 = s3, .spool = spool};
    *out = &t->base;
    return TR_OK;
}

static void close_store(tr_target *target) {
    free(of(target));
}

tr_target *tr_target_spool(tr_target *target) {
    return target->kind == &kind ? spool_of(of(target)) : NULL;
}

bool tr_target_spooled(tr_target *target, const char *name) {
    const tr_target *spool = tr_target_spool(target);
    return spool && tr_folder_has(spool, name);
}

/* ---- writing ---- */

static tr_status sweep(tr_target *target, tr_error *err) {
    return tr_target_sweep(spool_of(of(target)), err);
}

static tr_status remove_part(tr_target *target, const char *name, tr_error *err) {
    return tr_target_remove_part(spool_of(of(target)), name, err);
}

static tr_status make_folder(tr_target *target, const char *name, tr_error *err) {
    return tr_target_folder(spool_of(of(target)), name, err);
}

static void remove_folder(tr_target *target, const char *name) {
    tr_target_remove_folder(spool_of(of(target)), name);
}

static tr_status begin(tr_target *target, const char *name, tr_target_file **out, tr_error *err) {
    const store *t = of(target);
    file *f = calloc(1, sizeof *f);
    *out = NULL;
    if (!f)
        return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    f->in = t;
    f->stays = strchr(name, '/') != NULL;
    (void)snprintf(f->name, sizeof f->name, "%s", name);
    tr_status st = tr_target_begin(spool_of(t), name, &f->inner, err);
    if (st == TR_OK)
        *out = &f->base;
    else
        free(f);
    return st;
}

static tr_status write_file(tr_target_file *base, tr_bytes bytes, tr_error *err) {
    file *f = (file *)(void *)base;
    tr_status st = f->stays ? tr_spool_take(f->in->spool, (int64_t)bytes.len, err) : TR_OK;
    if (st != TR_OK)
        return st;
    f->taken += f->stays ? (int64_t)bytes.len : 0;
    return tr_target_write(f->inner, bytes, err);
}

static void give_up(tr_target_file *base) {
    file *f = (file *)(void *)base;
    tr_target_abort(f->inner);
    tr_spool_give(f->in->spool, f->taken);
    free(f);
}

/* A copy of the keys replaces the one in the store, or fails: here it goes in any case. Parts of an older
 * copy are not to stay either. */
static tr_status upload(file *f, tr_error *err) {
    _Atomic bool *left = tr_spool_keys_left(f->in->spool);
    int fd;
    tr_status st = tr_folder_file_end(f->inner, &fd, err);
    if (st == TR_OK)
        st = tr_s3_put_file(f->in->s3, f->name, fd, f->base.written, true, err);
    if (st != TR_OK)
        *left = true;
    if (st == TR_OK && *left)
        st = tr_s3_abort_uploads(f->in->s3, "key", err);
    if (st == TR_OK)
        *left = false;
    give_up(&f->base);
    return st;
}

static tr_status commit(tr_target_file *base, tr_error *err) {
    file *f = (file *)(void *)base;
    if (!f->stays)
        return upload(f, err);
    tr_status st = tr_target_commit(f->inner, err);
    /* What could only not be flushed is there all the same, and will be uploaded. */
    if (st == TR_OK || tr_folder_has(spool_of(f->in), f->name))
        tr_spool_count(f->in->spool, 1);
    else
        tr_spool_give(f->in->spool, f->taken);
    free(f);
    return st;
}

/* From the spool first: nothing may upload it after it was removed from the store. */
static tr_status remove_file(tr_target *target, const char *name, tr_error *err) {
    const store *t = of(target);
    tr_target_source *s = NULL;
    if (t->spool && tr_target_read(spool_of(t), name, &s, NULL) == TR_OK) {
        const int64_t size = tr_target_size(s);
        tr_target_source_close(s);
        tr_status st = tr_target_remove(spool_of(t), name, err);
        if (st == TR_OK) {
            tr_spool_give(t->spool, size);
            tr_spool_count(t->spool, -1);
        } else if (st != TR_E_NOT_FOUND) {
            return st;
        }
    }
    return tr_s3_delete(t->s3, name, err);
}

/* ---- reading ---- */

static void close_source(tr_target_source *base) {
    source *s = (source *)(void *)base;
    free(s->piece);
    free(s);
}

static tr_status next_piece(source *s, tr_error *err) {
    const size_t room = s->at == 0 ? FIRST_PIECE : TR_S3_PIECE;
    if (s->room < room) {
        char *grown = realloc(s->piece, room);
        if (!grown)
            return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
        s->piece = grown;
        s->room = room;
    }
    s->len = s->used = 0;
    tr_status st = tr_s3_get(s->s3, s->name, &s->about, s->at, s->piece, room, &s->len, err);
    if (st == TR_OK)
        s->at += (int64_t)s->len;
    return st;
}

static tr_status read_file(tr_target *target, const char *name, tr_target_source **out, tr_error *err) {
    const store *t = of(target);
    *out = NULL;
    tr_status st =
        t->spool && strchr(name, '/') ? tr_target_read(spool_of(t), name, out, NULL) : TR_E_NOT_FOUND;
    if (st != TR_E_NOT_FOUND)
        return st;
    source *s = calloc(1, sizeof *s);
    if (!s)
        return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    s->base.kind = &source_kind;
    s->s3 = t->s3;
    (void)snprintf(s->name, sizeof s->name, "%s", name);
    st = next_piece(s, err);
    s->base.size = s->about.size;
    if (st == TR_OK)
        *out = &s->base;
    else
        close_source(&s->base);
    return st;
}

static tr_status read_source(tr_target_source *base, void *into, size_t room, size_t *got, tr_error *err) {
    source *s = (source *)(void *)base;
    tr_status st = TR_OK;
    if (s->used == s->len && s->at < s->about.size)
        st = next_piece(s, err);
    *got = s->len - s->used < room ? s->len - s->used : room;
    memcpy(into, s->piece + s->used, *got);
    s->used += *got;
    return st;
}

/* What is in memory is its beginning still, when nothing more was read. */
static tr_status rewind_source(tr_target_source *base, tr_error *err) {
    source *s = (source *)(void *)base;
    (void)err;
    if (s->at != (int64_t)s->len)
        s->at = (int64_t)(s->len = 0);
    s->used = 0;
    return TR_OK;
}

static const tr_source_kind source_kind = {
    .read = read_source, .rewind = rewind_source, .close = close_source};

struct both {
    tr_target *spool;
    const char *folder; /* of whose folders it is; NULL: files */
    tr_target_name_fn fn;
    void *context;
};

/* What is in both is named once, as what is in the spool. */
static tr_status from_store(void *context, const char *name, tr_error *err) {
    const struct both *b = context;
    char whole[256];
    (void)snprintf(whole, sizeof whole, "%s%s%s", b->folder ? b->folder : "", b->folder ? "/" : "", name);
    const size_t len = strlen(name), ending = strlen(TR_TARGET_ENDING);
    if (!b->folder && (len <= ending || strcmp(name + len - ending, TR_TARGET_ENDING) != 0))
        return TR_OK;
    return b->spool && tr_folder_has(b->spool, whole) ? TR_OK : b->fn(b->context, name, err);
}

/* The spool first: what is uploaded meanwhile is then named twice, rather than not at all. */
static tr_status list(tr_target *target, const char *folder, bool folders, tr_target_name_fn fn,
                      void *context, tr_error *err) {
    const store *t = of(target);
    struct both b = {.spool = spool_of(t), .folder = folders ? folder : NULL, .fn = fn, .context = context};
    tr_status st = b.spool ? b.spool->kind->list(b.spool, folder, folders, fn, context, err) : TR_OK;
    return st == TR_OK ? tr_s3_list(t->s3, folder, folders, from_store, &b, err) : st;
}

static const tr_target_kind kind = {.close = close_store,
                                    .sweep = sweep,
                                    .remove_part = remove_part,
                                    .folder = make_folder,
                                    .remove_folder = remove_folder,
                                    .begin = begin,
                                    .write = write_file,
                                    .commit = commit,
                                    .abort = give_up,
                                    .remove = remove_file,
                                    .read = read_file,
                                    .list = list};
