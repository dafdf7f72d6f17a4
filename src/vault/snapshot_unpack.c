#include "vault/snapshot_unpack.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/store.h"
#include "vault/remove_file.h"

/* ---- verify ---- */

tr_status tr_snapshot_verify(tr_keyring *ring, tr_target_source *source, tr_snapshot_head *head,
                             tr_snapshot_counts *counts, tr_error *err) {
    tr_snapshot_reader *reader = NULL;
    tr_status st = TR_OK;
    TR_TRY(tr_snapshot_reader_open(ring, tr_target_source_read, source, head, &reader, err));
    TR_TRY(tr_snapshot_read(reader, NULL, counts, err));
    st = tr_target_rewind(source, err);
out:
    tr_snapshot_reader_free(reader);
    return st;
}

/* ---- unpack ---- */

typedef struct unpacking {
    const tr_unpack *how; /* NULL: only verify */
    tr_snapshot_head head;
    tr_pages *pages[TR_SNAPSHOT_DATABASES_MAX];
    size_t count; /* of them: a full snapshot's databases */
    tr_hash *hash;
    tr_target_source *source; /* of the file that is read, through the hash */
    uint8_t sum[TR_SHA256_LEN];
    int64_t keys_ms;
    tr_snapshot_counts counts;
} unpacking;

static tr_status read_hashed(void *context, void *into, size_t room, size_t *got, tr_error *err) {
    const unpacking *u = context;
    tr_status st = tr_target_source_read(u->source, into, room, got, err);
    return st == TR_OK && *got > 0 ? tr_hash_update(u->hash, into, *got, err) : st;
}

static tr_moment_database as_moment(const tr_snapshot_database *from) {
    return (tr_moment_database){
        .name = from->name, .page_size = from->page_size, .pages = from->pages, .schema = from->schema};
}

static tr_status begin_database(unpacking *u, size_t i, tr_error *err) {
    const tr_moment_database to = as_moment(&u->head.databases[i]);
    tr_secret key = TR_SECRET_INIT;
    tr_status st = u->how->key(u->how->context, to.name, &key, err);
    if (st == TR_OK)
        st = tr_pages_open(u->how->folder, &to, &key, &u->pages[i], err);
    tr_secret_clear(&key);
    return st;
}

static tr_status begin_file(unpacking *u, tr_error *err) {
    const bool first = u->count == 0;
    tr_status st = TR_OK;
    if (!u->how)
        return TR_OK;
    for (size_t i = 0; st == TR_OK && i < u->head.database_count; i++) {
        const tr_moment_database to = as_moment(&u->head.databases[i]);
        st = first ? begin_database(u, i, err) : tr_pages_patch(u->pages[i], &to, err);
        u->count += first && st == TR_OK;
    }
    return st;
}

static tr_status take_page(void *context, size_t database, uint32_t number, tr_bytes content, tr_error *err) {
    unpacking *u = context;
    if (u->how && u->how->stop && *u->how->stop)
        return tr_fail(err, TR_E_DRAINING, NULL, "the vault is shutting down");
    return u->how ? tr_pages_write(u->pages[database], number, content, err) : TR_OK;
}

static tr_status check_place(const tr_snapshot_head *before, const tr_snapshot_head *head,
                             const uint8_t sum[TR_SHA256_LEN], tr_error *err) {
    const bool follows_keys = before->kind == TR_SNAPSHOT_KEYS && head->kind == TR_SNAPSHOT_KEY_CHANGES;
    if (tr_uuid_is_nil(&before->id))
        return tr_snapshot_is_partial(head->kind)
                   ? tr_fail(err, TR_E_CORRUPT, NULL, "it is put upon a snapshot that is not there")
                   : TR_OK;
    if (follows_keys && tr_uuid_equal(&head->base, &before->id) &&
        head->database_count == before->database_count)
        return TR_OK;
    return tr_chain_follows(before, head, sum, err);
}

