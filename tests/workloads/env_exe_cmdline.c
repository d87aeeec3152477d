// What identifies a program: exe link, command line, environment, auxiliary vector, comm, and the code and data bounds.
#include "workload.h"
#include <sys/auxv.h>

static char exe[PATH_MAX], command_line[4096], environment[65536], auxv[4096], stat_bounds[1024], comm[64];
static size_t command_line_length, environment_length, auxv_length;
static void *vdso, *random_bytes;
static unsigned char random_copy[16];
static long ids[4];

// Fields 26-28 and 45-51 of /proc/self/stat: code, stack, data, brk, argument and environment bounds.
static void read_bounds(char *text, size_t size) {
    char stat[4096];
    read_text("/proc/self/stat", stat, sizeof stat);
    char *field = strrchr(stat, ')') + 2;
    size_t length = 0;
    int number = 3;
    for (char *token = strtok(field, " "); token != NULL; token = strtok(NULL, " "), number++) {
        if ((number >= 26 && number <= 28) || (number >= 45 && number <= 51))
            length += (size_t)snprintf(text + length, size - length, "%d=%s ", number, token);
    }
}

static void check_bytes(const char *what, const char *path, const char *expected, size_t length) {
    static char got[65536];
    size_t got_length = read_text(path, got, sizeof got);
    EXPECT_EQ(what, length, got_length);
    EXPECT(memcmp(expected, got, length) == 0, "%s: contents differ", what);
}

static void check(void) {
    char text[PATH_MAX], path[PATH_MAX];
    link_text("/proc/self/exe", text, sizeof text);
    EXPECT_STR("exe link", exe, text);
    check_bytes("cmdline", "/proc/self/cmdline", command_line, command_line_length);
    check_bytes("environ", "/proc/self/environ", environment, environment_length);
    check_bytes("auxv", "/proc/self/auxv", auxv, auxv_length);
    read_text("/proc/self/comm", text, sizeof text);
    EXPECT_STR("comm", comm, text);
    read_bounds(text, sizeof text);
    EXPECT_STR("bounds in stat", stat_bounds, text);
    EXPECT_STR("getenv", "prepared", getenv("WORKLOAD_VALUE"));
    EXPECT_EQ("pid", ids[0], getpid());
    EXPECT_EQ("group", ids[1], getpgrp());
    EXPECT_EQ("session", ids[2], getsid(0));
    EXPECT_EQ("tid", ids[3], syscall(SYS_gettid));
    EXPECT_EQ("AT_SYSINFO_EHDR", (uintptr_t)vdso, getauxval(AT_SYSINFO_EHDR));
    EXPECT(memcmp(vdso, "\177ELF", 4) == 0, "no ELF image at the vDSO's address");
    EXPECT_EQ("AT_RANDOM", (uintptr_t)random_bytes, getauxval(AT_RANDOM));
    EXPECT(memcmp(random_bytes, random_copy, 16) == 0, "the random bytes of auxv changed");
    struct timespec by_vdso, by_kernel;
    clock_gettime(CLOCK_REALTIME, &by_vdso);
    syscall(SYS_clock_gettime, CLOCK_REALTIME, &by_kernel);
    long long apart = (by_kernel.tv_sec - by_vdso.tv_sec) * 1000000000LL + by_kernel.tv_nsec - by_vdso.tv_nsec;
    EXPECT(apart >= 0 && apart < 1000000000LL, "vDSO and kernel clocks are %lld ns apart", apart);
    // The executable can be opened and is the one mapped.
    struct stat by_link, by_path;
    snprintf(path, sizeof path, "%s", exe);
    EXPECT(stat("/proc/self/exe", &by_link) == 0 && stat(path, &by_path) == 0 && by_link.st_ino == by_path.st_ino,
           "exe is not the file %s", exe);
}

int main(int argc, char **argv) {
    if (getenv("WORKLOAD_VALUE") == NULL) {
        setenv("WORKLOAD_VALUE", "prepared", 1);
        setenv("WORKLOAD_EMPTY", "", 1);
        char *arguments[] = {"a name of its own", "", "two words", "tail\nwith newline", NULL};
        execv("/proc/self/exe", arguments);
        die("exec");
    }
    workload_begin(argc, argv);
    EXPECT_STR("argv[0]", "a name of its own", argv[0]);
    MUST(prctl(PR_SET_NAME, "comm (1) \xc3\xa4"));
    link_text("/proc/self/exe", exe, sizeof exe);
    command_line_length = read_text("/proc/self/cmdline", command_line, sizeof command_line);
    environment_length = read_text("/proc/self/environ", environment, sizeof environment);
    auxv_length = read_text("/proc/self/auxv", auxv, sizeof auxv);
    read_text("/proc/self/comm", comm, sizeof comm);
    read_bounds(stat_bounds, sizeof stat_bounds);
    vdso = (void *)getauxval(AT_SYSINFO_EHDR);
    random_bytes = (void *)getauxval(AT_RANDOM);
    memcpy(random_copy, random_bytes, 16);
    ids[0] = getpid(), ids[1] = getpgrp(), ids[2] = getsid(0), ids[3] = syscall(SYS_gettid);
    workload_live(check);
}
