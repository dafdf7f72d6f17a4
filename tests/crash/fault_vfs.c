/* A shim around SQLite's own unix VFS. */
#include "fault_vfs.h"

#include "fault_disk.h"

#include <errno.h>
#include <limits.h>
#include <sqlite3.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *const fault_names[FAULT_KINDS] = {"none",      "fail",     "short write", "dead disk",
                                              "full disk", "no flush", "read"};

typedef struct fault_file {
    sqlite3_file base;
    node *node;    /* NULL: not watched */
    bool inner;    /* the real file behind this one is open */
    int64_t dummy; /* keeps the real file aligned */
} fault_file;

static struct {
    sqlite3_vfs vfs, *real;
    sqlite3_io_methods methods;
    fault_kind kind;
    long at;
    _Atomic long calls; /* a snapshot's pages are read by several threads */
    _Atomic bool fired;
    _Atomic int error; /* errno of the fault */
    fault_change_fn fn;
    void *context;
    long changes;
} state;

static __thread bool inside; /* the real VFS is at work: its calls of the C library are its own */

int __real_fsync(int fd);
int __real_rename(const char *from, const char *to);
int __real_unlink(const char *path);
int __wrap_fsync(int fd);
int __wrap_rename(const char *from, const char *to);
int __wrap_unlink(const char *path);

#define INNER(call)                                                                                          \
    do {                                                                                                     \
        bool before_ = inside;                                                                               \
        inside = true;                                                                                       \
        rc = (call);                                                                                         \
        inside = before_;                                                                                    \
    } while (0)

static sqlite3_file *real_of(sqlite3_file *file) {
    return (sqlite3_file *)((fault_file *)file + 1);
}

/* ---- faults ---- */

static bool strikes(long calls) {
    bool lasts = state.kind == FAULT_DEAD || state.kind == FAULT_FULL || state.kind == FAULT_SYNC;
    return lasts ? calls >= state.at : calls == state.at;
}

typedef enum { OTHER, NEEDS_ROOM, FLUSHES } nature;

static bool concerns(nature what) {
    return state.kind == FAULT_FULL ? what == NEEDS_ROOM : state.kind != FAULT_SYNC || what == FLUSHES;
}

/* In front of a change; true: it has to fail. */
static bool strike(nature what) {
    if (state.fn) {
        disk_lock();
        state.fn(state.context, ++state.changes);
        disk_unlock();
    }
    if (state.kind == FAULT_NONE || state.kind == FAULT_READ)
        return false;
    bool hit = strikes(++state.calls) && concerns(what);
    if (hit)
        state.fired = true;
    state.error = state.kind == FAULT_FULL ? ENOSPC : EIO;
    return hit;
}

static bool strike_read(const fault_file *file) {
    if (!file->node || state.kind != FAULT_READ || !strikes(++state.calls))
        return false;
    state.fired = true;
    state.error = EIO;
    return true;
}

void fault_arm(fault_kind kind, long at) {
    state.kind = kind;
    state.at = at;
    state.calls = 0;
    state.fired = false;
}

void fault_disarm(void) {
    state.kind = FAULT_NONE;
}

bool fault_fired(void) {
    return state.fired;
}

void fault_on_change(fault_change_fn fn, void *context) {
    state.fn = fn;
    state.context = context;
    state.changes = 0;
}

/* ---- the file ---- */

static int file_close(sqlite3_file *file) {
    int rc = SQLITE_OK;
    if (((fault_file *)file)->inner)
        INNER(real_of(file)->pMethods->xClose(real_of(file)));
    ((fault_file *)file)->inner = false;
    return rc;
}

static int file_read(sqlite3_file *file, void *to, int len, sqlite3_int64 at) {
    if (strike_read((fault_file *)file))
        return SQLITE_IOERR_READ;
    return real_of(file)->pMethods->xRead(real_of(file), to, len, at);
}

