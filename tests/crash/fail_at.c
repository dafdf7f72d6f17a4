/* Preloaded into a command (LD_PRELOAD): of the calls that change files below FAIL_FOLDER the n-th fails. The
 * test says which in the file that FAIL_CONTROL names, which both have mapped, so that one process meets all.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* As failing.py has it. */
static struct control {
    _Atomic int64_t at;     /* this call fails; 0: none */
    _Atomic int64_t more;   /* how many after it fail too */
    _Atomic int64_t calls;  /* seen so far */
    _Atomic int64_t failed; /* of them */
    _Atomic int64_t error;  /* errno; 0: a write writes half */
} * control;
static char folder[PATH_MAX];

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("FAIL_CONTROL"), *below = getenv("FAIL_FOLDER");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    void *memory =
        fd < 0 ? MAP_FAILED : mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (fd >= 0)
        close(fd);
    if (memory != MAP_FAILED && below) {
        snprintf(folder, sizeof folder, "%s/", below);
        control = memory;
    }
}

static bool is_below(int at, const char *name) {
    char link[64], path[PATH_MAX] = "";
    if (name && name[0] == '/')
        return strncmp(name, folder, strlen(folder)) == 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", at);
    ssize_t n = readlink(link, path, sizeof path - 2);
    if (n > 0)
        path[n] = '/'; /* the folder itself is flushed too */
    return n > 0 && strncmp(path, folder, strlen(folder)) == 0;
}

/* Is this the call? Then errno is set; 0: it does half. */
static bool fails(int at, const char *name) {
    int saved = errno;
    if (!control || atomic_load(&control->at) == 0 || !is_below(at, name)) {
        errno = saved;
        return false;
    }
    int64_t past = atomic_fetch_add(&control->calls, 1) + 1 - atomic_load(&control->at);
    errno = saved;
    if (past < 0 || past > atomic_load(&control->more))
        return false;
    atomic_fetch_add(&control->failed, 1);
    errno = (int)atomic_load(&control->error);
    return true;
}

/* Of a call that has no half. */
static bool fails_whole(int at, const char *name) {
    bool failed = fails(at, name);
    if (failed && errno == 0)
        errno = EIO;
    return failed;
}

#define REPLACE(name, at, path, parameters, arguments)                                                       \
    int name parameters {                                                                                    \
        static int(*real) parameters;                                                                        \
        if (!real)                                                                                           \
            real = (int(*) parameters)dlsym(RTLD_NEXT, #name);                                               \
        return fails_whole(at, path) ? -1 : real arguments;                                                  \
    }

REPLACE(fsync, fd, NULL, (int fd), (fd))
REPLACE(fdatasync, fd, NULL, (int fd), (fd))
REPLACE(ftruncate, fd, NULL, (int fd, off_t size), (fd, size))
REPLACE(ftruncate64, fd, NULL, (int fd, off64_t size), (fd, size))
REPLACE(renameat, from, old, (int from, const char *old, int to, const char *new), (from, old, to, new))
REPLACE(rename, AT_FDCWD, old, (const char *old, const char *new), (old, new))
REPLACE(unlinkat, at, path, (int at, const char *path, int flags), (at, path, flags))
REPLACE(unlink, AT_FDCWD, path, (const char *path), (path))
REPLACE(mkdirat, at, path, (int at, const char *path, mode_t mode), (at, path, mode))
REPLACE(mkdir, AT_FDCWD, path, (const char *path, mode_t mode), (path, mode))

#define WRITE(name, parameters, all, half)                                                                   \
    ssize_t name parameters {                                                                                \
        static ssize_t(*real) parameters;                                                                    \
        if (!real)                                                                                           \
            real = (ssize_t(*) parameters)dlsym(RTLD_NEXT, #name);                                           \
        if (!fails(fd, NULL))                                                                                \
            return real all;                                                                                 \
        return errno ? -1 : real half;                                                                       \
    }

WRITE(write, (int fd, const void *bytes, size_t n), (fd, bytes, n), (fd, bytes, n / 2))
WRITE(pwrite, (int fd, const void *bytes, size_t n, off_t at), (fd, bytes, n, at), (fd, bytes, n / 2, at))
WRITE(pwrite64, (int fd, const void *bytes, size_t n, off64_t at), (fd, bytes, n, at), (fd, bytes, n / 2, at))

#define OPEN_AT(name)                                                                                        \
    int name(int at, const char *path, int flags, ...) {                                                     \
        static int (*real)(int, const char *, int, ...);                                                     \
        va_list list;                                                                                        \
        va_start(list, flags);                                                                               \
        mode_t mode = flags & O_CREAT ? va_arg(list, mode_t) : 0;                                            \
        va_end(list);                                                                                        \
        if (!real)                                                                                           \
            real = (int (*)(int, const char *, int, ...))dlsym(RTLD_NEXT, #name);                            \
        return (flags & O_CREAT) && fails_whole(at, path) ? -1 : real(at, path, flags, mode);                \
    }

OPEN_AT(openat)
OPEN_AT(openat64)
