/* Faults of the file system and power cuts at every change that a scripted workload makes (fault_steps.c).
 *
 * Whatever fails: the call says so by a named error, the store works on once the disk does, and opened again
 * the databases are whole, the log verifies, what was acknowledged is there, what was not is there wholly or
 * not at all, and an erasure that was begun in keys.db is begun in the vault.
 *
 * TRESOR_FAULT_STRIDE=n takes each n-th place only. Arguments are the tests to run; none: all.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "fault_check.h"
#include "fault_vfs.h"
#include "store/sqlcipher/memory.h"

static struct {
    char root[64];
    long stride, points, images;
} all;

/* ---- folders ---- */

static void empty_folder(const char *dir) {
    struct dirent *entry;
    (void)mkdir(dir, 0700);
    DIR *folder = opendir(dir);
    while (folder && (entry = readdir(folder)))
        (void)unlinkat(dirfd(folder), entry->d_name, 0);
    if (folder)
        closedir(folder);
}

static void copy_file(const char *from, const char *to) {
    char bytes[65536];
    int in = open(from, O_RDONLY | O_CLOEXEC), out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (in < 0 || out < 0)
        fault_fail("cannot copy %s", from);
    for (ssize_t n; (n = read(in, bytes, sizeof bytes)) > 0;) {
        if (write(out, bytes, (size_t)n) != n)
            fault_fail("cannot write %s", to);
    }
    close(in);
    close(out);
}

/* Without the WALs' indexes: as after a kill, when there are WALs. */
static void copy_folder(const char *from, const char *to) {
    struct dirent *entry;
    char source[512], target[512];
    empty_folder(to);
    DIR *folder = opendir(from);
    while (folder && (entry = readdir(folder))) {
        if (entry->d_name[0] == '.' || strstr(entry->d_name, "-shm"))
            continue;
        (void)snprintf(source, sizeof source, "%s/%s", from, entry->d_name);
        (void)snprintf(target, sizeof target, "%s/%s", to, entry->d_name);
        copy_file(source, target);
    }
    if (folder)
        closedir(folder);
}

static fault_run run_in(const char *name) {
    fault_run run = {.keys = fault_keys};
    (void)snprintf(run.dir, sizeof run.dir, "%s/%s", all.root, name);
    return run;
}

static fault_run base_of(int step) {
    char name[16];
    (void)snprintf(name, sizeof name, "base-%d", step);
    return run_in(name);
}

static void close_run(fault_run *run) {
    tr_store_close(run->store);
    run->store = NULL;
}

/* ---- without faults: what each step makes ---- */

static void record_steps(void) {
    fault_run first = base_of(0);
    tr_error err = {0};
    (void)snprintf(fault_label, sizeof fault_label, "without faults");
    empty_folder(first.dir);
    fault_must(fault_open(&first, true, &err), &err, "creating");
    fault_dumps[0] = fault_dump_of(first.store);
    close_run(&first);
    for (int i = 0; i < fault_step_count; i++) {
        fault_run run = run_in("run"), from = base_of(i), to = base_of(i + 1);
        bool killed = i + 1 < fault_step_count && fault_steps[i + 1].closed;
        copy_folder(from.dir, run.dir);
        if (!fault_steps[i].closed)
            fault_must(fault_open(&run, false, &err), &err, "opening");
        fault_must(fault_do(&run, i, &err), &err, fault_steps[i].name);
        if (killed)
            copy_folder(run.dir, to.dir);
        close_run(&run);
        if (!killed)
            copy_folder(run.dir, to.dir);
        fault_must(fault_open(&run, false, &err), &err, "opening");
        fault_dumps[i + 1] = fault_dump_of(run.store);
        close_run(&run);
        fault_check_folder(run.dir, i, true);
    }
}

/* ---- faults ---- */

static void check_error(fault_kind kind, tr_status st, const tr_error *err) {
    bool right = st == (kind == FAULT_FULL ? TR_E_DISK_FULL : TR_E_IO);
    /* Checks name what cannot be read as they name what is damaged, and SQLCipher takes a file's salt that it
     * cannot read for a new file's. */
    if (kind == FAULT_READ)
        right |= st == TR_E_CORRUPT || st == TR_E_WRONG_KEY;
    if (!right || err->what[0] == '\0' || err->status != st)
        fault_fail("the error is %s: %s (%s)", tr_status_slug(st), err->what, err->where);
}

static tr_status probe(void *context, tr_db *tx, tr_error *err) {
    (void)context;
    tr_status st = tr_meta_put(tx, "probe", (tr_bytes){"x", 1}, err);
    return st == TR_OK ? tr_audit_append(tx, 5000, NULL, (tr_bytes){"{}", 2}, err) : st;
}

