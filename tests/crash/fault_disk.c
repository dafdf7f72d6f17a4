/* Of each file what was flushed, and the changes since then. */
#include "fault_disk.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fault_vfs.h"

#define SECTOR 512

static struct {
    pthread_mutex_t mutex;
    char dir[PATH_MAX];
    node *nodes;
} disk = {.mutex = PTHREAD_MUTEX_INITIALIZER};

void disk_lock(void) {
    pthread_mutex_lock(&disk.mutex);
}

void disk_unlock(void) {
    pthread_mutex_unlock(&disk.mutex);
}

static void *must(void *memory) {
    if (!memory)
        abort();
    return memory;
}

/* ---- what is durable ---- */

bool disk_watches(const char *path) {
    size_t len = strlen(disk.dir);
    return path && len && strncmp(path, disk.dir, len) == 0 && path[len] == '/';
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
    while (disk.nodes) {
        node *n = disk.nodes;
        disk.nodes = n->next;
        forget_changes(n);
        free(n->durable.data);
        free(n);
    }
}

static node *find_or_make(const char *path) {
    for (node *n = disk.nodes; n; n = n->next) {
        if (strcmp(n->path, path) == 0)
            return n;
    }
    node *n = must(calloc(1, sizeof *n));
    (void)snprintf(n->path, sizeof n->path, "%s", path);
    n->durable = read_file(path);
    n->there = n->durable.there;
    n->last = &n->first;
    n->next = disk.nodes;
    disk.nodes = n;
    return n;
}

node *disk_node(const char *path) {
    disk_lock();
    node *n = find_or_make(path);
    disk_unlock();
    return n;
}

void disk_note(node *n, bool truncates, int64_t at, const void *data, size_t len) {
    change *c = must(calloc(1, sizeof *c));
    *c = (change){.truncates = truncates, .at = at, .len = len, .data = must(malloc(len + 1))};
    if (len)
        memcpy(c->data, data, len);
    disk_lock();
    *n->last = c;
    n->last = &c->next;
    disk_unlock();
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

void disk_flush(node *n) {
    disk_lock();
    if (n->renewed)
        n->durable.len = 0;
    n->durable.there = n->there;
    n->renewed = false;
    for (change *c = n->first; c; c = c->next)
        apply(&n->durable, c);
    forget_changes(n);
    disk_unlock();
}

void disk_renew(node *n, bool there) {
    disk_lock();
    forget_changes(n);
    n->renewed = true;
    n->there = there;
    disk_unlock();
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
    for (node *n = disk.nodes; n; n = n->next)
        survive(n, to, seed, &random);
}

void disk_move(node *from, node *to) {
    disk_lock();
    content old = to->durable;
    forget_changes(to);
    to->durable = from->durable;
    to->durable.there = to->there = true;
    to->renewed = false;
    to->first = from->first;
    to->last = from->first ? from->last : &to->first;
    from->first = NULL;
    from->last = &from->first;
    old.there = from->there = from->renewed = false;
    from->durable = old;
    disk_unlock();
}

bool disk_is_folder(const char *path) {
    return disk.dir[0] && strcmp(path, disk.dir) == 0;
}

void fault_watch(const char *dir) {
    struct dirent *entry;
    forget_all();
    (void)snprintf(disk.dir, sizeof disk.dir, "%s", dir ? dir : "");
    DIR *folder = dir ? opendir(dir) : NULL;
    while (folder && (entry = readdir(folder))) {
        char path[PATH_MAX];
        size_t len = strlen(entry->d_name);
        bool kept = entry->d_name[0] != '.' && !(len > 4 && strcmp(entry->d_name + len - 4, "-shm") == 0);
        if (kept && snprintf(path, sizeof path, "%s/%s", dir, entry->d_name) < PATH_MAX)
            (void)disk_node(path);
    }
    if (folder)
        closedir(folder);
}
