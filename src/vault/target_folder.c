/* A folder: files that are written under another name, flushed, and renamed. */
#include "vault/remove_file.h"
#include "vault/target_internal.h"
#include "vault/write_behind.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PART ".part-" /* the beginning of an unfinished file's name */

typedef struct folder {
    tr_target base;
    int fd; /* of the folder */
    char folder[512];
} folder;

typedef struct file {
    tr_target_file base;
    const folder *in;
    int fd;
    tr_write_behind *behind;
    char name[128], part[144];
} file;

typedef struct source {
    tr_target_source base;
    int fd;
    char path[PATH_MAX];
} source;

static const tr_target_kind kind;
static const tr_source_kind source_kind;

static folder *of(tr_target *target) {
    return (folder *)(void *)target;
}

static file *file_of(tr_target_file *base) {
    return (file *)(void *)base;
}

/* ---- open ---- */

static void close_folder(tr_target *target) {
    folder *t = of(target);
    if (t->fd >= 0)
        close(t->fd);
    free(t);
}

tr_status tr_target_open(const char *path, bool write, tr_target **out, tr_error *err) {
    folder *t = calloc(1, sizeof *t);
    tr_status st = TR_OK;
    *out = NULL;
    if (!t)
        return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    t->base.kind = &kind;
    (void)snprintf(t->folder, sizeof t->folder, "%s", path);
    t->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (t->fd < 0)
        st = tr_fail(err, TR_E_IO, t->folder, "the backup folder cannot be reached: %s%s", strerror(errno),
                     errno == EACCES ? "; one that was made or mounted after the start is seen after the next"
                                     : "");
    if (st == TR_OK && write && mkdirat(t->fd, TR_TARGET_SNAPSHOTS, 0700) != 0 && errno != EEXIST)
        st = tr_fail_errno(err, t->folder, "cannot write to the backup folder");
    if (st != TR_OK) {
        close_folder(&t->base);
        return st;
    }
    *out = &t->base;
    return TR_OK;
}

/* ---- writing ---- */

static tr_status make_folder(tr_target *target, const char *name, tr_error *err) {
    const folder *t = of(target);
    return mkdirat(t->fd, name, 0700) == 0 || errno == EEXIST
               ? TR_OK
               : tr_fail_errno(err, t->folder, "cannot write to the backup folder");
}

static void remove_folder(tr_target *target, const char *name) {
    (void)unlinkat(of(target)->fd, name, AT_REMOVEDIR);
}

/* "snapshots/x" is written as "snapshots/.part-x". */
static void part_name(file *f) {
    const char *slash = strrchr(f->name, '/');
    int len = slash ? (int)(slash - f->name) + 1 : 0;
    (void)snprintf(f->part, sizeof f->part, "%.*s" PART "%s", len, f->name, f->name + len);
}

static void let_go(file *f) {
    tr_write_behind_free(f->behind);
    if (f->fd >= 0)
        close(f->fd);
    free(f);
}

