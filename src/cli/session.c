#include "cli/session.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/secret.h"
#include "cli/files.h"

#define SESSION_MAX 65536

struct tr_cli_session {
    char path[PATH_MAX];
    int lock;
    cJSON *tree; /* always an object */
};

tr_status tr_cli_session_path(const char *given, char *path, size_t size, tr_error *err) {
    const char *variable = getenv("TRESOR_SESSION"), *home = getenv("HOME");
    int n;
    if (given || (variable && *variable))
        n = snprintf(path, size, "%s", given ? given : variable);
    else if (home && *home)
        n = snprintf(path, size, "%s/.tresor-session", home);
    else
        return tr_fail(err, TR_E_CONFIG, "session", "there is no home folder: give --session FILE");
    if (n <= 0 || (size_t)n >= size)
        return tr_fail(err, TR_E_CONFIG, "session", "the file's name is empty or too long");
    return TR_OK;
}

/* ---- read, write ---- */

static void wipe_token(cJSON *tree) {
    cJSON *token = cJSON_GetObjectItemCaseSensitive(tree, TR_SESSION_TOKEN);
    if (cJSON_IsString(token))
        tr_wipe(token->valuestring, strlen(token->valuestring));
}

static tr_status check_private(const char *path, tr_error *err) {
    struct stat info;
    if (stat(path, &info) != 0)
        return tr_fail_errno(err, path, "cannot look at the session file");
    if (info.st_mode & 077)
        return tr_fail(err, TR_E_CONFIG, path, "others may read or write the session file: chmod 600 it");
    return TR_OK;
}

static tr_status read_tree(tr_cli_session *session, tr_error *err) {
    tr_buf text = TR_BUF_INIT;
    bool missing = false;
    tr_status st = tr_file_read(session->path, SESSION_MAX, &text, &missing, err);
    if (st == TR_OK && missing) {
        session->tree = cJSON_CreateObject();
        return session->tree ? TR_OK : tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    }
    if (st == TR_OK)
        st = check_private(session->path, err);
    if (st == TR_OK &&
        (tr_json_parse(text.data, text.len, &session->tree, NULL) != TR_OK || !cJSON_IsObject(session->tree)))
        st = tr_fail(err, TR_E_CONFIG, session->path, "is not a session file");
    tr_buf_clear(&text);
    return st;
}

tr_status tr_cli_session_open(const char *path, tr_cli_session **out, tr_error *err) {
    char lock[PATH_MAX + 8];
    tr_cli_session *session = calloc(1, sizeof *session);
    *out = NULL;
    if (!session)
        return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    session->lock = -1;
    tr_status st = TR_OK;
    if ((size_t)snprintf(session->path, sizeof session->path, "%s", path) >= sizeof session->path)
        st = tr_fail(err, TR_E_CONFIG, "session", "the file's name is too long");
    snprintf(lock, sizeof lock, "%s.lock", session->path);
    if (st == TR_OK)
        st = tr_file_lock(lock, &session->lock, err);
    if (st == TR_OK)
        st = read_tree(session, err);
    if (st == TR_OK)
        *out = session;
    else
        tr_cli_session_close(session);
    return st;
}

void tr_cli_session_close(tr_cli_session *session) {
    if (!session)
        return;
    wipe_token(session->tree);
    cJSON_Delete(session->tree);
    if (session->lock >= 0)
        close(session->lock);
    free(session);
}

tr_status tr_cli_session_save(const tr_cli_session *session, tr_error *err) {
    tr_buf text = TR_BUF_INIT;
    tr_status st = tr_json_print(session->tree, &text, err);
    tr_buf_putc(&text, '\n');
    if (st == TR_OK)
        st = tr_buf_ok(&text, err);
    if (st == TR_OK)
        st = tr_file_replace(session->path, text.data, text.len, err);
    tr_buf_clear(&text);
    return st;
}

tr_status tr_cli_session_remove(tr_cli_session *session, tr_error *err) {
    cJSON *empty = cJSON_CreateObject();
    if (!empty)
        return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    wipe_token(session->tree);
    cJSON_Delete(session->tree);
    session->tree = empty;
    return tr_file_remove(session->path, err);
}

/* ---- members ---- */

static tr_status put(cJSON *object, const char *name, cJSON *value, tr_error *err) {
    if (value && cJSON_AddItemToObject(object, name, value))
        return TR_OK;
    cJSON_Delete(value);
    return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
}

static tr_status put_text(cJSON *object, const char *name, const char *value, tr_error *err) {
    return value ? put(object, name, cJSON_CreateString(value), err) : TR_OK;
}

const char *tr_cli_session_get(const tr_cli_session *session, const char *name) {
    return tr_json_string(session->tree, name);
}

tr_status tr_cli_session_set(tr_cli_session *session, const char *name, const char *value, tr_error *err) {
    if (strcmp(name, TR_SESSION_TOKEN) == 0)
        wipe_token(session->tree);
    cJSON_DeleteItemFromObjectCaseSensitive(session->tree, name);
    return put_text(session->tree, name, value, err);
}

bool tr_cli_session_pending(const tr_cli_session *session, tr_cli_pending *pending) {
    const cJSON *item = tr_json_member(session->tree, "pending");
    const char *at = tr_json_string(item, "at");
    *pending = (tr_cli_pending){.open = tr_json_bool(item, "open", true),
                                .key = tr_json_string(item, "key"),
                                .request = tr_json_string(item, "request"),
                                .method = tr_json_string(item, "method"),
                                .path = tr_json_string(item, "path"),
                                .purpose = tr_json_string(item, "purpose")};
    return pending->key && pending->request && pending->method && pending->path && at &&
           tr_time_parse(at, strlen(at), &pending->at);
}

tr_status tr_cli_session_set_pending(tr_cli_session *session, const tr_cli_pending *pending, tr_error *err) {
    char at[TR_TIME_TEXT];
    tr_status st = TR_OK;
    cJSON *item = NULL;
    if (pending) { /* before the old one goes: its texts may be in it */
        item = cJSON_CreateObject();
        tr_time_format(pending->at, at);
        st = item ? put(item, "open", cJSON_CreateBool(pending->open), err)
                  : tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
        if (st == TR_OK)
            st = put_text(item, "key", pending->key, err);
        if (st == TR_OK)
            st = put_text(item, "request", pending->request, err);
        if (st == TR_OK)
            st = put_text(item, "method", pending->method, err);
        if (st == TR_OK)
            st = put_text(item, "path", pending->path, err);
        if (st == TR_OK)
            st = put_text(item, "purpose", pending->purpose, err);
        if (st == TR_OK)
            st = put_text(item, "at", at, err);
    }
    if (st != TR_OK) {
        cJSON_Delete(item);
        return st;
    }
    cJSON_DeleteItemFromObjectCaseSensitive(session->tree, "pending");
    return item ? put(session->tree, "pending", item, err) : TR_OK;
}
