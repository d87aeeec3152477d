// Sealed memory (mseal(2), Linux 6.10): it can neither be unmapped nor protected otherwise, and a fork has it sealed too.
#include "workload.h"
#include <errno.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define SYS_mseal_ 462

static unsigned char *memory; // 8 pages: sealed, plain, sealed and read-only, plain

static void expect_sealed(size_t page, bool sealed, int protection) {
    int result = mprotect(memory + page * PAGE, 2 * PAGE, protection ^ PROT_EXEC);
    EXPECT((result != 0 && errno == EPERM) == sealed, "page %zu: mprotect gives %d (%m)", page, result);
    if (result == 0)
        MUST(mprotect(memory + page * PAGE, 2 * PAGE, protection));
    if (!sealed)
        return;
    EXPECT(munmap(memory + page * PAGE, PAGE) != 0 && errno == EPERM, "page %zu could be unmapped", page);
}

static void look(void) {
    expect_sealed(0, true, PROT_READ | PROT_WRITE);
    expect_sealed(2, false, PROT_READ | PROT_WRITE);
    expect_sealed(4, true, PROT_READ);
    expect_sealed(6, false, PROT_READ | PROT_WRITE);
    for (size_t page = 0; page < 8; page++)
        pattern_check("page", memory + page * PAGE, PAGE, page);
}

static void check(void) {
    look();
    memory[0] ^= 1; // it can still be written
    memory[0] ^= 1;
    pid_t child = MUST(fork());
    if (child == 0) {
        look();
        _exit(0);
    }
    int status = 0;
    MUST(waitpid(child, &status, 0));
    EXPECT(status == 0, "a child of it sees something else: status %d", status);
}

static void child(void) {
    workload_live(check);
}

int main(int argc, char **argv) {
    workload_begin(argc, argv);
    memory = must_map((void *)0x240000000000, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (size_t page = 0; page < 8; page++)
        pattern_fill(memory + page * PAGE, PAGE, page);
    MUST(mprotect(memory + 4 * PAGE, 2 * PAGE, PROT_READ));
    if (syscall(SYS_mseal_, memory, 2 * PAGE, 0) != 0)
        not_here("the kernel does not seal memory (Linux 6.10)");
    MUST(syscall(SYS_mseal_, memory + 4 * PAGE, 2 * PAGE, 0));
    workload_fork("child", child); // it shares all of it
    workload_live(check);
}
