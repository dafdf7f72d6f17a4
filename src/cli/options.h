/* A subcommand's own options, and for those that take them the settings of base/config.h. */
#ifndef TR_CLI_OPTIONS_H
#define TR_CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/config.h"

#define TR_OPTION_LIST_MAX 32
#define TR_WORDS_MAX       4

typedef struct tr_option_list {
    const char *items[TR_OPTION_LIST_MAX];
    size_t count;
} tr_option_list;

/* One option; one of value, list and set is not NULL. Written --name VALUE or --name=VALUE; a switch just
 * --name. */
typedef struct tr_option {
    const char *name;     /* "--session" */
    const char **value;   /* may be given once; NULL when it is not given */
    tr_option_list *list; /* may be given several times */
    bool *set;            /* a switch */
} tr_option;

typedef struct tr_command_line {
    const tr_option *options;
    size_t option_count;
    const char *words[TR_WORDS_MAX]; /* receives what is no option */
    size_t word_count;               /* how many there must be */
    const char *usage;               /* what to say when there are more or fewer */
} tr_command_line;

/* With `config` the settings are read too. TR_E_CONFIG names what is wrong. */
tr_status tr_options_read(int argc, char **argv, tr_command_line *line, tr_config *config, tr_error *err);

/* A whole number from an option's text. */
tr_status tr_option_number(const char *name, const char *text, long least, long most, long *value,
                           tr_error *err);

#endif
