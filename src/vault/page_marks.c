#include "vault/page_marks.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vault/snapshot_internal.h"

#define MAGIC       "TRMARKS2"
#define MAGIC_LEN   8
#define MARK_LEN    16
#define KEY_LEN     32
#define WRAPPED_LEN 40 /* RFC 5649 of a key */
/* magic, id, master, wrapped key, databases, name and pages of each */
#define AT_ID        MAGIC_LEN
#define AT_MASTER    (AT_ID + 16)
#define AT_WRAPPED   (AT_MASTER + 4)
#define AT_COUNT     (AT_WRAPPED + WRAPPED_LEN)
#define AT_DATABASES (AT_COUNT + 1)
#define DATABASE_LEN (TR_SNAPSHOT_NAME_MAX + 1 + 4)
#define HEAD_LEN     (AT_DATABASES + TR_SNAPSHOT_DATABASES_MAX * DATABASE_LEN)
#define AT_MARKS     (HEAD_LEN + MARK_LEN) /* behind the head's own */

struct tr_page_marks {
    char path[PATH_MAX - 8], part[PATH_MAX];
    tr_keyring *ring;
    tr_secret key;
    FILE *old, *new;
    bool has_old, compare;
    tr_snapshot_head base; /* id and databases of the old ones */
    size_t reading;        /* the database whose old marks are next, and one more */
};

/* ---- the head ---- */

static tr_status mark_of_head(const tr_page_marks *m, const uint8_t head[HEAD_LEN],
                              uint8_t mark[TR_SHA256_LEN], tr_error *err) {
    const tr_bytes whole = {head, HEAD_LEN};
    return tr_hmac_sha256(&m->key, &whole, 1, mark, err);
}

static bool parse_head(const uint8_t head[HEAD_LEN], tr_snapshot_head *base) {
    memcpy(base->id.bytes, head + AT_ID, sizeof base->id.bytes);
    base->master = (uint32_t)tr_snapshot_get(head + AT_MASTER, 4);
    base->database_count = head[AT_COUNT];
    if (memcmp(head, MAGIC, MAGIC_LEN) != 0 || base->database_count > TR_SNAPSHOT_DATABASES_MAX)
        return false;
    for (size_t i = 0; i < base->database_count; i++) {
        const uint8_t *from = head + AT_DATABASES + i * DATABASE_LEN;
        tr_snapshot_database *to = &base->databases[i];
        memcpy(to->name, from, TR_SNAPSHOT_NAME_MAX);
        to->pages = (uint32_t)tr_snapshot_get(from + TR_SNAPSHOT_NAME_MAX + 1, 4);
    }
    return true;
}

/* Whatever is wrong with it: there are no marks then. */
static bool read_head(tr_page_marks *m) {
    uint8_t head[HEAD_LEN], seen[MARK_LEN], mark[TR_SHA256_LEN];
    if (fread(head, 1, sizeof head, m->old) != sizeof head ||
        fread(seen, 1, sizeof seen, m->old) != sizeof seen || !parse_head(head, &m->base) ||
        tr_keyring_unwrap(m->ring, m->base.master, (tr_bytes){head + AT_WRAPPED, WRAPPED_LEN}, &m->key,
                          NULL) != TR_OK ||
        m->key.len != KEY_LEN)
        return false;
    return mark_of_head(m, head, mark, NULL) == TR_OK && memcmp(mark, seen, sizeof seen) == 0;
}

static tr_status write_head(tr_page_marks *m, const tr_snapshot_head *of, tr_error *err) {
    uint8_t head[HEAD_LEN] = MAGIC, mark[TR_SHA256_LEN];
    uint32_t master = 0;
    tr_buf wrapped = TR_BUF_INIT;
    tr_status st = tr_keyring_wrap(m->ring, &m->key, &wrapped, &master, err);
    if (st == TR_OK && wrapped.len != WRAPPED_LEN)
        st = tr_fail(err, TR_E_INTERNAL, NULL, "a wrapped key has another length");
    if (st == TR_OK)
        memcpy(head + AT_WRAPPED, wrapped.data, WRAPPED_LEN);
    tr_buf_clear(&wrapped);
    memcpy(head + AT_ID, of->id.bytes, sizeof of->id.bytes);
    tr_snapshot_put(head + AT_MASTER, 4, master);
    head[AT_COUNT] = (uint8_t)of->database_count;
    for (size_t i = 0; i < of->database_count; i++) {
        uint8_t *to = head + AT_DATABASES + i * DATABASE_LEN;
        memcpy(to, of->databases[i].name, strlen(of->databases[i].name));
        tr_snapshot_put(to + TR_SNAPSHOT_NAME_MAX + 1, 4, of->databases[i].pages);
    }
    if (st == TR_OK)
        st = mark_of_head(m, head, mark, err);
    if (st == TR_OK && (fwrite(head, 1, sizeof head, m->new) != sizeof head ||
                        fwrite(mark, 1, MARK_LEN, m->new) != MARK_LEN))
        st = tr_fail_errno(err, TR_PAGE_MARKS, "cannot write");
    return st;
}

