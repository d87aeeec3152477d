// Guard regions (MADV_GUARD_INSTALL, Linux 6.13): touching them still faults, around them memory is as it was.
#include "workload.h"
#include <setjmp.h>

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#define MADV_GUARD_REMOVE 103
#endif

static unsigned char *memory;
static sigjmp_buf back;

static void on_fault(int number) {
    siglongjmp(back, number);
}

static bool faults(volatile unsigned char *address) {
    if (sigsetjmp(back, 1) != 0)
        return true;
    (void)*address;
    return false;
}

static void check(void) {
    struct sigaction action = {.sa_handler = on_fault}, before;
    sigaction(SIGSEGV, &action, &before);
    for (size_t page = 0; page < 32; page++) {
        bool guarded = page == 0 || (page >= 10 && page < 14) || page == 31;
        EXPECT(faults(memory + page * PAGE) == guarded, "page %zu: expected %s", page, guarded ? "a guard" : "memory");
        if (!guarded && !faults(memory + page * PAGE))
            pattern_check("page", memory + page * PAGE, PAGE, page);
    }
    sigaction(SIGSEGV, &before, NULL);
    // A guard is no mapping of its own.
    map_expect("one mapping", memory, 32 * PAGE, "rw-p");
}

int main(int argc, char **argv) {
    workload_begin(argc, argv);
    memory = must_map((void *)0x240000000000, 32 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (size_t page = 0; page < 32; page++)
        pattern_fill(memory + page * PAGE, PAGE, page);
    if (madvise(memory, PAGE, MADV_GUARD_INSTALL) != 0)
        not_here("the kernel has no guard regions (Linux 6.13)");
    MUST(madvise(memory + 10 * PAGE, 4 * PAGE, MADV_GUARD_INSTALL));
    MUST(madvise(memory + 31 * PAGE, PAGE, MADV_GUARD_INSTALL));
    workload_live(check);
}
