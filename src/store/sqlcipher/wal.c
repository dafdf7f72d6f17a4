/* A write-ahead log that was damaged after it was written.
 *
 * SQLite takes the first frame that does not verify for the place where a crash cut the log off, and drops
 * what follows: were that frame damaged later, committed writes would be gone and nobody told. The two differ
 * in what follows. Each commit is flushed before the next one writes its first frame, so after a cut there is
 * at most the rest of one commit; and of several whose flush failed, each written over the one before, the
 * rests do not continue each other's checksums. Two commits in sequence behind a bad frame were once whole.
 * (SQLite does not repeat a commit's last frame, since its unix VFS promises
 * SQLITE_IOCAP_POWERSAFE_OVERWRITE.)
 *
 * The format: https://www.sqlite.org/fileformat2.html#walformat
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/sqlcipher/engine.h"

#define HEAD_LEN  32
#define FRAME_LEN 24          /* in front of the page */
#define MAGIC     0x377f0682u /* or 1 more: checksums of big endian words */
#define PAGE_MAX  65536

typedef struct wal {
    int fd;
    bool big_endian;
    size_t page;
    uint8_t salts[8];
    uint32_t sum[2]; /* as the frame before says */
    uint8_t *frame;  /* the head and the page of the present one */
} wal;

static uint32_t word(const uint8_t *p, bool big_endian) {
    uint32_t big = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
    return big_endian ? big : __builtin_bswap32(big);
}

static void add(const wal *w, uint32_t sum[2], const uint8_t *bytes, size_t len) {
    for (size_t i = 0; i + 8 <= len; i += 8) {
        sum[0] += word(bytes + i, w->big_endian) + sum[1];
        sum[1] += word(bytes + i + 4, w->big_endian) + sum[0];
    }
}

/* False when the file is shorter. */
static bool read_at(const wal *w, void *to, size_t len, off_t at, tr_status *st, tr_error *err) {
    ssize_t n = pread(w->fd, to, len, at);
    if (n < 0)
        *st = tr_fail_errno(err, NULL, "cannot read a write-ahead log");
    return n == (ssize_t)len;
}

static bool read_frame(const wal *w, size_t number, tr_status *st, tr_error *err) {
    size_t len = FRAME_LEN + w->page;
    return read_at(w, w->frame, len, (off_t)(HEAD_LEN + number * len), st, err);
}

/* It is of this log, not one that was begun anew since, and continues the frame before. */
static bool continues(wal *w, bool *ours) {
    uint32_t sum[2] = {w->sum[0], w->sum[1]};
    *ours = memcmp(w->frame + 8, w->salts, sizeof w->salts) == 0;
    add(w, sum, w->frame, 8);
    add(w, sum, w->frame + FRAME_LEN, w->page);
    w->sum[0] = word(w->frame + 16, true);
    w->sum[1] = word(w->frame + 20, true);
    return *ours && sum[0] == w->sum[0] && sum[1] == w->sum[1];
}

static tr_status walk(wal *w, tr_db_kind kind, tr_error *err) {
    bool broken = false, commit_behind = false, whole = false, ours = false;
    size_t bad = 0;
    tr_status st = TR_OK;
    for (size_t i = 0; read_frame(w, i, &st, err); i++) {
        bool good = continues(w, &ours);
        if (!good && !broken) {
            broken = true;
            bad = i + 1;
        }
        whole = whole && good;
        if (!broken || !ours || word(w->frame + 4, true) == 0) /* not a commit's last frame */
            continue;
        if (commit_behind && whole)
            return tr_fail(err, TR_E_CORRUPT, tr_db_name(kind), "frame %zu of %s-wal is damaged", bad,
                           tr_db_name(kind));
        commit_behind = whole = true;
    }
    return st;
}

static bool verifies(wal *w, const uint8_t head[HEAD_LEN]) {
    uint32_t magic = word(head, true);
    w->big_endian = magic & 1;
    w->page = word(head + 8, true);
    memset(w->sum, 0, sizeof w->sum);
    add(w, w->sum, head, 24);
    return (magic & ~1u) == MAGIC && w->sum[0] == word(head + 24, true) &&
           w->sum[1] == word(head + 28, true) && w->page >= 512 && w->page <= PAGE_MAX;
}

/* Begun anew, but cut off in the midst of the head: its number is one more. All that was in the log is in the
 * database by then. */
static bool is_begun_anew(wal *w, const uint8_t head[HEAD_LEN]) {
    uint8_t before[HEAD_LEN];
    memcpy(before, head, sizeof before);
    for (int i = 15; i >= 12 && before[i]-- == 0; i--) {
    }
    return verifies(w, before);
}

/* The head was flushed before the first frame was written. */
static tr_status check_head(wal *w, tr_db_kind kind, tr_error *err) {
    uint8_t head[HEAD_LEN], first[FRAME_LEN];
    tr_status st = TR_OK;
    if (!read_at(w, head, sizeof head, 0, &st, err) || !read_at(w, first, sizeof first, HEAD_LEN, &st, err))
        return st;
    if (!verifies(w, head))
        return is_begun_anew(w, head) ? TR_OK
                                      : tr_fail(err, TR_E_CORRUPT, tr_db_name(kind),
                                                "the head of %s-wal is damaged", tr_db_name(kind));
    memcpy(w->salts, head + 16, sizeof w->salts);
    w->frame = malloc(FRAME_LEN + w->page);
    return w->frame ? TR_OK : tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
}

tr_status tr_wal_check(const tr_source *source, tr_db_kind kind, tr_error *err) {
    char path[PATH_MAX], name[PATH_MAX + 8];
    tr_db_path(source, kind, path);
    (void)snprintf(name, sizeof name, "%s-wal", path);
    wal w = {.fd = open(name, O_RDONLY | O_CLOEXEC)};
    if (w.fd < 0)
        return errno == ENOENT ? TR_OK : tr_fail_errno(err, tr_db_name(kind), "cannot open its log");
    tr_status st = check_head(&w, kind, err);
    if (st == TR_OK && w.frame)
        st = walk(&w, kind, err);
    free(w.frame);
    close(w.fd);
    return st;
}