static int write_through(sqlite3_file *file, const void *from, int len, sqlite3_int64 at) {
    node *n = ((fault_file *)file)->node;
    if (n && len)
        disk_note(n, false, at, from, (size_t)len);
    return real_of(file)->pMethods->xWrite(real_of(file), from, len, at);
}

static int file_write(sqlite3_file *file, const void *from, int len, sqlite3_int64 at) {
    if (!((fault_file *)file)->node || !strike(NEEDS_ROOM))
        return write_through(file, from, len, at);
    if (state.kind == FAULT_SHORT || state.kind == FAULT_FULL)
        (void)write_through(file, from, len / 2, at);
    return state.kind == FAULT_FULL ? SQLITE_FULL : SQLITE_IOERR_WRITE;
}

static int file_truncate(sqlite3_file *file, sqlite3_int64 size) {
    node *n = ((fault_file *)file)->node;
    if (n && strike(OTHER))
        return SQLITE_IOERR_TRUNCATE;
    if (n)
        disk_note(n, true, size, NULL, 0);
    return real_of(file)->pMethods->xTruncate(real_of(file), size);
}

static int file_sync(sqlite3_file *file, int flags) {
    node *n = ((fault_file *)file)->node;
    (void)flags;
    if (n && strike(FLUSHES))
        return SQLITE_IOERR_FSYNC;
    if (n)
        disk_flush(n);
    return SQLITE_OK;
}

static int file_size(sqlite3_file *file, sqlite3_int64 *size) {
    return real_of(file)->pMethods->xFileSize(real_of(file), size);
}

static int file_lock(sqlite3_file *file, int level) {
    return real_of(file)->pMethods->xLock(real_of(file), level);
}

static int file_unlock(sqlite3_file *file, int level) {
    return real_of(file)->pMethods->xUnlock(real_of(file), level);
}

static int file_reserved(sqlite3_file *file, int *reserved) {
    return real_of(file)->pMethods->xCheckReservedLock(real_of(file), reserved);
}

static int file_control(sqlite3_file *file, int op, void *arg) {
    return real_of(file)->pMethods->xFileControl(real_of(file), op, arg);
}

static int file_sector(sqlite3_file *file) {
    return real_of(file)->pMethods->xSectorSize(real_of(file));
}

static int file_traits(sqlite3_file *file) {
    return real_of(file)->pMethods->xDeviceCharacteristics(real_of(file));
}

static int file_shm_map(sqlite3_file *file, int page, int size, int extend, void volatile **out) {
    int rc = SQLITE_OK;
    if (((fault_file *)file)->node && extend && strike(NEEDS_ROOM))
        return SQLITE_IOERR_SHMSIZE;
    INNER(real_of(file)->pMethods->xShmMap(real_of(file), page, size, extend, out));
    return rc;
}

static int file_shm_lock(sqlite3_file *file, int offset, int n, int flags) {
    return real_of(file)->pMethods->xShmLock(real_of(file), offset, n, flags);
}

static void file_shm_barrier(sqlite3_file *file) {
    real_of(file)->pMethods->xShmBarrier(real_of(file));
}

static int file_shm_unmap(sqlite3_file *file, int delete) {
    int rc = SQLITE_OK;
    INNER(real_of(file)->pMethods->xShmUnmap(real_of(file), delete));
    return rc;
}

/* ---- the VFS ---- */

static int vfs_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *out_flags) {
    fault_file *mine = (fault_file *)file;
    int rc = SQLITE_OK;
    (void)vfs;
    *mine = (fault_file){.base = {.pMethods = NULL}};
    mine->node = disk_watches(name) ? disk_node(name) : NULL;
    bool makes = mine->node && (flags & SQLITE_OPEN_CREATE) && !mine->node->there;
    if (mine->node && strike(makes ? NEEDS_ROOM : OTHER))
        return SQLITE_CANTOPEN;
    INNER(state.real->xOpen(state.real, name, real_of(file), flags, out_flags));
    mine->inner = real_of(file)->pMethods != NULL;
    if (rc != SQLITE_OK && !mine->inner)
        return rc;
    if (rc == SQLITE_OK && makes)
        disk_renew(mine->node, true);
    file->pMethods = &state.methods;
    return rc;
}

