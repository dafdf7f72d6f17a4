/* The data folder's lock: one process works on it at a time. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>

#include "store/sqlcipher/engine.h"

tr_status tr_store_lock(const char *data_dir, int *lock, tr_error *err) {
    char path[PATH_MAX];
    *lock = -1;
    if ((size_t)snprintf(path, sizeof path, "%s/lock", data_dir) >= sizeof path)
        return tr_fail(err, TR_E_CONFIG, NULL, "the data folder's name is too long");
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0 && errno == ENOENT)
        return tr_fail(err, TR_E_CONFIG, data_dir, "the data folder is missing");
    if (fd < 0)
        return tr_fail_errno(err, "lock", "cannot open the data folder's lock");
    if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
        *lock = fd;
        return TR_OK;
    }
    tr_status st = errno == EWOULDBLOCK
                       ? tr_fail(err, TR_E_LOCKED, "lock", "another process has the data folder")
                       : tr_fail_errno(err, "lock", "cannot lock the data folder");
    close(fd);
    return st;
}

void tr_store_unlock(int lock) {
    if (lock >= 0)
        close(lock);
}
