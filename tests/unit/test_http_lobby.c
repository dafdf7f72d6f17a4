/* Who waits for a thread: for how long, who goes in next, who gives way, who is told. */
#include "http_server.h"

#include <netinet/tcp.h>

#define ONCE  "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
#define BLOCK "GET /block HTTP/1.1\r\nHost: h\r\n\r\n"
#define PROVE "GET /proven HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"

/* Two threads, both at work for these two. */
static void keep_at_work(fixture *f, client busy[2], int first, int second) {
    start_with(f, false, (tr_http_options){.threads = 2});
    for (int i = 0; i < 2; i++) {
        busy[i] = client_plain_from(i ? second : first, f->port);
        assert_true(client_send(&busy[i], BLOCK));
    }
    await_blocked(f, 2);
}

/* With all threads taken by idle connections, a new one gets its turn long before they time out. */
static void idle_connections_give_way(void **unused) {
    (void)unused;
    void *state;
    client c[6];
    fixture_new(&state);
    fixture *f = state;
    start_with(f, true, (tr_http_options){.threads = 2, .idle_timeout_ms = 60000});
    int64_t begun = tr_monotonic_ms();
    for (int i = 0; i < 6; i++) {
        c[i] = connect_client(f);
        get(&c[i], HEAD, 200);
    }
    assert_true(tr_monotonic_ms() - begun < 6000);
    for (int i = 0; i < 6; i++)
        client_close(&c[i]);
    fixture_free(&state);
}

/* With all threads at work new connections wait, and each is served in the end. */
static void busy_threads_queue_connections(void **unused) {
    (void)unused;
    void *state;
    enum { WAITING = 100 };
    client busy[2], waiting[WAITING];
    answer a;
    fixture_new(&state);
    fixture *f = state;
    keep_at_work(f, busy, 1, 1);
    for (int i = 0; i < WAITING; i++) {
        waiting[i] = connect_client(f);
        assert_true(client_send(&waiting[i], ONCE));
    }
    assert_false(readable(&waiting[0], 100));
    tr_http_stats stats;
    tr_http_get_stats(f->server, &stats);
    assert_int_equal(stats.active, 2);
    release_blocked(f);
    for (int i = 0; i < WAITING; i++) {
        assert_true(client_receive(&waiting[i], &a));
        assert_int_equal(a.status, 200);
        answer_free(&a);
        client_close(&waiting[i]);
    }
    for (int i = 0; i < 2; i++) {
        assert_true(client_receive(&busy[i], &a));
        answer_free(&a);
        client_close(&busy[i]);
    }
    fixture_free(&state);
}

/* But while threads are free nobody has to give up its own because others come. */
static void nobody_gives_way_to_who_need_not_wait(void **unused) {
    (void)unused;
    void *state;
    enum { COMERS = 4, TIMES = 400, MANY = 32 };
    fixture_new(&state);
    fixture *f = state;
    start_with(f, false, (tr_http_options){.threads = 128});
    client busy = connect_client(f), comers[COMERS];
    for (int n = 0; n < TIMES; n++) {
        for (int i = 0; i < COMERS; i++) {
            comers[i] = connect_client(f);
            assert_true(client_send(&comers[i], ONCE));
        }
        for (int i = 0; i < MANY; i++)
            assert_true(client_send(&busy, HEAD));
        for (int i = 0; i < MANY; i++) {
            answer a;
            assert_true(client_receive(&busy, &a));
            assert_string_equal(answer_header(&a, "Connection"), "keep-alive");
            answer_free(&a);
        }
        for (int i = 0; i < COMERS; i++) { /* as many are there, and no more */
            get(&comers[i], "", 200);
            assert_true(client_at_end(&comers[i]));
            client_close(&comers[i]);
        }
    }
    client_close(&busy);
    fixture_free(&state);
}

