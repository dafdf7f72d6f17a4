/* Walking the audit log's hash chain, and holding it against the vault's anchor. */
#include <stdio.h>
#include <string.h>

#include "store/sqlcipher/engine.h"

/* Entries a read transaction. The log only grows, so a walk need not keep one view of it, which would keep
 * the WAL from being emptied. */
#define STEP 4096
#define STOP TR_E_PRECONDITION /* ends a list early */

typedef struct walk {
    tr_head at; /* the newest good entry */
    const tr_head *anchor;
    tr_audit_verdict *verdict;
    int64_t rows;     /* of this step */
    bool displaced;   /* the bad entry may be found elsewhere */
    int64_t looked;   /* search: the newest entry looked at */
    int64_t moved_to; /* search: where the bad entry is now; 0: nowhere */
} walk;

static void blame(walk *w, int64_t seq, const char *what) {
    w->verdict->bad_seq = seq;
    (void)snprintf(w->verdict->reason, sizeof w->verdict->reason, "entry %lld %s", (long long)seq, what);
}

static tr_status look(void *context, const tr_audit_row *row, tr_error *err) {
    walk *w = context;
    uint8_t hash[TR_HASH_LEN];
    int64_t want = w->at.seq + 1;
    w->rows++;
    if (row->seq != want) {
        blame(w, want, "is missing");
        w->displaced = true;
        return STOP;
    }
    tr_status st = tr_audit_hash(w->at.hash, row, hash, err);
    if (st != TR_OK)
        return st;
    if (memcmp(hash, row->hash, sizeof hash) != 0) {
        blame(w, want, "was altered");
        w->displaced = true;
        return STOP;
    }
    if (want == w->anchor->seq && memcmp(hash, w->anchor->hash, sizeof hash) != 0) {
        blame(w, want, "is not the one that the vault knows: the log was written anew, at it or before it");
        return STOP;
    }
    w->at.seq = want;
    memcpy(w->at.hash, hash, sizeof hash);
    w->verdict->entries++;
    return TR_OK;
}

/* A row whose hash is right for the place of the bad entry is that entry, moved. */
static tr_status search(void *context, const tr_audit_row *row, tr_error *err) {
    walk *w = context;
    uint8_t hash[TR_HASH_LEN];
    tr_audit_row as_wanted = *row;
    as_wanted.seq = w->at.seq + 1;
    w->rows++;
    w->looked = row->seq;
    tr_status st = tr_audit_hash(w->at.hash, &as_wanted, hash, err);
    if (st == TR_OK && memcmp(hash, row->hash, sizeof hash) == 0) {
        w->moved_to = row->seq;
        st = STOP;
    }
    return st;
}

/* Only for the words of the verdict, so a failure to read further on does not matter. */
static void find_moved(tr_db *db, walk *w) {
    tr_status st = TR_OK;
    w->looked = w->at.seq;
    do {
        w->rows = 0;
        st = tr_audit_list(db, NULL, w->looked, false, STEP, search, w, NULL);
    } while (st == TR_OK && w->rows == STEP);
    if (w->moved_to)
        (void)snprintf(w->verdict->reason, sizeof w->verdict->reason, "entry %lld was moved to %lld",
                       (long long)w->at.seq + 1, (long long)w->moved_to);
}

static void end(walk *w) {
    tr_audit_verdict *v = w->verdict;
    if (v->bad_seq == 0 && w->at.seq < w->anchor->seq) {
        v->bad_seq = w->at.seq + 1;
        (void)snprintf(v->reason, sizeof v->reason, "the log ends at %lld, the vault knows %lld",
                       (long long)w->at.seq, (long long)w->anchor->seq);
    }
    v->ok = v->bad_seq == 0;
    memcpy(v->head, w->at.hash, sizeof v->head);
}

tr_status tr_audit_walk(tr_db *db, const tr_head *from, const tr_head *anchor, tr_audit_verdict *verdict,
                        tr_error *err) {
    walk w = {.at = *from, .anchor = anchor, .verdict = verdict};
    tr_status st = TR_OK;
    *verdict = (tr_audit_verdict){0};
    do {
        w.rows = 0;
        st = tr_audit_list(db, NULL, w.at.seq, false, STEP, look, &w, err);
    } while (st == TR_OK && w.rows == STEP);
    if (st == STOP && verdict->bad_seq)
        st = TR_OK;
    if (w.displaced)
        find_moved(db, &w);
    if (st == TR_E_CORRUPT)
        st = tr_fail(err, st, tr_db_name(TR_DB_AUDIT), "the audit log cannot be read behind entry %lld",
                     (long long)w.at.seq);
    if (st == TR_OK)
        end(&w);
    return st;
}

/* The anchor is read first: a running server appends meanwhile, so the log may be longer than the anchor,
 * never shorter. */
tr_status tr_audit_verify(tr_db *db, tr_audit_verdict *verdict, tr_error *err) {
    const tr_head start = {0};
    tr_head anchor;
    tr_status st = tr_anchor_get(db, &anchor, err);
    return st == TR_OK ? tr_audit_walk(db, &start, &anchor, verdict, err) : st;
}

tr_status tr_store_verify_offline(const char *data_dir, const tr_secret *vault_key,
                                  const tr_secret *audit_key, tr_audit_verdict *verdict, tr_error *err) {
    tr_source source = {.dir = ""};
    tr_db db = {.source = &source};
    tr_status st = TR_OK;
    TR_TRY(tr_source_set(&source, data_dir, (const tr_secret *const[]){vault_key, NULL, audit_key}, err));
    st = tr_audit_verify(&db, verdict, err);
out:
    tr_db_close(&db);
    tr_source_clear(&source);
    return st;
}
