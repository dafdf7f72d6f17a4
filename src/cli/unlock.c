#include "cli/unlock.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "cli/cli.h"
#include "vault/vault.h"

#define LINE_ROOM 512 /* bytes of a line that holds a share */

/* ---- reading one ---- */

/* A line of stdin, without its end; nothing of it stays in a buffer of stdio. */
static tr_status read_line(tr_secret *line, size_t *len, bool *end, tr_error *err) {
    char c = 0;
    *len = 0;
    *end = false;
    for (;;) {
        ssize_t n = read(STDIN_FILENO, &c, 1);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return tr_fail_errno(err, "stdin", "cannot be read");
        if (n == 0)
            *end = true;
        if (n == 0 || c == '\n')
            return TR_OK;
        if (*len == line->len)
            return tr_fail(err, TR_E_WRONG_KEY, "stdin", "the line is too long for a share");
        line->data[(*len)++] = (uint8_t)c;
    }
}

static bool is_blank(const tr_secret *line, size_t len) {
    size_t i = 0;
    while (i < len && strchr(" \t\r", line->data[i]))
        i++;
    return i == len;
}

/* The next line with something in it. */
static tr_status read_filled_line(tr_secret *line, size_t *len, tr_error *err) {
    bool end = false;
    tr_status st;
    do
        st = read_line(line, len, &end, err);
    while (st == TR_OK && !end && is_blank(line, *len));
    if (st == TR_OK && is_blank(line, *len))
        return tr_fail(err, TR_E_SHARES, "stdin", "there is no share");
    return st;
}

static tr_status ask(const char *prompt, tr_secret *line, size_t *len, tr_error *err) {
    struct termios before;
    bool terminal = isatty(STDIN_FILENO) && tcgetattr(STDIN_FILENO, &before) == 0;
    if (!terminal)
        return read_filled_line(line, len, err);
    struct termios quiet = before;
    quiet.c_lflag &= ~(tcflag_t)ECHO;
    fputs(prompt, stderr);
    (void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
    tr_status st = read_filled_line(line, len, err);
    (void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
    fputc('\n', stderr);
    return st;
}

tr_status tr_cli_read_share(const char *file, const char *prompt, tr_secret *share, tr_error *err) {
    tr_secret line = TR_SECRET_INIT;
    size_t len = 0;
    if (file)
        return tr_secret_from_file(share, file, err);
    tr_status st = tr_secret_alloc(&line, LINE_ROOM, err);
    if (st == TR_OK)
        st = ask(prompt, &line, &len, err);
    if (st == TR_OK)
        st = tr_secret_copy(share, line.data, len, err);
    tr_secret_clear(&line);
    return st;
}

/* ---- all of them ---- */

typedef struct shares {
    tr_secret texts[TR_SHARES_MAX];
    int numbers[TR_SHARES_MAX];
    size_t count;
} shares;

/* Is the text a share that is not there yet? The keyring calls a wrong one a matter of configuration; here it
 * is the key. */
static tr_status check_share(const char *ring_path, const shares *s, const char *file, int *number,
                             tr_error *err) {
    const char *where = file ? file : "share";
    tr_status st = tr_keyring_check_share(ring_path, &s->texts[s->count], number, err);
    if (st == TR_E_CONFIG)
        return tr_fail(err, TR_E_WRONG_KEY, where, "%s", err->what);
    for (size_t i = 0; st == TR_OK && i < s->count; i++) {
        if (s->numbers[i] == *number)
            return tr_fail(err, TR_E_WRONG_KEY, where, "share %d is given twice", *number);
    }
    return st;
}

static tr_status take_share(const char *ring_path, const tr_keyring_need *need, const char *file, shares *s,
                            tr_error *err) {
    char prompt[64];
    (void)snprintf(prompt, sizeof prompt, "share (%zu of %d): ", s->count + 1, need->threshold);
    for (;;) {
        tr_status st = tr_cli_read_share(file, prompt, &s->texts[s->count], err);
        if (st == TR_OK)
            st = check_share(ring_path, s, file, &s->numbers[s->count], err);
        if (st == TR_OK)
            s->count++;
        if (st != TR_E_WRONG_KEY || file || !isatty(STDIN_FILENO))
            return st;
        (void)tr_cli_report(err); /* a person may try again */
    }
}

tr_status tr_cli_shares(const char *ring_path, const tr_keyring_need *need, const tr_option_list *files,
                        tr_secret *passphrase, tr_error *err) {
    shares s = {.count = 0};
    tr_error fault = {0};
    bool by_file = files && files->count > 0;
    size_t wanted = (size_t)need->threshold;
    tr_status st = TR_OK;
    while (st == TR_OK && s.count < wanted && (!by_file || s.count < files->count))
        st = take_share(ring_path, need, by_file ? files->items[s.count] : NULL, &s, &fault);
    if (st == TR_E_SHARES || (st == TR_OK && s.count < wanted))
        st = tr_fail(&fault, TR_E_SHARES, "keyring", "%d shares of %d open it; there are only %zu",
                     need->threshold, need->shares, s.count);
    if (st == TR_OK)
        st = tr_keyring_combine(ring_path, s.texts, s.count, passphrase, &fault);
    for (size_t i = 0; i < TR_SHARES_MAX; i++)
        tr_secret_clear(&s.texts[i]);
    if (st != TR_OK && err)
        *err = fault;
    return st;
}

tr_status tr_cli_has_vault(const tr_config *config, tr_error *err) {
    char path[600];
    tr_status st = tr_config_path(config, TR_RING, path, sizeof path, err);
    if (st == TR_OK && access(path, F_OK) != 0 && errno == ENOENT)
        st = tr_fail(err, TR_E_CONFIG, config->data, "holds no vault: `tresor init` makes one");
    return st;
}

tr_status tr_cli_unlock(const tr_config *config, const tr_option_list *share_files, tr_secret *passphrase,
                        tr_error *err) {
    char path[600];
    tr_keyring_need need;
    tr_status st = tr_cli_has_vault(config, err);
    if (st == TR_OK)
        st = tr_config_path(config, TR_RING, path, sizeof path, err);
    if (st == TR_OK)
        st = tr_vault_ring_need(config, &need, err);
    if (st != TR_OK)
        return st;
    return strcmp(need.provider, "split") == 0 ? tr_cli_shares(path, &need, share_files, passphrase, err)
                                               : tr_cli_passphrase(config, passphrase, err);
}