static void is_told(client *c, int64_t begun) {
    answer a;
    assert_true(client_receive(c, &a));
    int64_t took = tr_monotonic_ms() - begun;
    assert_int_equal(a.status, 503);
    assert_string_equal(answer_header(&a, "Retry-After"), "1");
    assert_string_equal(answer_header(&a, "Connection"), "close");
    if (took < 4900 || took > 8000)
        fail_msg("told after %lld ms", (long long)took);
    answer_free(&a);
}

/* Who waits in vain is told after 5 s, however many they are, and though none of them closes its side. */
static void all_who_wait_are_told(void **unused) {
    (void)unused;
    void *state;
    enum { WAITING = 40 };
    client busy[2], waiting[WAITING];
    fixture_new(&state);
    fixture *f = state;
    keep_at_work(f, busy, 1, 1);
    int64_t begun = tr_monotonic_ms();
    for (int i = 0; i < WAITING; i++) {
        waiting[i] = connect_client(f);
        assert_true(client_send(&waiting[i], HEAD));
    }
    for (int i = 0; i < WAITING; i++)
        is_told(&waiting[i], begun);
    for (int i = 0; i < WAITING; i++)
        client_close(&waiting[i]);
    fixture_free(&state);
    client_close(&busy[0]);
    client_close(&busy[1]);
}

/* Some of those before it take a second each to be told, since their request never gets whole. They would be
 * let in before it; so it is told before them. */
static void who_has_least_hope_is_told_first(void **unused) {
    (void)unused;
    void *state;
    enum { SLOW = 10 };
    client busy[2], slow[SLOW];
    fixture_new(&state);
    fixture *f = state;
    keep_at_work(f, busy, 2, 3);
    for (int i = 0; i < SLOW; i++) {
        slow[i] = client_plain_from(10 + i, f->port);
        assert_true(client_send(&slow[i], "G"));
    }
    int64_t begun = tr_monotonic_ms();
    client second = client_plain_from(2, f->port);
    assert_true(client_send(&second, HEAD));
    is_told(&second, begun);
    client_close(&second);
    for (int i = 0; i < SLOW; i++)
        client_close(&slow[i]);
    fixture_free(&state);
    client_close(&busy[0]);
    client_close(&busy[1]);
}

static int somaxconn(void) {
    int most = 0;
    FILE *file = fopen("/proc/sys/net/core/somaxconn", "re");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%d", &most), 1);
    (void)fclose(file);
    return most;
}

/* 2,000 connections at once had overrun the kernel's queue of 256 (ListenOverflows). Of a listening socket,
 * TCP_INFO tells the queue's length as `unacked` and its room as `sacked`. */
static void a_burst_has_room(void **unused) {
    (void)unused;
    void *state;
    int rooms = 0, most = somaxconn();
    fixture_new(&state);
    fixture *f = state;
    start_with(f, true, (tr_http_options){.threads = 4});
    for (int fd = 0; fd < 1024; fd++) {
        struct sockaddr_in name;
        struct tcp_info info;
        socklen_t name_len = sizeof name, info_len = sizeof info;
        if (getsockname(fd, (struct sockaddr *)&name, &name_len) != 0 || name.sin_family != AF_INET ||
            ntohs(name.sin_port) != f->port)
            continue;
        if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &info_len) == 0 && info.tcpi_state == TCP_LISTEN) {
            assert_int_equal(info.tcpi_sacked, most < 4096 ? most : 4096);
            rooms++;
        }
    }
    assert_int_equal(rooms, 1);
    fixture_free(&state);
}

/* A connection that always has a next request does not starve those that wait. */
static void busy_connections_take_turns(void **unused) {
    (void)unused;
    void *state;
    fixture_new(&state);
    fixture *f = state;
    start_with(f, false, (tr_http_options){.threads = 1});
    client greedy = connect_client(f);
    get(&greedy, HEAD, 200);
    client patient = connect_client(f);
    assert_true(client_send(&patient, HEAD));
    bool closed = false;
    int n = 0;
    while (!closed && n++ < 2000) {
        answer a;
        assert_true(client_send(&greedy, HEAD));
        assert_true(client_receive(&greedy, &a));
        closed = strcmp(answer_header(&a, "Connection"), "close") == 0;
        answer_free(&a);
    }
    assert_true(closed);
    answer a;
    assert_true(client_receive(&patient, &a));
    answer_free(&a);
    client_close(&greedy);
    client_close(&patient);
    fixture_free(&state);
}