/* The disk is well again, and so is the store, as it is. */
static void check_live(fault_run *run, int step, bool acknowledged) {
    tr_error err = {0};
    fault_must(tr_store_write(run->store, probe, NULL, &err), &err, "a write after the fault");
    fault_dump is = fault_dump_of(run->store);
    fault_check_dump(&is, step, acknowledged, "live");
}

/* False when the step makes fewer changes. */
static bool fault_at(fault_kind kind, int step, long at) {
    fault_run run = run_in("run"), from = base_of(step);
    tr_error err = {0};
    (void)snprintf(fault_label, sizeof fault_label, "%s at %ld of step %d, %s", fault_names[kind], at, step,
                   fault_steps[step].name);
    copy_folder(from.dir, run.dir);
    fault_watch(run.dir);
    if (!fault_steps[step].closed)
        fault_must(fault_open(&run, false, &err), &err, "opening");
    fault_arm(kind, at);
    tr_status st = fault_do(&run, step, &err);
    bool fired = fault_fired();
    bool lasts = kind == FAULT_DEAD || kind == FAULT_FULL || kind == FAULT_SYNC;
    bool ends = !lasts || at % 2; /* or lasts until after the close */
    if (ends || !fired)
        fault_disarm();
    if (!fired)
        fault_must(st, &err, "no fault, but");
    if (st != TR_OK)
        check_error(kind, st, &err);
    if (run.store && ends && fired)
        check_live(&run, step, st == TR_OK);
    for (int i = 0; i < 3 && run.store && !ends; i++) /* what others write meanwhile fails as well, or not */
        (void)tr_store_write(run.store, probe, NULL, NULL);
    close_run(&run);
    fault_disarm();
    fault_watch(NULL);
    if (fired)
        fault_check_folder(run.dir, step, st == TR_OK);
    all.points += fired;
    return fired;
}

static void faults(fault_kind kind) {
    for (int step = 0; step < fault_step_count; step++) {
        for (long at = 1 + step % all.stride; fault_at(kind, step, at); at += all.stride) {
        }
    }
}

/* ---- faults while the databases are made ---- */

static bool create_at(fault_kind kind, long at) {
    fault_run run = run_in("run");
    tr_error err = {0};
    char path[160];
    (void)snprintf(fault_label, sizeof fault_label, "%s at %ld of creating", fault_names[kind], at);
    empty_folder(run.dir);
    fault_watch(run.dir);
    fault_arm(kind, at);
    tr_status st = fault_open(&run, true, &err);
    bool fired = fault_fired();
    fault_disarm();
    close_run(&run);
    fault_watch(NULL);
    if (!fired)
        fault_must(st, &err, "no fault, but");
    if (st == TR_OK) {
        fault_check_folder(run.dir, 0, false);
    } else {
        check_error(kind, st, &err);
        struct stat info;
        (void)snprintf(path, sizeof path, "%s/vault.db", run.dir);
        if (kind != FAULT_DEAD && stat(path, &info) == 0) /* on a dead disk it cannot be removed */
            fault_fail("creating failed, and left a database");
    }
    all.points += fired;
    return fired;
}

static void creating(void) {
    for (int kind = FAULT_FAIL; kind < FAULT_KINDS; kind++) {
        for (long at = 1; create_at((fault_kind)kind, at); at += all.stride) {
        }
    }
}

/* ---- power cuts ---- */

typedef struct cut {
    int step;
    bool acknowledged;
} cut;

static void look(const cut *c, unsigned seed) {
    fault_run image = run_in("image");
    empty_folder(image.dir);
    fault_survive(image.dir, seed);
    fault_check_folder(image.dir, c->step, c->acknowledged);
    all.images++;
}

static void on_change(void *context, long number) {
    const cut *c = context;
    if (number % all.stride)
        return;
    all.points++;
    for (unsigned seed = 0; seed < 4; seed++) {
        unsigned drawn = seed < 2 ? seed : (unsigned)number * 2 + seed;
        (void)snprintf(fault_label, sizeof fault_label,
                       "power cut, seed %u, in front of change %ld, in step %d, %s", drawn, number, c->step,
                       fault_steps[c->step].name);
        look(c, drawn);
    }
}

static void step_with_cuts(fault_run *run, cut *c) {
    tr_error err = {0};
    fault_must(fault_do(run, c->step, &err), &err, fault_steps[c->step].name);
    c->acknowledged = true;
    (void)snprintf(fault_label, sizeof fault_label, "power cut after step %d, %s", c->step,
                   fault_steps[c->step].name);
    look(c, 0);
    c->acknowledged = false;
}

