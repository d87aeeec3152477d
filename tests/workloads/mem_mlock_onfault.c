// Memory locked by mlock2 with MLOCK_ONFAULT: the flag, and that untouched pages were not brought in.
#include "workload.h"

static unsigned char *memory;

static void check(void) {
    char flags[256] = "", locked[64];
    smaps_field(memory, "VmFlags", flags, sizeof flags);
    EXPECT(strstr(flags, " lo") != NULL && strstr(flags, " lf") != NULL, "locked on fault is gone: %s", flags);
    pattern_check("touched part", memory, 4 * PAGE, 1);
    smaps_field(memory, "Locked", locked, sizeof locked);
    EXPECT(atoi(locked) < 1024, "untouched pages were brought in: %s locked", locked);
    status_field("/proc/self/status", "VmLck", locked, sizeof locked);
    EXPECT_STR("VmLck", "4096 kB", locked);
}

int main(int argc, char **argv) {
    workload_begin(argc, argv);
    memory = must_map(NULL, 1024 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    MUST(madvise(memory, 1024 * PAGE, MADV_NOHUGEPAGE));
    MUST(mlock2(memory, 1024 * PAGE, MLOCK_ONFAULT));
    pattern_fill(memory, 4 * PAGE, 1);
    workload_live(check);
}
