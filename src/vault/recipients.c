#include "vault/recipients.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"

#define BATCH      1000 /* entries in one view of the log */
#define RENEW_MAX  200  /* entries that a job looks at */
#define ROOM_FIRST 16   /* a power of two */

/* ---- the set: open addressing, at most half full ---- */

/* Ids end in random bits. */
static size_t place(const tr_uuid *id, size_t room) {
    uint64_t bits;
    memcpy(&bits, id->bytes + sizeof id->bytes - sizeof bits, sizeof bits);
    return (size_t)bits & (room - 1);
}

static bool is_free(const tr_uuid *slot) {
    static const tr_uuid none;
    return tr_uuid_equal(slot, &none);
}

/* The slot that holds this id, or the free one where it belongs. */
static tr_uuid *find(tr_uuid *slots, size_t room, const tr_uuid *id) {
    size_t at = place(id, room);
    while (!is_free(&slots[at]) && !tr_uuid_equal(&slots[at], id))
        at = (at + 1) & (room - 1);
    return &slots[at];
}

static tr_status grow(tr_recipients *r, tr_error *err) {
    size_t room = r->room ? r->room * 2 : ROOM_FIRST;
    tr_uuid *ids = calloc(room, sizeof *ids);
    if (!ids)
        return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    for (size_t i = 0; i < r->room; i++) {
        if (!is_free(&r->ids[i]))
            *find(ids, room, &r->ids[i]) = r->ids[i];
    }
    free(r->ids);
    r->ids = ids;
    r->room = room;
    return TR_OK;
}

tr_status tr_recipients_add(tr_recipients *r, const tr_uuid *principal, tr_error *err) {
    if (is_free(principal))
        return TR_OK;
    tr_status st = r->count * 2 >= r->room ? grow(r, err) : TR_OK;
    if (st != TR_OK)
        return st;
    tr_uuid *slot = find(r->ids, r->room, principal);
    r->count += is_free(slot);
    *slot = *principal;
    return TR_OK;
}

void tr_recipients_clear(tr_recipients *r) {
    free(r->ids);
    *r = TR_RECIPIENTS_INIT;
}

/* ---- the log ---- */

static const struct {
    const char *action;
    bool with_records; /* one that names no record has shown none */
} disclosures[] = {
    {"record.read", true},   {"record.list", true},  {"record.versions", true},
    {"record.lookup", true}, {"record.patch", true}, {"subject.export", false},
};

static bool discloses(const cJSON *entry) {
    const char *action = tr_json_string(entry, "action"), *outcome = tr_json_string(entry, "outcome");
    bool records = tr_json_member(entry, "records") != NULL;
    if (!action || !outcome || strcmp(outcome, tr_status_slug(TR_OK)) != 0)
        return false;
    for (size_t i = 0; i < sizeof disclosures / sizeof *disclosures; i++) {
        if (strcmp(action, disclosures[i].action) == 0)
            return records || !disclosures[i].with_records;
    }
    return false;
}

struct walk {
    tr_recipients *recipients;
    int entries; /* in this batch */
};

static tr_status take(void *context, const tr_audit_row *row, tr_error *err) {
    static const char service[] = "\"role\":\"service\"";
    struct walk *w = context;
    cJSON *entry = NULL;
    tr_uuid id;
    tr_status st = TR_OK;
    w->entries++;
    if (row->seq)
        w->recipients->seq = row->seq;
    /* Most entries are the subject's own: no need to read those. */
    if (!memmem(row->entry.data, row->entry.len, service, sizeof service - 1))
        return TR_OK;
    st = tr_json_parse(row->entry.data, row->entry.len, &entry, err);
    const char *role = tr_json_string(entry, "role"), *principal = tr_json_string(entry, "principal");
    if (st == TR_E_MALFORMED)
        st = tr_fail(err, TR_E_CORRUPT, "audit.db", "entry %lld is no JSON", (long long)row->seq);
    else if (st == TR_OK && role && strcmp(role, "service") == 0 && principal && discloses(entry) &&
             tr_uuid_parse(principal, strlen(principal), &id))
        st = tr_recipients_add(w->recipients, &id, err);
    cJSON_Delete(entry);
    return st;
}

static tr_status batch(tr_db *db, const tr_uuid *subject, int limit, struct walk *w, tr_error *err) {
    w->entries = 0;
    return tr_audit_list(db, subject, w->recipients->seq, false, limit, take, w, err);
}

tr_status tr_recipients_load(tr_vault *vault, tr_db *db, const tr_uuid *subject, tr_recipients *out,
                             tr_error *err) {
    struct walk w = {out, BATCH};
    tr_status st = TR_OK;
    (void)vault;
    tr_recipients_clear(out);
    while (st == TR_OK && w.entries == BATCH)
        st = batch(db, subject, BATCH, &w, err);
    return st;
}

tr_status tr_recipients_renew(tr_db *tx, const tr_uuid *subject, tr_recipients *recipients, tr_error *err) {
    struct walk w = {recipients, 0};
    tr_status st = batch(tx, subject, RENEW_MAX, &w, err);
    if (st == TR_OK && w.entries == RENEW_MAX)
        st = tr_fail(err, TR_E_PRECONDITION, NULL, "the data are being accessed all the time");
    return st == TR_OK ? tr_audit_list_waiting(tx, subject, take, &w, err) : st;
}

/* ---- the outbox ---- */

tr_status tr_notices_add(tr_db *tx, const tr_recipients *recipients, const tr_uuid *subject,
                         const tr_uuid *request, const char *kind, const char *doc, int64_t *count,
                         tr_error *err) {
    tr_notice row = {.has_subject = true,
                     .has_request = request != NULL,
                     .subject = *subject,
                     .kind = kind,
                     .doc = doc ? doc : "{}",
                     .created_at = tr_now_ms()};
    tr_status st = TR_OK;
    if (request)
        row.request = *request;
    row.next_at = row.created_at;
    for (size_t i = 0; i < recipients->room && st == TR_OK; i++) {
        if (is_free(&recipients->ids[i]))
            continue;
        row.id = tr_uuid_new();
        row.recipient = recipients->ids[i];
        st = tr_notice_insert(tx, &row, err);
    }
    if (count)
        *count = (int64_t)recipients->count;
    return st;
}
