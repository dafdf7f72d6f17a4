/* The vault is made in a folder of its own inside the data folder (which may be a mount point, so that no
 * rename can put a whole folder in its place). It is whole when that folder has its second name; then its
 * files move up, the keyring last: a data folder with a keyring holds a vault. */
#include "cli/first_start.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json_write.h"
#include "cli/cli.h"
#include "cli/files.h"
#include "cli/provider.h"
#include "vault/snapshot_unpack.h"

#define MAKING "first-start.new"
#define MADE   "first-start"

/* What only a vault has; `init` finds the same. */
static const char *const taken[] = {"vault.db", "keys.db", "audit.db", TR_FIRST_CREDENTIALS};

typedef struct places {
    char making[600], made[600], ring[600];
} places;

void tr_first_write(tr_buf *out, const tr_first_credentials *first) {
    for (size_t i = 0; i < sizeof first->items / sizeof *first->items; i++) {
        tr_jw_open(out, first->items[i].role, '{');
        tr_jw_text(out, "uid", first->items[i].uid);
        tr_jw_text(out, "password", first->items[i].password);
        tr_jw_close(out, '}');
    }
}

static bool exists(const tr_config *config, const char *name) {
    char path[600];
    struct stat info;
    return tr_config_path(config, name, path, sizeof path, NULL) == TR_OK && lstat(path, &info) == 0;
}

static tr_status check_free(const tr_config *config, tr_error *err) {
    for (size_t i = 0; i < sizeof taken / sizeof *taken; i++) {
        if (exists(config, taken[i]))
            return tr_fail(err, TR_E_EXISTS, taken[i],
                           "is there without a keyring: no vault is made over what is left of another");
    }
    return TR_OK;
}

/* One that is given, or lies in the data folder already, is used; else a random one is made with the vault.
 */
static tr_status passphrase_for(const tr_config *config, const tr_config *at, tr_secret *passphrase,
                                tr_error *err) {
    char path[600];
    bool made = false;
    if (tr_config_passphrase_given(config) || exists(config, "keyring.passphrase"))
        return tr_config_passphrase(config, passphrase, err);
    tr_status st = tr_config_path(at, "keyring.passphrase", path, sizeof path, err);
    if (st == TR_OK)
        st = tr_provider_make_passphrase(path, &made, err);
    return st == TR_OK ? tr_config_passphrase(at, passphrase, err) : st;
}

static tr_status write_credentials(const tr_config *at, const tr_first_credentials *first, tr_error *err) {
    char path[600];
    tr_buf text = TR_BUF_INIT;
    tr_jw_open(&text, NULL, '{');
    tr_first_write(&text, first);
    tr_jw_close(&text, '}');
    tr_buf_putc(&text, '\n');
    tr_status st = tr_config_path(at, TR_FIRST_CREDENTIALS, path, sizeof path, err);
    if (st == TR_OK)
        st = tr_buf_ok(&text, err);
    if (st == TR_OK)
        st = tr_file_create(path, text.data, text.len, err);
    tr_buf_clear(&text);
    return st;
}

static tr_status make(const tr_config *config, const places *p, tr_error *err) {
    tr_config at = *config;
    tr_first_credentials first = {0};
    tr_secret passphrase = TR_SECRET_INIT;
    tr_keyring_spec spec = {.provider = "file", .passphrase = &passphrase};
    char lock[PATH_MAX];
    tr_status st = TR_OK;
    (void)snprintf(at.data, sizeof at.data, "%s", p->making);
    (void)snprintf(lock, sizeof lock, "%s/lock", p->making);
    TR_TRY(check_free(config, err));
    TR_TRY(tr_scratch_make(p->making, err));
    TR_TRY(passphrase_for(config, &at, &passphrase, err));
    TR_TRY(tr_vault_init(&at, &spec, &first, err));
    TR_TRY(tr_file_remove(lock, err)); /* the data folder has its own */
    TR_TRY(write_credentials(&at, &first, err));
    if (rename(p->making, p->made) != 0)
        TR_TRY(tr_fail_errno(err, p->made, "cannot give the new folder its name"));
    st = tr_file_flush_folder(p->made, err);
out:
    tr_secret_clear(&passphrase);
    tr_wipe(&first, sizeof first);
    return st;
}

static tr_status move_one(const tr_config *config, const places *p, const char *name, tr_error *err) {
    char from[PATH_MAX], to[PATH_MAX];
    int n = snprintf(from, sizeof from, "%s/%s", p->made, name);
    int m = snprintf(to, sizeof to, "%s/%s", config->data, name);
    if (n < 0 || m < 0 || (size_t)n >= sizeof from || (size_t)m >= sizeof to)
        return tr_fail(err, TR_E_CONFIG, "data", "the data folder's name is too long");
    return rename(from, to) == 0 ? TR_OK : tr_fail_errno(err, to, "cannot put the file in its place");
}

static tr_status move_up(const tr_config *config, const places *p, tr_error *err) {
    DIR *list = opendir(p->made);
    tr_status st = list ? TR_OK : tr_fail_errno(err, p->made, "cannot look into the folder");
    for (const struct dirent *entry; st == TR_OK && (entry = readdir(list));) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
            strcmp(entry->d_name, TR_RING) != 0)
            st = move_one(config, p, entry->d_name, err);
    }
    if (list)
        closedir(list);
    if (st == TR_OK)
        st = tr_file_flush_folder(p->ring, err);
    if (st == TR_OK)
        st = move_one(config, p, TR_RING, err);
    return st == TR_OK ? tr_file_flush_folder(p->ring, err) : st;
}

tr_status tr_first_start(const tr_config *config, bool *made, tr_error *err) {
    places p;
    int lock = -1;
    tr_status st = TR_OK;
    *made = false;
    TR_TRY(tr_config_path(config, MAKING, p.making, sizeof p.making, err));
    TR_TRY(tr_config_path(config, MADE, p.made, sizeof p.made, err));
    TR_TRY(tr_config_path(config, TR_RING, p.ring, sizeof p.ring, err));
    if (strlen(p.making) >= sizeof config->data)
        TR_TRY(tr_fail(err, TR_E_CONFIG, "data", "the data folder's name is too long"));
    if (mkdir(config->data, 0700) != 0 && errno != EEXIST)
        TR_TRY(tr_fail_errno(err, config->data, "cannot make the data folder"));
    TR_TRY(tr_vault_lock(config, &lock, err));
    if (!exists(config, TR_RING)) {
        if (!exists(config, MADE))
            TR_TRY(make(config, &p, err));
        TR_TRY(move_up(config, &p, err));
        *made = true;
    }
    TR_TRY(tr_scratch_remove(p.making, err));
    st = tr_scratch_remove(p.made, err);
out:
    tr_vault_unlock(lock);
    return st;
}
