/* What the serving process may do for the rest of its life: whom it runs as, which files it opens, which
 * system calls it makes. Nothing of this can be taken back. All of it before the first thread starts:
 * Landlock holds for the calling thread and those it starts.
 *
 * Sources: credentials(7), capabilities(7), landlock(7), seccomp(2), libseccomp's seccomp_rule_add(3).
 */
#ifndef TR_BASE_CONFINE_H
#define TR_BASE_CONFINE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"

/* ---- the user ---- */

/* Become `run_as`, "USER", "USER:GROUP" or their numbers, with no capability left; only root can, whoever is
 * that user already stays it. With `binding`, ports below 1024 may still be bound until tr_become_finish().
 * TR_E_CONFIG at run_as. */
tr_status tr_become(const char *run_as, bool binding, tr_error *err);
/* In every thread: the last capability is gone. Call it where tr_become() was called with `binding`. */
tr_status tr_become_finish(tr_error *err);

/* ---- files ---- */

typedef enum tr_place_use {
    TR_PLACE_READ,
    TR_PLACE_WRITE, /* and read, make, rename and delete in it */
    TR_PLACE_DEVICE /* the same, and ioctl() on devices in it */
} tr_place_use;

/* A file, or a folder with all in it. One that is not there is passed over. */
typedef struct tr_place {
    const char *path;
    tr_place_use use;
} tr_place;

/* From now on no file but these can be opened, and none be executed. *version is that of the kernel's
 * Landlock; 0: it has none, and nothing is kept from anybody. Sets no_new_privs. */
tr_status tr_confine_files(const tr_place *places, size_t count, int *version, tr_error *err);

/* ---- system calls ---- */

/* From now on only the calls that the server needs are made, by any thread: others fail with ENOSYS, those
 * that only an attacker makes (execve, ptrace and the like) end the process with SIGSYS. With `devices`, also
 * those an HSM's library may need. *held is false where the kernel has no filters, and in sanitizer builds,
 * whose run-time makes other calls. Sets no_new_privs. */
tr_status tr_confine_calls(bool devices, bool *held, tr_error *err);

/* The build is relaxed for a sanitizer: no filter of calls, and everything may be read. */
bool tr_confine_relaxed(void);

#endif
