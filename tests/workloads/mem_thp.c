// Transparent huge pages: contents and the advice; whether memory is huge again is the kernel's choice, so only
// contents, flags and the neighbours are judged.
#include "workload.h"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

enum { HUGE = 2 << 20 };

static unsigned char *advised, *refused, *mixed;

static void check(void) {
    char flags[256];
    pattern_check("advised", advised, 4 * HUGE, 1);
    pattern_check("refused", refused, HUGE, 2);
    pattern_check("a part of a huge page", mixed + HUGE / 2, HUGE / 2, 3);
    zero_check("given back part", mixed, HUGE / 2);
    if (smaps_field(advised, "VmFlags", flags, sizeof flags))
        EXPECT(strstr(flags, "hg") != NULL, "MADV_HUGEPAGE is gone: %s", flags);
    if (smaps_field(refused, "VmFlags", flags, sizeof flags))
        EXPECT(strstr(flags, "nh") != NULL, "MADV_NOHUGEPAGE is gone: %s", flags);
    if (smaps_field(mixed, "VmFlags", flags, sizeof flags))
        EXPECT(strstr(flags, "hg") == NULL && strstr(flags, "nh") == NULL, "an advice came from nowhere: %s", flags);
}

static unsigned char *huge_aligned(size_t length) {
    unsigned char *memory = must_map(NULL, length + HUGE + PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    unsigned char *aligned = (unsigned char *)(((uintptr_t)memory + HUGE - 1) / HUGE * HUGE);
    MUST(mprotect(aligned, length, PROT_READ | PROT_WRITE));
    return aligned;
}

int main(int argc, char **argv) {
    workload_begin(argc, argv);
    advised = huge_aligned(4 * HUGE);
    if (madvise(advised, 4 * HUGE, MADV_HUGEPAGE) != 0)
        not_here("the kernel has no transparent huge pages");
    pattern_fill(advised, 4 * HUGE, 1);
    refused = huge_aligned(HUGE);
    MUST(madvise(refused, HUGE, MADV_NOHUGEPAGE));
    pattern_fill(refused, HUGE, 2);
    mixed = huge_aligned(HUGE);
    pattern_fill(mixed, HUGE, 9);
    madvise(mixed, HUGE, MADV_COLLAPSE);
    pattern_fill(mixed + HUGE / 2, HUGE / 2, 3);
    MUST(madvise(mixed, HUGE / 2, MADV_DONTNEED));
    workload_live(check);
}
