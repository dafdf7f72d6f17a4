#include "cli/credentials.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "base/secret.h"
#include "cli/files.h"

#define CREDENTIALS_MAX 65536

struct tr_credentials {
    char path[PATH_MAX];
    int lock;
    cJSON *tree;
    cJSON *entry; /* in the tree: with "uid" and "password" */
};

/* Every text in it may be a secret. */
static void wipe_texts(cJSON *node) {
    for (; node; node = node->next) {
        if (cJSON_IsString(node))
            tr_wipe(node->valuestring, strlen(node->valuestring));
        wipe_texts(node->child);
    }
}

static bool is_entry(const cJSON *node) {
    return cJSON_IsObject(node) && tr_json_string(node, "uid") && tr_json_string(node, "password");
}

static bool is_wanted(const cJSON *node, const char *uid) {
    return is_entry(node) && (!uid || strcmp(tr_json_string(node, "uid"), uid) == 0);
}

static tr_status find_entry(tr_credentials *c, const char *uid, tr_error *err) {
    cJSON *item;
    if (is_wanted(c->tree, uid)) {
        c->entry = c->tree;
        return TR_OK;
    }
    cJSON_ArrayForEach(item, c->tree) {
        if (!is_wanted(item, uid))
            continue;
        if (c->entry)
            return tr_fail(err, TR_E_CONFIG, c->path, "holds several credentials: name one with --uid UID");
        c->entry = item;
    }
    if (c->entry)
        return TR_OK;
    return tr_fail(err, TR_E_CONFIG, c->path,
                   uid ? "holds no credentials with that uid"
                       : "holds no object with \"uid\" and \"password\"");
}

tr_status tr_credentials_open(const char *path, const char *uid, tr_credentials **out, tr_error *err) {
    tr_buf text = TR_BUF_INIT;
    tr_credentials *c = calloc(1, sizeof *c);
    tr_status st = c ? TR_OK : tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    *out = NULL;
    if (!c)
        return st;
    c->lock = -1;
    if ((size_t)snprintf(c->path, sizeof c->path, "%s", path) >= sizeof c->path) {
        st = tr_fail(err, TR_E_CONFIG, "credentials", "the file's name is too long");
        goto out;
    }
    TR_TRY(tr_file_lock_folder(path, &c->lock, err));
    TR_TRY(tr_file_read(path, CREDENTIALS_MAX, &text, NULL, err));
    if (tr_json_parse(text.data, text.len, &c->tree, NULL) != TR_OK) {
        st = tr_fail(err, TR_E_CONFIG, path, "is not JSON");
        goto out;
    }
    TR_TRY(find_entry(c, uid, err));
    *out = c;
    c = NULL;
out:
    tr_buf_clear(&text);
    tr_credentials_close(c);
    return st;
}

void tr_credentials_close(tr_credentials *c) {
    if (!c)
        return;
    wipe_texts(c->tree);
    cJSON_Delete(c->tree);
    if (c->lock >= 0)
        close(c->lock);
    free(c);
}

const char *tr_credentials_uid(const tr_credentials *c) {
    return tr_json_string(c->entry, "uid");
}

const char *tr_credentials_password(const tr_credentials *c) {
    return tr_json_string(c->entry, "password");
}

const char *tr_credentials_new_password(const tr_credentials *c) {
    return tr_json_string(c->entry, "new_password");
}

static tr_status save(const tr_credentials *c, tr_error *err) {
    tr_buf text = TR_BUF_INIT;
    tr_status st = tr_json_print(c->tree, &text, err);
    tr_buf_putc(&text, '\n');
    if (st == TR_OK)
        st = tr_buf_ok(&text, err);
    if (st == TR_OK)
        st = tr_file_replace(c->path, text.data, text.len, err);
    tr_buf_clear(&text);
    return st;
}

static tr_status put(tr_credentials *c, const char *name, const char *value, tr_error *err) {
    cJSON *fresh = cJSON_CreateString(value);
    cJSON *old = cJSON_GetObjectItemCaseSensitive(c->entry, name);
    if (!fresh)
        return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    if (cJSON_IsString(old))
        tr_wipe(old->valuestring, strlen(old->valuestring));
    bool done = old ? cJSON_ReplaceItemInObjectCaseSensitive(c->entry, name, fresh)
                    : cJSON_AddItemToObject(c->entry, name, fresh);
    if (done)
        return TR_OK;
    cJSON_Delete(fresh);
    return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
}

tr_status tr_credentials_propose(tr_credentials *c, const char *new_password, tr_error *err) {
    tr_status st = put(c, "new_password", new_password, err);
    return st == TR_OK ? save(c, err) : st;
}

tr_status tr_credentials_settle(tr_credentials *c, tr_error *err) {
    cJSON *item = cJSON_DetachItemFromObjectCaseSensitive(c->entry, "new_password");
    if (!cJSON_IsString(item)) {
        cJSON_Delete(item);
        return TR_OK;
    }
    /* What POST /v1/principals answered says so too; it is true no longer. */
    cJSON *initial = cJSON_GetObjectItemCaseSensitive(c->entry, "password_initial");
    if (initial)
        (void)cJSON_ReplaceItemInObjectCaseSensitive(c->entry, "password_initial", cJSON_CreateFalse());
    tr_status st = put(c, "password", item->valuestring, err);
    if (st == TR_OK)
        st = save(c, err);
    wipe_texts(item);
    cJSON_Delete(item);
    return st;
}
