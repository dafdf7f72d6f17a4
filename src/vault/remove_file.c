#include "vault/remove_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define STEP ((off_t)16 * 1024 * 1024)

/* It has no name any more: were the process to end now, the rest would be given back at once. A step that
 * fails is no failure for the same reason. */
static void shrink(int fd) {
    struct stat info;
    if (fstat(fd, &info) != 0 || info.st_nlink > 0 || flock(fd, LOCK_EX | LOCK_NB) != 0)
        return;
    for (off_t left = info.st_size - STEP; left > 0; left -= STEP) {
        if (ftruncate(fd, left) != 0 || fsync(fd) != 0)
            return;
    }
}

int tr_remove_file(int folder, const char *name) {
    const int fd = openat(folder, name, O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    const int rc = unlinkat(folder, name, 0);
    const int failed = errno;
    if (fd >= 0) {
        if (rc == 0)
            shrink(fd);
        close(fd);
    }
    errno = failed;
    return rc;
}

void tr_keep_removed(int fd) {
    (void)flock(fd, LOCK_SH | LOCK_NB);
}
