#include "vault/ring_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

tr_status tr_vault_ring(const tr_config *config, const tr_secret *passphrase, tr_keyring **ring,
                        tr_error *err) {
    char path[600];
    tr_status st = tr_config_path(config, TR_RING, path, sizeof path, err);
    return st == TR_OK ? tr_keyring_open_file(path, passphrase, ring, err) : st;
}

tr_status tr_vault_ring_need(const tr_config *config, tr_keyring_need *need, tr_error *err) {
    char path[600];
    tr_status st = tr_config_path(config, TR_RING, path, sizeof path, err);
    return st == TR_OK ? tr_keyring_peek(path, need, err) : st;
}

static tr_status flush_folder(const tr_config *config, tr_error *err) {
    int fd = open(config->data, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return tr_fail_errno(err, config->data, "cannot open the data folder");
    tr_status st = fsync(fd) == 0 ? TR_OK : tr_fail_errno(err, config->data, "cannot flush the data folder");
    close(fd);
    return st;
}

static tr_status both_paths(const tr_config *config, const char *name, char ring[600], char recovery[640],
                            tr_error *err) {
    tr_status st = tr_config_path(config, name, ring, 600, err);
    if (st == TR_OK)
        (void)snprintf(recovery, 640, "%s" TR_RING_RECOVERY, ring);
    return st;
}

/* Remove the files whose names begin so, durably. */
static tr_status remove_all(const tr_config *config, const char *beginning, tr_error *err) {
    DIR *list = opendir(config->data);
    bool removed = false;
    tr_status st = TR_OK;
    if (!list)
        return tr_fail_errno(err, config->data, "cannot list the data folder");
    for (const struct dirent *entry; st == TR_OK && (entry = readdir(list));) {
        if (strncmp(entry->d_name, beginning, strlen(beginning)) != 0)
            continue;
        if (unlinkat(dirfd(list), entry->d_name, 0) != 0 && errno != ENOENT)
            st = tr_fail_errno(err, entry->d_name, "cannot remove the file");
        removed = true;
    }
    closedir(list);
    return st == TR_OK && removed ? flush_folder(config, err) : st;
}

tr_status tr_ring_remove(const tr_config *config, const char *name, tr_error *err) {
    return remove_all(config, name, err);
}

tr_status tr_ring_sweep(const tr_config *config, tr_error *err) {
    static const char *const beginnings[] = {TR_RING_NEW, TR_RING_RESTORED, TR_RING TR_RING_RECOVERY ".tmp-"};
    tr_status st = TR_OK;
    for (size_t i = 0; st == TR_OK && i < sizeof beginnings / sizeof *beginnings; i++)
        st = remove_all(config, beginnings[i], err);
    return st;
}

/* The recovery file first: at this moment either ring's opens nothing that the ring itself would not, and
 * once the ring has its name nobody looks for a half done replacement any more. */
tr_status tr_ring_replace(const tr_config *config, const char *name, tr_error *err) {
    char ring[600], recovery[640], new_ring[600], new_recovery[640];
    tr_status st = both_paths(config, TR_RING, ring, recovery, err);
    if (st == TR_OK)
        st = both_paths(config, name, new_ring, new_recovery, err);
    if (st != TR_OK)
        return st;
    if (rename(new_recovery, recovery) != 0) {
        if (errno != ENOENT)
            return tr_fail_errno(err, name, "cannot put the recovery file in place");
        if (unlink(recovery) != 0 && errno != ENOENT)
            return tr_fail_errno(err, TR_RING, "cannot remove the old recovery file");
    }
    if (rename(new_ring, ring) != 0)
        return tr_fail_errno(err, name, "cannot put the keyring in place");
    st = flush_folder(config, err);
    return st == TR_OK ? remove_all(config, name, err) : st;
}
