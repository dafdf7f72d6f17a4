#include "vault/remove_file.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define STEP ((off_t)16 * 1024 * 1024)

/* Of several files too, only one step is on its way. */
static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;

/* It has no name any more: were the process to end now, the rest would be given back at once. A step that
 * fails is no failure for the same reason. */
static void *give_back(void *context) {
    const int fd = (int)(intptr_t)context;
    struct stat info;
    pthread_mutex_lock(&one_at_a_time);
    if (fstat(fd, &info) != 0)
        info.st_size = 0;
    for (off_t left = info.st_size - STEP; left > 0; left -= STEP) {
        if (ftruncate(fd, left) != 0 || fsync(fd) != 0)
            break;
    }
    pthread_mutex_unlock(&one_at_a_time);
    close(fd);
    return NULL;
}

/* False: it is small, or somebody else has it. Then, and without a thread, its last user's closing gives it
 * back. */
static bool begin_to_give_back(int fd) {
    pthread_attr_t detached;
    pthread_t thread;
    struct stat info;
    if (fstat(fd, &info) != 0 || info.st_nlink > 0 || info.st_size <= STEP ||
        flock(fd, LOCK_EX | LOCK_NB) != 0 || pthread_attr_init(&detached) != 0)
        return false;
    const bool begun = pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED) == 0 &&
                       pthread_create(&thread, &detached, give_back, (void *)(intptr_t)fd) == 0;
    pthread_attr_destroy(&detached);
    return begun;
}

int tr_remove_file(int folder, const char *name) {
    const int fd = openat(folder, name, O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    const int rc = unlinkat(folder, name, 0);
    const int failed = errno;
    if (fd >= 0 && (rc != 0 || !begin_to_give_back(fd)))
        close(fd);
    errno = failed;
    return rc;
}

void tr_keep_removed(int fd) {
    (void)flock(fd, LOCK_SH | LOCK_NB);
}
