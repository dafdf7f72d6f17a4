/* A shim around SQLite's own unix VFS. */
#include "fault_vfs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sqlite3.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECTOR 512

const char *const fault_names[FAULT_KINDS] = {"none",      "fail",     "short write", "dead disk",
                                              "full disk", "no flush", "read"};

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

typedef struct fault_file {
    sqlite3_file base;
    node *node;    /* NULL: not watched */
    bool inner;    /* the real file behind this one is open */
    int64_t dummy; /* keeps the real file aligned */
} fault_file;

static struct {
    sqlite3_vfs vfs, *real;
    sqlite3_io_methods methods;
    char dir[PATH_MAX];
    node *nodes;
    fault_kind kind;
    long at, calls;
    bool fired;
    int error; /* errno of the fault */
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

static void *must(void *memory) {
    if (!memory)
        abort();
    return memory;
}

/* ---- what is durable ---- */

static bool is_watched(const char *path) {
    size_t len = strlen(state.dir);
    return path && len && strncmp(path, state.dir, len) == 0 && path[len] == '/';
}

static content read_file(const char *path) {
    content c = {.data = NULL};
    struct stat info;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return c;
    if (fstat(fd, &info) != 0)
        abort();
    c = (content){must(malloc((size_t)info.st_size + 1)), (size_t)info.st_size, true};
    if (read(fd, c.data, c.len) != (ssize_t)c.len)
        abort();
    close(fd);
    return c;
}

static void forget_changes(node *n) {
    while (n->first) {
        change *c = n->first;
        n->first = c->next;
        free(c->data);
        free(c);
    }
    n->last = &n->first;
}

static void forget_all(void) {
    while (state.nodes) {
        node *n = state.nodes;
        state.nodes = n->next;
        forget_changes(n);
        free(n->durable.data);
        free(n);
    }
}

/* Before the first change to it, so what is in the file is durable. */
static node *node_of(const char *path) {
    for (node *n = state.nodes; n; n = n->next) {
        if (strcmp(n->path, path) == 0)
            return n;
    }
    node *n = must(calloc(1, sizeof *n));
    (void)snprintf(n->path, sizeof n->path, "%s", path);
    n->durable = read_file(path);
    n->there = n->durable.there;
    n->last = &n->first;
    n->next = state.nodes;
    state.nodes = n;
    return n;
}

static void note(node *n, bool truncates, int64_t at, const void *data, size_t len) {
    change *c = must(calloc(1, sizeof *c));
    *c = (change){.truncates = truncates, .at = at, .len = len, .data = must(malloc(len + 1))};
    if (len)
        memcpy(c->data, data, len);
    *n->last = c;
    n->last = &c->next;
}

static void grow(content *c, size_t len) {
    if (len <= c->len)
        return;
    c->data = must(realloc(c->data, len + 1));
    memset(c->data + c->len, 0, len - c->len);
    c->len = len;
}

static void put(content *c, int64_t at, const uint8_t *data, size_t len) {
    grow(c, (size_t)at + len);
    if (len)
        memcpy(c->data + at, data, len);
}

static void apply(content *c, const change *one) {
    if (!one->truncates) {
        put(c, one->at, one->data, one->len);
    } else if ((size_t)one->at < c->len) {
        c->len = (size_t)one->at;
    }
}

static void flush_node(node *n) {
    if (n->renewed)
        n->durable.len = 0;
    n->durable.there = n->there;
    n->renewed = false;
    for (change *c = n->first; c; c = c->next)
        apply(&n->durable, c);
    forget_changes(n);
}

static void renew(node *n, bool there) {
    forget_changes(n);
    n->renewed = true;
    n->there = there;
}

/* ---- what a power cut leaves ---- */

static unsigned dice(unsigned *seed) { /* 0 to 32767 */
    *seed = *seed * 1103515245u + 12345u;
    return (*seed >> 16) & 0x7fff;
}

static void apply_torn(content *c, const change *one, unsigned *seed) {
    for (size_t at = 0; at < one->len; at += SECTOR) {
        size_t len = one->len - at < SECTOR ? one->len - at : SECTOR;
        if (dice(seed) % 4)
            put(c, one->at + (int64_t)at, one->data + at, len);
    }
}

static void apply_some(content *c, const node *n, unsigned kind, unsigned *seed) {
    for (change *one = n->first; one && kind; one = one->next) {
        if (kind == 1 || dice(seed) % 2)
            apply(c, one);
        else if (!one->truncates && dice(seed) % 2)
            apply_torn(c, one, seed);
    }
}

static void write_file(const char *to, const char *name, const content *c) {
    char path[PATH_MAX];
    (void)snprintf(path, sizeof path, "%s/%s", to, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, c->data, c->len) != (ssize_t)c->len)
        abort();
    close(fd);
}

