// Shared mappings of a file by two processes: one memory, and what is written reaches the file.
#include "workload.h"

static unsigned char *writable, *readonly;
static char file[PATH_MAX];
static int writes;

static void check(void) {
    struct map_line line;
    map_expect("writable", writable, 8 * PAGE, "rw-s");
    map_expect("read-only", readonly, 4 * PAGE, "r--s");
    if (map_find(readonly, &line)) {
        EXPECT_EQ("offset", 2 * PAGE, line.offset);
        EXPECT_STR("mapped file", file, line.path);
    }
    pattern_check("contents", writable + PAGE, 7 * PAGE, 1);
    EXPECT(memcmp(writable + 2 * PAGE, readonly, 4 * PAGE) == 0, "the two mappings differ");
    // Into the file, and from the file.
    uint32_t value = 0xabc00000u + (uint32_t)++writes, seen = 0;
    *(volatile uint32_t *)writable = value;
    int fd = open(file, O_RDWR | O_CLOEXEC);
    EXPECT_EQ("pread", 4, pread(fd, &seen, 4, 0));
    EXPECT_EQ("value in the file", value, seen);
    value += 0x1000;
    EXPECT_EQ("pwrite", 4, pwrite(fd, &value, 4, 8));
    EXPECT_EQ("value in memory", value, *(volatile uint32_t *)(writable + 8));
    // Asks the child through the mapping.
    *(volatile uint32_t *)(writable + 16) = value;
    for (int waited = 0; *(volatile uint32_t *)(writable + 20) != value + 1 && waited < 10000; waited++)
        sleep_ms(1);
    EXPECT_EQ("answer of the child", value + 1, *(volatile uint32_t *)(writable + 20));
    close(fd);
}

static void child_check(void) {
    pattern_check("contents in the child", writable + PAGE, 7 * PAGE, 1);
}

static void *answer(void *unused) {
    (void)unused;
    for (;; sleep_ms(1))
        *(volatile uint32_t *)(writable + 20) = *(volatile uint32_t *)(writable + 16) + 1;
    return NULL;
}

static void child(void) {
    pthread_t thread;
    pthread_create(&thread, NULL, answer, NULL);
    workload_live(child_check);
}

int main(int argc, char **argv) {
    workload_begin(argc, argv);
    workload_path(file, "mapped");
    int fd = MUST(open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0644));
    MUST(ftruncate(fd, 8 * PAGE));
    writable = must_map(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    pattern_fill(writable + PAGE, 7 * PAGE, 1);
    int readonly_fd = MUST(open(file, O_RDONLY | O_CLOEXEC));
    readonly = must_map(NULL, 4 * PAGE, PROT_READ, MAP_SHARED, readonly_fd, 2 * PAGE);
    close(readonly_fd);
    close(fd);
    workload_fork("child", child);
    workload_live(check);
}
