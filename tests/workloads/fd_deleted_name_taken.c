// An open file that was unlinked and whose name belongs to another file now: both keep what is theirs.
#include "workload.h"

static int fd;
static char name[PATH_MAX];

static void check(void) {
    char text[PATH_MAX], path[64], expected[PATH_MAX + 16];
    struct stat now;
    EXPECT_EQ("pread", 7, pread(fd, text, sizeof text, 0));
    EXPECT(memcmp(text, "deleted", 7) == 0, "contents: '%.7s'", text);
    EXPECT_EQ("fstat", 0, fstat(fd, &now));
    EXPECT_EQ("links", 0, now.st_nlink);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    link_text(path, text, sizeof text);
    snprintf(expected, sizeof expected, "%s (deleted)", name);
    EXPECT_STR("name", expected, text);
    read_text(name, text, sizeof text);
    EXPECT_STR("the other file", "another", text);
}

int main(int argc, char **argv) {
    workload_begin(argc, argv);
    workload_path(name, "name");
    fd = MUST(open(name, O_RDWR | O_CREAT | O_EXCL, 0600));
    MUST(write(fd, "deleted", 7));
    MUST(unlink(name));
    int other = MUST(open(name, O_WRONLY | O_CREAT | O_EXCL, 0600));
    MUST(write(other, "another", 7));
    close(other);
    workload_live(check);
}
