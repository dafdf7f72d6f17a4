#include "cli/files.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHUNK 65536

/* ---- reading ---- */

/* A wrong name, or one that may not be read: the user's to put right, and no failure of storage. */
static tr_status cannot_open(const char *path, tr_error *err) {
    return tr_fail(err, TR_E_CONFIG, path, "cannot be opened: %s", strerror(errno));
}

tr_status tr_file_read_fd(int fd, const char *name, size_t most, tr_buf *out, tr_error *err) {
    for (;;) {
        char *room = tr_buf_reserve(out, CHUNK);
        if (!room)
            return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
        ssize_t n = read(fd, room, CHUNK);
        if (n == 0)
            break;
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return tr_fail_errno(err, name, "cannot read the file");
        out->len += (size_t)n;
        if (out->len > most)
            return tr_fail(err, TR_E_TOO_LARGE, name, "the file has more than %zu bytes", most);
    }
    tr_buf_append(out, "", 0);
    return tr_buf_ok(out, err);
}

tr_status tr_file_read(const char *path, size_t most, tr_buf *out, bool *missing, tr_error *err) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (missing)
        *missing = fd < 0 && errno == ENOENT;
    if (fd < 0)
        return missing && *missing ? TR_OK : cannot_open(path, err);
    tr_status st = tr_file_read_fd(fd, path, most, out, err);
    close(fd);
    return st;
}

/* ---- writing ---- */

