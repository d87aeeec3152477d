// So much memory of different kinds that the program itself is made to copy it, and all that it could notice of that: its
// descriptors, its limits, its actions for the signals of a fault, its mappings. An argument gives it a reason why it cannot or
// must not: then it is read from outside.
#include "workload.h"
#include <linux/filter.h>
#include <linux/seccomp.h>

enum { SMALL = 96, SPARSE = 48, HUGE = 32, HIDDEN = 4 };
static unsigned char *small, *sparse, *huge, *hidden;
static size_t mappings;
static int lowest;

static void handler(int signal) {
    (void)signal;
    fail("a fault signal came");
}

// Not those that can be written and executed: an engine that is killed leaves one, until the next dump.
static size_t count_mappings(void) {
    static char text[1 << 20];
    size_t count = 0;
    read_text("/proc/self/maps", text, sizeof text);
    unsigned long start, end, last_end = 0;
    char rights[8], last_rights[8] = "";
    for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        if (sscanf(line, "%lx-%lx %7s", &start, &end, rights) != 3 || strcmp(rights, "rwxp") == 0)
            continue;
        // Neighbours of one kind are one or several, as they were made.
        count += start != last_end || strcmp(rights, last_rights) != 0;
        last_end = end;
        strcpy(last_rights, rights);
    }
    return count;
}

static int lowest_free(void) {
    int fd = fcntl(0, F_DUPFD, 0);
    if (fd >= 0)
        close(fd);
    return fd;
}

static void check(void) {
    for (size_t page = 0; page < SMALL * 256; page += 3)
        pattern_check("small pages", small + page * PAGE, PAGE, 1 + page);
    for (size_t page = 0; page < SPARSE * 256; page++) {
        if (page % 3 == 0)
            pattern_check("scattered pages", sparse + page * PAGE, PAGE, 100000 + page);
        else if (page % 64 == 1)
            EXPECT_EQ("a page that was never touched", 0, sparse[page * PAGE]);
    }
    for (size_t page = 0; page < HUGE * 256; page += 5)
        pattern_check("huge pages", huge + page * PAGE, PAGE, 200000 + page);
    MUST(mprotect(hidden, HIDDEN << 20, PROT_READ));
    for (size_t page = 0; page < HIDDEN * 256; page++)
        pattern_check("pages that nobody may read", hidden + page * PAGE, PAGE, 300000 + page);
    MUST(mprotect(hidden, HIDDEN << 20, PROT_NONE));
    struct sigaction action;
    for (int i = 0; i < 2; i++) {
        sigaction(i == 0 ? SIGSEGV : SIGBUS, NULL, &action);
        EXPECT(action.sa_handler == handler, "another handler for a fault: %p", (void *)action.sa_handler);
    }
    EXPECT_EQ("lowest free descriptor", lowest, lowest_free());
    EXPECT_EQ("mappings", (long)mappings, (long)count_mappings());
}

static void allow_all(void) {
    struct sock_filter allow[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    struct sock_fprog program = {.len = COUNT(allow), .filter = allow};
    MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    MUST(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program));
}

static void limit(int which, rlim_t value) {
    struct rlimit limit;
    MUST(getrlimit(which, &limit));
    limit.rlim_cur = value;
    MUST(setrlimit(which, &limit));
}

// As much address space as it has, and a little for what saving it takes.
static void limit_space(void) {
    char text[4096];
    unsigned long pages = 0;
    read_text("/proc/self/statm", text, sizeof text);
    sscanf(text, "%lu", &pages);
    limit(RLIMIT_AS, pages * PAGE + (2 << 20));
}

static unsigned char *fill(size_t mib, size_t step, size_t seed, int advice) {
    unsigned char *raw = must_map(NULL, (mib + 2) << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    unsigned char *memory = (unsigned char *)(((uintptr_t)raw + (2 << 20) - 1) & ~(uintptr_t)((2 << 20) - 1));
    madvise(memory, mib << 20, advice);
    for (size_t page = 0; page < mib * 256; page += step)
        pattern_fill(memory + page * PAGE, PAGE, seed + page);
    return memory;
}

int main(int argc, char **argv) {
    workload_begin(argc, argv);
    workload_poll_ms = 2;
    struct sigaction action = {.sa_handler = handler};
    sigaction(SIGSEGV, &action, NULL);
    sigaction(SIGBUS, &action, NULL);
    small = fill(SMALL, 1, 1, MADV_NOHUGEPAGE);
    sparse = fill(SPARSE, 3, 100000, MADV_NOHUGEPAGE);
    huge = fill(HUGE, 1, 200000, MADV_HUGEPAGE);
    hidden = fill(HIDDEN, 1, 300000, MADV_NOHUGEPAGE);
    MUST(mprotect(hidden, HIDDEN << 20, PROT_NONE));
    const char *reason = argc > 1 ? argv[1] : "";
    if (strcmp(reason, "filter") == 0)
        allow_all();
    else if (strcmp(reason, "descriptors") == 0)
        limit(RLIMIT_NOFILE, 4); // 0 to 2, and one for reading what it checks
    else if (strcmp(reason, "space") == 0)
        limit_space();
    else if (*reason != 0)
        die("unknown reason %s", reason);
    mappings = count_mappings();
    lowest = lowest_free();
    workload_live(check);
}