static void survive(const node *n, const char *to, unsigned kind, unsigned *seed) {
    content left = {.data = NULL};
    bool old = n->renewed && (kind == 0 || (kind > 1 && dice(seed) % 2)); /* the folder as it was */
    left.there = old || !n->renewed ? n->durable.there : n->there;
    if (old || !n->renewed)
        put(&left, 0, n->durable.data ? n->durable.data : (const uint8_t *)"", n->durable.len);
    if (!old)
        apply_some(&left, n, kind, seed);
    if (left.there)
        write_file(to, strrchr(n->path, '/') + 1, &left);
    free(left.data);
}

void fault_survive(const char *to, unsigned seed) {
    unsigned random = seed;
    for (node *n = state.nodes; n; n = n->next)
        survive(n, to, seed, &random);
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
    if (state.fn)
        state.fn(state.context, ++state.changes);
    if (state.kind == FAULT_NONE || state.kind == FAULT_READ)
        return false;
    bool hit = strikes(++state.calls) && concerns(what);
    state.fired |= hit;
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

void fault_watch(const char *dir) {
    struct dirent *entry;
    forget_all();
    (void)snprintf(state.dir, sizeof state.dir, "%s", dir ? dir : "");
    DIR *folder = dir ? opendir(dir) : NULL;
    while (folder && (entry = readdir(folder))) {
        char path[PATH_MAX];
        size_t len = strlen(entry->d_name);
        bool kept = entry->d_name[0] != '.' && !(len > 4 && strcmp(entry->d_name + len - 4, "-shm") == 0);
        if (kept && snprintf(path, sizeof path, "%s/%s", dir, entry->d_name) < PATH_MAX)
            (void)node_of(path);
    }
    if (folder)
        closedir(folder);
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
        note(n, false, at, from, (size_t)len);
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
        note(n, true, size, NULL, 0);
    return real_of(file)->pMethods->xTruncate(real_of(file), size);
}

static int file_sync(sqlite3_file *file, int flags) {
    node *n = ((fault_file *)file)->node;
    (void)flags;
    if (n && strike(FLUSHES))
        return SQLITE_IOERR_FSYNC;
    if (n)
        flush_node(n);
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
    mine->node = is_watched(name) ? node_of(name) : NULL;
    bool makes = mine->node && (flags & SQLITE_OPEN_CREATE) && !mine->node->there;
    if (mine->node && strike(makes ? NEEDS_ROOM : OTHER))
        return SQLITE_CANTOPEN;
    INNER(state.real->xOpen(state.real, name, real_of(file), flags, out_flags));
    mine->inner = real_of(file)->pMethods != NULL;
    if (rc != SQLITE_OK && !mine->inner)
        return rc;
    if (rc == SQLITE_OK && makes)
        renew(mine->node, true);
    file->pMethods = &state.methods;
    return rc;
}

static int vfs_delete(sqlite3_vfs *vfs, const char *name, int flush_folder) {
    node *n = is_watched(name) ? node_of(name) : NULL;
    int rc = SQLITE_OK;
    (void)vfs;
    if (n && strike(OTHER))
        return SQLITE_IOERR_DELETE;
    INNER(state.real->xDelete(state.real, name, 0));
    if (n && rc == SQLITE_OK) {
        renew(n, false);
        if (flush_folder)
            flush_node(n);
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
    bool folder = state.dir[0] && strcmp(path, state.dir) == 0;
    if (!folder && !is_watched(path))
        return len < 0 ? __real_fsync(fd) : 0;
    if (strike(FLUSHES)) {
        errno = state.error;
        return -1;
    }
    if (!folder)
        flush_node(node_of(path));
    return 0;
}

/* Renames and removals by the store are taken as durable: it flushes the folder after them, and a journalling
 * file system keeps their order. */
int __wrap_rename(const char *from, const char *to) {
    if (inside || !is_watched(from))
        return __real_rename(from, to);
    node *a = node_of(from), *b = node_of(to);
    if (strike(OTHER)) {
        errno = state.error;
        return -1;
    }
    int rc = __real_rename(from, to);
    if (rc == 0) {
        content old = b->durable;
        forget_changes(b);
        b->durable = a->durable;
        b->durable.there = b->there = true;
        b->renewed = false;
        b->first = a->first;
        b->last = a->first ? a->last : &b->first;
        a->first = NULL;
        a->last = &a->first;
        old.there = a->there = a->renewed = false;
        a->durable = old;
    }
    return rc;
}

int __wrap_unlink(const char *path) {
    if (inside || !is_watched(path) || access(path, F_OK) != 0)
        return __real_unlink(path);
    node *n = node_of(path);
    if (strike(OTHER)) {
        errno = state.error;
        return -1;
    }
    renew(n, false);
    flush_node(n);
    return __real_unlink(path);
}