static tr_status begin(tr_target *target, const char *name, tr_target_file **out, tr_error *err) {
    const folder *t = of(target);
    file *f = calloc(1, sizeof *f);
    *out = NULL;
    if (!f)
        return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    f->in = t;
    (void)snprintf(f->name, sizeof f->name, "%s", name);
    part_name(f);
    f->fd = openat(t->fd, f->part, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    tr_status st = f->fd >= 0 ? tr_write_behind_new(f->fd, t->folder, &f->behind, err)
                              : tr_fail_errno(err, t->folder, "cannot write to the backup folder");
    if (st == TR_OK)
        *out = &f->base;
    else
        let_go(f);
    return st;
}

tr_status tr_folder_file_end(tr_target_file *base, int *fd, tr_error *err) {
    const file *f = file_of(base);
    *fd = f->fd;
    return tr_write_behind_end(f->behind, err);
}

static tr_status write_file(tr_target_file *base, tr_bytes bytes, tr_error *err) {
    return tr_write_behind_put(file_of(base)->behind, bytes, err);
}

static tr_status flush_folder_of(const file *f, tr_error *err) {
    const char *slash = strrchr(f->name, '/');
    char name[128] = ".";
    if (slash)
        (void)snprintf(name, sizeof name, "%.*s", (int)(slash - f->name), f->name);
    int fd = openat(f->in->fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    tr_status st = fd >= 0 && fsync(fd) == 0
                       ? TR_OK
                       : tr_fail_errno(err, f->in->folder, "cannot flush the backup folder");
    if (fd >= 0)
        close(fd);
    return st;
}

static tr_status commit(tr_target_file *base, tr_error *err) {
    file *f = file_of(base);
    const char *path = f->in->folder;
    tr_status st = tr_write_behind_end(f->behind, err);
    if (st == TR_OK && fsync(f->fd) != 0)
        st = tr_fail_errno(err, path, "cannot flush what was written to the backup folder");
    int fd = f->fd;
    f->fd = -1;
    if (close(fd) != 0 && st == TR_OK) /* some network file systems tell only now */
        st = tr_fail_errno(err, path, "cannot write to the backup folder");
    if (st == TR_OK && renameat(f->in->fd, f->part, f->in->fd, f->name) != 0)
        st = tr_fail_errno(err, path, "cannot put the new file in place in the backup folder");
    if (st != TR_OK)
        (void)tr_remove_file(f->in->fd, f->part);
    else
        st = flush_folder_of(f, err);
    let_go(f);
    return st;
}

static void give_up(tr_target_file *base) {
    file *f = file_of(base);
    (void)tr_remove_file(f->in->fd, f->part);
    let_go(f);
}

static tr_status remove_file(tr_target *target, const char *name, tr_error *err) {
    const folder *t = of(target);
    if (tr_remove_file(t->fd, name) == 0)
        return TR_OK;
    return errno == ENOENT ? tr_fail(err, TR_E_NOT_FOUND, NULL, "there is no such snapshot")
                           : tr_fail_errno(err, t->folder, "cannot remove a file of the backup folder");
}

/* ---- reading ---- */

static void close_source(tr_target_source *base) {
    source *s = (source *)(void *)base;
    if (s->fd >= 0)
        close(s->fd);
    free(s);
}

static tr_status read_at(int at, const char *name, tr_target_source **out, tr_error *err) {
    struct stat info;
    source *s = calloc(1, sizeof *s);
    tr_status st = TR_OK;
    *out = NULL;
    if (!s)
        return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    s->base.kind = &source_kind;
    (void)snprintf(s->path, sizeof s->path, "%s", name);
    s->fd = openat(at, name, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (s->fd < 0)
        st = errno == ENOENT ? tr_fail(err, TR_E_NOT_FOUND, name, "there is no such file")
                             : tr_fail_errno(err, name, "cannot be opened");
    else if (fstat(s->fd, &info) != 0 || !S_ISREG(info.st_mode))
        st = tr_fail(err, TR_E_CORRUPT, name, "is not a regular file");
    if (st != TR_OK) {
        close_source(&s->base);
        return st;
    }
    tr_keep_removed(s->fd);
    s->base.size = info.st_size;
    (void)posix_fadvise(s->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    *out = &s->base;
    return TR_OK;
}

static tr_status read_file(tr_target *target, const char *name, tr_target_source **out, tr_error *err) {
    return read_at(of(target)->fd, name, out, err);
}

tr_status tr_target_read_path(const char *path, tr_target_source **out, tr_error *err) {
    return read_at(AT_FDCWD, path, out, err);
}

static tr_status read_source(tr_target_source *base, void *into, size_t room, size_t *got, tr_error *err) {
    const source *s = (const source *)(const void *)base;
    ssize_t n;
    do
        n = read(s->fd, into, room);
    while (n < 0 && errno == EINTR);
    *got = n > 0 ? (size_t)n : 0;
    return n < 0 ? tr_fail_errno(err, s->path, "cannot be read") : TR_OK;
}

static tr_status rewind_source(tr_target_source *base, tr_error *err) {
    const source *s = (const source *)(const void *)base;
    return lseek(s->fd, 0, SEEK_SET) == 0 ? TR_OK : tr_fail_errno(err, s->path, "cannot be read again");
}

static const tr_source_kind source_kind = {
    .read = read_source, .rewind = rewind_source, .close = close_source};

bool tr_folder_has(const tr_target *target, const char *name) {
    return faccessat(((const folder *)(const void *)target)->fd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* ---- lists ---- */

/* NULL and TR_OK: there is no such folder yet. */
static tr_status open_list(const folder *t, const char *name, DIR **list, tr_error *err) {
    int fd = openat(t->fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    *list = fd < 0 ? NULL : fdopendir(fd);
    if (*list || (fd < 0 && errno == ENOENT))
        return TR_OK;
    tr_status st = tr_fail_errno(err, t->folder, "cannot list the backup folder");
    if (fd >= 0)
        close(fd);
    return st;
}

static bool is_snapshot(const char *name) {
    size_t len = strlen(name), ending = strlen(TR_TARGET_ENDING);
    return name[0] != '.' && len > ending && strcmp(name + len - ending, TR_TARGET_ENDING) == 0;
}

static bool is_folder(DIR *list, const char *name) {
    struct stat info;
    return name[0] != '.' && fstatat(dirfd(list), name, &info, AT_SYMLINK_NOFOLLOW) == 0 &&
           S_ISDIR(info.st_mode);
}

static tr_status list_folder(tr_target *target, const char *name, bool folders, tr_target_name_fn fn,
                             void *context, tr_error *err) {
    char whole[128 + NAME_MAX];
    DIR *list = NULL;
    tr_status st = open_list(of(target), name, &list, err);
    if (!list)
        return st;
    for (const struct dirent *entry; st == TR_OK && (entry = readdir(list));) {
        (void)snprintf(whole, sizeof whole, "%.120s/%s", name, entry->d_name);
        if (folders ? is_folder(list, entry->d_name) : is_snapshot(entry->d_name))
            st = fn(context, folders ? entry->d_name : whole, err);
    }
    closedir(list);
    return st;
}

static tr_status remove_part(tr_target *target, const char *name, tr_error *err) {
    file f = {.fd = -1};
    (void)snprintf(f.name, sizeof f.name, "%s", name);
    part_name(&f);
    tr_status st = remove_file(target, f.part, err);
    return st == TR_E_NOT_FOUND ? TR_OK : st;
}

static tr_status sweep(tr_target *target, tr_error *err) {
    DIR *list = NULL;
    tr_status st = open_list(of(target), TR_TARGET_SNAPSHOTS, &list, err);
    if (!list)
        return st;
    for (const struct dirent *entry; (entry = readdir(list));) {
        if (strncmp(entry->d_name, PART, strlen(PART)) == 0)
            (void)tr_remove_file(dirfd(list), entry->d_name);
    }
    closedir(list);
    return TR_OK;
}

static const tr_target_kind kind = {.close = close_folder,
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
                                    .list = list_folder};
