#include "base/log.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/encode.h"

static const char *const level_names[] = {"debug", "info", "warn", "error"};

/* The process's own. */
static _Atomic int lowest = TR_LOG_INFO;
static _Atomic int target = 1;

void tr_log_set_level(tr_log_level level) {
    atomic_store(&lowest, (int)level);
}

bool tr_log_level_parse(const char *text, tr_log_level *level) {
    for (int i = 0; i < 4; i++) {
        if (strcmp(text, level_names[i]) == 0) {
            *level = (tr_log_level)i;
            return true;
        }
    }
    return false;
}

void tr_log_set_fd(int fd) {
    atomic_store(&target, fd);
}

static void add_field(tr_buf *line, const tr_log_field *field) {
    tr_buf_printf(line, ",\"%s\":", field->name);
    if (field->kind == TR_LOG_NUMBER)
        tr_buf_printf(line, "%lld", (long long)field->number);
    else if (field->kind == TR_LOG_BOOL)
        tr_buf_puts(line, field->number ? "true" : "false");
    else if (field->text && tr_utf8_valid(field->text, strlen(field->text)))
        tr_buf_json_string(line, field->text, strlen(field->text));
    else
        tr_buf_puts(line, "null");
}

static void write_line(int fd, const tr_buf *line) {
    size_t done = 0;
    while (done < line->len) {
        ssize_t n = write(fd, line->data + done, line->len - done);
        if (n > 0)
            done += (size_t)n;
        else if (n == 0 || errno != EINTR)
            return; /* nobody reads the log: the vault goes on */
    }
}

void tr_log_fields(tr_log_level level, const char *event, const tr_log_field *fields, int count) {
    char time[TR_TIME_TEXT];
    int fd = atomic_load(&target);
    if ((int)level < atomic_load(&lowest) || fd < 0)
        return;
    tr_buf line = TR_BUF_INIT;
    tr_time_format(tr_now_ms(), time);
    tr_buf_printf(&line, "{\"time\":\"%s\",\"level\":\"%s\",\"event\":\"%s\"", time, level_names[level & 3],
                  event);
    for (int i = 0; i < count; i++)
        add_field(&line, &fields[i]);
    tr_buf_puts(&line, "}\n");
    if (!line.failed)
        write_line(fd, &line);
    tr_buf_clear(&line);
}
