/* Requests as a hostile client sends them, through the whole of the api layer to a real vault: routes,
 * headers, tokens, cursors, JSON bodies, imports. An input is
 *
 *   a character that says who asks (s service, p data subject, o officer, k operator, a auditor, else nobody)
 *   METHOD TARGET, a line; headers, a line each; an empty line; the body
 *
 * in which $S, $R, $G, $A and $P stand for the ids of a subject, a record, a grant, an activity and a
 * principal that exist. Whatever comes: no 500, what says it is JSON is JSON, and whoever was let in gets a
 * next token, or has no session any more.
 */
#include "api/api.h"

#include <dirent.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>

#include "base/json.h"
#include "base/log.h"
#include "fuzz_file.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define HEADERS_MAX 16
#define PASSWORD    "a password of the fuzzer"
#define PEOPLE      "spoka"

enum { SERVICE, PERSON, OFFICER, OPERATOR, AUDITOR, COUNT };

typedef struct person {
    char uid[300], token[128], client[64];
} person;

static struct {
    char folder[64];
    tr_config config;
    tr_vault *vault;
    tr_api *api;
    person people[COUNT];
    char ids[5][TR_UUID_TEXT]; /* S R G A P */
} world;

static void require(bool good, const char *what) {
    if (!good) {
        (void)fprintf(stderr, "fuzz_api: %s\n", what);
        abort();
    }
}

/* ---- a request from memory ---- */

typedef struct transport {
    char *names[HEADERS_MAX], *values[HEADERS_MAX];
    int count;
    const char *body;
    size_t left;
} transport;

static const char *header(const tr_request *request, const char *name, bool *twice) {
    const transport *t = request->transport;
    const char *found = NULL;
    for (int i = 0; i < t->count; i++) {
        if (strcasecmp(t->names[i], name) != 0)
            continue;
        if (found && twice)
            *twice = true;
        found = found ? found : t->values[i];
    }
    return found;
}

static long read_body(tr_request *request, void *buf, size_t n) {
    transport *t = request->transport;
    size_t take = t->left < n ? t->left : n;
    memcpy(buf, t->body, take);
    t->body += take;
    t->left -= take;
    return (long)take;
}

static void add(transport *t, char *name, char *value) {
    if (t->count < HEADERS_MAX) {
        t->names[t->count] = name;
        t->values[t->count++] = value;
    }
}

static tr_status swallow(void *context, const void *bytes, size_t len, tr_error *err) {
    (void)bytes, (void)err;
    *(size_t *)context += len;
    return TR_OK;
}

static void handle(const char *method, char *target, transport *t, person *who, tr_response *response) {
    static char token_name[] = "access-token", client_name[] = "client", uid_name[] = "uid";
    char none[] = "", *query = strchr(target, '?');
    if (query)
        *query++ = '\0';
    if (who) {
        add(t, token_name, who->token);
        add(t, client_name, who->client);
        add(t, uid_name, who->uid);
    }
    tr_request request = {.method = method,
                          .path = target,
                          .query = query ? query : none,
                          .peer = who ? "::1" : "127.0.0.1",
                          .id = tr_uuid_new(),
                          .has_body = t->left > 0,
                          .content_length = (int64_t)t->left,
                          .header = header,
                          .read = read_body,
                          .transport = t};
    tr_response_init(response);
    tr_api_handle(world.api, &request, response);
    size_t streamed = 0;
    tr_error err = {0};
    if (response->stream)
        (void)response->stream(response->stream_context, swallow, &streamed, &err);
}

static const char *answered(const tr_response *response, const char *name) {
    for (int i = 0; i < response->header_count; i++) {
        if (strcasecmp(response->headers[i].name, name) == 0)
            return response->headers[i].value;
    }
    return NULL;
}

static bool next_token(person *who, const tr_response *response) {
    const char *token = answered(response, "access-token"), *client = answered(response, "client");
    if (!token || !client)
        return false;
    (void)snprintf(who->token, sizeof who->token, "%s", token);
    (void)snprintf(who->client, sizeof who->client, "%s", client);
    return true;
}

/* ---- the world: made by the API itself ---- */

