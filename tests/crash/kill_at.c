/* Preloaded into a command (LD_PRELOAD): ends it as `kill -9` does, in front of the KILL_AT-th call that
 * changes what a file system keeps. KILL_AT=0 only counts; the count goes to the file that KILL_COUNT names.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static long calls;

static void step(void) {
    const char *at = getenv("KILL_AT");
    if (++calls == (at ? atol(at) : 0))
        kill(getpid(), SIGKILL);
}

__attribute__((destructor)) static void tell(void) {
    const char *path = getenv("KILL_COUNT");
    FILE *file = path ? fopen(path, "w") : NULL;
    if (file) {
        fprintf(file, "%ld\n", calls);
        fclose(file);
    }
}

#define REPLACE(name, parameters, arguments)                                                                 \
    int name parameters {                                                                                    \
        static int(*real) parameters;                                                                        \
        if (!real)                                                                                           \
            real = (int(*) parameters)dlsym(RTLD_NEXT, #name);                                               \
        step();                                                                                              \
        return real arguments;                                                                               \
    }

REPLACE(fsync, (int fd), (fd))
REPLACE(fdatasync, (int fd), (fd))
REPLACE(rename, (const char *from, const char *to), (from, to))
REPLACE(link, (const char *from, const char *to), (from, to))
REPLACE(unlink, (const char *path), (path))
REPLACE(ftruncate64, (int fd, off64_t size), (fd, size))
