// Processes that share what their parent had loaded before they were forked, and have far more of their own: what they
// share must stay one copy of memory, whatever becomes of the rest.
#include "workload.h"

enum { COMMON = 16 << 20, OWN = 48 << 20, REWRITTEN = 1 << 20 };

static unsigned char *common, *own;
static size_t shared_pages;

static void stamp(unsigned char *memory, size_t length, uint64_t seed) {
    for (size_t at = 0; at < length; at += PAGE)
        *(uint64_t *)(memory + at) = seed + at;
}

static void stamp_check(const char *what, unsigned char *memory, size_t length, uint64_t seed) {
    for (size_t at = 0; at < length; at += PAGE) {
        uint64_t found = *(volatile uint64_t *)(memory + at);
        EXPECT(found == seed + at, "%s at %zx: %llx", what, at, (unsigned long long)found);
        if (found != seed + at)
            return;
    }
}

// Child 1 wrote a whole stretch of what is common anew, child 2 a page here and there.
static uint64_t expected(unsigned who, size_t at) {
    if (who == 1 && at / REWRITTEN == 1)
        return 71 + at - REWRITTEN;
    return who == 2 && at % (64 * PAGE) == 0 ? 72 : 7 + at;
}

static void check_as(unsigned who) {
    stamp_check("own memory", own, OWN, 1000 + who);
    for (size_t at = 0; at < COMMON; at += PAGE)
        stamp_check("common page", common + at, PAGE, expected(who, at));
}

static void check(void) {
    check_as(0);
    size_t now = pages_mapped_often(common, COMMON / PAGE);
    EXPECT(now + 8 >= shared_pages, "pages shared with children: %zu before, %zu now", shared_pages, now);
}

static void check_first(void) {
    check_as(1);
}

static void check_second(void) {
    check_as(2);
}

static void begin(unsigned who) {
    own = must_map(NULL, OWN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    stamp(own, OWN, 1000 + who);
}

static void first(void) {
    stamp(common + REWRITTEN, REWRITTEN, 71);
    begin(1);
    workload_live(check_first);
}

static void second(void) {
    for (size_t at = 0; at < COMMON; at += 64 * PAGE)
        stamp(common + at, PAGE, 72);
    begin(2);
    workload_live(check_second);
}

int main(int argc, char **argv) {
    workload_begin(argc, argv);
    common = must_map(NULL, COMMON, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    MUST(madvise(common, COMMON, MADV_NOHUGEPAGE));
    stamp(common, COMMON, 7);
    workload_fork("first", first);
    workload_fork("second", second);
    begin(0);
    workload_tell_ready();
    shared_pages = pages_mapped_often(common, COMMON / PAGE);
    workload_live(check);
}