/* What the harness itself asks for; the answer's tree is the caller's, NULL when it was no success. */
static cJSON *ask(person *who, const char *method, const char *path, const char *body) {
    static char type_name[] = "Content-Type", type[] = "application/json";
    transport t = {.body = body, .left = strlen(body)};
    tr_response response;
    char target[200];
    cJSON *tree = NULL;
    (void)snprintf(target, sizeof target, "%s", path);
    if (t.left > 0)
        add(&t, type_name, type);
    handle(method, target, &t, who && who->client[0] ? who : NULL, &response);
    if (who)
        (void)next_token(who, &response);
    if (response.status / 100 == 2 && response.body.len > 0)
        require(tr_json_parse(response.body.data, response.body.len, &tree, NULL) == TR_OK,
                "an answer that is not JSON");
    else if (response.status / 100 == 2)
        tree = cJSON_CreateObject();
    tr_response_clear(&response);
    return tree;
}

static bool done(cJSON *answer) {
    cJSON_Delete(answer);
    return answer != NULL;
}

static bool sign_in(person *who, const char *password) {
    char body[500];
    who->client[0] = who->token[0] = '\0';
    (void)snprintf(body, sizeof body, "{\"uid\":\"%s\",\"password\":\"%s\"}", who->uid, password);
    return done(ask(who, "POST", "/auth/sign_in", body)) && who->client[0];
}

static bool begin(person *who, const char *uid, const char *password) {
    char body[300];
    (void)snprintf(who->uid, sizeof who->uid, "%s", uid);
    (void)snprintf(body, sizeof body, "{\"current_password\":\"%s\",\"password\":\"%s\"}", password,
                   PASSWORD);
    return sign_in(who, password) && done(ask(who, "PUT", "/v1/auth/password", body));
}

static bool take_id(cJSON *answer, int n) {
    const char *id = tr_json_string(answer, "id");
    if (id)
        (void)snprintf(world.ids[n], sizeof world.ids[n], "%s", id);
    cJSON_Delete(answer);
    return id != NULL;
}

static bool register_person(person *who, const char *role, const char *more, bool keep) {
    char body[400];
    (void)snprintf(body, sizeof body, "{\"uid\":\"%s@fuzz.example\",\"role\":\"%s\"%s}", role, role, more);
    cJSON *answer = ask(&world.people[OPERATOR], "POST", "/v1/principals", body);
    const char *password = tr_json_string(answer, "password"), *uid = tr_json_string(answer, "uid");
    bool good = password && uid && begin(who, uid, password);
    if (keep)
        return take_id(answer, 4) && good;
    cJSON_Delete(answer);
    return good;
}

static bool populate(void) {
    char body[600], path[100], more[80];
    person *officer = &world.people[OFFICER], *service = &world.people[SERVICE],
           *subject = &world.people[PERSON];
    if (!done(ask(officer, "PUT", "/v1/types/contact",
                  "{\"type\":\"object\",\"properties\":{\"name\":{\"type\":\"string\",\"x-index\":true,\"x-"
                  "mask\":\"initial\"}}}")) ||
        !take_id(ask(officer, "POST", "/v1/activities", "{\"name\":\"fuzz\",\"purpose\":\"testing\"}"), 3) ||
        !register_person(service, "service", ",\"may_register\":true", true) ||
        !take_id(ask(service, "POST", "/v1/subjects", "{}"), 0))
        return false;
    (void)snprintf(more, sizeof more, ",\"subject\":\"%s\"", world.ids[0]);
    (void)snprintf(path, sizeof path, "/v1/subjects/%s/grants", world.ids[0]);
    (void)snprintf(body, sizeof body,
                   "{\"grantee\":\"%s\",\"types\":[\"contact\"],\"actions\":[\"read\",\"write\",\"export\"],"
                   "\"activity\":\"%s\"}",
                   world.ids[4], world.ids[3]);
    if (!register_person(subject, "subject", more, false) || !take_id(ask(subject, "POST", path, body), 2))
        return false;
    (void)snprintf(path, sizeof path, "/v1/subjects/%s/records", world.ids[0]);
    return take_id(ask(subject, "POST", path, "{\"type\":\"contact\",\"data\":{\"name\":\"Fuzz\"}}"), 1);
}

static void end_world(void) {
    tr_api_free(world.api);
    tr_vault_close(world.vault);
    DIR *dir = opendir(world.folder);
    for (struct dirent *entry; dir && (entry = readdir(dir));)
        (void)unlinkat(dirfd(dir), entry->d_name, 0);
    if (dir)
        (void)closedir(dir);
    (void)rmdir(world.folder);
    memset(&world, 0, sizeof world);
}

