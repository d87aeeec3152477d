// Private mappings of a file: unmodified pages, pages written by the program, read-only and executable mappings, and
// offsets; what the program wrote never reaches the file.
#include "workload.h"

static unsigned char *clean, *dirty, *readonly, *tail;
static char file[PATH_MAX];

static void check(void) {
    struct map_line line;
    pattern_check("unmodified", clean, 16 * PAGE, 1);
    for (size_t page = 0; page < 16; page++) {
        if (page % 3 == 0)
            pattern_check("modified", dirty + page * PAGE, PAGE, 500 + page);
        else
            EXPECT(memcmp(dirty + page * PAGE, clean + page * PAGE, PAGE) == 0, "unmodified page %zu differs", page);
    }
    map_expect("read-only, written before", readonly, 4 * PAGE, "r-xp");
    pattern_check("read-only, written before", readonly, PAGE, 600);
    EXPECT(memcmp(readonly + PAGE, clean + 9 * PAGE, 3 * PAGE) == 0, "pages at an offset differ");
    if (map_find(readonly, &line)) {
        EXPECT_EQ("offset", 8 * PAGE, line.offset);
        EXPECT_STR("mapped file", file, line.path);
    }
    EXPECT_EQ("last byte of the file", 0x77, tail[99]);
    zero_check("after the end of the file", tail + 100, PAGE - 100);
    // Nothing written to the mappings may have reached the file.
    static unsigned char contents[16 * PAGE];
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    EXPECT_EQ("pread", (ssize_t)sizeof contents, pread(fd, contents, sizeof contents, 0));
    close(fd);
    pattern_check("contents of the file", contents, sizeof contents, 1);
}

int main(int argc, char **argv) {
    workload_begin(argc, argv);
    workload_path(file, "mapped");
    int fd = MUST(open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0644));
    static unsigned char contents[16 * PAGE];
    pattern_fill(contents, sizeof contents, 1);
    MUST(write(fd, contents, sizeof contents));
    memset(contents, 0x77, 100);
    MUST(pwrite(fd, contents, 100, 16 * PAGE));
    clean = must_map(NULL, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    must_map(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    dirty = must_map(NULL, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    must_map(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    readonly = must_map(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 8 * PAGE);
    tail = must_map(NULL, PAGE, PROT_READ, MAP_PRIVATE, fd, 16 * PAGE);
    close(fd);
    for (size_t page = 0; page < 16; page += 3)
        pattern_fill(dirty + page * PAGE, PAGE, 500 + page);
    pattern_fill(readonly, PAGE, 600);
    MUST(mprotect(readonly, 4 * PAGE, PROT_READ | PROT_EXEC));
    workload_live(check);
}
