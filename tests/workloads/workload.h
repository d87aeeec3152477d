// What every workload shares: the protocol with the harness, expectations, patterns, and readers of /proc/self.
//
// Protocol, all by files in $WORKLOAD_DIR (polled with nanosleep, so that no descriptor, signal or mapping is needed):
//   ready          written by the leader when everything is prepared; holds its pid
//   check.N        made by the harness: check yourselves, round N (1, 2, 3, …)
//   part.NAME.N    answer of one participating process other than the leader
//   result.N       answer of the whole workload: "OK", or lines "FAIL: …"
//   stop           made by the harness: end; the leader exits 0
// The round number lives in the program's memory: a program restored to an older state does not answer.
#ifndef WORKLOAD_H
#define WORKLOAD_H
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAGE ((size_t)4096)
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define MAX_PARTS 512

static char workload_dir[PATH_MAX / 2];
static const char *workload_name = "leader";
static bool workload_is_leader = true;
static char workload_parts[MAX_PARTS][24];
static int workload_part_count;
static int workload_round = 1;
static int workload_poll_ms = 10;
static int workload_argc;
static char **workload_argv;
static char workload_failures[32768];
static size_t workload_failures_length;
static pthread_mutex_t workload_failures_lock = PTHREAD_MUTEX_INITIALIZER;

// ---- telling what is wrong -------------------------------------------------------------------------------------

