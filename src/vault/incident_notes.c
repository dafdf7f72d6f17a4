#include "vault/incident_notes.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/json_write.h"
#include "base/log.h"
#include "vault/audit.h"
#include "vault/databases.h"
#include "vault/incident_rules.h"
#include "vault/vault_internal.h"

#define NOTE_MAX  1000 /* bytes */
#define PATH_ROOM 640

static const struct note_kind {
    const char *action, *file;
    tr_status fault;
} note_kinds[] = {
    {"storage.wrong_key", "noted-wrong-key", TR_E_WRONG_KEY},
    {"security.audit_broken", "noted-audit-broken", TR_E_CORRUPT},
};
enum { NOTE_KINDS = sizeof note_kinds / sizeof *note_kinds };

typedef struct note {
    int64_t first_at, last_at, count;
    char where[16]; /* the database, the newest time */
} note;

static const char *database_of(const char *where) {
    for (int i = 0; i < TR_DATABASES; i++) {
        if (strcmp(where, tr_database_names[i]) == 0)
            return tr_database_names[i];
    }
    return NULL;
}

static tr_status read_file(const char *path, tr_buf *out, tr_error *err) {
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return tr_fail(err, TR_E_NOT_FOUND, NULL, "nothing was noted");
    if (fd < 0)
        return tr_fail_errno(err, NULL, "cannot read what was noted");
    char *room = tr_buf_reserve(out, NOTE_MAX);
    ssize_t n = room ? read(fd, room, NOTE_MAX) : -1;
    close(fd);
    if (n < 0)
        return tr_fail_errno(err, NULL, "cannot read what was noted");
    out->len = (size_t)n;
    return TR_OK;
}

static int64_t time_in(const cJSON *json, const char *member) {
    const char *text = tr_json_string(json, member);
    int64_t ms = 0;
    return text && tr_time_parse(text, strlen(text), &ms) ? ms : 0;
}

/* A file that says nothing that can be read still says that there was something. */
static tr_status read_note(const char *path, note *out, tr_error *err) {
    tr_buf text = TR_BUF_INIT;
    cJSON *json = NULL;
    *out = (note){.count = 0};
    tr_status st = read_file(path, &text, err);
    if (st == TR_OK && text.len && tr_json_parse(text.data, text.len, &json, NULL) == TR_OK) {
        const char *where = tr_json_string(json, "where");
        out->first_at = time_in(json, "first_at");
        out->last_at = time_in(json, "last_at");
        (void)tr_json_int(json, "count", &out->count);
        snprintf(out->where, sizeof out->where, "%s", where && database_of(where) ? where : "");
    }
    cJSON_Delete(json);
    tr_buf_clear(&text);
    return st;
}

/* ---- keeping ---- */

static tr_status flush_folder(const tr_config *config, tr_error *err) {
    int fd = open(config->data, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool good = fd >= 0 && fsync(fd) == 0;
    if (fd >= 0)
        close(fd);
    return good ? TR_OK : tr_fail_errno(err, NULL, "cannot flush the data folder");
}

static tr_status write_new(const char *path, const tr_buf *text, tr_error *err) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    bool good = fd >= 0 && write(fd, text->data, text->len) == (ssize_t)text->len && fsync(fd) == 0;
    tr_status st = good ? TR_OK : tr_fail_errno(err, NULL, "cannot note it");
    if (fd >= 0)
        close(fd);
    return st;
}

static tr_status write_note(const tr_config *config, const char *path, const note *n, tr_error *err) {
    char part[PATH_ROOM + 8];
    tr_buf text = TR_BUF_INIT;
    tr_jw_open(&text, NULL, '{');
    tr_jw_time(&text, "first_at", n->first_at);
    tr_jw_time(&text, "last_at", n->last_at);
    tr_jw_number(&text, "count", n->count);
    tr_jw_text(&text, "where", n->where);
    tr_jw_close(&text, '}');
    snprintf(part, sizeof part, "%s.part", path);
    tr_status st = tr_buf_ok(&text, err);
    if (st == TR_OK)
        st = write_new(part, &text, err);
    if (st == TR_OK && rename(part, path) != 0)
        st = tr_fail_errno(err, NULL, "cannot note it");
    tr_buf_clear(&text);
    return st == TR_OK ? flush_folder(config, err) : st;
}

void tr_incident_note(const tr_config *config, tr_status fault, const char *where) {
    const char *database = database_of(where);
    char path[PATH_ROOM];
    tr_error err = {0};
    note n = {.count = 0};
    for (int i = 0; i < NOTE_KINDS; i++) {
        if (note_kinds[i].fault != fault || !database ||
            (fault == TR_E_CORRUPT && strcmp(database, "audit.db") != 0))
            continue;
        tr_status st = tr_config_path(config, note_kinds[i].file, path, sizeof path, &err);
        if (st == TR_OK && (st = read_note(path, &n, &err)) == TR_E_NOT_FOUND)
            st = TR_OK;
        n.last_at = tr_now_ms();
        n.first_at = n.first_at ? n.first_at : n.last_at;
        n.count++;
        snprintf(n.where, sizeof n.where, "%s", database);
        if (st == TR_OK)
            st = write_note(config, path, &n, &err);
        if (st != TR_OK)
            tr_log(TR_LOG_ERROR, "incident.not_noted", TR_F_TEXT("cause", note_kinds[i].action),
                   TR_F_TEXT("reason", err.what));
    }
}

/* ---- taking ---- */

static tr_status take(tr_vault *vault, const struct note_kind *kind, tr_error *err) {
    char path[PATH_ROOM], detail[160], first[TR_TIME_TEXT], last[TR_TIME_TEXT];
    note n;
    tr_event event = {.at = tr_now_ms(), .action = kind->action, .outcome = kind->fault, .detail = detail};
    tr_status st = tr_config_path(vault->config, kind->file, path, sizeof path, err);
    if (st == TR_OK)
        st = read_note(path, &n, err);
    if (st != TR_OK)
        return st == TR_E_NOT_FOUND ? TR_OK : st;
    tr_time_format(n.first_at, first);
    tr_time_format(n.last_at, last);
    snprintf(detail, sizeof detail, "%s: %lld times from %s to %s", n.where, (long long)n.count, first, last);
    st = tr_event_write(vault->store, &event, err);
    /* A crash before this adds the same to the same incident once more. */
    if (st == TR_OK && unlink(path) != 0)
        st = tr_fail_errno(err, NULL, "cannot remove what was noted");
    return st;
}

tr_status tr_incident_notes_take(tr_vault *vault, bool *more, tr_error *err) {
    tr_status st = TR_OK;
    *more = false;
    for (int i = 0; i < NOTE_KINDS && st == TR_OK; i++)
        st = take(vault, &note_kinds[i], err);
    return st;
}
