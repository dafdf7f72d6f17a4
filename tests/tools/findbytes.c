/* Where byte strings are in a file: all of them in one pass, so that thousands can be looked for in a core
 * image.
 *
 *   findbytes FILE < NEEDLES
 *
 * NEEDLES: "number hexadecimal", one a line; 8 bytes or more each. Prints "number offset" of each place, in
 * decimal.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define LINE_MAX 4096
#define LEAST    8
#define BUCKETS  (1u << 20)

typedef struct needle {
    char number[32];
    uint8_t *bytes;
    size_t len;
    struct needle *next; /* in the same bucket */
} needle;

static needle *buckets[BUCKETS];

/* Of the first eight bytes; all of them count, so that text and zeros do not fill a bucket with false
 * guesses. */
static uint32_t bucket_of(const uint8_t *bytes) {
    uint64_t first;
    memcpy(&first, bytes, LEAST);
    return (uint32_t)(first * UINT64_C(0x9e3779b97f4a7c15) >> 44);
}

static int add(char *line) {
    char *hex = strchr(line, ' ');
    if (!hex)
        return -1;
    *hex++ = '\0';
    const size_t len = strspn(hex, "0123456789abcdef") / 2;
    needle *n = calloc(1, sizeof *n);
    if (!n || len < LEAST || !(n->bytes = malloc(len)))
        return -1;
    (void)snprintf(n->number, sizeof n->number, "%.31s", line);
    n->len = len;
    for (size_t i = 0; i < len; i++) {
        unsigned byte;
        if (sscanf(hex + 2 * i, "%2x", &byte) != 1)
            return -1;
        n->bytes[i] = (uint8_t)byte;
    }
    needle **place = &buckets[bucket_of(n->bytes)];
    n->next = *place;
    *place = n;
    return 0;
}

static void search(const uint8_t *bytes, size_t len) {
    for (size_t at = 0; at + LEAST <= len; at++) {
        for (const needle *n = buckets[bucket_of(bytes + at)]; n; n = n->next) {
            if (n->len <= len - at && memcmp(bytes + at, n->bytes, n->len) == 0)
                printf("%s %zu\n", n->number, at);
        }
    }
}

int main(int argc, char **argv) {
    static char line[LINE_MAX];
    struct stat info;
    while (fgets(line, sizeof line, stdin)) {
        if (add(line) != 0) {
            fputs("findbytes: a needle is none\n", stderr);
            return 2;
        }
    }
    int fd = argc == 2 ? open(argv[1], O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0 || fstat(fd, &info) != 0) {
        fputs("usage: findbytes FILE < NEEDLES\n", stderr);
        return 2;
    }
    const uint8_t *bytes = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (bytes == MAP_FAILED)
        return 1;
    search(bytes, (size_t)info.st_size);
    return fflush(stdout) == 0 ? 0 : 1;
}
