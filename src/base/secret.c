#include "base/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#ifdef __SANITIZE_THREAD__
#include <sanitizer/tsan_interface.h>
#endif

#include "base/guarded.h"

#define SECRET_FILE_MAX 65536
#define HEAP_SMALLEST   32

static bool heap_locked; /* the process's own; set once by main */

tr_status tr_secret_init_heap(size_t bytes, tr_error *err) {
    const struct rlimit none = {0, 0};
    struct rlimit lockable;
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0 || setrlimit(RLIMIT_CORE, &none) != 0)
        return tr_fail_errno(err, NULL, "cannot switch core dumps off");
    if (getrlimit(RLIMIT_MEMLOCK, &lockable) == 0) {
        lockable.rlim_cur = lockable.rlim_max;
        (void)setrlimit(RLIMIT_MEMLOCK, &lockable);
    }
    tr_status st = tr_guarded_openssl(err);
    if (st != TR_OK)
        return st;
    /* 1: locked. 2: usable, but mlock or a guard page was refused. 0: not there. */
    heap_locked = CRYPTO_secure_malloc_init(bytes, HEAP_SMALLEST) == 1;
    return TR_OK;
}

bool tr_secret_heap_locked(void) {
    return heap_locked && tr_guarded_locked() > 0;
}

/* The secure heap's lock is inside libcrypto, which is not built for ThreadSanitizer: it is told what that
 * lock orders, so that memory which goes from one thread to the next is no race. */
#ifdef __SANITIZE_THREAD__
static char heap_order;
#define AFTER_ALLOC() __tsan_acquire(&heap_order)
#define BEFORE_FREE() __tsan_release(&heap_order)
#else
#define AFTER_ALLOC() (void)0
#define BEFORE_FREE() (void)0
#endif

tr_status tr_secret_alloc(tr_secret *s, size_t len, tr_error *err) {
    tr_secret_clear(s);
    s->data = OPENSSL_secure_zalloc(len ? len : 1);
    AFTER_ALLOC();
    if (!s->data)
        return tr_fail(err, TR_E_NOMEM, NULL, "no room for a secret");
    s->len = len;
    return TR_OK;
}

tr_status tr_secret_copy(tr_secret *s, const void *bytes, size_t len, tr_error *err) {
    tr_secret fresh = TR_SECRET_INIT;
    tr_status st = tr_secret_alloc(&fresh, len, err);
    if (st != TR_OK)
        return st;
    if (len)
        memcpy(fresh.data, bytes, len);
    tr_secret_clear(s);
    *s = fresh;
    return TR_OK;
}

tr_status tr_secret_random(tr_secret *s, size_t len, tr_error *err) {
    tr_status st = tr_secret_alloc(s, len, err);
    if (st == TR_OK && RAND_priv_bytes(s->data, (int)len) != 1) {
        tr_secret_clear(s);
        st = tr_fail(err, TR_E_INTERNAL, NULL, "the system gives no randomness");
    }
    return st;
}

static tr_status read_secret(int fd, tr_secret *room, size_t *len, const char *path, tr_error *err) {
    *len = 0;
    while (*len < room->len) {
        ssize_t n = read(fd, room->data + *len, room->len - *len);
        if (n == 0)
            break;
        if (n > 0)
            *len += (size_t)n;
        else if (errno != EINTR)
            return tr_fail(err, TR_E_CONFIG, path, "cannot read the secret's file: %s", strerror(errno));
    }
    if (*len == room->len)
        return tr_fail(err, TR_E_CONFIG, path, "the secret's file has more than 64 KiB");
    if (*len > 0 && room->data[*len - 1] == '\n')
        *len -= *len > 1 && room->data[*len - 2] == '\r' ? 2 : 1;
    return *len ? TR_OK : tr_fail(err, TR_E_CONFIG, path, "the secret's file is empty");
}

tr_status tr_secret_from_file(tr_secret *s, const char *path, tr_error *err) {
    tr_secret room = TR_SECRET_INIT;
    struct stat info;
    size_t len = 0;
    tr_status st = TR_OK;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return tr_fail(err, TR_E_CONFIG, path, "cannot open the secret's file: %s", strerror(errno));
    if (fstat(fd, &info) != 0 || !(S_ISREG(info.st_mode) || S_ISFIFO(info.st_mode))) {
        st = tr_fail(err, TR_E_CONFIG, path, "the secret's file is neither a file nor a pipe");
        goto out;
    }
    /* The locked heap is small: take what the file needs, and one byte to see that it did not grow. */
    TR_TRY(tr_secret_alloc(&room,
                           S_ISREG(info.st_mode) && info.st_size < SECRET_FILE_MAX ? (size_t)info.st_size + 1
                                                                                   : SECRET_FILE_MAX + 1,
                           err));
    TR_TRY(read_secret(fd, &room, &len, path, err));
    st = tr_secret_copy(s, room.data, len, err);
out:
    close(fd);
    tr_secret_clear(&room);
    return st;
}

void tr_secret_clear(tr_secret *s) {
    BEFORE_FREE();
    if (s->data)
        OPENSSL_secure_clear_free(s->data, s->len ? s->len : 1);
    *s = TR_SECRET_INIT;
}

void tr_wipe(void *bytes, size_t len) {
    if (len)
        OPENSSL_cleanse(bytes, len);
}

bool tr_equal_ct(const void *a, const void *b, size_t len) {
    return CRYPTO_memcmp(a, b, len) == 0;
}
