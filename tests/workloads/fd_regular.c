// Regular files and directories: position, flags, O_APPEND, O_PATH, directories, owner and signal of fcntl,
// close-on-exec, and descriptor numbers with gaps.
#include "workload.h"

struct prepared_fd {
    int fd, status_flags, descriptor_flags;
    off_t position;
    struct stat stat;
    char target[PATH_MAX];
    const char *what;
};

static struct prepared_fd prepared[32];
static int prepared_count, append_fd, owner_fd, path_fd, directory_fd, high_fd, appended;

static void remember(const char *what, int fd) {
    char path[64];
    struct prepared_fd *one = &prepared[prepared_count++];
    one->what = what;
    one->fd = fd;
    one->status_flags = fcntl(fd, F_GETFL);
    one->descriptor_flags = fcntl(fd, F_GETFD);
    one->position = lseek(fd, 0, SEEK_CUR);
    fstat(fd, &one->stat);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    link_text(path, one->target, sizeof one->target);
}

static void compare(const struct prepared_fd *one) {
    char path[64], text[PATH_MAX], what[128];
    struct stat now;
#define WHAT(part) (snprintf(what, sizeof what, "%s (fd %d): %s", one->what, one->fd, part), what)
    if (fstat(one->fd, &now) != 0) {
        fail("%s (fd %d): %s", one->what, one->fd, strerror(errno));
        return;
    }
    EXPECT_EQ(WHAT("status flags"), one->status_flags, fcntl(one->fd, F_GETFL));
    EXPECT_EQ(WHAT("descriptor flags"), one->descriptor_flags, fcntl(one->fd, F_GETFD));
    EXPECT_EQ(WHAT("position"), one->position, lseek(one->fd, 0, SEEK_CUR));
    EXPECT_EQ(WHAT("mode"), one->stat.st_mode, now.st_mode);
    EXPECT_EQ(WHAT("uid"), one->stat.st_uid, now.st_uid);
    if (S_ISREG(now.st_mode)) // the protocol's files come and go in the directory
        EXPECT_EQ(WHAT("size"), one->stat.st_size, now.st_size);
    EXPECT_EQ(WHAT("inode"), one->stat.st_ino, now.st_ino);
    snprintf(path, sizeof path, "/proc/self/fd/%d", one->fd);
    link_text(path, text, sizeof text);
    EXPECT_STR(WHAT("path"), one->target, text);
}

static void check(void) {
    char text[64];
    for (int i = 0; i < prepared_count; i++)
        compare(&prepared[i]);
    // Appending goes to the end wherever the position is. The file is put back, so that rounds are alike.
    lseek(append_fd, 3, SEEK_SET);
    EXPECT_EQ("write with O_APPEND", 4, write(append_fd, "more", 4));
    EXPECT_EQ("end of the file after append", appended + 4, lseek(append_fd, 0, SEEK_CUR));
    EXPECT_EQ("ftruncate", 0, ftruncate(append_fd, appended));
    lseek(append_fd, 7, SEEK_SET);
    struct f_owner_ex owner = {0, 0};
    EXPECT_EQ("F_GETOWN_EX", 0, fcntl(owner_fd, F_GETOWN_EX, &owner));
    EXPECT_EQ("owner type", F_OWNER_PID, owner.type);
    EXPECT_EQ("owner", getpid(), owner.pid);
    EXPECT_EQ("owner's signal", SIGRTMIN + 3, fcntl(owner_fd, F_GETSIG));
    EXPECT(read(path_fd, text, 1) == -1 && errno == EBADF, "O_PATH descriptor can be read");
    EXPECT_EQ("openat below the directory", 0, faccessat(directory_fd, "file", F_OK, 0));
    EXPECT(fcntl(high_fd - 1, F_GETFD) == -1, "a descriptor came into being below %d", high_fd);
}

static int open_in(const char *name, int flags) {
    char path[PATH_MAX];
    workload_path(path, "%s", name);
    return MUST(open(path, flags, 0640));
}

int main(int argc, char **argv) {
    workload_begin(argc, argv);
    char path[PATH_MAX];
    int fd = open_in("file", O_RDWR | O_CREAT);
    MUST(write(fd, "0123456789abcdef", 16));
    remember("read-write", fd);
    fd = open_in("file", O_RDONLY | O_CLOEXEC);
    lseek(fd, 5, SEEK_SET);
    remember("read-only, close-on-exec", fd);
    fd = open_in("file", O_WRONLY | O_SYNC | O_NONBLOCK | O_NOATIME);
    lseek(fd, 1 << 20, SEEK_SET);
    remember("write-only, beyond the end", fd);
    append_fd = open_in("append", O_RDWR | O_CREAT | O_APPEND);
    appended = 9;
    MUST(write(append_fd, "some text", 9));
    lseek(append_fd, 7, SEEK_SET);
    remember("append", append_fd);
    path_fd = open_in("file", O_PATH);
    remember("path", path_fd);
    directory_fd = MUST(open(workload_dir, O_RDONLY));
    remember("directory", directory_fd);
    owner_fd = open_in("file", O_RDWR);
    struct f_owner_ex owner = {F_OWNER_PID, getpid()};
    MUST(fcntl(owner_fd, F_SETOWN_EX, &owner));
    MUST(fcntl(owner_fd, F_SETSIG, SIGRTMIN + 3));
    remember("with owner", owner_fd);
    workload_path(path, "sub");
    MUST(mkdir(path, 0755));
    workload_path(path, "sub/name with \xff blanks\n");
    fd = MUST(open(path, O_RDWR | O_CREAT, 0600));
    remember("odd name", fd);
    high_fd = MUST(fcntl(fd, F_DUPFD_CLOEXEC, 700));
    remember("high number", high_fd);
    MUST(fd = open("/proc/self/status", O_RDONLY));
    close(fd);
    workload_live(check);
}
