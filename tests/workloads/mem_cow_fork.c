// Copy-on-write between parent and children: pages still shared stay shared (one copy of memory), those written by
// one side differ, also in a grandchild, and in mappings that only one of them still has.
#include "workload.h"

enum { PAGES = 512 };

static unsigned char *shared, *given_up, *mine;

static uint64_t seed_of(size_t page, int who) {
    // who: 0 parent, 1 first child, 2 second child, 3 grandchild. Each wrote its own pages after the fork.
    if (page % 16 == 1 && who == 0)
        return 1000 + page;
    if (page % 16 == 2 && who == 1)
        return 2000 + page;
    if (page % 16 == 3 && who == 2)
        return 3000 + page;
    if (page % 16 == 4 && who == 3)
        return 4000 + page;
    if (page % 16 == 2 && who == 3) // inherited from the first child
        return 2000 + page;
    return page;
}

static void write_own(int who) {
    for (size_t page = 0; page < PAGES; page++)
        if (seed_of(page, who) != page)
            pattern_fill(shared + page * PAGE, PAGE, seed_of(page, who));
}

static void check_own(int who) {
    for (size_t page = 0; page < PAGES; page++)
        pattern_check("page", shared + page * PAGE, PAGE, seed_of(page, who));
    pattern_check("own memory", mine, 16 * PAGE, 50 + (uint64_t)who);
}

static size_t shared_pages;

static void check(void) {
    check_own(0);
    map_expect_none("given up by the parent", given_up);
    size_t now = pages_mapped_often(shared, PAGES);
    EXPECT(now + 8 >= shared_pages, "pages shared with children: %zu before, %zu now", shared_pages, now);
}

static void check_first(void) {
    check_own(1);
    pattern_check("kept by the child", given_up, 8 * PAGE, 90);
}

static void check_second(void) {
    check_own(2);
}

static void check_grandchild(void) {
    check_own(3);
    pattern_check("kept by the grandchild", given_up, 8 * PAGE, 90);
}

static void own(int who) {
    mine = must_map(NULL, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    pattern_fill(mine, 16 * PAGE, 50 + (uint64_t)who);
}

static void first(void) {
    write_own(1);
    fflush(NULL);
    if (MUST(fork()) == 0) {
        workload_become("grandchild");
        write_own(3);
        own(3);
        workload_live(check_grandchild);
    }
    own(1);
    workload_live(check_first);
}

static void second(void) {
    write_own(2);
    own(2);
    workload_live(check_second);
}

int main(int argc, char **argv) {
    workload_begin(argc, argv);
    shared = must_map(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    MUST(madvise(shared, PAGES * PAGE, MADV_NOHUGEPAGE));
    for (size_t page = 0; page < PAGES; page++)
        pattern_fill(shared + page * PAGE, PAGE, page);
    must_map(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    given_up = must_map((void *)0x210000000000, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    pattern_fill(given_up, 8 * PAGE, 90);
    workload_expect_part("grandchild");
    workload_fork("first", first);
    workload_fork("second", second);
    write_own(0);
    own(0);
    MUST(munmap(given_up, 8 * PAGE));
    workload_tell_ready();
    shared_pages = pages_mapped_often(shared, PAGES);
    workload_live(check);
}
