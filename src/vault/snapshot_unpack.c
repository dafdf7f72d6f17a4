#include "vault/snapshot_unpack.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/store.h"

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
    const tr_unpack *how;
    const tr_snapshot_head *head;
    tr_pages *pages; /* of the database that is being written */
    size_t next;     /* the database after it */
} unpacking;

static tr_status end_database(unpacking *u, tr_error *err) {
    tr_status st = u->pages ? tr_pages_finish(u->pages, err) : TR_OK;
    tr_pages_free(u->pages);
    u->pages = NULL;
    return st;
}

static tr_status begin_database(unpacking *u, tr_error *err) {
    const tr_snapshot_database *from = &u->head->databases[u->next++];
    const tr_moment_database to = {
        .name = from->name, .page_size = from->page_size, .pages = from->pages, .schema = from->schema};
    tr_secret key = TR_SECRET_INIT;
    tr_status st = u->how->key(u->how->context, from->name, &key, err);
    if (st == TR_OK)
        st = tr_pages_open(u->how->folder, &to, &key, &u->pages, err);
    tr_secret_clear(&key);
    return st;
}

static tr_status take_page(void *context, size_t database, uint32_t number, tr_bytes content, tr_error *err) {
    unpacking *u = context;
    tr_status st = TR_OK;
    if (u->how->stop && *u->how->stop)
        return tr_fail(err, TR_E_DRAINING, NULL, "the vault is shutting down");
    while (st == TR_OK && u->next <= database) {
        st = end_database(u, err);
        if (st == TR_OK)
            st = begin_database(u, err);
    }
    return st == TR_OK ? tr_pages_write(u->pages, number, content, err) : st;
}

tr_status tr_snapshot_unpack(tr_keyring *ring, tr_target_source *source, const tr_unpack *how,
                             tr_snapshot_head *head, tr_snapshot_counts *counts, tr_error *err) {
    unpacking u = {.how = how, .head = head};
    const tr_snapshot_visitor visitor = {.page = take_page, .context = &u};
    tr_snapshot_reader *reader = NULL;
    tr_status st = TR_OK;
    TR_TRY(tr_snapshot_reader_open(ring, tr_target_source_read, source, head, &reader, err));
    TR_TRY(tr_snapshot_read(reader, &visitor, counts, err));
    TR_TRY(end_database(&u, err));
    if (u.next != head->database_count)
        st = tr_fail(err, TR_E_CORRUPT, NULL, "a database of the snapshot is missing");
out:
    tr_pages_free(u.pages);
    tr_snapshot_reader_free(reader);
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
        if (unlinkat(dirfd(list), entry->d_name, 0) != 0 && errno != ENOENT)
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

static tr_status check_log(const struct trial *trial, const char *folder, const tr_snapshot_head *head,
                           tr_error *err) {
    tr_audit_verdict verdict = {0};
    tr_status st = tr_store_verify_offline(folder, &trial->vault_key, &trial->audit_key, &verdict, err);
    if (st == TR_OK && !verdict.ok)
        st = tr_fail(err, TR_E_CORRUPT, NULL, "the audit log: %s", verdict.reason);
    if (st == TR_OK && (verdict.entries != head->audit_seq ||
                        memcmp(verdict.head, head->audit_hash, sizeof verdict.head) != 0))
        st = tr_fail(err, TR_E_CORRUPT, NULL, "the audit log does not end where the snapshot says");
    return st;
}

tr_status tr_snapshot_try(tr_keyring *ring, tr_target_source *source, const char *folder,
                          const _Atomic bool *stop, tr_snapshot_head *head, tr_snapshot_counts *counts,
                          tr_error *err) {
    struct trial trial = {TR_SECRET_INIT, TR_SECRET_INIT};
    const tr_unpack how = {.folder = folder, .key = trial_key, .context = &trial, .stop = stop};
    tr_status st = TR_OK;
    TR_TRY(tr_scratch_make(folder, err));
    TR_TRY(tr_snapshot_unpack(ring, source, &how, head, counts, err));
    if (head->kind == TR_SNAPSHOT_FULL)
        st = check_log(&trial, folder, head, err);
out:
    (void)tr_scratch_remove(folder, NULL);
    tr_secret_clear(&trial.vault_key);
    tr_secret_clear(&trial.audit_key);
    return st;
}