/* Connections from as many addresses, each with a request that is answered, after which it stays. */
static void come_as_strangers(const fixture *f, client *strangers, int n) {
    for (int i = 0; i < n; i++) {
        strangers[i] = client_plain_from(20 + i, f->port);
        assert_true(client_send(&strangers[i], HEAD));
    }
}

static void prove(const fixture *f, int last) {
    client c = client_plain_from(last, f->port);
    get(&c, PROVE, 200);
    assert_true(client_at_end(&c));
    client_close(&c);
}

/* Who has shown a good token goes in before strangers that came first and would keep it waiting for 5 s, and
 * so does its second connection. */
static void the_proven_go_before_strangers(void **unused) {
    (void)unused;
    void *state;
    enum { STRANGERS = 200 };
    client strangers[STRANGERS], known[2];
    fixture_new(&state);
    fixture *f = state;
    start_with(f, false, (tr_http_options){.threads = 8, .idle_timeout_ms = 60000});
    prove(f, 2);
    come_as_strangers(f, strangers, STRANGERS);
    assert_true(readable(&strangers[0], 5000));
    for (int i = 0; i < 2; i++) {
        int64_t begun = tr_monotonic_ms();
        known[i] = client_plain_from(2, f->port);
        get(&known[i], HEAD, 200);
        int64_t took = tr_monotonic_ms() - begun;
        if (took > 2500)
            fail_msg("connection %d was let in after %lld ms", i, (long long)took);
    }
    for (int i = 0; i < STRANGERS; i++)
        client_close(&strangers[i]);
    client_close(&known[0]);
    client_close(&known[1]);
    fixture_free(&state);
}

/* But not all of its connections do: of those that come after a stranger most go in after it. */
static void strangers_are_not_starved(void **unused) {
    (void)unused;
    void *state;
    enum { IDLE = 3, AFTER = 24 };
    client idle[IDLE], after[AFTER];
    fixture_new(&state);
    fixture *f = state;
    start_with(f, false, (tr_http_options){.threads = IDLE + 1, .idle_timeout_ms = 60000});
    prove(f, 2);
    for (int i = 0; i < IDLE; i++) {
        idle[i] = client_plain_from(2, f->port);
        get(&idle[i], HEAD, 200);
    }
    client busy = client_plain_from(3, f->port), stranger = client_plain_from(4, f->port);
    assert_true(client_send(&busy, BLOCK));
    await_blocked(f, 1);
    assert_true(client_send(&stranger, HEAD));
    for (int i = 0; i < AFTER; i++) {
        after[i] = client_plain_from(2, f->port);
        assert_true(client_send(&after[i], HEAD));
    }
    get(&stranger, "", 200);
    assert_false(readable(&after[AFTER - 1], 0));
    client_close(&stranger);
    fixture_free(&state);
    client_close(&busy);
    for (int i = 0; i < IDLE; i++)
        client_close(&idle[i]);
    for (int i = 0; i < AFTER; i++)
        client_close(&after[i]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(idle_connections_give_way),
        cmocka_unit_test(busy_threads_queue_connections),
        cmocka_unit_test(busy_connections_take_turns),
        cmocka_unit_test(nobody_gives_way_to_who_need_not_wait),
        cmocka_unit_test(a_burst_has_room),
        cmocka_unit_test(all_who_wait_are_told),
        cmocka_unit_test(who_has_least_hope_is_told_first),
        cmocka_unit_test(the_proven_go_before_strangers),
        cmocka_unit_test(strangers_are_not_starved),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
