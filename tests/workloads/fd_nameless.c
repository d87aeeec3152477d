// Files and directories opened in ways that leave a trace in the flags: O_TMPFILE (a file that never had a name),
// O_DIRECTORY, and O_PATH together with O_DIRECTORY or O_NOFOLLOW (the descriptor of a symbolic link itself).
#include "workload.h"

static int nameless, directory, path_of_directory, path_of_link, nameless_flags, directory_flags, link_flags;

static void check(void) {
    char text[64];
    struct stat now;
    EXPECT_EQ("flags of the O_TMPFILE file", nameless_flags, fcntl(nameless, F_GETFL));
    EXPECT_EQ("position", 4, lseek(nameless, 0, SEEK_CUR));
    EXPECT_EQ("pread", 13, pread(nameless, text, sizeof text, 0));
    EXPECT(memcmp(text, "nameless file", 13) == 0, "contents: '%.13s'", text);
    EXPECT_EQ("fstat", 0, fstat(nameless, &now));
    EXPECT_EQ("links", 0, now.st_nlink);
    EXPECT_EQ("mode", S_IFREG | 0600, now.st_mode);
    EXPECT_EQ("size", 13, now.st_size);
    EXPECT_EQ("flags of the directory's path", directory_flags, fcntl(path_of_directory, F_GETFL));
    EXPECT_EQ("flags of the directory", O_RDONLY | O_DIRECTORY | 0100000, fcntl(directory, F_GETFL));
    EXPECT_EQ("descriptor flags of the directory's path", FD_CLOEXEC, fcntl(path_of_directory, F_GETFD));
    EXPECT_EQ("openat below it", 0, faccessat(path_of_directory, "link", F_OK, AT_SYMLINK_NOFOLLOW));
    EXPECT_EQ("flags of the link's path", link_flags, fcntl(path_of_link, F_GETFL));
    EXPECT_EQ("readlinkat of the link itself", 7, readlinkat(path_of_link, "", text, sizeof text));
}

int main(int argc, char **argv) {
    workload_begin(argc, argv);
    char path[PATH_MAX];
    mode_t before = umask(0);
    nameless = MUST(open(workload_dir, O_TMPFILE | O_RDWR, 0600));
    umask(before);
    MUST(write(nameless, "nameless file", 13));
    lseek(nameless, 4, SEEK_SET);
    nameless_flags = fcntl(nameless, F_GETFL);
    directory = MUST(open(workload_dir, O_RDONLY | O_DIRECTORY));
    path_of_directory = MUST(open(workload_dir, O_PATH | O_DIRECTORY | O_CLOEXEC));
    directory_flags = fcntl(path_of_directory, F_GETFL);
    workload_path(path, "link");
    MUST(symlink("nowhere", path));
    path_of_link = MUST(open(path, O_PATH | O_NOFOLLOW));
    link_flags = fcntl(path_of_link, F_GETFL);
    workload_live(check);
}