/* The next file, whose place is checked before any page of it is taken. */
static tr_status take_file(unpacking *u, tr_keyring *ring, tr_target_source *source, tr_error *err) {
    const tr_snapshot_visitor visitor = {.page = take_page, .context = u};
    const tr_snapshot_head before = u->head;
    tr_snapshot_counts counts = {0};
    tr_snapshot_reader *reader = NULL;
    tr_status st = TR_OK;
    u->source = source;
    TR_TRY(tr_snapshot_reader_open(ring, read_hashed, u, &u->head, &reader, err));
    TR_TRY(check_place(&before, &u->head, u->sum, err));
    TR_TRY(begin_file(u, err));
    TR_TRY(tr_snapshot_read(reader, &visitor, &counts, err));
    TR_TRY(tr_hash_final(u->hash, u->sum, err));
    u->counts.pages += counts.pages;
    u->counts.files += counts.files;
    if (u->head.log_keys_ms > u->keys_ms)
        u->keys_ms = u->head.log_keys_ms;
out:
    tr_snapshot_reader_free(reader);
    return st;
}

static tr_status finish(unpacking *u, tr_error *err) {
    tr_status st = TR_OK;
    for (size_t i = 0; st == TR_OK && i < u->count; i++)
        st = tr_pages_finish(u->pages[i], err);
    return st;
}

static void let_go(unpacking *u) {
    for (size_t i = 0; i < TR_SNAPSHOT_DATABASES_MAX; i++)
        tr_pages_free(u->pages[i]);
    tr_hash_free(u->hash);
}

/* Which of the files it is. */
static tr_status in_file(tr_status st, const char *name, tr_error *err) {
    if (st != TR_OK && err && !err->where[0])
        (void)snprintf(err->where, sizeof err->where, "%s", name);
    return st;
}

static tr_status take_chain(unpacking *u, tr_keyring *ring, tr_target *target, const tr_chain *chain,
                            tr_error *err) {
    char name[TR_CHAIN_NAME];
    tr_status st = tr_hash_new(&u->hash, err);
    for (size_t i = 0; st == TR_OK && i < tr_chain_length(chain); i++) {
        tr_target_source *source = NULL;
        tr_chain_name(chain, i, name);
        st = tr_target_read(target, name, &source, err);
        if (st == TR_OK)
            st = in_file(take_file(u, ring, source, err), name, err);
        tr_target_source_close(source);
    }
    return st == TR_OK ? finish(u, err) : st;
}

tr_status tr_chain_verify(tr_keyring *ring, tr_target *target, const tr_chain *chain, tr_snapshot_head *head,
                          tr_snapshot_counts *counts, tr_error *err) {
    unpacking u = {.how = NULL};
    tr_status st = take_chain(&u, ring, target, chain, err);
    *head = u.head;
    head->log_keys_ms = u.keys_ms;
    *counts = u.counts;
    let_go(&u);
    return st;
}

tr_status tr_chain_unpack(tr_keyring *ring, tr_target *target, const tr_chain *chain, const tr_unpack *how,
                          tr_snapshot_head *head, tr_error *err) {
    unpacking u = {.how = how};
    tr_status st = take_chain(&u, ring, target, chain, err);
    *head = u.head;
    let_go(&u);
    return st;
}

tr_status tr_snapshot_unpack(tr_keyring *ring, tr_target_source *source, tr_target_source *changes,
                             const tr_unpack *how, tr_snapshot_head *head, tr_snapshot_counts *counts,
                             tr_error *err) {
    unpacking u = {.how = how};
    tr_status st = TR_OK;
    TR_TRY(tr_hash_new(&u.hash, err));
    TR_TRY(take_file(&u, ring, source, err));
    if (changes)
        TR_TRY(take_file(&u, ring, changes, err));
    st = finish(&u, err);
out:
    *head = u.head;
    if (counts)
        *counts = u.counts;
    let_go(&u);
    return st;
}

/* ---- scratch ---- */