static void end_cuts(fault_run *run) {
    close_run(run);
    fault_on_change(NULL, NULL);
    fault_watch(NULL);
}

/* One after the other in one store, from its opening to its closing. */
static void cuts_in_sequence(void) {
    fault_run run = run_in("run"), from = base_of(0);
    cut c = {0};
    tr_error err = {0};
    copy_folder(from.dir, run.dir);
    fault_watch(run.dir);
    fault_on_change(on_change, &c);
    fault_must(fault_open(&run, false, &err), &err, "opening");
    for (c.step = 0; c.step < fault_step_count; c.step++) {
        if (!fault_steps[c.step].closed)
            step_with_cuts(&run, &c);
    }
    c = (cut){.step = fault_step_count - 2, .acknowledged = true};
    end_cuts(&run);
    fault_watch(NULL);
}

static void cuts_after_kills(void) {
    for (int step = 0; step < fault_step_count; step++) {
        fault_run run = run_in("run"), from = base_of(step);
        cut c = {.step = step};
        if (!fault_steps[step].closed)
            continue;
        copy_folder(from.dir, run.dir);
        fault_watch(run.dir);
        fault_on_change(on_change, &c);
        step_with_cuts(&run, &c);
        end_cuts(&run);
    }
}

static void power_cuts(void) {
    cuts_in_sequence();
    cuts_after_kills();
}

/* ---- all ---- */

static void one_fault(void) {
    faults(FAULT_FAIL);
}

static void short_write(void) {
    faults(FAULT_SHORT);
}

static void dead_disk(void) {
    faults(FAULT_DEAD);
}

static void full_disk(void) {
    faults(FAULT_FULL);
}

static void no_flush(void) {
    faults(FAULT_SYNC);
}

static void read_error(void) {
    faults(FAULT_READ);
}

static const struct {
    const char *name;
    void (*fn)(void);
} tests[] = {
    {"creating", creating},     {"one_fault", one_fault},   {"short_write", short_write},
    {"dead_disk", dead_disk},   {"full_disk", full_disk},   {"no_flush", no_flush},
    {"read_error", read_error}, {"power_cuts", power_cuts},
};

static bool wanted(const char *name, int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], name) == 0)
            return true;
    }
    return argc < 2;
}

static void run_test(size_t i) {
    struct timespec from, to;
    clock_gettime(CLOCK_MONOTONIC, &from);
    all.points = all.images = 0;
    tests[i].fn();
    clock_gettime(CLOCK_MONOTONIC, &to);
    (void)printf("[       OK ] %s: %ld places", tests[i].name, all.points);
    if (all.images)
        (void)printf(", %ld power cuts", all.images);
    (void)printf(", %ld s\n", (long)(to.tv_sec - from.tv_sec));
    (void)fflush(stdout);
}

static void clean_up(void) {
    const char *const names[] = {"run", "image"};
    for (int i = 0; i <= fault_step_count + 2; i++) {
        fault_run run = i <= fault_step_count ? base_of(i) : run_in(names[i - fault_step_count - 1]);
        empty_folder(run.dir);
        (void)rmdir(run.dir);
    }
    fault_run last = run_in("image");
    empty_folder(last.dir);
    (void)rmdir(last.dir);
    (void)rmdir(all.root);
}

int main(int argc, char **argv) {
    const char *stride = getenv("TRESOR_FAULT_STRIDE");
    tr_error err = {0};
    int passed = 0;
    all.stride = stride && atol(stride) > 0 ? atol(stride) : 1;
    /* Nothing has to reach a disk. */
    (void)snprintf(all.root, sizeof all.root, "%s/tresor-faults-XXXXXX",
                   access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    if (!mkdtemp(all.root) || fault_step_count > FAULT_STEPS_MAX)
        return 1;
    for (int i = 0; i < KEY_COUNT; i++)
        fault_must(tr_secret_random(&fault_keys[i], 32, &err), &err, "a key");
    fault_must(tr_sqlite_memory(&err), &err, "SQLite's memory"); /* before SQLite is at work */
    fault_install();
    record_steps();
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++) {
        if (wanted(tests[i].name, argc, argv)) {
            run_test(i);
            passed++;
        }
    }
    for (int i = 0; i < KEY_COUNT; i++)
        tr_secret_clear(&fault_keys[i]);
    clean_up();
    (void)printf("[  PASSED  ] %d test(s).\n", passed);
    return 0;
}
