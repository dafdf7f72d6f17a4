/* load: requests over TLS with keep-alive, each connection with its own chain of single-use tokens. For
 * tests/bench.
 *
 *   load HOST PORT SECONDS [VALUES [once]] < LANES
 *
 * LANES: first line "METHOD PATH", then "name: value" header lines, a blank line, and the body up to a line
 * "."; then a line "token client uid" for each connection, or just "-" for one without credentials. "{}" in
 * the path and in the body stands for a line of the file VALUES: any of them, or with `once` each in its
 * turn, and the run ends with them. Prints one JSON object, with the lanes' next tokens ("" for a lane that
 * broke).
 */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define LANES_MAX    256
#define SAMPLES_MAX  400000
#define RESPONSE_MAX (1024 * 1024)
#define VALUES_MAX   1000000
#define VALUE_MAX    256

static char request_head[4096], body[65536], first_line[512];
static struct sockaddr_in address;
static double seconds;
static SSL_CTX *context;
static char **values;
static size_t value_count;
static bool each_once;
static atomic_size_t next_value;
static atomic_int answer_bytes; /* of an answer, head included */
static pthread_barrier_t connected;

typedef struct lane {
    pthread_t thread;
    char token[128], client[64], uid[256];
    bool anonymous;
    int count, failures;
    int first_failure;
    uint64_t random;
    float *samples; /* microseconds */
} lane;

