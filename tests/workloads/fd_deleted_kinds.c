// Deleted files of other kinds and in other places: the running program itself, a file in a directory that is gone too,
// a device node, and a symbolic link (held by O_PATH).
#include "workload.h"
#include <sys/sysmacros.h>

static int orphan, device, link_itself;
static char directory[PATH_MAX], orphan_path[PATH_MAX], program_path[PATH_MAX];

static void expect_deleted(const char *what, const char *proc_link, const char *path_before) {
    char now[PATH_MAX], expected[PATH_MAX + 16];
    link_text(proc_link, now, sizeof now);
    snprintf(expected, sizeof expected, "%s (deleted)", path_before);
    EXPECT_STR(what, expected, now);
}

static void check(void) {
    char path[64], text[64];
    struct stat now;
    snprintf(path, sizeof path, "/proc/self/fd/%d", orphan);
    expect_deleted("file in a deleted directory", path, orphan_path);
    EXPECT_EQ("its contents", 4, pread(orphan, text, sizeof text, 0));
    expect_deleted("program", "/proc/self/exe", program_path);
    EXPECT_EQ("fstat of the device", 0, fstat(device, &now));
    EXPECT_EQ("device number", makedev(1, 3), now.st_rdev);
    EXPECT_EQ("mode of the device", S_IFCHR | 0640, now.st_mode);
    EXPECT_EQ("write to the device", 3, write(device, "abc", 3));
    EXPECT_EQ("readlinkat of the link itself", 7, readlinkat(link_itself, "", text, sizeof text));
    EXPECT(access(directory, F_OK) != 0, "the deleted directory is back");
    EXPECT(access(program_path, F_OK) != 0, "the deleted program is back");
}

// Goes on as a copy of the program, which is deleted then.
static void become_copy(char **argv) {
    char buffer[65536];
    ssize_t length;
    int from = MUST(open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
    int to = MUST(open(program_path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755));
    while ((length = MUST(read(from, buffer, sizeof buffer))) > 0)
        MUST(write(to, buffer, (size_t)length));
    close(to);
    execv(program_path, argv);
    die("execv");
}

int main(int argc, char **argv) {
    workload_begin(argc, argv);
    char path[PATH_MAX];
    workload_path(program_path, "program");
    if (access(program_path, F_OK) != 0)
        become_copy(argv);
    MUST(unlink(program_path));
    umask(0);
    workload_path(directory, "directory");
    workload_path(orphan_path, "directory/orphan");
    MUST(mkdir(directory, 0700));
    orphan = MUST(open(orphan_path, O_RDWR | O_CREAT | O_EXCL, 0600));
    MUST(write(orphan, "data", 4));
    MUST(unlink(orphan_path));
    MUST(rmdir(directory));
    workload_path(path, "device");
    MUST(mknod(path, S_IFCHR | 0640, makedev(1, 3)));
    device = MUST(open(path, O_RDWR));
    MUST(unlink(path));
    workload_path(path, "link");
    MUST(symlink("nowhere", path));
    link_itself = MUST(open(path, O_PATH | O_NOFOLLOW));
    MUST(unlink(path));
    workload_live(check);
}
