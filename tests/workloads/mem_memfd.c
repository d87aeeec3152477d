// Memory files: open, mapped shared and private, only mapped, sealed, shared between processes, with a position.
#include "workload.h"

static int open_fd, sealed_fd;
static unsigned char *mapped, *only_mapped, *private_map;

static void check(void) {
    struct map_line line;
    char text[PATH_MAX], path[64];
    pattern_check("mapped", mapped + PAGE, 7 * PAGE, 1);
    pattern_check("only mapped", only_mapped, 4 * PAGE, 2);
    pattern_check("private, modified", private_map, PAGE, 3);
    EXPECT(memcmp(private_map + PAGE, mapped + PAGE, 3 * PAGE) == 0, "private, unmodified: differs");
    if (map_find(only_mapped, &line))
        EXPECT_STR("name of the mapped one", "/memfd:only mapped (deleted)", line.path);
    snprintf(path, sizeof path, "/proc/self/fd/%d", open_fd);
    link_text(path, text, sizeof text);
    EXPECT_STR("name of the open one", "/memfd:open (deleted)", text);
    EXPECT_EQ("position", 1234, lseek(open_fd, 0, SEEK_CUR));
    EXPECT_EQ("flags", FD_CLOEXEC, fcntl(open_fd, F_GETFD));
    EXPECT_EQ("size", 8 * PAGE, lseek(open_fd, 0, SEEK_END));
    lseek(open_fd, 1234, SEEK_SET);
    EXPECT_EQ("seals", F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE, fcntl(sealed_fd, F_GET_SEALS));
    EXPECT_EQ("seals of the open one", 0, fcntl(open_fd, F_GET_SEALS));
    EXPECT(pwrite(sealed_fd, "x", 1, 0) == -1 && errno == EPERM, "the sealed one can be written");
    EXPECT_EQ("contents of the sealed one", 6, pread(sealed_fd, text, 6, 0));
    EXPECT(memcmp(text, "sealed", 6) == 0, "contents of the sealed one: '%.6s'", text);
    // Descriptor and mapping are the same memory, and the child's too.
    uint32_t question = *(volatile uint32_t *)mapped + 1;
    EXPECT_EQ("pwrite", 4, pwrite(open_fd, &question, 4, 0));
    EXPECT_EQ("descriptor and mapping", question, *(volatile uint32_t *)mapped);
    for (int waited = 0; *(volatile uint32_t *)(mapped + 4) != question * 2 && waited < 10000; waited++)
        sleep_ms(1);
    EXPECT_EQ("answer of the child", question * 2, *(volatile uint32_t *)(mapped + 4));
}

static void child_check(void) {
    pattern_check("mapped, in the child", mapped + PAGE, 7 * PAGE, 1);
}

static void *answer(void *unused) {
    (void)unused;
    for (;; sleep_ms(1))
        *(volatile uint32_t *)(mapped + 4) = *(volatile uint32_t *)mapped * 2;
    return NULL;
}

static void child(void) {
    pthread_t thread;
    pthread_create(&thread, NULL, answer, NULL);
    workload_live(child_check);
}

int main(int argc, char **argv) {
    workload_begin(argc, argv);
    open_fd = MUST(memfd_create("open", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    MUST(ftruncate(open_fd, 8 * PAGE));
    mapped = must_map(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, open_fd, 0);
    pattern_fill(mapped + PAGE, 7 * PAGE, 1);
    private_map = must_map(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, open_fd, 0);
    pattern_fill(private_map, PAGE, 3);
    lseek(open_fd, 1234, SEEK_SET);
    int fd = MUST(memfd_create("only mapped", 0));
    MUST(ftruncate(fd, 4 * PAGE));
    only_mapped = must_map(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    pattern_fill(only_mapped, 4 * PAGE, 2);
    close(fd);
    sealed_fd = MUST(memfd_create("sealed", MFD_ALLOW_SEALING));
    MUST(write(sealed_fd, "sealed", 6));
    MUST(fcntl(sealed_fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE));
    workload_fork("child", child);
    workload_live(check);
}
