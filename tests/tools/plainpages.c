/* What the pages of an encrypted database say, free ones and those of a write-ahead log too: for tests that
 * look for bytes which must be nowhere.
 *
 *   plainpages FILE KEY
 *
 * KEY: 64 hexadecimal digits. Writes each page of vault.db, vault.db-wal, ... in the clear to stdout, in the
 * order of the file, whatever SQLite would make of it (SQLCipher 4: AES-256-CBC, pages of 4096 bytes that end
 * with an IV of 16 and an HMAC of 32 bytes; the first 16 bytes of page 1 are a salt).
 */
#include <openssl/evp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define PAGE       4096
#define IV_LEN     16
#define RESERVE    48
#define SALT_LEN   16
#define WAL_HEAD   32
#define FRAME_HEAD 24

static int read_key(const char *hex, uint8_t key[32]) {
    unsigned byte;
    if (strlen(hex) != 64)
        return -1;
    for (size_t i = 0; i < 32; i++) {
        if (sscanf(hex + 2 * i, "%2x", &byte) != 1)
            return -1;
        key[i] = (uint8_t)byte;
    }
    return 0;
}

static int write_plain(EVP_CIPHER_CTX *ctx, const uint8_t key[32], const uint8_t *page, int first) {
    uint8_t plain[PAGE + IV_LEN];
    const size_t skip = first ? SALT_LEN : 0;
    int len = 0;
    if (EVP_DecryptInit_ex(ctx, EVP_aes_256_cbc(), NULL, key, page + PAGE - RESERVE) != 1 ||
        EVP_CIPHER_CTX_set_padding(ctx, 0) != 1 ||
        EVP_DecryptUpdate(ctx, plain, &len, page + skip, (int)(PAGE - RESERVE - skip)) != 1)
        return -1;
    return fwrite(plain, 1, (size_t)len, stdout) == (size_t)len ? 0 : -1;
}

static int write_all(FILE *file, const uint8_t key[32]) {
    static const uint8_t wal_magic[] = {0x37, 0x7f, 0x06};
    uint8_t head[WAL_HEAD], page[PAGE];
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    size_t got = fread(head, 1, sizeof head, file);
    const int is_wal = got == sizeof head && memcmp(head, wal_magic, sizeof wal_magic) == 0;
    int bad = !ctx || (!is_wal && fseek(file, 0, SEEK_SET) != 0);
    for (int first = 1; !bad; first = 0) {
        if (is_wal && fread(head, 1, FRAME_HEAD, file) != FRAME_HEAD)
            break;
        if (fread(page, 1, PAGE, file) != PAGE)
            break;
        if (is_wal) /* which page it is stands in front of it */
            first = head[0] == 0 && head[1] == 0 && head[2] == 0 && head[3] == 1;
        bad = write_plain(ctx, key, page, first);
    }
    EVP_CIPHER_CTX_free(ctx);
    return bad;
}

int main(int argc, char **argv) {
    uint8_t key[32];
    if (argc != 3 || read_key(argv[2], key) != 0) {
        fputs("usage: plainpages FILE KEY\n", stderr);
        return 2;
    }
    FILE *file = fopen(argv[1], "rb");
    if (!file) {
        perror(argv[1]);
        return 1;
    }
    int bad = write_all(file, key);
    fclose(file);
    return bad || fflush(stdout) != 0;
}
