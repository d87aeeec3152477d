// So much memory that both ends of it are filled at the same time at a restore: a stretch that huge pages fit into and that
// begins and ends within one, one for which they are refused, and every other page of a third.
#include "workload.h"

enum { MiB = 1 << 20 };

static const size_t whole_bytes = 100 * MiB + 5 * PAGE, small_bytes = 30 * MiB, gapped_bytes = 48 * MiB;
static unsigned char *whole, *small, *gapped;

static void check(void) {
    pattern_check("whole", whole, whole_bytes, 1);
    pattern_check("in small pages", small, small_bytes, 2);
    for (size_t at = 0; at < gapped_bytes; at += PAGE) {
        if (at / PAGE % 2 == 0)
            pattern_check("every other page", gapped + at, PAGE, 1000 + at);
        else
            zero_check("untouched page", gapped + at, PAGE);
    }
    char flags[256];
    if (smaps_field(whole, "VmFlags", flags, sizeof flags))
        EXPECT(strstr(flags, "hg") == NULL && strstr(flags, "nh") == NULL, "an advice came from nowhere: %s", flags);
}

int main(int argc, char **argv) {
    workload_begin(argc, argv);
    whole = must_map(NULL, whole_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    pattern_fill(whole, whole_bytes, 1);
    small = must_map(NULL, small_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    MUST(madvise(small, small_bytes, MADV_NOHUGEPAGE));
    pattern_fill(small, small_bytes, 2);
    gapped = must_map(NULL, gapped_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    MUST(madvise(gapped, gapped_bytes, MADV_NOHUGEPAGE));
    for (size_t at = 0; at < gapped_bytes; at += 2 * PAGE) pattern_fill(gapped + at, PAGE, 1000 + at);
    workload_live(check);
}
