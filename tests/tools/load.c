/* load: requests over TLS with keep-alive, each connection with its own chain of single-use tokens. For
 * tests/bench.
 *
 *   load HOST PORT SECONDS < LANES
 *
 * LANES: first line "METHOD PATH", then "name: value" header lines, a blank line, and the body up to a line
 * "."; then a line "token client uid" for each connection, or just "-" for one without credentials. Prints
 * one JSON object.
 */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define LANES_MAX    256
#define SAMPLES_MAX  400000
#define RESPONSE_MAX (1024 * 1024)

static char request_head[4096], body[65536], first_line[512];
static struct sockaddr_in address;
static double seconds;
static SSL_CTX *context;

typedef struct lane {
    pthread_t thread;
    char token[128], client[64], uid[256];
    bool anonymous;
    int count, failures;
    int first_failure;
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
    for (long got = have - (end + 4 - room); end && got < wanted;) {
        int n = SSL_read(ssl, room + RESPONSE_MAX / 2, RESPONSE_MAX / 2 - 1);
        if (n <= 0)
            return 0;
        got += n;
    }
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

static void *run(void *argument) {
    lane *l = argument;
    char *room = malloc(RESPONSE_MAX), *request = malloc(sizeof request_head + sizeof body + 1024);
    int fd;
    SSL *ssl = open_connection(&fd);
    double start = now_us(), t = start;
    while (ssl && t - start < seconds * 1e6 && l->count < SAMPLES_MAX) {
        char credentials[600] = "";
        if (!l->anonymous)
            snprintf(credentials, sizeof credentials, "access-token: %s\r\nclient: %s\r\nuid: %s\r\n",
                     l->token, l->client, l->uid);
        int n =
            sprintf(request, "%s HTTP/1.1\r\nHost: localhost\r\n%s%s", first_line, request_head, credentials);
        n += body[0] ? sprintf(request + n, "Content-Length: %zu\r\n\r\n%s", strlen(body), body)
                     : sprintf(request + n, "\r\n");
        int status = SSL_write(ssl, request, n) == n ? read_response(ssl, room) : 0;
        double after = now_us();
        l->samples[l->count++] = (float)(after - t);
        t = after;
        if (status < 200 || status > 299) {
            if (!l->failures++)
                l->first_failure = status;
        }
        if (status == 0 || (!l->anonymous && !take_token(l, room)))
            break;
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

int main(int argc, char **argv) {
    static lane lanes[LANES_MAX];
    int count = 0, total = 0, failures = 0, first_failure = 0;
    if (argc != 4 || !read_input(lanes, &count))
        return 2;
    signal(SIGPIPE, SIG_IGN);
    address.sin_family = AF_INET;
    address.sin_port = htons((uint16_t)strtol(argv[2], NULL, 10));
    if (inet_pton(AF_INET, argv[1], &address.sin_addr) != 1 || (ntohl(address.sin_addr.s_addr) >> 24) != 127)
        return 2; /* loopback only */
    seconds = strtod(argv[3], NULL);
    context = SSL_CTX_new(TLS_client_method());
    double start = now_us();
    for (int i = 0; i < count; i++)
        pthread_create(&lanes[i].thread, NULL, run, &lanes[i]);
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
    printf("{\"requests\":%d,\"failures\":%d,\"first_failure\":%d,\"seconds\":%.3f,\"per_second\":%.0f,\"p50_"
           "us\":%.0f,"
           "\"p99_us\":%.0f,\"max_us\":%.0f}\n",
           total, failures, first_failure, took, total / took, total ? (double)all[total / 2] : 0.0,
           total ? (double)all[(size_t)total * 99 / 100] : 0.0, total ? (double)all[total - 1] : 0.0);
    return 0;
}
