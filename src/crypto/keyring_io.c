/* The keyring's file: private, and written whole or not at all. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/encode.h"
#include "crypto/keyring_internal.h"

#define TEMPORARY  ".tmp-" /* "keyring.tmp-" and random hex digits */
#define RANDOM_LEN 8
#define NAME_ROOM  256

/* ---- reading ---- */

static tr_status check_private(int fd, const char *path, size_t most, tr_error *err) {
    struct stat info;
    if (fstat(fd, &info) != 0)
        return tr_fail_errno(err, path, "cannot read the keyring");
    if (!S_ISREG(info.st_mode) || info.st_uid != geteuid() || (info.st_mode & 077) != 0)
        return tr_fail(err, TR_E_CONFIG, path,
                       "the keyring must be a file of this user that nobody else may read (0600)");
    if (info.st_size > (off_t)most)
        return tr_fail(err, TR_E_CORRUPT, path, "the keyring is too large");
    return TR_OK;
}

static tr_status read_all(int fd, const char *path, size_t most, tr_buf *out, tr_error *err) {
    for (;;) {
        char *room = tr_buf_reserve(out, 4096);
        tr_status st = tr_buf_ok(out, err);
        if (st != TR_OK)
            return st;
        ssize_t n = read(fd, room, 4096);
        if (n == 0)
            return TR_OK;
        if (n < 0 && errno != EINTR)
            return tr_fail_errno(err, path, "cannot read the keyring");
        if (n > 0)
            out->len += (size_t)n;
        if (out->len > most)
            return tr_fail(err, TR_E_CORRUPT, path, "the keyring is too large");
    }
}

tr_status tr_private_read(const char *path, size_t most, tr_buf *out, tr_error *err) {
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return tr_fail(err, TR_E_CONFIG, path, "cannot open the keyring: %s", strerror(errno));
    tr_status st = check_private(fd, path, most, err);
    if (st == TR_OK)
        st = read_all(fd, path, most, out, err);
    close(fd);
    return st;
}

/* ---- writing ---- */

/* Where the file is: an open folder and the name in it. */
typedef struct place {
    int folder;
    const char *name;
    char temporary[NAME_ROOM];
} place;

static tr_status find_place(const char *path, place *where, tr_error *err) {
    const char *slash = strrchr(path, '/');
    char hex[2 * RANDOM_LEN + 1];
    uint8_t random[RANDOM_LEN];
    where->folder = -1;
    where->name = slash ? slash + 1 : path;
    tr_status st = tr_random(random, sizeof random, err);
    if (st != TR_OK)
        return st;
    tr_hex_encode(random, sizeof random, hex);
    int n = snprintf(where->temporary, sizeof where->temporary, "%s" TEMPORARY "%s", where->name, hex);
    char *folder = slash ? strndup(path, slash == path ? 1 : (size_t)(slash - path)) : strdup(".");
    if (!folder)
        return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    if (n < 0 || (size_t)n >= sizeof where->temporary)
        st = tr_fail(err, TR_E_CONFIG, path, "the keyring's name is too long");
    else if ((where->folder = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
        st = tr_fail_errno(err, path, "cannot open the keyring's folder");
    free(folder);
    return st;
}

static tr_status write_all(int fd, tr_bytes content, const char *path, tr_error *err) {
    const char *at = content.data;
    for (size_t left = content.len; left > 0;) {
        ssize_t n = write(fd, at, left);
        if (n < 0 && errno != EINTR)
            return tr_fail_errno(err, path, "cannot write the keyring");
        if (n > 0) {
            at += n;
            left -= (size_t)n;
        }
    }
    return TR_OK;
}

static tr_status write_temporary(const place *where, tr_bytes content, const char *path, tr_error *err) {
    int fd = openat(where->folder, where->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return tr_fail_errno(err, path, "cannot write the keyring");
    tr_status st = write_all(fd, content, path, err);
    if (st == TR_OK && fsync(fd) != 0)
        st = tr_fail_errno(err, path, "cannot write the keyring to the disk");
    if (close(fd) != 0 && st == TR_OK)
        st = tr_fail_errno(err, path, "cannot write the keyring");
    return st;
}

/* rename() replaces what is there; link() refuses to. */
static tr_status publish(const place *where, bool replace, const char *path, tr_error *err) {
    int failed = replace ? renameat(where->folder, where->temporary, where->folder, where->name)
                         : linkat(where->folder, where->temporary, where->folder, where->name, 0);
    if (failed && errno == EEXIST)
        return tr_fail(err, TR_E_EXISTS, path, "there is a keyring already");
    if (failed)
        return tr_fail_errno(err, path, "cannot put the keyring in its place");
    return TR_OK;
}

tr_status tr_private_write(const char *path, tr_bytes content, bool replace, bool *published, tr_error *err) {
    place where;
    *published = false;
    tr_status st = find_place(path, &where, err);
    if (st != TR_OK)
        return st;
    TR_TRY(write_temporary(&where, content, path, err));
    TR_TRY(publish(&where, replace, path, err));
    *published = true;
out:
    if (!(*published && replace)) /* a link leaves the temporary name behind, a rename does not */
        (void)unlinkat(where.folder, where.temporary, 0);
    if (st == TR_OK && fsync(where.folder) != 0)
        st = tr_fail_errno(err, path, "cannot write the keyring's folder to the disk");
    close(where.folder);
    return st;
}

void tr_private_sweep(const char *path) {
    place where;
    char prefix[NAME_ROOM];
    if (find_place(path, &where, NULL) != TR_OK)
        return;
    int n = snprintf(prefix, sizeof prefix, "%s" TEMPORARY, where.name);
    DIR *list = fdopendir(where.folder);
    if (!list) {
        close(where.folder);
        return;
    }
    for (const struct dirent *entry; (entry = readdir(list));) {
        if (strncmp(entry->d_name, prefix, (size_t)n) == 0)
            (void)unlinkat(dirfd(list), entry->d_name, 0);
    }
    closedir(list);
}
