/* Which pages the groups changed. After each commit the writer reads from the headers of the WAL's new
 * frames, which SQLCipher leaves in the clear, which pages they hold: before that WAL can be begun anew. A
 * page too many costs its bytes in a segment; a page too few would be a hole, so whatever is not certain is
 * said to be so.
 */
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/sqlcipher/engine.h"

#define PAGE_SIZE    4096
#define WAL_HEAD     32
#define FRAME_HEAD   24
#define SALTS_LEN    8
#define AT_PAGE_SIZE 8  /* in the WAL's head, 4 bytes, big endian like all of it */
#define AT_SALTS     16 /* other ones each time that the WAL is begun anew */
#define AT_FRAME     8  /* where a frame repeats them */

struct tr_changes {
    const tr_source *source;
    bool on; /* somebody has asked; what follows is the writer's */
    tr_changed changed;
    struct seen {
        unsigned commits; /* of the connection */
        uint8_t salts[SALTS_LEN];
        int frames;
    } seen[TR_DB_COUNT];
    _Atomic uint64_t waiting[TR_DB_COUNT]; /* pages */
};

/* ---- sets ---- */

static uint32_t get4(const uint8_t *in) {
    return (uint32_t)in[0] << 24 | (uint32_t)in[1] << 16 | (uint32_t)in[2] << 8 | in[3];
}

static bool make_room(tr_page_set *set, size_t bytes) {
    if (bytes <= set->room)
        return true;
    size_t room = set->room ? set->room : 64;
    while (room < bytes)
        room *= 2;
    uint8_t *grown = realloc(set->bits, room);
    if (!grown)
        return false;
    memset(grown + set->room, 0, room - set->room);
    set->bits = grown;
    set->room = room;
    return true;
}

void tr_page_set_add(tr_page_set *set, uint32_t number) {
    if (number == 0)
        return;
    size_t at = (number - 1) / 8;
    uint8_t bit = (uint8_t)(1u << ((number - 1) % 8));
    if (!make_room(set, at + 1)) {
        set->unsure = true;
        return;
    }
    set->count += !(set->bits[at] & bit);
    set->bits[at] |= bit;
}

uint32_t tr_page_set_next(const tr_page_set *set, uint32_t after) {
    for (uint64_t i = after; i < (uint64_t)set->room * 8; i++) {
        if (i % 8 == 0 && set->bits[i / 8] == 0)
            i += 7;
        else if (set->bits[i / 8] & 1u << (i % 8))
            return (uint32_t)i + 1;
    }
    return 0;
}

static void clear_set(tr_page_set *set) {
    free(set->bits);
    *set = (tr_page_set){0};
}

void tr_changed_clear(tr_changed *changed, int databases) {
    for (int i = 0; i < TR_DB_COUNT; i++) {
        if (databases & 1 << i)
            clear_set(&changed->sets[i]);
    }
}

bool tr_changed_unsure(const tr_changed *changed, int databases) {
    bool unsure = false;
    for (int i = 0; i < TR_DB_COUNT; i++)
        unsure |= (databases & 1 << i) && changed->sets[i].unsure;
    return unsure;
}

uint64_t tr_changed_count(const tr_changed *changed, int databases) {
    uint64_t count = 0;
    for (int i = 0; i < TR_DB_COUNT; i++)
        count += databases & 1 << i ? changed->sets[i].count : 0;
    return count;
}

static void move_set(tr_page_set *from, tr_page_set *into) {
    into->unsure |= from->unsure;
    for (uint32_t number = 0; (number = tr_page_set_next(from, number)) > 0;)
        tr_page_set_add(into, number);
    clear_set(from);
}

/* ---- the WAL ---- */

static bool read_at(int fd, off_t at, uint8_t *into, size_t len) {
    return pread(fd, into, len, at) == (ssize_t)len;
}

/* False: something is not as it must be after a commit of so many frames. */
static bool read_frames(int fd, struct seen *seen, int frames, tr_page_set *set) {
    uint8_t head[WAL_HEAD], frame[FRAME_HEAD];
    if (!read_at(fd, 0, head, sizeof head) || get4(head + AT_PAGE_SIZE) != PAGE_SIZE)
        return false;
    if (memcmp(seen->salts, head + AT_SALTS, SALTS_LEN) != 0)
        seen->frames = 0;
    memcpy(seen->salts, head + AT_SALTS, SALTS_LEN);
    if (frames < seen->frames)
        return false;
    for (; seen->frames < frames; seen->frames++) {
        off_t at = WAL_HEAD + (off_t)seen->frames * (FRAME_HEAD + PAGE_SIZE);
        if (!read_at(fd, at, frame, sizeof frame) || memcmp(frame + AT_FRAME, seen->salts, SALTS_LEN) != 0)
            return false;
        tr_page_set_add(set, get4(frame));
    }
    return true;
}

static void collect(tr_changes *c, const tr_conn *conn) {
    char path[PATH_MAX], wal[PATH_MAX + 8];
    tr_page_set *set = &c->changed.sets[conn->kind];
    tr_db_path(c->source, conn->kind, path);
    (void)snprintf(wal, sizeof wal, "%s-wal", path);
    int fd = open(wal, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || !read_frames(fd, &c->seen[conn->kind], conn->wal_frames, set)) {
        c->seen[conn->kind] = (struct seen){.commits = conn->commits};
        set->unsure = true;
    }
    if (fd >= 0)
        close(fd);
    c->waiting[conn->kind] = set->unsure ? UINT64_MAX : set->count;
}

/* ---- the writer's ---- */

tr_status tr_changes_new(const tr_source *source, tr_changes **out, tr_error *err) {
    *out = calloc(1, sizeof **out);
    if (!*out)
        return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    (*out)->source = source;
    return TR_OK;
}

void tr_changes_free(tr_changes *c) {
    if (c)
        tr_changed_clear(&c->changed, TR_IN_VAULT | TR_IN_KEYS | TR_IN_AUDIT);
    free(c);
}

void tr_changes_after_group(tr_changes *c, const tr_group *group) {
    for (int i = 0; c->on && i < TR_DB_COUNT; i++) {
        const tr_conn *conn = &group->tx.conns[i];
        if (conn->commits == c->seen[i].commits)
            continue;
        c->seen[i].commits = conn->commits;
        collect(c, conn);
    }
}

void tr_changes_lose(tr_changes *c, const tr_group *group) {
    for (int i = 0; i < TR_DB_COUNT; i++) {
        c->seen[i] = (struct seen){.commits = group->tx.conns[i].commits};
        c->changed.sets[i].unsure = true;
        c->waiting[i] = UINT64_MAX;
    }
}

void tr_changes_take(tr_changes *c, const tr_group *group, int databases, tr_changed *into) {
    if (!c->on)
        tr_changes_lose(c, group);
    c->on = true;
    for (int i = 0; i < TR_DB_COUNT; i++) {
        if (!(databases & 1 << i))
            continue;
        move_set(&c->changed.sets[i], &into->sets[i]);
        c->waiting[i] = 0;
    }
}

/* ---- any thread's ---- */

uint64_t tr_store_changed_pages(const tr_store *store, int databases) {
    uint64_t count = 0;
    for (int i = 0; i < TR_DB_COUNT; i++) {
        uint64_t of = databases & 1 << i ? store->changes->waiting[i] : 0;
        count = of == UINT64_MAX || count == UINT64_MAX ? UINT64_MAX : count + of;
    }
    return count;
}