static tr_status write_all(int fd, const char *name, const char *bytes, size_t len, tr_error *err) {
    while (len > 0) {
        ssize_t n = write(fd, bytes, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return tr_fail_errno(err, name, "cannot write the file");
        bytes += n;
        len -= (size_t)n;
    }
    return TR_OK;
}

/* Open the folder that `path` is in. */
static tr_status open_folder(const char *path, int *fd, tr_error *err) {
    char folder[PATH_MAX];
    const char *slash = strrchr(path, '/');
    size_t len = slash ? (size_t)(slash - path) : 0;
    if (len >= sizeof folder)
        return tr_fail(err, TR_E_CONFIG, path, "the file's name is too long");
    if (len > 0)
        memcpy(folder, path, len);
    folder[len] = '\0';
    *fd = open(len > 0 ? folder : slash ? "/" : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return *fd >= 0 ? TR_OK : cannot_open(path, err);
}

tr_status tr_file_flush_folder(const char *path, tr_error *err) {
    int fd = -1;
    tr_status st = open_folder(path, &fd, err);
    if (st != TR_OK)
        return st;
    if (fsync(fd) != 0)
        st = tr_fail_errno(err, path, "cannot write the folder of the file");
    close(fd);
    return st;
}

/* Write a temporary file beside `path` and sync it; its name is in temporary[PATH_MAX], "" when there is
 * none. */
static tr_status write_beside(const char *path, const void *bytes, size_t len, char *temporary,
                              tr_error *err) {
    int n = snprintf(temporary, PATH_MAX, "%s.XXXXXX", path);
    if (n < 0 || n >= PATH_MAX) {
        temporary[0] = '\0';
        return tr_fail(err, TR_E_CONFIG, path, "the file's name is too long");
    }
    int fd = mkostemp(temporary, O_CLOEXEC); /* 0600 */
    if (fd < 0) {
        tr_status st = tr_fail_errno(err, path, "cannot make a file beside it");
        temporary[0] = '\0';
        return st;
    }
    tr_status st = write_all(fd, path, bytes, len, err);
    if (st == TR_OK && fsync(fd) != 0)
        st = tr_fail_errno(err, path, "cannot write the file");
    if (close(fd) != 0 && st == TR_OK)
        st = tr_fail_errno(err, path, "cannot write the file");
    return st;
}

tr_status tr_file_replace(const char *path, const void *bytes, size_t len, tr_error *err) {
    char real[PATH_MAX], temporary[PATH_MAX] = "";
    const char *target = realpath(path, real) ? real : path;
    tr_status st = write_beside(target, bytes, len, temporary, err);
    if (st == TR_OK && rename(temporary, target) != 0)
        st = tr_fail_errno(err, path, "cannot put the new file in its place");
    if (st != TR_OK) {
        if (temporary[0])
            (void)unlink(temporary);
        return st;
    }
    return tr_file_flush_folder(target, err);
}

tr_status tr_file_create(const char *path, const void *bytes, size_t len, tr_error *err) {
    char temporary[PATH_MAX] = "";
    tr_status st = write_beside(path, bytes, len, temporary, err);
    /* link, unlike rename, never takes the place of a file that is there. */
    if (st == TR_OK && link(temporary, path) != 0)
        st = errno == EEXIST ? tr_fail(err, TR_E_EXISTS, path, "the file is there already")
                             : tr_fail_errno(err, path, "cannot make the file");
    if (temporary[0])
        (void)unlink(temporary);
    return st == TR_OK ? tr_file_flush_folder(path, err) : st;
}

tr_status tr_file_remove(const char *path, tr_error *err) {
    if (unlink(path) != 0)
        return errno == ENOENT ? TR_OK : tr_fail_errno(err, path, "cannot remove the file");
    return tr_file_flush_folder(path, err);
}

/* ---- locks ---- */

static tr_status wait_for_lock(int fd, const char *path, tr_error *err) {
    while (flock(fd, LOCK_EX) != 0) {
        if (errno != EINTR)
            return tr_fail_errno(err, path, "cannot lock it");
    }
    return TR_OK;
}

tr_status tr_file_lock(const char *path, int *fd, tr_error *err) {
    *fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (*fd < 0)
        return cannot_open(path, err);
    return wait_for_lock(*fd, path, err);
}

tr_status tr_file_lock_folder(const char *path, int *fd, tr_error *err) {
    tr_status st = open_folder(path, fd, err);
    return st == TR_OK ? wait_for_lock(*fd, path, err) : st;
}

/* ---- bodies ---- */

/* A file without a name, in TMPDIR or /tmp. */
static tr_status open_unnamed(int *fd, tr_error *err) {
    const char *folder = getenv("TMPDIR");
    char name[PATH_MAX];
    if (!folder || !*folder)
        folder = "/tmp";
    *fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (*fd >= 0)
        return TR_OK;
    int n = snprintf(name, sizeof name, "%s/tresor.XXXXXX", folder); /* not every file system has O_TMPFILE */
    if (n > 0 && (size_t)n < sizeof name && (*fd = mkostemp(name, O_CLOEXEC)) >= 0 && unlink(name) == 0)
        return TR_OK;
    return tr_fail_errno(err, folder, "cannot make a temporary file");
}

static tr_status copy_to_unnamed(int from, const char *name, int *fd, tr_error *err) {
    char *chunk = malloc(CHUNK);
    tr_status st = chunk ? open_unnamed(fd, err) : tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    while (st == TR_OK) {
        ssize_t n = read(from, chunk, CHUNK);
        if (n == 0)
            break;
        if (n > 0)
            st = write_all(*fd, "the temporary file", chunk, (size_t)n, err);
        else if (errno != EINTR)
            st = tr_fail_errno(err, name, "cannot read it");
    }
    free(chunk);
    return st;
}

tr_status tr_cli_body_open(const char *path, tr_cli_body *body, tr_error *err) {
    struct stat info;
    bool is_stdin = strcmp(path, "-") == 0;
    *body = TR_CLI_NO_BODY;
    int from = is_stdin ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC);
    if (from < 0)
        return cannot_open(path, err);
    tr_status st = TR_OK;
    if (fstat(from, &info) != 0)
        st = tr_fail_errno(err, path, "cannot look at the file");
    else if (S_ISDIR(info.st_mode))
        st = tr_fail(err, TR_E_CONFIG, path, "is a folder");
    else if (S_ISREG(info.st_mode) && !is_stdin) {
        body->fd = from;
        from = -1;
    } else {
        st = copy_to_unnamed(from, path, &body->fd, err);
    }
    if (st == TR_OK && fstat(body->fd, &info) != 0)
        st = tr_fail_errno(err, path, "cannot look at the file");
    body->len = st == TR_OK ? (int64_t)info.st_size : 0;
    if (from >= 0)
        close(from);
    return st;
}

long tr_cli_body_read(const tr_cli_body *body, int64_t offset, void *room, size_t n) {
    int64_t left = body->len - offset;
    if (left <= 0)
        return 0;
    if ((int64_t)n > left)
        n = (size_t)left;
    if (body->text) {
        memcpy(room, body->text + offset, n);
        return (long)n;
    }
    ssize_t got;
    do
        got = pread(body->fd, room, n, (off_t)offset);
    while (got < 0 && errno == EINTR);
    return (long)got;
}

void tr_cli_body_close(tr_cli_body *body) {
    if (body->fd >= 0)
        close(body->fd);
    *body = TR_CLI_NO_BODY;
}