__attribute__((format(printf, 1, 2), unused)) static void fail(const char *format, ...) {
    char line[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    pthread_mutex_lock(&workload_failures_lock);
    size_t room = sizeof workload_failures - workload_failures_length;
    int written = snprintf(workload_failures + workload_failures_length, room, "FAIL: %s (%d): %s\n", workload_name,
                           (int)syscall(SYS_gettid), line);
    if (written > 0 && (size_t)written < room)
        workload_failures_length += (size_t)written;
    pthread_mutex_unlock(&workload_failures_lock);
}

// Preparing went wrong: the workload cannot run at all on this machine.
__attribute__((format(printf, 1, 2), noreturn, unused)) static void die(const char *format, ...) {
    int error = errno;
    char line[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    fprintf(stderr, "prepare: %s (%d): %s (errno %d, %s)\n", workload_name, (int)getpid(), line, error,
            strerror(error));
    _exit(3);
}

// The machine lacks what the workload needs: the harness reports the test as skipped with this text.
__attribute__((format(printf, 1, 2), noreturn, unused)) static void not_here(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "not here: ");
    vfprintf(stderr, format, arguments);
    fprintf(stderr, "\n");
    va_end(arguments);
    _exit(77);
}

#define EXPECT(condition, ...)        \
    do {                              \
        if (!(condition))             \
            fail(__VA_ARGS__);        \
    } while (0)

#define EXPECT_EQ(what, expected, got)                                                           \
    do {                                                                                         \
        long long expected_value = (long long)(expected), got_value = (long long)(got);          \
        if (expected_value != got_value)                                                         \
            fail("%s: expected %lld (0x%llx), got %lld (0x%llx)", what, expected_value,          \
                 (unsigned long long)expected_value, got_value, (unsigned long long)got_value); \
    } while (0)

#define EXPECT_STR(what, expected, got)                                          \
    do {                                                                         \
        const char *expected_text = (expected), *got_text = (got);               \
        if (strcmp(expected_text, got_text) != 0)                                \
            fail("%s: expected '%s', got '%s'", what, expected_text, got_text);  \
    } while (0)

#define MUST(call)                              \
    ({                                          \
        __typeof__(call) must_result = (call);  \
        if ((long)must_result == -1)            \
            die("%s", #call);                   \
        must_result;                            \
    })

__attribute__((unused)) static void *must_map(void *wanted, size_t length, int protection, int flags, int fd,
                                              off_t offset) {
    void *result = mmap(wanted, length, protection, flags, fd, offset);
    if (result == MAP_FAILED)
        die("mmap of %zu bytes", length);
    return result;
}

// ---- the protocol ----------------------------------------------------------------------------------------------

__attribute__((format(printf, 2, 3), unused)) static void workload_path(char *path, const char *format, ...) {
    int length = snprintf(path, PATH_MAX, "%s/", workload_dir);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(path + length, PATH_MAX - (size_t)length, format, arguments);
    va_end(arguments);
}

__attribute__((unused)) static void sleep_ms(int milliseconds) {
    struct timespec left = {milliseconds / 1000, (long)(milliseconds % 1000) * 1000000};
    while (nanosleep(&left, &left) == -1 && errno == EINTR)
        ;
}

__attribute__((unused)) static long long now_ns(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static bool workload_file_exists(const char *path) {
    return access(path, F_OK) == 0;
}

// Whole or not at all: written beside, then renamed.
static void workload_write_file(const char *path, const char *text, size_t length) {
    char temporary[PATH_MAX + 8];
    snprintf(temporary, sizeof temporary, "%s~%d", path, (int)getpid());
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0 || write(fd, text, length) != (ssize_t)length)
        fprintf(stderr, "%s: cannot write %s: %s\n", workload_name, temporary, strerror(errno));
    if (fd >= 0)
        close(fd);
    if (rename(temporary, path) != 0)
        fprintf(stderr, "%s: cannot rename %s: %s\n", workload_name, temporary, strerror(errno));
}

__attribute__((unused)) static size_t read_text(const char *path, char *text, size_t size) {
    size_t length = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        ssize_t got;
        while (length < size - 1 && (got = read(fd, text + length, size - 1 - length)) > 0)
            length += (size_t)got;
        close(fd);
    }
    text[length] = 0;
    return length;
}

__attribute__((unused)) static void workload_begin(int argc, char **argv) {
    const char *directory = getenv("WORKLOAD_DIR");
    if (directory == NULL || realpath(directory, workload_dir) == NULL)
        die("WORKLOAD_DIR must name a directory");
    workload_argc = argc;
    workload_argv = argv;
}

// Parameter number `index` (from 1) of the command line, or a default.
__attribute__((unused)) static long workload_parameter(int index, long otherwise) {
    return index < workload_argc ? strtol(workload_argv[index], NULL, 0) : otherwise;
}

// The leader waits for the answers of the processes named here; call it before they are forked.
__attribute__((unused)) static void workload_expect_part(const char *name) {
    if (workload_part_count == MAX_PARTS)
        die("more than %d parts", MAX_PARTS);
    snprintf(workload_parts[workload_part_count++], sizeof workload_parts[0], "%s", name);
}

// Takes the mark by which the harness knows the processes of the tree off one that is to be outside of it.
__attribute__((unused)) static void workload_unmark(void) {
    for (char **variable = environ; *variable != NULL; variable++)
        memset(*variable, 0, strlen(*variable));
}

// To be called in a forked process that will answer for itself by workload_live.
__attribute__((unused)) static void workload_become(const char *name) {
    workload_is_leader = false;
    workload_name = strdup(name);
    workload_part_count = 0;
}

__attribute__((unused)) static pid_t workload_fork(const char *name, void (*body)(void)) {
    if (workload_is_leader)
        workload_expect_part(name);
    fflush(NULL);
    pid_t pid = MUST(fork());
    if (pid == 0) {
        workload_become(name);
        body();
        _exit(4);
    }
    return pid;
}

static bool workload_wait_file(const char *path, int timeout_ms) {
    for (int waited = 0; !workload_file_exists(path); waited += 2) {
        if (waited > timeout_ms)
            return false;
        sleep_ms(2);
    }
    return true;
}

static void workload_collect(void) {
    char path[PATH_MAX], text[8192];
    for (int i = 0; i < workload_part_count; i++) {
        workload_path(path, "part.%s.%d", workload_parts[i], workload_round);
        if (!workload_wait_file(path, 20000)) {
            fail("%s did not answer within 20 s", workload_parts[i]);
            continue;
        }
        size_t length = read_text(path, text, sizeof text);
        if (strcmp(text, "OK\n") != 0 && workload_failures_length + length < sizeof workload_failures) {
            memcpy(workload_failures + workload_failures_length, text, length);
            workload_failures_length += length;
        }
    }
}

static void workload_answer(void) {
    char path[PATH_MAX];
    if (workload_is_leader) {
        workload_collect();
        workload_path(path, "result.%d", workload_round);
    } else {
        workload_path(path, "part.%s.%d", workload_name, workload_round);
    }
    if (workload_failures_length == 0)
        workload_write_file(path, "OK\n", 3);
    else
        workload_write_file(path, workload_failures, workload_failures_length);
    workload_failures_length = 0;
    workload_round++;
}

// Is there something to do? 0 no, 1 check, 2 stop. For workloads that have a loop of their own.
__attribute__((unused)) static int workload_poll(void) {
    char path[PATH_MAX];
    workload_path(path, "check.%d", workload_round);
    if (workload_file_exists(path))
        return 1;
    workload_path(path, "stop");
    return workload_file_exists(path) ? 2 : 0;
}

__attribute__((unused)) static void workload_tell_ready(void) {
    char path[PATH_MAX], text[32];
    if (!workload_is_leader) {
        workload_path(path, "part.%s.ready", workload_name);
        workload_write_file(path, "", 0);
        return;
    }
    for (int i = 0; i < workload_part_count; i++) {
        workload_path(path, "part.%s.ready", workload_parts[i]);
        if (!workload_wait_file(path, 20000))
            die("%s was not ready within 20 s", workload_parts[i]);
    }
    workload_path(path, "ready");
    workload_write_file(path, text, (size_t)snprintf(text, sizeof text, "%d\n", (int)getpid()));
}

// Says ready, then lives: checks when asked, returns when told to stop.
__attribute__((unused)) static void workload_live_until_stop(void (*check)(void)) {
    workload_tell_ready();
    for (;;) {
        switch (workload_poll()) {
        case 1:
            check();
            workload_answer();
            break;
        case 2:
            return;
        default:
            sleep_ms(workload_poll_ms);
        }
    }
}

__attribute__((noreturn, unused)) static void workload_live(void (*check)(void)) {
    workload_live_until_stop(check);
    // Children are told by the same file; those that cannot listen (stopped, in exec, in vfork) are ended by their
    // parents' workloads before this.
    _exit(0);
}

// ---- patterns in memory ----------------------------------------------------------------------------------------

static inline uint64_t pattern_word(uint64_t seed, size_t index) {
    uint64_t x = seed * 0x9e3779b97f4a7c15ULL + index * 0xbf58476d1ce4e5b9ULL + 1;
    x ^= x >> 29;
    x *= 0x94d049bb133111ebULL;
    return x ^ (x >> 32);
}

__attribute__((unused)) static void pattern_fill(void *memory, size_t length, uint64_t seed) {
    uint64_t *words = memory;
    for (size_t i = 0; i < length / 8; i++)
        words[i] = pattern_word(seed, i);
}

__attribute__((unused)) static void pattern_check(const char *what, const void *memory, size_t length, uint64_t seed) {
    const uint64_t *words = memory;
    for (size_t i = 0; i < length / 8; i++) {
        if (words[i] != pattern_word(seed, i)) {
            fail("%s: at %p (offset 0x%zx): expected %016llx, got %016llx", what, (const void *)&words[i], i * 8,
                 (unsigned long long)pattern_word(seed, i), (unsigned long long)words[i]);
            return;
        }
    }
}

__attribute__((unused)) static void zero_check(const char *what, const void *memory, size_t length) {
    const unsigned char *bytes = memory;
    for (size_t i = 0; i < length; i++) {
        if (bytes[i] != 0) {
            fail("%s: at %p (offset 0x%zx): expected 00, got %02x", what, (const void *)&bytes[i], i, bytes[i]);
            return;
        }
    }
}

// ---- /proc/self ------------------------------------------------------------------------------------------------

struct map_line {
    uintptr_t start, end;
    char permissions[8];
    unsigned long long offset, inode;
    unsigned major, minor;
    char path[512];
};

// The mapping that holds `address`; false where there is none.
__attribute__((unused)) static bool map_find(const void *address, struct map_line *found) {
    FILE *maps = fopen("/proc/self/maps", "re");
    char line[1024];
    bool result = false;
    while (maps != NULL && !result && fgets(line, sizeof line, maps) != NULL) {
        int used = 0;
        found->path[0] = 0;
        if (sscanf(line, "%lx-%lx %7s %llx %x:%x %llu %n", &found->start, &found->end, found->permissions,
                   &found->offset, &found->major, &found->minor, &found->inode, &used) < 7)
            continue;
        snprintf(found->path, sizeof found->path, "%.*s", (int)strcspn(line + used, "\n"), line + used);
        result = (uintptr_t)address >= found->start && (uintptr_t)address < found->end;
    }
    if (maps != NULL)
        fclose(maps);
    return result;
}

// Expects that one mapping covers exactly this range (neighbours may have been merged: then it contains it).
__attribute__((unused)) static void map_expect(const char *what, const void *address, size_t length,
                                               const char *permissions) {
    struct map_line line;
    if (!map_find(address, &line)) {
        fail("%s: expected a mapping at %p, got none", what, address);
        return;
    }
    EXPECT(line.end >= (uintptr_t)address + length, "%s: mapping %lx-%lx ends before %lx", what, line.start, line.end,
           (uintptr_t)address + length);
    EXPECT_STR(what, permissions, line.permissions);
}

__attribute__((unused)) static void map_expect_none(const char *what, const void *address) {
    struct map_line line;
    if (map_find(address, &line))
        fail("%s: expected a hole at %p, got mapping %lx-%lx %s %s", what, address, line.start, line.end,
             line.permissions, line.path);
}

// The value of a field ("VmFlags", "AnonHugePages", …) in smaps of the mapping that holds `address`.
// How many pages of a range other processes map, too, by the kernel's count; 0 where it does not tell.
__attribute__((unused)) static size_t pages_mapped_often(const void *address, size_t pages) {
    int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC), counts = open("/proc/kpagecount", O_RDONLY | O_CLOEXEC);
    size_t often = 0;
    for (size_t i = 0; pagemap >= 0 && counts >= 0 && i < pages; i++) {
        uint64_t entry = 0, count = 0;
        if (pread(pagemap, &entry, 8, (off_t)(((uintptr_t)address / PAGE + i) * 8)) != 8 || !(entry >> 63))
            continue;
        uint64_t frame = entry & ((1ULL << 55) - 1);
        if (frame != 0 && pread(counts, &count, 8, (off_t)(frame * 8)) == 8)
            often += count > 1;
    }
    if (pagemap >= 0)
        close(pagemap);
    if (counts >= 0)
        close(counts);
    return often;
}

