/* JSON lines on stdout, one object a line: {"time","level","event", ...}. No personal data: callers pass only
 * counts, ids of principals, route names, statuses. Strings are escaped; a line is written with one write(2).
 */
#ifndef TR_BASE_LOG_H
#define TR_BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

typedef enum tr_log_level { TR_LOG_DEBUG, TR_LOG_INFO, TR_LOG_WARN, TR_LOG_ERROR } tr_log_level;

typedef struct tr_log_field {
    const char *name;
    enum { TR_LOG_TEXT, TR_LOG_NUMBER, TR_LOG_BOOL } kind;
    const char *text;
    int64_t number;
} tr_log_field;

#define TR_F_TEXT(field, value) ((tr_log_field){.name = (field), .kind = TR_LOG_TEXT, .text = (value)})
#define TR_F_NUM(field, value)                                                                               \
    ((tr_log_field){.name = (field), .kind = TR_LOG_NUMBER, .number = (int64_t)(value)})
#define TR_F_BOOL(field, value) ((tr_log_field){.name = (field), .kind = TR_LOG_BOOL, .number = (value)})

void tr_log_set_level(tr_log_level level);
bool tr_log_level_parse(const char *text, tr_log_level *level);
/* Where lines go: 1 (stdout, the default) or 2 (stderr), -1 nowhere. */
void tr_log_set_fd(int fd);
void tr_log_fields(tr_log_level level, const char *event, const tr_log_field *fields, int count);

#define tr_log(level, event, ...)                                                                            \
    tr_log_fields((level), (event), (const tr_log_field[]){__VA_ARGS__},                                     \
                  (int)(sizeof((const tr_log_field[]){__VA_ARGS__}) / sizeof(tr_log_field)))

#endif
