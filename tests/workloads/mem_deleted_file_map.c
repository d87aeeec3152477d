// Mappings of deleted files: shared by two processes, private with own changes; the name may be in use again.
#include "workload.h"

static unsigned char *shared, *private_map;
static char shared_path[PATH_MAX], private_path[PATH_MAX];

static void check(void) {
    struct map_line line;
    char expected[PATH_MAX + 16], text[64];
    pattern_check("shared", shared + PAGE, 7 * PAGE, 1);
    map_expect("shared", shared, 8 * PAGE, "rw-s");
    pattern_check("private, modified", private_map, PAGE, 3);
    pattern_check("private, unmodified", private_map + PAGE, PAGE, 20);
    snprintf(expected, sizeof expected, "%s (deleted)", shared_path);
    if (map_find(shared, &line))
        EXPECT_STR("mapped file", expected, line.path);
    EXPECT(access(shared_path, F_OK) != 0, "the deleted file came back");
    // The other name belongs to another file now, which must not be touched.
    read_text(private_path, text, sizeof text);
    EXPECT_STR("file of the same name", "another", text);
    uint32_t question = *(volatile uint32_t *)shared + 1;
    *(volatile uint32_t *)shared = question;
    for (int waited = 0; *(volatile uint32_t *)(shared + 4) != question * 2 && waited < 10000; waited++)
        sleep_ms(1);
    EXPECT_EQ("answer of the child", question * 2, *(volatile uint32_t *)(shared + 4));
}

static void child_check(void) {
    pattern_check("shared, in the child", shared + PAGE, 7 * PAGE, 1);
}

static void *answer(void *unused) {
    (void)unused;
    for (;; sleep_ms(1))
        *(volatile uint32_t *)(shared + 4) = *(volatile uint32_t *)shared * 2;
    return NULL;
}

static void child(void) {
    pthread_t thread;
    pthread_create(&thread, NULL, answer, NULL);
    workload_live(child_check);
}

static unsigned char *map_deleted(char *path, const char *name, size_t length, int flags) {
    workload_path(path, "%s", name);
    int fd = MUST(open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644));
    MUST(ftruncate(fd, (off_t)length));
    for (size_t page = 0; page < length / PAGE; page++) {
        unsigned char contents[PAGE];
        pattern_fill(contents, PAGE, 20);
        MUST(pwrite(fd, contents, PAGE, (off_t)(page * PAGE)));
    }
    unsigned char *memory = must_map(NULL, length, PROT_READ | PROT_WRITE, flags, fd, 0);
    close(fd);
    MUST(unlink(path));
    return memory;
}

int main(int argc, char **argv) {
    workload_begin(argc, argv);
    shared = map_deleted(shared_path, "shared", 8 * PAGE, MAP_SHARED);
    pattern_fill(shared + PAGE, 7 * PAGE, 1);
    private_map = map_deleted(private_path, "private", 2 * PAGE, MAP_PRIVATE);
    pattern_fill(private_map, PAGE, 3);
    int fd = MUST(open(private_path, O_WRONLY | O_CREAT, 0644));
    MUST(write(fd, "another", 7));
    close(fd);
    workload_fork("child", child);
    workload_live(check);
}
