/* tresor call: one request with the session's token. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "cli/cli.h"
#include "cli/connection.h"
#include "cli/exchange.h"
#include "cli/options.h"

static const char help[] =
    "Send one request with the session's single-use token and print the answer's body. The next token is "
    "saved in the\n"
    "session file before anything is printed. Calls with the same session file wait for each other.\n"
    "\n"
    "Usage: tresor call METHOD PATH [OPTION...]\n"
    "\n"
    "  --json TEXT        the body\n"
    "  --data-file FILE   the body from a file; - is stdin\n"
    "  --type TYPE        the body's Content-Type [application/json; for PATCH "
    "application/merge-patch+json;\n"
    "                     for a FILE ending in .ndjson application/x-ndjson]\n"
    "  --purpose ID       the processing activity it is for (Access-Purpose), for services\n"
    "  --header LINE      a further header, 'Name: value'; may be repeated. Idempotency-Key too; else one is "
    "made\n"
    "  --include          print the status line and the headers too, without the token\n" TR_CONNECTION_HELP
    "\n"
    "When the connection breaks before the answer is there, the same request is tried again for 25 s, which "
    "has no second\n"
    "effect. Was the call killed, repeat it within 30 s: the answer comes, and the session goes on.\n"
    "The exit code is 0 for an answer of 2xx.\n";

struct arguments {
    tr_connection_options connection;
    const char *json, *data_file, *type, *purpose;
    tr_option_list headers;
    bool include;
};

/* ---- the request ---- */