static double now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static SSL *open_connection(int *fd) {
    int yes = 1;
    *fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (*fd < 0 || connect(*fd, (struct sockaddr *)&address, sizeof address) != 0)
        return NULL;
    setsockopt(*fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    SSL *ssl = SSL_new(context);
    SSL_set_fd(ssl, *fd);
    return SSL_connect(ssl) == 1 ? ssl : NULL;
}

/* The whole response into room; returns its status, 0 when it is broken. */
static int read_response(SSL *ssl, char *room) {
    int have = 0;
    char *end = NULL;
    while (!end && have < RESPONSE_MAX - 1) {
        int n = SSL_read(ssl, room + have, RESPONSE_MAX - 1 - have);
        if (n <= 0)
            return 0;
        have += n;
        room[have] = 0;
        end = strstr(room, "\r\n\r\n");
    }
    char *length = end ? strcasestr(room, "\r\ncontent-length:") : NULL;
    long wanted = length && length < end ? strtol(length + 17, NULL, 10) : 0;
    for (long got = end ? have - (end + 4 - room) : 0; end && got < wanted;) {
        int n = SSL_read(ssl, room + RESPONSE_MAX / 2, RESPONSE_MAX / 2 - 1);
        if (n <= 0)
            return 0;
        got += n;
    }
    if (end)
        atomic_store_explicit(&answer_bytes, (int)(end + 4 - room + wanted), memory_order_relaxed);
    return end ? (int)strtol(room + 9, NULL, 10) : 0;
}

static bool take_token(lane *l, char *response) {
    char *at = strcasestr(response, "\r\naccess-token: ");
    char *end = at ? strstr(at + 16, "\r\n") : NULL;
    if (!end || (size_t)(end - at - 16) >= sizeof l->token)
        return false;
    memcpy(l->token, at + 16, (size_t)(end - at - 16));
    l->token[end - at - 16] = 0;
    return true;
}

/* NULL: they are used up. */
static const char *take_value(lane *l) {
    if (value_count == 0)
        return "";
    if (each_once) {
        size_t at = atomic_fetch_add(&next_value, 1);
        return at < value_count ? values[at] : NULL;
    }
    l->random ^= l->random << 13; /* xorshift64 */
    l->random ^= l->random >> 7;
    l->random ^= l->random << 17;
    return values[l->random % value_count];
}

static size_t fill(char *out, const char *template, const char *value) {
    const char *hole = value[0] ? strstr(template, "{}") : NULL;
    return (size_t)(hole ? sprintf(out, "%.*s%s%s", (int)(hole - template), template, value, hole + 2)
                         : sprintf(out, "%s", template));
}

/* Its length. */
static int make_request(const lane *l, const char *value, char *request) {
    static _Thread_local char filled[sizeof body + VALUE_MAX];
    char credentials[600] = "";
    if (!l->anonymous)
        snprintf(credentials, sizeof credentials, "access-token: %s\r\nclient: %s\r\nuid: %s\r\n", l->token,
                 l->client, l->uid);
    int n = (int)fill(request, first_line, value);
    n += sprintf(request + n, " HTTP/1.1\r\nHost: localhost\r\n%s%s", request_head, credentials);
    if (!body[0])
        return n + sprintf(request + n, "\r\n");
    size_t len = fill(filled, body, value);
    return n + sprintf(request + n, "Content-Length: %zu\r\n\r\n%s", len, filled);
}

static void *run(void *argument) {
    lane *l = argument;
    const char *value;
    char *room = malloc(RESPONSE_MAX),
         *request = malloc(sizeof request_head + sizeof first_line + sizeof body + 2 * VALUE_MAX + 1024);
    int fd;
    SSL *ssl = open_connection(&fd);
    pthread_barrier_wait(&connected);
    double start = now_us(), after = start;
    while (ssl && after - start < seconds * 1e6 && l->count < SAMPLES_MAX &&
           (value = take_value(l)) != NULL) {
        int n = make_request(l, value, request);
        double before = now_us(); /* what a client does between two requests is not theirs */
        int status = SSL_write(ssl, request, n) == n ? read_response(ssl, room) : 0;
        after = now_us();
        l->samples[l->count++] = (float)(after - before);
        if (status < 200 || status > 299) {
            if (!l->failures++)
                l->first_failure = status;
        }
        if (status == 0 || (!l->anonymous && !take_token(l, room))) {
            l->token[0] = 0;
            break;
        }
        char *head_end = strstr(room, "\r\n\r\n"), *close_header = strcasestr(room, "\r\nconnection: close");
        if (close_header && close_header < head_end) { /* its turn is over: others wait for a thread */
            SSL_free(ssl);
            close(fd);
            ssl = open_connection(&fd);
        }
    }
    if (ssl)
        SSL_free(ssl);
    else
        l->failures++;
    close(fd);
    free(room);
    free(request);
    return NULL;
}

static int ascending(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static void append(char *room, size_t size, const char *text, const char *end) {
    size_t n = strlen(room), more = strlen(text) + strlen(end);
    if (n + more >= size)
        abort(); /* more than the benchmarks send */
    memcpy(room + n, text, strlen(text));
    memcpy(room + n + strlen(text), end, strlen(end) + 1);
}

static bool read_input(lane *lanes, int *count) {
    static char line[65536];
    if (!fgets(first_line, sizeof first_line, stdin))
        return false;
    first_line[strcspn(first_line, "\n")] = 0;
    while (fgets(line, sizeof line, stdin) && line[0] != '\n') {
        line[strcspn(line, "\n")] = 0;
        append(request_head, sizeof request_head, line, "\r\n");
    }
    while (fgets(line, sizeof line, stdin) && strcmp(line, ".\n") != 0)
        append(body, sizeof body, line, "");
    for (*count = 0; *count < LANES_MAX && fgets(line, sizeof line, stdin); (*count)++) {
        lane *l = &lanes[*count];
        l->anonymous = strcmp(line, "-\n") == 0; /* a token may begin with a dash */
        if (!l->anonymous && sscanf(line, "%127s %63s %255s", l->token, l->client, l->uid) != 3)
            return false;
        l->samples = malloc(SAMPLES_MAX * sizeof *l->samples);
    }
    return *count > 0;
}

static bool read_values(const char *file) {
    char line[VALUE_MAX];
    FILE *in = fopen(file, "re");
    values = calloc(VALUES_MAX, sizeof *values);
    while (in && values && value_count < VALUES_MAX && fgets(line, sizeof line, in)) {
        line[strcspn(line, "\n")] = 0;
        values[value_count++] = strdup(line);
    }
    if (in)
        fclose(in);
    return value_count > 0;
}

static double cpu_seconds(void) {
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
           (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

static void print_tokens(const lane *lanes, int count) {
    fputs("\"tokens\":[", stdout);
    for (int i = 0; i < count; i++)
        printf("%s\"%s\"", i ? "," : "", lanes[i].token);
    puts("]}");
}

int main(int argc, char **argv) {
    static lane lanes[LANES_MAX];
    int count = 0, total = 0, failures = 0, first_failure = 0;
    each_once = argc == 6 && strcmp(argv[5], "once") == 0;
    if (argc < 4 || argc > 6 || (argc == 6 && !each_once) || (argc > 4 && !read_values(argv[4])) ||
        !read_input(lanes, &count))
        return 2;
    signal(SIGPIPE, SIG_IGN);
    address.sin_family = AF_INET;
    address.sin_port = htons((uint16_t)strtol(argv[2], NULL, 10));
    if (inet_pton(AF_INET, argv[1], &address.sin_addr) != 1 || (ntohl(address.sin_addr.s_addr) >> 24) != 127)
        return 2; /* loopback only */
    seconds = strtod(argv[3], NULL);
    context = SSL_CTX_new(TLS_client_method());
    pthread_barrier_init(&connected, NULL, (unsigned)count + 1);
    for (int i = 0; i < count; i++) {
        lanes[i].random = 0x9e3779b97f4a7c15u * (uint64_t)(i + 1);
        pthread_create(&lanes[i].thread, NULL, run, &lanes[i]);
    }
    pthread_barrier_wait(&connected);
    double start = now_us();
    for (int i = 0; i < count; i++)
        pthread_join(lanes[i].thread, NULL);
    double took = (now_us() - start) / 1e6;
    for (int i = 0; i < count; i++)
        total += lanes[i].count;
    float *all = malloc((size_t)(total + 1) * sizeof *all);
    total = 0;
    for (int i = 0; i < count; i++) {
        memcpy(all + total, lanes[i].samples, (size_t)lanes[i].count * sizeof *all);
        total += lanes[i].count;
        failures += lanes[i].failures;
        first_failure = first_failure ? first_failure : lanes[i].first_failure;
    }
    qsort(all, (size_t)total, sizeof *all, ascending);
    printf("{\"requests\":%d,\"failures\":%d,\"first_failure\":%d,\"seconds\":%.3f,\"per_second\":%.0f,"
           "\"p50_us\":%.0f,\"p99_us\":%.0f,\"max_us\":%.0f,\"cpu_seconds\":%.3f,\"answer_bytes\":%d,",
           total, failures, first_failure, took, total / took, total ? (double)all[total / 2] : 0.0,
           total ? (double)all[(size_t)total * 99 / 100] : 0.0, total ? (double)all[total - 1] : 0.0,
           cpu_seconds(), atomic_load(&answer_bytes));
    print_tokens(lanes, count);
    free(all);
    SSL_CTX_free(context);
    return 0;
}
