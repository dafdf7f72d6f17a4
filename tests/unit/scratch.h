/* A fresh folder of a test's own, under $TMPDIR: tests/run names a file system in memory, since what is
 * flushed has no disk to outlive here. */
#ifndef TR_TEST_SCRATCH_H
#define TR_TEST_SCRATCH_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

/* Paths within it fit into 96 bytes less `name`. */
static inline bool scratch(char *path, size_t room, const char *name) {
    const char *parent = getenv("TMPDIR");
    int len = snprintf(path, room, "%s/%s-XXXXXX", parent && *parent ? parent : "/tmp", name);
    return len > 0 && (size_t)len < room && mkdtemp(path);
}

#endif
