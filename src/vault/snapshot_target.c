#include "vault/snapshot_target.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* What was written is sent to the disk in such pieces while the file grows. Else all of it would be sent at
 * the end, and the vault's own flushes on the same disk would wait for it. */
#define FLUSH_STEP ((off_t)4 * 1024 * 1024)
#define PART       ".part-" /* the beginning of an unfinished file's name */

struct tr_target {
    int fd; /* of the folder */
    char folder[512];
};

struct tr_target_file {
    const tr_target *target;
    int fd;
    off_t written, sent;
    char name[128], part[144];
};

struct tr_target_source {
    int fd;
    int64_t size;
    char path[PATH_MAX];
};

/* ---- open ---- */

tr_status tr_target_open(const char *folder, bool write, tr_target **out, tr_error *err) {
    tr_target *t = calloc(1, sizeof *t);
    tr_status st = TR_OK;
    *out = NULL;
    if (!t)
        return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    (void)snprintf(t->folder, sizeof t->folder, "%s", folder);
    t->fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (t->fd < 0)
        st = tr_fail(err, TR_E_IO, t->folder, "the backup folder cannot be reached: %s", strerror(errno));
    if (st == TR_OK && write && mkdirat(t->fd, TR_TARGET_SNAPSHOTS, 0700) != 0 && errno != EEXIST)
        st = tr_fail_errno(err, t->folder, "cannot write to the backup folder");
    if (st != TR_OK) {
        tr_target_close(t);
        return st;
    }
    *out = t;
    return TR_OK;
}

void tr_target_close(tr_target *t) {
    if (!t)
        return;
    if (t->fd >= 0)
        close(t->fd);
    free(t);
}

/* ---- writing ---- */

tr_status tr_target_folder(tr_target *t, const char *folder, tr_error *err) {
    return mkdirat(t->fd, folder, 0700) == 0 || errno == EEXIST
               ? TR_OK
               : tr_fail_errno(err, t->folder, "cannot write to the backup folder");
}

void tr_target_remove_folder(tr_target *t, const char *folder) {
    (void)unlinkat(t->fd, folder, AT_REMOVEDIR);
}

/* "snapshots/x" is written as "snapshots/.part-x". */
static void part_name(tr_target_file *f) {
    const char *slash = strrchr(f->name, '/');
    int folder = slash ? (int)(slash - f->name) + 1 : 0;
    (void)snprintf(f->part, sizeof f->part, "%.*s" PART "%s", folder, f->name, f->name + folder);
}