static void make_world(void) {
    char *rest[1];
    int rest_count = 0;
    tr_error err = {0};
    tr_first_credentials first;
    tr_secret passphrase = TR_SECRET_INIT;
    fuzz_folder(world.folder, sizeof world.folder);
    require(tr_config_load(0, NULL, NULL, &world.config, rest, &rest_count, &err) == TR_OK, err.what);
    (void)snprintf(world.config.data, sizeof world.config.data, "%s", world.folder);
    require(tr_secret_copy(&passphrase, "fuzz", 4, &err) == TR_OK, err.what);
    const tr_keyring_spec spec = {.provider = "file", .passphrase = &passphrase};
    require(tr_vault_init(&world.config, &spec, &first, &err) == TR_OK, err.what);
    require(tr_vault_open(&world.config, &passphrase, &world.vault, &err) == TR_OK, err.what);
    require(tr_api_new(world.vault, &world.api, &err) == TR_OK, err.what);
    static const int places[3] = {OPERATOR, OFFICER, AUDITOR};
    for (int i = 0; i < 3; i++)
        require(begin(&world.people[places[i]], first.items[i].uid, first.items[i].password),
                "the first credentials do not work");
    require(populate(), "the world could not be made");
    tr_wipe(&first, sizeof first);
    tr_secret_clear(&passphrase);
}

/* Whoever lost the session signs in again; what cannot be mended is made anew. */
static void mend_world(person *who) {
    person *subject = &world.people[PERSON];
    char path[100];
    (void)snprintf(path, sizeof path, "/v1/subjects/%s", world.ids[0]);
    bool good = (!who || who->client[0] || sign_in(who, PASSWORD)) && done(ask(subject, "GET", path, ""));
    if (!good) {
        end_world();
        make_world();
    }
}

/* ---- an input ---- */

static size_t expand(const char *text, size_t size, char *out, size_t room) {
    static const char names[] = "SRGAP";
    size_t n = 0;
    for (size_t i = 0; i < size && n + TR_UUID_TEXT < room; i++) {
        const char *name = text[i] == '$' && i + 1 < size ? memchr(names, text[i + 1], 5) : NULL;
        if (!name) {
            out[n++] = text[i];
            continue;
        }
        n += (size_t)snprintf(out + n, room - n, "%s", world.ids[name - names]);
        i++;
    }
    out[n] = '\0';
    return n;
}

static char *next_line(char **rest, char *end) {
    char *line = *rest, *newline = line < end ? memchr(line, '\n', (size_t)(end - line)) : NULL;
    if (!newline)
        return NULL;
    *newline = '\0';
    *rest = newline + 1;
    return line;
}

static void check(const tr_response *response, person *who) {
    cJSON *tree = NULL;
    int status = response->status;
    require(status >= 200 && status <= 507 && status != 500, "a status that must not be");
    require(status / 100 != 5 || status == 503 || status == 507, "a server error");
    if (response->content_type && strstr(response->content_type, "json") &&
        !strstr(response->content_type, "ndjson") && response->body.len > 0) {
        require(tr_json_parse(response->body.data, response->body.len, &tree, NULL) == TR_OK,
                "an answer that is not JSON");
        cJSON_Delete(tree);
    }
    if (who && !next_token(who, response))
        who->client[0] = '\0';
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc, (void)argv;
    tr_log_set_level(TR_LOG_ERROR);
    make_world();
    return atexit(end_world);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static char text[70000];
    if (size < 2 || size > 60000)
        return 0;
    const char *role = data[0] ? strchr(PEOPLE, data[0]) : NULL;
    person *who = role ? &world.people[role - PEOPLE] : NULL;
    size_t len = expand((const char *)data + 1, size - 1, text, sizeof text);
    char *rest = text, *method = next_line(&rest, text + len), *target = method ? strchr(method, ' ') : NULL,
         *line;
    transport t = {0};
    if (!target || target[1] != '/')
        return 0;
    *target++ = '\0';
    while ((line = next_line(&rest, text + len)) && *line) {
        char *colon = strchr(line, ':');
        if (colon) {
            *colon = '\0';
            add(&t, line, colon + 1 + strspn(colon + 1, " "));
        }
    }
    t.body = rest;
    t.left = len - (size_t)(rest - text);
    tr_response response;
    handle(method, target, &t, who, &response);
    check(&response, who);
    tr_response_clear(&response);
    mend_world(who);
    return 0;
}