/* ---- open ---- */

tr_status tr_page_marks_open(const char *path, tr_keyring *ring, tr_page_marks **out, tr_error *err) {
    tr_page_marks *m = calloc(1, sizeof *m);
    *out = m;
    if (!m)
        return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    m->ring = ring;
    if ((size_t)snprintf(m->path, sizeof m->path, "%s", path) >= sizeof m->path) {
        free(m);
        *out = NULL;
        return tr_fail(err, TR_E_CONFIG, NULL, "the data folder's name is too long");
    }
    (void)snprintf(m->part, sizeof m->part, "%s.new", m->path);
    m->old = fopen(m->path, "re");
    m->has_old = m->old && read_head(m);
    return TR_OK;
}

bool tr_page_marks_base(const tr_page_marks *m, tr_uuid *base) {
    *base = m->base.id;
    return m->has_old;
}

bool tr_page_marks_fit(const tr_page_marks *m, const tr_snapshot_head *head) {
    bool fit = m->has_old && m->base.database_count == head->database_count;
    for (size_t i = 0; fit && i < head->database_count; i++)
        fit = strcmp(m->base.databases[i].name, head->databases[i].name) == 0 &&
              m->base.databases[i].pages <= head->databases[i].pages;
    return fit;
}

tr_status tr_page_marks_begin(tr_page_marks *m, const tr_snapshot_head *head, bool compare, tr_error *err) {
    tr_status st = TR_OK;
    m->compare = compare && m->has_old;
    if (!m->compare) {
        tr_secret_clear(&m->key);
        st = tr_secret_random(&m->key, KEY_LEN, err);
    }
    int fd = st == TR_OK ? open(m->part, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600) : -1;
    m->new = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (st == TR_OK && !m->new) {
        st = tr_fail_errno(err, TR_PAGE_MARKS, "cannot write");
        if (fd >= 0)
            close(fd);
    }
    return st == TR_OK ? write_head(m, head, err) : st;
}

/* ---- pages ---- */

/* The old mark of a page, which come in the same order; false: there is none. */
static bool read_old(tr_page_marks *m, size_t database, uint32_t number, uint8_t mark[MARK_LEN]) {
    off_t at = AT_MARKS;
    if (!m->compare || number > m->base.databases[database].pages)
        return false;
    if (m->reading != database + 1) {
        for (size_t i = 0; i < database; i++)
            at += (off_t)m->base.databases[i].pages * MARK_LEN;
        at += (off_t)(number - 1) * MARK_LEN;
        m->reading = database + 1;
        if (fseeko(m->old, at, SEEK_SET) != 0)
            m->compare = false;
    }
    return m->compare && fread(mark, 1, MARK_LEN, m->old) == MARK_LEN;
}

/* All these have one length, so that the hash of key and message does for what HMAC does for any, at a part
 * of its price. */
static tr_status mark_of_page(const tr_page_marks *m, const tr_db_page *page, uint8_t mark[TR_SHA256_LEN],
                              tr_error *err) {
    uint8_t place[5] = {(uint8_t)page->database};
    tr_snapshot_put(place + 1, 4, page->number);
    const tr_bytes parts[] = {
        {m->key.data, m->key.len}, {place, sizeof place}, {page->stamp, sizeof page->stamp}};
    return tr_sha256(parts, 3, mark, err);
}

tr_status tr_page_marks_page(tr_page_marks *m, const tr_db_page *page, bool *differs, tr_error *err) {
    uint8_t old[MARK_LEN], mark[TR_SHA256_LEN];
    tr_status st = mark_of_page(m, page, mark, err);
    if (st != TR_OK)
        return st;
    *differs = !read_old(m, page->database, page->number, old) || memcmp(old, mark, sizeof old) != 0;
    return fwrite(mark, 1, MARK_LEN, m->new) == MARK_LEN ? TR_OK
                                                         : tr_fail_errno(err, TR_PAGE_MARKS, "cannot write");
}

/* ---- the end ---- */

tr_status tr_page_marks_commit(tr_page_marks *m, tr_error *err) {
    FILE *file = m->new;
    tr_status st = TR_OK;
    m->new = NULL;
    if (fflush(file) != 0 || fsync(fileno(file)) != 0)
        st = tr_fail_errno(err, TR_PAGE_MARKS, "cannot write");
    if (fclose(file) != 0 && st == TR_OK)
        st = tr_fail_errno(err, TR_PAGE_MARKS, "cannot write");
    if (st == TR_OK && rename(m->part, m->path) != 0)
        st = tr_fail_errno(err, TR_PAGE_MARKS, "cannot put the new file in place");
    if (st != TR_OK)
        (void)unlink(m->part);
    return st;
}

void tr_page_marks_close(tr_page_marks *m) {
    if (!m)
        return;
    if (m->old)
        (void)fclose(m->old);
    if (m->new) {
        (void)fclose(m->new);
        (void)unlink(m->part);
    }
    tr_secret_clear(&m->key);
    free(m);
}
