#include "cli/options.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define OPTIONS_MAX 16

static const tr_option *find(const tr_command_line *line, const char *arg, size_t len) {
    for (size_t i = 0; i < line->option_count; i++) {
        if (strlen(line->options[i].name) == len && strncmp(line->options[i].name, arg, len) == 0)
            return &line->options[i];
    }
    return NULL;
}

static tr_status take(const tr_option *option, const char *value, tr_error *err) {
    if (option->list) {
        if (option->list->count == TR_OPTION_LIST_MAX)
            return tr_fail(err, TR_E_CONFIG, option->name, "is given too often");
        option->list->items[option->list->count++] = value;
        return TR_OK;
    }
    if (*option->value)
        return tr_fail(err, TR_E_CONFIG, option->name, "is given twice");
    *option->value = value;
    return TR_OK;
}

/* The option at argv[*i] and its value, which may be the next argument. */
static tr_status read_option(int argc, char **argv, int *i, const tr_command_line *line, tr_error *err) {
    const char *arg = argv[*i];
    size_t len = strcspn(arg, "=");
    const tr_option *option = find(line, arg, len);
    if (!option)
        return tr_fail(err, TR_E_CONFIG, arg, "is not a known option");
    if (option->set) {
        if (arg[len])
            return tr_fail(err, TR_E_CONFIG, option->name, "the option takes no value");
        *option->set = true;
        return TR_OK;
    }
    if (arg[len])
        return take(option, arg + len + 1, err);
    if (*i + 1 >= argc)
        return tr_fail(err, TR_E_CONFIG, option->name, "the option needs a value");
    return take(option, argv[++*i], err);
}

static tr_status read_all(int argc, char **argv, tr_command_line *line, tr_error *err) {
    size_t words = 0;
    bool options_end = false;
    for (int i = 0; i < argc; i++) {
        if (!options_end && strcmp(argv[i], "--") == 0) {
            options_end = true;
        } else if (!options_end && argv[i][0] == '-' && argv[i][1]) {
            tr_status st = read_option(argc, argv, &i, line, err);
            if (st != TR_OK)
                return st;
        } else if (words == line->word_count || words == TR_WORDS_MAX) {
            return tr_fail(err, TR_E_CONFIG, argv[i], "is one argument too many; usage: %s", line->usage);
        } else {
            line->words[words++] = argv[i];
        }
    }
    return words == line->word_count
               ? TR_OK
               : tr_fail(err, TR_E_CONFIG, NULL, "an argument is missing; usage: %s", line->usage);
}

tr_status tr_options_read(int argc, char **argv, tr_command_line *line, tr_config *config, tr_error *err) {
    const char *own[OPTIONS_MAX + 1] = {0};
    if (!config)
        return read_all(argc, argv, line, err);
    for (size_t i = 0; i < line->option_count && i < OPTIONS_MAX; i++)
        own[i] = line->options[i].name;
    int rest_count = 0;
    char **rest = calloc((size_t)argc + 1, sizeof *rest);
    tr_status st = rest ? tr_config_load(argc, argv, own, config, rest, &rest_count, err)
                        : tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    if (st == TR_OK)
        st = read_all(rest_count, rest, line, err);
    free(rest);
    return st;
}

tr_status tr_option_number(const char *name, const char *text, long least, long most, long *value,
                           tr_error *err) {
    char *end = NULL;
    errno = 0;
    long number = strtol(text, &end, 10);
    if (errno || end == text || *end || number < least || number > most)
        return tr_fail(err, TR_E_CONFIG, name, "must be a number from %ld to %ld", least, most);
    *value = number;
    return TR_OK;
}