static bool ends_with(const char *text, const char *end) {
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

static const char *content_type(const struct arguments *a, const char *method) {
    if (a->type)
        return a->type;
    if (a->data_file && ends_with(a->data_file, ".ndjson"))
        return "application/x-ndjson";
    return strcmp(method, "PATCH") == 0 ? "application/merge-patch+json" : "application/json";
}

static bool has_control(const char *text) {
    for (; *text; text++) {
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            return true;
    }
    return false;
}

static tr_status check_method(const char *method, tr_error *err) {
    size_t n = strlen(method);
    if (n == 0 || n > 15 || strspn(method, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != n)
        return tr_fail(err, TR_E_CONFIG, "METHOD", "is not a method in capital letters, as GET or POST");
    return TR_OK;
}

static tr_status check_path(const char *path, tr_error *err) {
    if (path[0] != '/' || strlen(path) > 4000)
        return tr_fail(err, TR_E_CONFIG, "PATH", "does not begin with /, or is longer than 4000 characters");
    if (has_control(path) || strpbrk(path, " #"))
        return tr_fail(err, TR_E_CONFIG, "PATH",
                       "holds a space, a control character or #: percent-encode it");
    return TR_OK;
}

/* Is the line the header `name`? Gives where its value begins. */
static const char *header_value(const char *line, const char *name) {
    size_t n = strlen(name);
    if (strncasecmp(line, name, n) != 0 || line[n] != ':')
        return NULL;
    return line + n + 1 + strspn(line + n + 1, " \t");
}

/* Refuse what this command sends itself; take the Idempotency-Key out of the list into *key. */
static tr_status read_headers(tr_option_list *list, const char **key, tr_error *err) {
    static const struct {
        const char *name, *instead;
    } own[] = {{"access-token", "the session gives it"},
               {"client", "the session gives it"},
               {"uid", "the session gives it"},
               {"Authorization", "the session gives it"},
               {"Content-Type", "give it with --type"},
               {"Access-Purpose", "give it with --purpose"},
               {"Content-Length", "the body gives it"},
               {"Transfer-Encoding", "the body gives it"},
               {"Connection", "it is the connection's own"},
               {"Expect", "it is the connection's own"},
               {"Host", "the URL gives it"}};
    size_t kept = 0;
    for (size_t i = 0; i < list->count; i++) {
        const char *item = list->items[i];
        size_t name = strcspn(item, ":");
        if (name == 0 || item[name] == '\0' || strcspn(item, " \t;") < name || has_control(item))
            return tr_fail(err, TR_E_CONFIG, "--header", "is not 'Name: value'");
        for (size_t j = 0; j < sizeof own / sizeof *own; j++) {
            if (header_value(item, own[j].name))
                return tr_fail(err, TR_E_CONFIG, "--header", "%s is not given here: %s", own[j].name,
                               own[j].instead);
        }
        const char *value = header_value(item, "Idempotency-Key");
        if (!value)
            list->items[kept++] = item;
        else if (*key || strlen(value) > 255)
            return tr_fail(err, TR_E_CONFIG, "--header",
                           "Idempotency-Key is given twice, or has more than 255 characters");
        else
            *key = value;
    }
    list->count = kept;
    return TR_OK;
}

static tr_status open_body(const struct arguments *a, tr_cli_body *body, tr_error *err) {
    *body = TR_CLI_NO_BODY;
    if (a->json && a->data_file)
        return tr_fail(err, TR_E_CONFIG, "--data-file", "is given together with --json");
    if (a->data_file)
        return tr_cli_body_open(a->data_file, body, err);
    if (a->json) {
        body->text = a->json;
        body->len = (int64_t)strlen(a->json);
    } else if (a->type) {
        return tr_fail(err, TR_E_CONFIG, "--type", "is given without a body");
    }
    return TR_OK;
}

/* ---- the answer ---- */

static tr_status print(const char *text, size_t len, tr_error *err) {
    return tr_cli_write(text, len, err);
}

/* The token is in the session file; on the screen it would only be seen by others. */
static tr_status print_head(void *context, const tr_client_response *response, tr_error *err) {
    tr_buf out = TR_BUF_INIT;
    (void)context;
    for (const char *line = response->head.data, *end; line && (end = strchr(line, '\n')); line = end + 1) {
        if (header_value(line, TR_SESSION_TOKEN))
            tr_buf_puts(&out, TR_SESSION_TOKEN ": (kept in the session file)");
        else
            tr_buf_append(&out, line, (size_t)(end - line));
        tr_buf_putc(&out, '\n');
    }
    tr_buf_putc(&out, '\n');
    tr_status st = tr_buf_ok(&out, err);
    if (st == TR_OK)
        st = print(out.data, out.len, err);
    tr_buf_clear(&out);
    return st;
}

static tr_status print_body(void *context, const tr_client_response *response, const char *bytes, size_t n,
                            tr_error *err) {
    char *last = context;
    (void)response;
    if (n > 0)
        *last = bytes[n - 1];
    return print(bytes, n, err);
}

/* JSON on one line gets its newline for the terminal; a file is what it is. */
static bool is_json(const tr_client_response *response) {
    for (const char *line = response->head.data, *end; line && (end = strchr(line, '\n')); line = end + 1) {
        const char *value = header_value(line, "content-type");
        const char *json = value ? strstr(value, "json") : NULL;
        if (value)
            return json && json < end;
    }
    return false;
}

/* ---- all ---- */

static tr_status call(const struct arguments *a, const tr_exchange *wanted, long *status, tr_error *err) {
    tr_connection connection;
    tr_cli_body body;
    tr_exchange exchange = *wanted;
    tr_exchange_answer answer = TR_EXCHANGE_ANSWER_INIT;
    char last = '\n';
    tr_status st = open_body(a, &body, err);
    memset(&connection, 0, sizeof connection);
    if (st != TR_OK)
        goto out;
    TR_TRY(tr_connection_open(&a->connection, false, &connection, err));
    exchange.session = connection.session;
    exchange.client = connection.client;
    if (a->json || a->data_file) {
        exchange.body = &body;
        exchange.content_type = content_type(a, exchange.method);
    }
    exchange.sink = (tr_client_handler){a->include ? print_head : NULL, print_body, &last};
    TR_TRY(tr_exchange_run(&exchange, &answer, err));
    *status = answer.response.status;
    if (last != '\n' && is_json(&answer.response))
        TR_TRY(print("\n", 1, err));
    if (answer.advice[0])
        fprintf(stderr, "tresor: %s\n", answer.advice);
out:
    tr_exchange_answer_clear(&answer);
    tr_connection_close(&connection);
    tr_cli_body_close(&body);
    return st;
}

static int run(int argc, char **argv) {
    struct arguments a = {0};
    const tr_option options[] = {
        TR_CONNECTION_OPTIONS(&a.connection),           {.name = "--json", .value = &a.json},
        {.name = "--data-file", .value = &a.data_file}, {.name = "--type", .value = &a.type},
        {.name = "--purpose", .value = &a.purpose},     {.name = "--header", .list = &a.headers},
        {.name = "--include", .set = &a.include},
    };
    tr_command_line line = {.options = options,
                            .option_count = sizeof options / sizeof *options,
                            .word_count = 2,
                            .usage = "tresor call METHOD PATH [OPTION...]"};
    tr_exchange exchange = {0};
    tr_error err = {0};
    long status = 0;
    tr_status st = tr_options_read(argc, argv, &line, NULL, &err);
    if (st == TR_OK)
        st = check_method(line.words[0], &err);
    if (st == TR_OK)
        st = check_path(line.words[1], &err);
    if (st == TR_OK && ((a.type && has_control(a.type)) || (a.purpose && has_control(a.purpose))))
        st = tr_fail(&err, TR_E_CONFIG, a.type && has_control(a.type) ? "--type" : "--purpose",
                     "holds a control character");
    if (st == TR_OK)
        st = read_headers(&a.headers, &exchange.key, &err);
    exchange.method = line.words[0];
    exchange.path = line.words[1];
    exchange.purpose = a.purpose;
    exchange.headers = a.headers.items;
    exchange.header_count = a.headers.count;
    if (st == TR_OK)
        st = call(&a, &exchange, &status, &err);
    if (st != TR_OK)
        return tr_cli_report(&err);
    return status / 100 == 2 ? TR_EXIT_OK : TR_EXIT_FAILURE;
}

const tr_cli_command tr_cli_call = {
    .name = "call",
    .meaning = "send one request with the session's token",
    .help = help,
    .run = run,
};
