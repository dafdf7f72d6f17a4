/* What a disk keeps of the watched folder's files: for fault_vfs.c. */
#ifndef FAULT_DISK_H
#define FAULT_DISK_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct change { /* that was not flushed */
    bool truncates;
    int64_t at; /* or the new size */
    size_t len;
    uint8_t *data;
    struct change *next;
} change;

typedef struct content {
    uint8_t *data;
    size_t len;
    bool there;
} content;

typedef struct node { /* a file of the watched folder */
    char path[PATH_MAX];
    content durable;
    bool renewed; /* removed or made anew, and the folder not flushed since: `durable` is what was there */
    bool there;
    change *first, **last;
    struct node *next;
} node;

/* Nothing changes between: for fault_survive. */
void disk_lock(void);
void disk_unlock(void);
bool disk_watches(const char *path);
bool disk_is_folder(const char *path);
/* Before the first change to it, so what is in the file is durable. */
node *disk_node(const char *path);
void disk_note(node *n, bool truncates, int64_t at, const void *data, size_t len);
void disk_flush(node *n);
/* Removed, or made anew. */
void disk_renew(node *n, bool there);
void disk_move(node *from, node *to);

#endif
