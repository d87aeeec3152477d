// A directory that was removed: held open, and as the working directory of a child.
#include "workload.h"

static int fd;
static char held[PATH_MAX];

static void check(void) {
    struct stat now;
    char path[64], text[PATH_MAX], expected[PATH_MAX + 16];
    EXPECT_EQ("fstat", 0, fstat(fd, &now));
    EXPECT(S_ISDIR(now.st_mode) && now.st_nlink == 0, "mode 0%o, %u links", now.st_mode, (unsigned)now.st_nlink);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    link_text(path, text, sizeof text);
    snprintf(expected, sizeof expected, "%s (deleted)", held);
    EXPECT_STR("name", expected, text);
    EXPECT(access(held, F_OK) != 0, "the removed directory is back");
}

static void check_child(void) {
    char text[PATH_MAX];
    EXPECT(getcwd(text, sizeof text) == NULL && errno == ENOENT, "getcwd in a removed directory gives '%s'", text);
    EXPECT(open("file", O_WRONLY | O_CREAT, 0600) == -1, "a file can be made in a removed directory");
}

static void child(void) {
    char path[PATH_MAX];
    workload_path(path, "cwd");
    MUST(mkdir(path, 0700));
    MUST(chdir(path));
    MUST(rmdir(path));
    workload_live(check_child);
}

int main(int argc, char **argv) {
    workload_begin(argc, argv);
    workload_path(held, "held");
    MUST(mkdir(held, 0700));
    fd = MUST(open(held, O_RDONLY | O_DIRECTORY));
    MUST(rmdir(held));
    workload_fork("child", child);
    workload_live(check);
}
