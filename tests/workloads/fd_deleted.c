// Open files that were unlinked: without any other name (contents, position, mode must come back), shared by two
// descriptors and a child, and sparse.
#include "workload.h"

static int plain, second, readonly, sparse;
static char plain_path[PATH_MAX], text[256];

static void check_name(const char *what, int fd, const char *path_before) {
    char path[64], now[PATH_MAX], expected[PATH_MAX + 16];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    link_text(path, now, sizeof now);
    snprintf(expected, sizeof expected, "%s (deleted)", path_before);
    EXPECT_STR(what, expected, now);
}

static void check(void) {
    struct stat one, other;
    EXPECT_EQ("fstat", 0, fstat(plain, &one));
    EXPECT_EQ("links", 0, one.st_nlink);
    EXPECT_EQ("mode", S_IFREG | 0640, one.st_mode);
    EXPECT_EQ("uid", 0, one.st_uid);
    EXPECT_EQ("size", 26, one.st_size);
    EXPECT_EQ("position", 7, lseek(plain, 0, SEEK_CUR));
    EXPECT_EQ("pread", 26, pread(plain, text, sizeof text, 0));
    EXPECT(memcmp(text, "abcdefghijklmnopqrstuvwxyz", 26) == 0, "contents: '%.26s'", text);
    EXPECT_EQ("flags", O_RDWR | 0100000, fcntl(plain, F_GETFL));
    check_name("name", plain, plain_path);
    // A second open of the same deleted file: another position, the same file.
    fstat(second, &other);
    EXPECT_EQ("same inode by the other open", one.st_ino, other.st_ino);
    EXPECT_EQ("position of the other open", 20, lseek(second, 0, SEEK_CUR));
    EXPECT_EQ("write by one", 1, pwrite(plain, "A", 1, 0));
    EXPECT_EQ("read by the other", 1, pread(second, text, 1, 0));
    EXPECT_EQ("what the other sees", 'A', text[0]);
    EXPECT_EQ("write back", 1, pwrite(plain, "a", 1, 0));
    EXPECT(write(readonly, "x", 1) == -1 && errno == EBADF, "the read-only one can be written");
    EXPECT_EQ("pread of the read-only one", 4, pread(readonly, text, sizeof text, 0));
    EXPECT(access(plain_path, F_OK) != 0, "the unlinked name is back");
    fstat(sparse, &one);
    EXPECT_EQ("size of the sparse file", 3 * 1024 * 1024 + 100, one.st_size);
    EXPECT(one.st_blocks * 512 < 1024 * 1024, "the sparse file takes %lld bytes", (long long)one.st_blocks * 512);
    char data[100];
    EXPECT_EQ("end of the sparse file", 100, pread(sparse, data, 100, 3 * 1024 * 1024));
    for (int i = 0; i < 100; i++)
        EXPECT(data[i] == 's', "byte %d at the end of the sparse file", i);
    EXPECT_EQ("hole of the sparse file", 100, pread(sparse, data, 100, 1024 * 1024));
    zero_check("hole of the sparse file", data, 100);
}

static void child_check(void) {
    EXPECT_EQ("pread in the child", 26, pread(plain, text, sizeof text, 0));
    EXPECT(memcmp(text + 1, "bcdefghijklmnopqrstuvwxyz", 25) == 0, "contents in the child: '%.26s'", text);
}

static void child(void) {
    workload_live(child_check);
}

int main(int argc, char **argv) {
    workload_begin(argc, argv);
    char path[PATH_MAX];
    umask(0);
    workload_path(plain_path, "plain");
    plain = MUST(open(plain_path, O_RDWR | O_CREAT | O_EXCL, 0640));
    second = MUST(open(plain_path, O_RDWR));
    MUST(write(plain, "abcdefghijklmnopqrstuvwxyz", 26));
    lseek(plain, 7, SEEK_SET);
    lseek(second, 20, SEEK_SET);
    MUST(unlink(plain_path));
    workload_path(path, "readonly");
    int fd = MUST(open(path, O_WRONLY | O_CREAT | O_EXCL, 0400));
    MUST(write(fd, "read", 4));
    close(fd);
    readonly = MUST(open(path, O_RDONLY | O_CLOEXEC));
    MUST(unlink(path));
    workload_path(path, "sparse");
    sparse = MUST(open(path, O_RDWR | O_CREAT | O_EXCL, 0600));
    memset(text, 's', 100);
    MUST(pwrite(sparse, text, 100, 3 * 1024 * 1024));
    MUST(unlink(path));
    workload_fork("child", child);
    workload_live(check);
}
