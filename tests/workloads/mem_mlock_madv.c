// Flags of mappings: mlock, and the advices that stay with a mapping, read back from smaps.
#include "workload.h"

struct prepared {
    const char *what;
    unsigned char *memory;
    char flags[256];
    bool wiped;
};

static struct prepared prepared[16];
static int count;

static void normal(const char *flags, char *into, size_t size) {
    // Tracking of written memory (sd, uw) and accounting differ without the program's doing.
    char copy[256];
    size_t length = 0;
    into[0] = 0;
    snprintf(copy, sizeof copy, "%s", flags);
    for (char *flag = strtok(copy, " "); flag != NULL; flag = strtok(NULL, " "))
        if (strcmp(flag, "sd") != 0 && strcmp(flag, "uw") != 0 && strcmp(flag, "ac") != 0)
            length += (size_t)snprintf(into + length, size - length, "%s ", flag);
}

static void get_flags(const unsigned char *memory, char *into, size_t size) {
    char flags[256] = "";
    smaps_field(memory, "VmFlags", flags, sizeof flags);
    normal(flags, into, size);
}

static unsigned char *make(const char *what, int advice) {
    struct prepared *one = &prepared[count++];
    one->what = what;
    one->memory = must_map((unsigned char *)0x230000000000 + (size_t)count * 64 * PAGE, 4 * PAGE,
                           PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    pattern_fill(one->memory, 4 * PAGE, 10 + (uint64_t)count);
    if (advice >= 0 && madvise(one->memory, 4 * PAGE, advice) != 0) {
        if (errno != EINVAL)
            die("%s", what);
        fprintf(stderr, "this kernel has no %s\n", what);
        munmap(one->memory, 4 * PAGE);
        count--;
    }
    return one->memory;
}

static void check(void) {
    char flags[256], locked[64];
    for (int i = 0; i < count; i++) {
        get_flags(prepared[i].memory, flags, sizeof flags);
        EXPECT_STR(prepared[i].what, prepared[i].flags, flags);
        pattern_check(prepared[i].what, prepared[i].memory, 4 * PAGE, 11 + (uint64_t)i);
    }
    status_field("/proc/self/status", "VmLck", locked, sizeof locked);
    EXPECT_STR("VmLck", "16 kB", locked);
    pid_t child = fork();
    if (child == 0) { // what the advices promise at fork
        int wrong = 0;
        for (int i = 0; i < count; i++) {
            struct map_line line;
            bool there = map_find(prepared[i].memory, &line);
            if (strcmp(prepared[i].what, "MADV_DONTFORK") == 0)
                wrong |= there ? 1 : 0;
            else if (strcmp(prepared[i].what, "MADV_WIPEONFORK") == 0)
                wrong |= *(uint64_t *)prepared[i].memory != 0 ? 2 : 0;
        }
        _exit(wrong);
    }
    int status = -1;
    waitpid(child, &status, 0);
    EXPECT_EQ("what a forked child saw of DONTFORK (1) and WIPEONFORK (2)", 0, status >> 8);
}

int main(int argc, char **argv) {
    workload_begin(argc, argv);
    make("none", -1);
    make("MADV_DONTFORK", MADV_DONTFORK);
    make("MADV_WIPEONFORK", MADV_WIPEONFORK);
    make("MADV_DONTDUMP", MADV_DONTDUMP);
    make("MADV_MERGEABLE", MADV_MERGEABLE);
    make("MADV_HUGEPAGE", MADV_HUGEPAGE);
    make("MADV_NOHUGEPAGE", MADV_NOHUGEPAGE);
    make("MADV_SEQUENTIAL", MADV_SEQUENTIAL);
    make("MADV_RANDOM", MADV_RANDOM);
    MUST(mlock(make("mlock", -1), 4 * PAGE));
    for (int i = 0; i < count; i++)
        get_flags(prepared[i].memory, prepared[i].flags, sizeof prepared[i].flags);
    workload_live(check);
}
