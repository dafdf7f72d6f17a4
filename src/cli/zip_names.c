#include "cli/zip_names.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define END_LEN       22 /* end of central directory record */
#define LOCATOR_LEN   20 /* of the zip64 one */
#define END64_LEN     56
#define HEADER_LEN    46 /* of a file, in the directory */
#define LOCAL_LEN     30 /* of a file, before its data */
#define COMMENT_MAX   65535
#define DIRECTORY_MAX ((uint64_t)64 * 1024 * 1024)

#define END_SIGNATURE     0x06054b50u
#define LOCATOR_SIGNATURE 0x07064b50u
#define END64_SIGNATURE   0x06064b50u
#define HEADER_SIGNATURE  0x02014b50u
#define LOCAL_SIGNATURE   0x04034b50u
#define ZIP64_FIELD       1
#define AES_FIELD         0x9901
#define AES_LEN           7  /* of that field */
#define SIZES_BEHIND      8  /* of the flags: a data descriptor follows the data */
#define STORED            0  /* methods */
#define AES_METHOD        99 /* the real one is in the AES field */

struct place {
    uint64_t offset;
    uint64_t size;       /* of the data, as they lie there */
    const uint8_t *name; /* in the directory */
    size_t len;
    uint64_t flags, method;
};

struct tr_zip_names {
    uint8_t *directory;
    struct place *places;
    size_t count;
};

/* Little endian. */
static uint64_t number(const uint8_t *at, int bytes) {
    uint64_t value = 0;
    for (int i = bytes - 1; i >= 0; i--)
        value = value << 8 | at[i];
    return value;
}

static tr_status damaged(const char *path, tr_error *err) {
    return tr_fail(err, TR_E_CORRUPT, path, "the package has no whole directory");
}

