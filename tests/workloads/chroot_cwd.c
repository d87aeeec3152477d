// Working directory and root: an ordinary directory, a changed root, and a working directory below it.
#include "workload.h"

static char cwd[PATH_MAX];

static void check(void) {
    char now[PATH_MAX];
    link_text("/proc/self/cwd", now, sizeof now);
    EXPECT_STR("cwd", cwd, now);
    link_text("/proc/self/root", now, sizeof now);
    EXPECT_STR("root", "/", now);
    EXPECT_EQ("a relative path", 0, access("here", F_OK));
}

// Inside its root the workload's directory is "/".
static void check_confined(void) {
    char now[PATH_MAX];
    EXPECT(getcwd(now, sizeof now) != NULL && strcmp(now, "/sub/cwd") == 0, "cwd below the new root: '%s'", now);
    EXPECT_EQ("a path from the new root", 0, access("/sub/cwd/here", F_OK));
    EXPECT_EQ("a relative path", 0, access("here", F_OK));
    EXPECT(access("/dev/null", F_OK) == -1, "the old root can be seen");
    EXPECT(access("../../../../dev/null", F_OK) == -1, "the old root can be reached");
}

static void confined(void) {
    MUST(chroot(workload_dir));
    MUST(chdir("/sub/cwd"));
    workload_dir[0] = 0; // paths of the protocol begin with "/" now
    workload_live(check_confined);
}

int main(int argc, char **argv) {
    workload_begin(argc, argv);
    if (geteuid() != 0)
        not_here("chroot needs root");
    char path[PATH_MAX];
    workload_path(path, "sub");
    MUST(mkdir(path, 0755));
    workload_path(cwd, "sub/cwd");
    MUST(mkdir(cwd, 0755));
    workload_path(path, "sub/cwd/here");
    close(MUST(open(path, O_WRONLY | O_CREAT, 0644)));
    MUST(chdir(cwd));
    workload_fork("confined", confined);
    workload_live(check);
}