__attribute__((unused)) static bool smaps_field(const void *address, const char *field, char *value, size_t size) {
    FILE *smaps = fopen("/proc/self/smaps", "re");
    char line[1024];
    bool inside = false, result = false;
    while (smaps != NULL && !result && fgets(line, sizeof line, smaps) != NULL) {
        uintptr_t start, end;
        char dash;
        if (sscanf(line, "%lx%c%lx ", &start, &dash, &end) == 3 && dash == '-')
            inside = (uintptr_t)address >= start && (uintptr_t)address < end;
        else if (inside && strncmp(line, field, strlen(field)) == 0 && line[strlen(field)] == ':') {
            const char *text = line + strlen(field) + 1;
            text += strspn(text, " \t");
            snprintf(value, size, "%.*s", (int)strcspn(text, "\n"), text);
            result = true;
        }
    }
    if (smaps != NULL)
        fclose(smaps);
    return result;
}

// The value of a line ("SigBlk", "Uid", …) of a status-like file.
__attribute__((unused)) static bool status_field(const char *path, const char *field, char *value, size_t size) {
    char text[16384];
    read_text(path, text, sizeof text);
    char *rest;
    // Threads ask at the same time: strtok(3) would mix their lines up.
    for (char *line = strtok_r(text, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest)) {
        size_t length = strlen(field);
        if (strncmp(line, field, length) == 0 && line[length] == ':') {
            line += length + 1;
            line += strspn(line, " \t");
            snprintf(value, size, "%s", line);
            return true;
        }
    }
    value[0] = 0;
    return false;
}

// Snapshot of status-like lines, to be compared later: prepared once, checked every round.
__attribute__((unused)) static void status_expect(const char *path, const char *field, const char *expected) {
    char value[1024];
    if (!status_field(path, field, value, sizeof value))
        fail("%s has no line %s", path, field);
    else if (strcmp(value, expected) != 0)
        fail("%s of %s: expected '%s', got '%s'", field, path, expected, value);
}

__attribute__((unused)) static void link_text(const char *path, char *text, size_t size) {
    ssize_t length = readlink(path, text, size - 1);
    text[length < 0 ? 0 : length] = 0;
}

#endif