static int vfs_delete(sqlite3_vfs *vfs, const char *name, int flush_folder) {
    node *n = disk_watches(name) ? disk_node(name) : NULL;
    int rc = SQLITE_OK;
    (void)vfs;
    if (n && strike(OTHER))
        return SQLITE_IOERR_DELETE;
    INNER(state.real->xDelete(state.real, name, 0));
    if (n && rc == SQLITE_OK) {
        disk_renew(n, false);
        if (flush_folder)
            disk_flush(n);
    }
    return rc;
}

static int vfs_last_error(sqlite3_vfs *vfs, int len, char *text) {
    (void)vfs;
    if (state.error == 0)
        return state.real->xGetLastError(state.real, len, text);
    int error = state.error;
    state.error = 0;
    return error;
}

static const sqlite3_io_methods methods = {.iVersion = 2,
                                           .xClose = file_close,
                                           .xRead = file_read,
                                           .xWrite = file_write,
                                           .xTruncate = file_truncate,
                                           .xSync = file_sync,
                                           .xFileSize = file_size,
                                           .xLock = file_lock,
                                           .xUnlock = file_unlock,
                                           .xCheckReservedLock = file_reserved,
                                           .xFileControl = file_control,
                                           .xSectorSize = file_sector,
                                           .xDeviceCharacteristics = file_traits,
                                           .xShmMap = file_shm_map,
                                           .xShmLock = file_shm_lock,
                                           .xShmBarrier = file_shm_barrier,
                                           .xShmUnmap = file_shm_unmap};

void fault_install(void) {
    state.real = sqlite3_vfs_find("unix");
    if (!state.real)
        abort();
    state.vfs = *state.real;
    state.vfs.pNext = NULL;
    state.vfs.zName = "fault";
    state.vfs.szOsFile = (int)sizeof(fault_file) + state.real->szOsFile;
    state.vfs.xOpen = vfs_open;
    state.vfs.xDelete = vfs_delete;
    state.vfs.xGetLastError = vfs_last_error;
    state.methods = methods;
    if (sqlite3_vfs_register(&state.vfs, 1) != SQLITE_OK)
        abort();
}

/* ---- the store's own calls ---- */

int __wrap_fsync(int fd) {
    char link[64], path[PATH_MAX];
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t len = inside ? -1 : readlink(link, path, sizeof path - 1);
    path[len > 0 ? len : 0] = '\0';
    bool folder = disk_is_folder(path);
    if (!folder && !disk_watches(path))
        return len < 0 ? __real_fsync(fd) : 0;
    if (strike(FLUSHES)) {
        errno = state.error;
        return -1;
    }
    if (!folder)
        disk_flush(disk_node(path));
    return 0;
}

/* Renames and removals by the store are taken as durable: it flushes the folder after them, and a journalling
 * file system keeps their order. */
int __wrap_rename(const char *from, const char *to) {
    if (inside || !disk_watches(from))
        return __real_rename(from, to);
    node *a = disk_node(from), *b = disk_node(to);
    if (strike(OTHER)) {
        errno = state.error;
        return -1;
    }
    int rc = __real_rename(from, to);
    if (rc == 0)
        disk_move(a, b);
    return rc;
}

int __wrap_unlink(const char *path) {
    if (inside || !disk_watches(path) || access(path, F_OK) != 0)
        return __real_unlink(path);
    node *n = disk_node(path);
    if (strike(OTHER)) {
        errno = state.error;
        return -1;
    }
    disk_renew(n, false);
    disk_flush(n);
    return __real_unlink(path);
}