tr_status tr_target_begin(tr_target *t, const char *name, tr_target_file **out, tr_error *err) {
    tr_target_file *f = calloc(1, sizeof *f);
    *out = NULL;
    if (!f)
        return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    f->target = t;
    (void)snprintf(f->name, sizeof f->name, "%s", name);
    part_name(f);
    f->fd = openat(t->fd, f->part, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (f->fd < 0) {
        tr_status st = tr_fail_errno(err, t->folder, "cannot write to the backup folder");
        free(f);
        return st;
    }
    *out = f;
    return TR_OK;
}

/* Wait for the piece before the newest, and begin with the newest. */
static void send_on(tr_target_file *f) {
    if (f->written - f->sent < FLUSH_STEP)
        return;
    if (f->sent >= FLUSH_STEP)
        (void)sync_file_range(f->fd, f->sent - FLUSH_STEP, FLUSH_STEP,
                              SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE |
                                  SYNC_FILE_RANGE_WAIT_AFTER);
    (void)sync_file_range(f->fd, f->sent, f->written - f->sent, SYNC_FILE_RANGE_WRITE);
    f->sent = f->written;
}

tr_status tr_target_write(void *file, tr_bytes bytes, tr_error *err) {
    tr_target_file *f = file;
    const char *at = bytes.data;
    for (size_t left = bytes.len; left > 0;) {
        ssize_t n = write(f->fd, at, left);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return tr_fail_errno(err, f->target->folder, "cannot write to the backup folder");
        at += n;
        left -= (size_t)n;
        f->written += n;
    }
    send_on(f);
    return TR_OK;
}

int64_t tr_target_written(const tr_target_file *f) {
    return f->written;
}

static tr_status flush_folder_of(const tr_target_file *f, tr_error *err) {
    const char *slash = strrchr(f->name, '/');
    char folder[128] = ".";
    if (slash)
        (void)snprintf(folder, sizeof folder, "%.*s", (int)(slash - f->name), f->name);
    int fd = openat(f->target->fd, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    tr_status st = fd >= 0 && fsync(fd) == 0
                       ? TR_OK
                       : tr_fail_errno(err, f->target->folder, "cannot flush the backup folder");
    if (fd >= 0)
        close(fd);
    return st;
}

static void let_go(tr_target_file *f) {
    if (f->fd >= 0)
        close(f->fd);
    free(f);
}

tr_status tr_target_commit(tr_target_file *f, tr_error *err) {
    const char *folder = f->target->folder;
    tr_status st = TR_OK;
    if (fsync(f->fd) != 0)
        st = tr_fail_errno(err, folder, "cannot flush what was written to the backup folder");
    int fd = f->fd;
    f->fd = -1;
    if (close(fd) != 0 && st == TR_OK) /* some network file systems tell only now */
        st = tr_fail_errno(err, folder, "cannot write to the backup folder");
    if (st == TR_OK && renameat(f->target->fd, f->part, f->target->fd, f->name) != 0)
        st = tr_fail_errno(err, folder, "cannot put the new file in place in the backup folder");
    if (st != TR_OK)
        (void)unlinkat(f->target->fd, f->part, 0);
    else
        st = flush_folder_of(f, err);
    let_go(f);
    return st;
}

void tr_target_abort(tr_target_file *f) {
    if (!f)
        return;
    (void)unlinkat(f->target->fd, f->part, 0);
    let_go(f);
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
    if (unlinkat(t->fd, name, 0) == 0)
        return TR_OK;
    return errno == ENOENT ? tr_fail(err, TR_E_NOT_FOUND, NULL, "there is no such snapshot")
                           : tr_fail_errno(err, t->folder, "cannot remove a file of the backup folder");
}

/* ---- reading ---- */

static tr_status read_at(int folder, const char *name, tr_target_source **out, tr_error *err) {
    struct stat info;
    tr_target_source *s = calloc(1, sizeof *s);
    tr_status st = TR_OK;
    *out = NULL;
    if (!s)
        return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    (void)snprintf(s->path, sizeof s->path, "%s", name);
    s->fd = openat(folder, name, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (s->fd < 0)
        st = errno == ENOENT ? tr_fail(err, TR_E_NOT_FOUND, name, "there is no such file")
                             : tr_fail_errno(err, name, "cannot be opened");
    else if (fstat(s->fd, &info) != 0 || !S_ISREG(info.st_mode))
        st = tr_fail(err, TR_E_CORRUPT, name, "is not a regular file");
    if (st != TR_OK) {
        tr_target_source_close(s);
        return st;
    }
    s->size = info.st_size;
    (void)posix_fadvise(s->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    *out = s;
    return TR_OK;
}

tr_status tr_target_read(tr_target *t, const char *name, tr_target_source **out, tr_error *err) {
    return read_at(t->fd, name, out, err);
}

tr_status tr_target_read_path(const char *path, tr_target_source **out, tr_error *err) {
    return read_at(AT_FDCWD, path, out, err);
}

tr_status tr_target_source_read(void *source, void *into, size_t room, size_t *got, tr_error *err) {
    const tr_target_source *s = source;
    ssize_t n;
    do
        n = read(s->fd, into, room);
    while (n < 0 && errno == EINTR);
    *got = n > 0 ? (size_t)n : 0;
    return n < 0 ? tr_fail_errno(err, s->path, "cannot be read") : TR_OK;
}

tr_status tr_target_rewind(tr_target_source *s, tr_error *err) {
    return lseek(s->fd, 0, SEEK_SET) == 0 ? TR_OK : tr_fail_errno(err, s->path, "cannot be read again");
}

int64_t tr_target_size(const tr_target_source *s) {
    return s->size;
}

void tr_target_source_close(tr_target_source *s) {
    if (!s)
        return;
    if (s->fd >= 0)
        close(s->fd);
    free(s);
}

static tr_status get(int folder, const char *name, size_t most, tr_buf *out, tr_error *err) {
    tr_target_source *s = NULL;
    size_t got = 1;
    tr_status st = read_at(folder, name, &s, err);
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
    return get(t->fd, name, most, out, err);
}

tr_status tr_target_get_path(const char *path, size_t most, tr_buf *out, tr_error *err) {
    return get(AT_FDCWD, path, most, out, err);
}

/* NULL and TR_OK: there is no such folder yet. */
static tr_status open_list(const tr_target *t, const char *folder, DIR **list, tr_error *err) {
    int fd = openat(t->fd, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
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

tr_status tr_target_list_in(tr_target *t, const char *folder, tr_target_name_fn fn, void *context,
                            tr_error *err) {
    char name[128 + NAME_MAX];
    DIR *list = NULL;
    tr_status st = open_list(t, folder, &list, err);
    if (!list)
        return st;
    for (const struct dirent *entry; st == TR_OK && (entry = readdir(list));) {
        (void)snprintf(name, sizeof name, "%.120s/%s", folder, entry->d_name);
        if (is_snapshot(entry->d_name))
            st = fn(context, name, err);
    }
    closedir(list);
    return st;
}

tr_status tr_target_list(tr_target *t, tr_target_name_fn fn, void *context, tr_error *err) {
    return tr_target_list_in(t, TR_TARGET_SNAPSHOTS, fn, context, err);
}

tr_status tr_target_folders(tr_target *t, const char *folder, tr_target_name_fn fn, void *context,
                            tr_error *err) {
    struct stat info;
    DIR *list = NULL;
    tr_status st = open_list(t, folder, &list, err);
    if (!list)
        return st;
    for (const struct dirent *entry; st == TR_OK && (entry = readdir(list));) {
        if (entry->d_name[0] != '.' && fstatat(dirfd(list), entry->d_name, &info, AT_SYMLINK_NOFOLLOW) == 0 &&
            S_ISDIR(info.st_mode))
            st = fn(context, entry->d_name, err);
    }
    closedir(list);
    return st;
}

tr_status tr_target_remove_part(tr_target *t, const char *name, tr_error *err) {
    tr_target_file f = {.fd = -1};
    (void)snprintf(f.name, sizeof f.name, "%s", name);
    part_name(&f);
    tr_status st = tr_target_remove(t, f.part, err);
    return st == TR_E_NOT_FOUND ? TR_OK : st;
}

tr_status tr_target_sweep(tr_target *t, tr_error *err) {
    DIR *list = NULL;
    tr_status st = open_list(t, TR_TARGET_SNAPSHOTS, &list, err);
    if (!list)
        return st;
    for (const struct dirent *entry; (entry = readdir(list));) {
        if (strncmp(entry->d_name, PART, strlen(PART)) == 0)
            (void)unlinkat(dirfd(list), entry->d_name, 0);
    }
    closedir(list);
    return TR_OK;
}
