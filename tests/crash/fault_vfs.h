/* SQLite's file system with faults, and with a memory of what was not flushed: for tests only.
 *
 * Files below the watched folder are counted and may fail; all others are left alone. What changes a file (a
 * write, a flush, a truncation, a new or a removed file, a rename) is a change; reads are counted for
 * themselves. Flushes do not reach the disk: what they would have kept is known here. The program is linked
 * with --wrap for fsync, rename and unlink, so that the store's own calls count too.
 *
 * One write at a time: the workload does not write in two threads at once.
 */
#ifndef FAULT_VFS_H
#define FAULT_VFS_H

#include <stdbool.h>

typedef enum fault_kind {
    FAULT_NONE,
    FAULT_FAIL,  /* the change fails, once, and has no effect */
    FAULT_SHORT, /* the same, but half of a write is done */
    FAULT_DEAD,  /* it and all changes after it fail */
    FAULT_FULL,  /* from then on there is no room: half of a write is done */
    FAULT_SYNC,  /* from then on nothing can be flushed, but all else is done */
    FAULT_READ,  /* a read fails, once */
    FAULT_KINDS
} fault_kind;

extern const char *const fault_names[FAULT_KINDS];

/* Make it SQLite's default. */
void fault_install(void);
/* Watch this folder (NULL: none) from now on; its files are durable as they are. */
void fault_watch(const char *dir);
/* Let the at-th change from now on (read, for FAULT_READ) fail; 1 is the first. */
void fault_arm(fault_kind kind, long at);
void fault_disarm(void);
bool fault_fired(void); /* since it was armed */

/* Called in front of each change, in the thread that makes it. */
typedef void (*fault_change_fn)(void *context, long number);
void fault_on_change(fault_change_fn fn, void *context); /* NULL: not any more; numbers begin anew, at 1 */

/* For the change's function: what a power cut now may leave of the watched folder, written to the folder
 * `to`. Of what was not flushed since: nothing (seed 0), all of it (seed 1, as after kill -9), else some of
 * it, writes cut into sectors. */
void fault_survive(const char *to, unsigned seed);

#endif