static tr_status read_at(int fd, const char *path, uint64_t at, void *room, size_t n, tr_error *err) {
    for (size_t done = 0; done < n;) {
        ssize_t got = pread(fd, (char *)room + done, n - done, (off_t)(at + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return tr_fail_errno(err, path, "cannot read the file");
        if (got == 0)
            return damaged(path, err);
        done += (size_t)got;
    }
    return TR_OK;
}

/* ---- where the directory is ---- */

struct extent {
    uint64_t offset, size, count;
    uint64_t end; /* where the record behind it begins: it must reach to there */
};

/* The place of the end record: its comment ends with the file. */
static tr_status find_end(int fd, const char *path, uint64_t size, uint64_t *at, tr_error *err) {
    size_t n = size < END_LEN + COMMENT_MAX ? (size_t)size : END_LEN + COMMENT_MAX;
    uint8_t *tail = malloc(n ? n : 1);
    bool found = false;
    tr_status st =
        tail ? read_at(fd, path, size - n, tail, n, err) : tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    for (size_t i = n; st == TR_OK && !found && i >= END_LEN; i--) {
        const uint8_t *end = tail + i - END_LEN;
        found = number(end, 4) == END_SIGNATURE && number(end + 20, 2) == n - i;
        *at = size - n + i - END_LEN;
    }
    free(tail);
    return st == TR_OK && !found ? damaged(path, err) : st;
}

/* A record of `len` bytes, up to the locator, of a file in one piece. Programs that find it to be anything
 * else go by the record behind it, which may say something else. */
static bool is_end64(const uint8_t record[END64_LEN], uint64_t len) {
    return number(record, 4) == END64_SIGNATURE && number(record + 4, 8) == len - 12 &&
           number(record + 16, 4) == 0 && number(record + 20, 4) == 0 &&
           number(record + 24, 8) == number(record + 32, 8);
}

static tr_status read_end64(int fd, const char *path, uint64_t end, struct extent *x, tr_error *err) {
    uint8_t locator[LOCATOR_LEN], record[END64_LEN];
    if (end < LOCATOR_LEN + END64_LEN)
        return damaged(path, err);
    tr_status st = read_at(fd, path, end - LOCATOR_LEN, locator, sizeof locator, err);
    if (st != TR_OK)
        return st;
    x->end = number(locator + 8, 8);
    bool one_disk = number(locator + 4, 4) == 0 && number(locator + 16, 4) == 1;
    if (number(locator, 4) != LOCATOR_SIGNATURE || !one_disk || x->end > end - LOCATOR_LEN - END64_LEN)
        return damaged(path, err);
    st = read_at(fd, path, x->end, record, sizeof record, err);
    if (st == TR_OK && !is_end64(record, end - LOCATOR_LEN - x->end))
        st = damaged(path, err);
    if (st == TR_OK) {
        x->count = number(record + 32, 8);
        x->size = number(record + 40, 8);
        x->offset = number(record + 48, 8);
    }
    return st;
}

static tr_status find_directory(int fd, const char *path, uint64_t size, struct extent *x, tr_error *err) {
    uint8_t end[END_LEN];
    tr_status st = find_end(fd, path, size, &x->end, err);
    if (st == TR_OK)
        st = read_at(fd, path, x->end, end, sizeof end, err);
    if (st == TR_OK &&
        (number(end + 4, 2) != 0 || number(end + 6, 2) != 0 || number(end + 8, 2) != number(end + 10, 2)))
        st = damaged(path, err); /* of several disks */
    if (st != TR_OK)
        return st;
    x->count = number(end + 10, 2);
    x->size = number(end + 12, 4);
    x->offset = number(end + 16, 4);
    if (x->count == UINT16_MAX || x->size == UINT32_MAX || x->offset == UINT32_MAX)
        st = read_end64(fd, path, x->end, x, err);
    bool whole = st == TR_OK && x->size <= DIRECTORY_MAX && x->offset <= x->end &&
                 x->end - x->offset == x->size && x->count <= x->size / HEADER_LEN;
    return st == TR_OK && !whole ? damaged(path, err) : st;
}

/* ---- what it holds ---- */

/* What an extra field says under this id; *n bytes. NULL: nothing. */
static const uint8_t *find_field(const uint8_t *extra, size_t len, uint64_t id, size_t *n) {
    while (len >= 4) {
        *n = (size_t)number(extra + 2, 2);
        if (*n > len - 4)
            return NULL;
        if (number(extra, 2) == id)
            return extra + 4;
        extra += 4 + *n;
        len -= 4 + *n;
    }
    return NULL;
}

/* What is beyond 4 GiB: the extra field has in this order those of three numbers that did not fit. */
static bool far_numbers(const uint8_t *header, const uint8_t *extra, size_t len, struct place *p) {
    size_t n = 0, at = number(header + 24, 4) == UINT32_MAX ? 8 : 0;
    const uint8_t *field = find_field(extra, len, ZIP64_FIELD, &n);
    if (field && p->size == UINT32_MAX && n >= at + 8) {
        p->size = number(field + at, 8);
        at += 8;
    }
    if (field && p->offset == UINT32_MAX && n >= at + 8)
        p->offset = number(field + at, 8);
    return field != NULL;
}

static int by_offset(const void *a, const void *b) {
    const struct place *x = a, *y = b;
    return (x->offset > y->offset) - (x->offset < y->offset);
}

static bool take_headers(tr_zip_names *names, const struct extent *x) {
    size_t left = (size_t)x->size;
    const uint8_t *at = names->directory;
    for (; names->count < x->count; names->count++) {
        struct place *p = &names->places[names->count];
        if (left < HEADER_LEN || number(at, 4) != HEADER_SIGNATURE)
            return false;
        size_t extra = (size_t)number(at + 30, 2), rest = extra + (size_t)number(at + 32, 2);
        *p = (struct place){.offset = number(at + 42, 4),
                            .size = number(at + 20, 4),
                            .name = at + HEADER_LEN,
                            .len = (size_t)number(at + 28, 2),
                            .flags = number(at + 8, 2),
                            .method = number(at + 10, 2)};
        bool far = p->offset == UINT32_MAX || p->size == UINT32_MAX;
        if (left - HEADER_LEN < p->len + rest || (far && !far_numbers(at, p->name + p->len, extra, p)))
            return false;
        at += HEADER_LEN + p->len + rest;
        left -= HEADER_LEN + p->len + rest;
    }
    return left == 0;
}

/* In the order in which they lie, from the file's beginning on, no two in one place. */
static bool put_in_order(tr_zip_names *names, const struct extent *x) {
    struct place *p = names->places;
    qsort(p, names->count, sizeof *p, by_offset);
    for (size_t i = 1; i < names->count; i++) {
        if (p[i].offset == p[i - 1].offset)
            return false;
    }
    return names->count == 0 || (p[0].offset == 0 && p[names->count - 1].offset < x->offset);
}

/* Does the file's own header give the size that the directory gives? Where it stands behind the data, these
 * must show their end themselves: in those that are stored, anything can be taken for it. */
static bool same_size(const struct place *p, const uint8_t *local, const uint8_t *extra, size_t len) {
    size_t n = 0, at = number(local + 22, 4) == UINT32_MAX ? 8 : 0;
    if (p->flags & SIZES_BEHIND) {
        const uint8_t *aes = p->method == AES_METHOD ? find_field(extra, len, AES_FIELD, &n) : NULL;
        return aes ? n >= AES_LEN && number(aes + 5, 2) != STORED : p->method != STORED;
    }
    if (number(local + 18, 4) != UINT32_MAX)
        return number(local + 18, 4) == p->size;
    const uint8_t *far = find_field(extra, len, ZIP64_FIELD, &n);
    return far && n >= at + 8 && number(far + at, 8) == p->size;
}

/* A file's own header says the same of it as the directory, and its data reach to where the next thing
 * begins: programs that read a ZIP from its beginning on find the same files in it, and read them in the same
 * way. */
static tr_status check_place(int fd, const char *path, const struct place *p, uint64_t next, tr_error *err) {
    uint8_t local[LOCAL_LEN], extra[UINT16_MAX];
    if (next - p->offset < LOCAL_LEN)
        return damaged(path, err);
    tr_status st = read_at(fd, path, p->offset, local, sizeof local, err);
    if (st != TR_OK)
        return st;
    size_t len = (size_t)number(local + 28, 2);
    uint64_t at = p->offset + LOCAL_LEN + number(local + 26, 2), begin = at + len;
    bool same = number(local, 4) == LOCAL_SIGNATURE && number(local + 6, 2) == p->flags &&
                number(local + 8, 2) == p->method && number(local + 26, 2) == p->len;
    if (!same || begin > next || p->size > next - begin)
        return damaged(path, err);
    st = read_at(fd, path, at, extra, len, err);
    if (st == TR_OK && !same_size(p, local, extra, len))
        st = damaged(path, err);
    if (st != TR_OK)
        return st;
    /* CRC and two sizes of 4 or 8 bytes, with or without a signature. */
    uint64_t gap = next - begin - p->size;
    bool descriptor = gap == 12 || gap == 16 || gap == 20 || gap == 24;
    return gap == 0 || (descriptor && (p->flags & SIZES_BEHIND)) ? TR_OK : damaged(path, err);
}

static tr_status check_places(int fd, const char *path, const tr_zip_names *names, const struct extent *x,
                              tr_error *err) {
    tr_status st = TR_OK;
    for (size_t i = 0; st == TR_OK && i < names->count; i++)
        st = check_place(fd, path, &names->places[i],
                         i + 1 < names->count ? names->places[i + 1].offset : x->offset, err);
    return st;
}

tr_status tr_zip_names_read(const char *path, tr_zip_names **out, tr_error *err) {
    struct extent x = {0};
    struct stat info;
    tr_status st = TR_OK;
    tr_zip_names *names = calloc(1, sizeof *names);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (!names)
        TR_TRY(tr_fail(err, TR_E_NOMEM, NULL, "out of memory"));
    if (fd < 0 || fstat(fd, &info) != 0 || !S_ISREG(info.st_mode))
        TR_TRY(tr_fail(err, TR_E_CONFIG, path, "is no file that can be read"));
    TR_TRY(find_directory(fd, path, (uint64_t)info.st_size, &x, err));
    names->directory = malloc(x.size ? (size_t)x.size : 1);
    names->places = calloc(x.count ? (size_t)x.count : 1, sizeof *names->places);
    if (!names->directory || !names->places)
        TR_TRY(tr_fail(err, TR_E_NOMEM, NULL, "out of memory"));
    TR_TRY(read_at(fd, path, x.offset, names->directory, (size_t)x.size, err));
    if (!take_headers(names, &x) || !put_in_order(names, &x))
        TR_TRY(damaged(path, err));
    TR_TRY(check_places(fd, path, names, &x, err));
    *out = names;
    names = NULL;
out:
    if (fd >= 0)
        close(fd);
    tr_zip_names_free(names);
    return st;
}

void tr_zip_names_free(tr_zip_names *names) {
    if (!names)
        return;
    free(names->directory);
    free(names->places);
    free(names);
}

bool tr_zip_names_is(const tr_zip_names *names, size_t index, const char *name) {
    if (!name || index >= names->count)
        return !name && index >= names->count;
    const struct place *p = &names->places[index];
    return strlen(name) == p->len && memcmp(name, p->name, p->len) == 0;
}
