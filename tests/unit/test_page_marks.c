/* The marks of a snapshot's pages: what differs is found, and a file that is not good is as good as none. */
#include <stdio.h>
#include <unistd.h>

#include "snapshot_fixture.h"
#include "vault/page_marks.h"

static char marks_path[] = "/tmp/tresor-marks-XXXXXX";

/* Pages that are not as the content of page_content are given by a bit. Returns how many differ. */
static unsigned walk(tr_snapshot_head *head, bool compare, const char *changed, bool keep) {
    tr_page_marks *marks;
    uint8_t page[4096];
    unsigned count = 0, at = 0;
    assert_int_equal(tr_page_marks_open(marks_path, ring, &marks, NULL), TR_OK);
    assert_int_equal(tr_page_marks_begin(marks, head, compare, NULL), TR_OK);
    for (size_t i = 0; i < head->database_count; i++) {
        for (uint32_t number = 1; number <= head->databases[i].pages; number++, at++) {
            const size_t size = head->databases[i].page_size;
            bool differs = false;
            memcpy(page, page_content(i, number, size).data, size);
            tr_db_page seen = {.database = i, .number = number, .content = {page, size}};
            memcpy(seen.stamp, page, sizeof seen.stamp);
            seen.stamp[3] ^= changed && at < strlen(changed) && changed[at] == '1';
            assert_int_equal(tr_page_marks_page(marks, &seen, &differs, NULL), TR_OK);
            count += differs;
        }
    }
    if (keep)
        assert_int_equal(tr_page_marks_commit(marks, NULL), TR_OK);
    tr_page_marks_close(marks);
    return count;
}

static bool base_is(const tr_snapshot_head *head) {
    tr_page_marks *marks;
    tr_uuid base;
    assert_int_equal(tr_page_marks_open(marks_path, ring, &marks, NULL), TR_OK);
    bool is = tr_page_marks_base(marks, &base) && (!head || tr_uuid_equal(&base, &head->id));
    is = is && (!head || tr_page_marks_fit(marks, head));
    tr_page_marks_close(marks);
    return is;
}

static void what_differs_is_found(void **state) {
    tr_snapshot_head first = example_head(TR_SNAPSHOT_FULL), next = first;
    const unsigned all = VAULT_PAGES + AUDIT_PAGES;
    (void)state;
    assert_false(base_is(NULL));
    assert_int_equal(walk(&first, true, NULL, true), all); /* there was nothing to compare with */
    assert_true(base_is(&first));
    next.id = tr_uuid_new();
    assert_int_equal(walk(&next, true, NULL, false), 0);
    assert_true(base_is(&first)); /* what was not committed is not there */
    next.databases[0].pages += 5; /* so the audit log's marks lie elsewhere */
    assert_int_equal(walk(&next, true, "0110001", true), 3 + 5);
    assert_true(base_is(&next));
    assert_int_equal(walk(&next, true, "0110000", true), 1);
    assert_int_equal(walk(&next, false, "0110000", true), all + 5);
    next.databases[0].pages--;
    assert_false(base_is(&next)); /* it has shrunk */
}

static void a_file_that_is_not_good_is_none(void **state) {
    tr_snapshot_head head = example_head(TR_SNAPSHOT_FULL);
    uint8_t byte;
    (void)state;
    for (long at = 0; at < 340; at += 5) {
        walk(&head, false, NULL, true);
        FILE *file = fopen(marks_path, "r+");
        assert_non_null(file);
        assert_int_equal(fseek(file, at, SEEK_SET), 0);
        assert_int_equal(fread(&byte, 1, 1, file), 1);
        byte ^= 0x10;
        assert_int_equal(fseek(file, at, SEEK_SET), 0);
        assert_int_equal(fwrite(&byte, 1, 1, file), 1);
        assert_int_equal(fclose(file), 0);
        if (base_is(NULL))
            fail_msg("the byte at %ld may be anything", at);
    }
    walk(&head, false, NULL, true);
    assert_int_equal(truncate(marks_path, 10), 0);
    assert_false(base_is(NULL));
    walk(&head, false, NULL, true);
    assert_int_equal(truncate(marks_path, 700), 0); /* some marks are gone: those pages travel */
    assert_true(walk(&head, true, NULL, true) > 0);
}

static int up(void **state) {
    int fd = mkstemp(marks_path);
    if (fd < 0)
        return -1;
    close(fd);
    return make_ring(state);
}

static int down(void **state) {
    (void)unlink(marks_path);
    return drop_ring(state);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_differs_is_found),
        cmocka_unit_test(a_file_that_is_not_good_is_none),
    };
    return cmocka_run_group_tests(tests, up, down);
}