static tr_status remove_files(const char *folder, tr_error *err) {
    DIR *list = opendir(folder);
    tr_status st = TR_OK;
    if (!list)
        return errno == ENOENT ? TR_OK : tr_fail_errno(err, folder, "cannot list the folder");
    for (const struct dirent *entry; st == TR_OK && (entry = readdir(list));) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (tr_remove_file(dirfd(list), entry->d_name) != 0 && errno != ENOENT)
            st = tr_fail_errno(err, folder, "cannot empty the folder");
    }
    closedir(list);
    return st;
}

tr_status tr_scratch_remove(const char *folder, tr_error *err) {
    tr_status st = remove_files(folder, err);
    if (st == TR_OK && rmdir(folder) != 0 && errno != ENOENT)
        st = tr_fail_errno(err, folder, "cannot remove the folder");
    return st;
}

tr_status tr_scratch_make(const char *folder, tr_error *err) {
    tr_status st = tr_scratch_remove(folder, err);
    if (st == TR_OK && mkdir(folder, 0700) != 0)
        st = tr_fail_errno(err, folder, "cannot make the folder");
    return st;
}

/* ---- try ---- */

struct trial {
    tr_secret vault_key, audit_key;
};

static tr_status trial_key(void *context, const char *database, tr_secret *key, tr_error *err) {
    struct trial *trial = context;
    tr_secret *kept = strcmp(database, "vault.db") == 0 ? &trial->vault_key : &trial->audit_key;
    tr_status st = tr_secret_random(kept, 32, err);
    return st == TR_OK ? tr_secret_copy(key, kept->data, kept->len, err) : st;
}

tr_status tr_unpacked_check_log(const char *folder, const tr_secret *vault_key, const tr_secret *audit_key,
                                const tr_snapshot_head *head, tr_error *err) {
    tr_audit_verdict verdict = {0};
    tr_status st = tr_store_verify_offline(folder, vault_key, audit_key, &verdict, err);
    if (st == TR_OK && !verdict.ok)
        st = tr_fail(err, TR_E_CORRUPT, NULL, "the audit log: %s", verdict.reason);
    if (st == TR_OK && (verdict.entries != head->audit_seq ||
                        memcmp(verdict.head, head->audit_hash, sizeof verdict.head) != 0))
        st = tr_fail(err, TR_E_CORRUPT, NULL, "the audit log does not end where the snapshot says");
    return st;
}

/* Either the chain or the source. */
static tr_status try_any(tr_keyring *ring, tr_target *target, const tr_chain *chain, tr_target_source *source,
                         const char *folder, const _Atomic bool *stop, tr_snapshot_head *head,
                         tr_snapshot_counts *counts, tr_error *err) {
    struct trial trial = {TR_SECRET_INIT, TR_SECRET_INIT};
    const tr_unpack how = {.folder = folder, .key = trial_key, .context = &trial, .stop = stop};
    unpacking u = {.how = &how};
    tr_status st = TR_OK;
    TR_TRY(tr_scratch_make(folder, err));
    if (source) {
        TR_TRY(tr_hash_new(&u.hash, err));
        TR_TRY(take_file(&u, ring, source, err));
        TR_TRY(finish(&u, err));
    } else {
        TR_TRY(take_chain(&u, ring, target, chain, err));
    }
    st = tr_unpacked_check_log(folder, &trial.vault_key, &trial.audit_key, &u.head, err);
out:
    *head = u.head;
    *counts = u.counts;
    let_go(&u);
    (void)tr_scratch_remove(folder, NULL);
    tr_secret_clear(&trial.vault_key);
    tr_secret_clear(&trial.audit_key);
    return st;
}

tr_status tr_chain_try(tr_keyring *ring, tr_target *target, const tr_chain *chain, const char *folder,
                       const _Atomic bool *stop, tr_snapshot_head *head, tr_snapshot_counts *counts,
                       tr_error *err) {
    return try_any(ring, target, chain, NULL, folder, stop, head, counts, err);
}

tr_status tr_snapshot_try(tr_keyring *ring, tr_target_source *source, const char *folder,
                          const _Atomic bool *stop, tr_snapshot_head *head, tr_snapshot_counts *counts,
                          tr_error *err) {
    return try_any(ring, NULL, NULL, source, folder, stop, head, counts, err);
}
