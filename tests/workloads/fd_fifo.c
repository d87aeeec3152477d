// Named pipes: contents, flags, ends in two processes, and one whose writer is gone.
#include "workload.h"
#include <sys/ioctl.h>

static int reader, writer, alone, both;
static char path[PATH_MAX];

static void fill(void) {
    MUST(write(writer, "through a name", 14));
}

static void check(void) {
    char text[64], link[64], target[PATH_MAX];
    EXPECT_EQ("flags of the reader", O_RDONLY | O_NONBLOCK | 0100000, fcntl(reader, F_GETFL));
    EXPECT_EQ("flags of the writer", O_WRONLY | 0100000, fcntl(writer, F_GETFL));
    EXPECT_EQ("bytes inside", 14, read(reader, text, sizeof text));
    EXPECT(memcmp(text, "through a name", 14) == 0, "contents: '%.14s'", text);
    EXPECT(read(reader, text, 1) == -1 && errno == EAGAIN, "an empty pipe with a writer must say EAGAIN");
    fill();
    snprintf(link, sizeof link, "/proc/self/fd/%d", reader);
    link_text(link, target, sizeof target);
    EXPECT_STR("name", path, target);
    // The one without a writer is at its end; a read takes nothing.
    EXPECT_EQ("end without a writer", 0, read(alone, text, 1));
    EXPECT_EQ("both ways: write", 3, write(both, "abc", 3));
    EXPECT_EQ("both ways: read", 3, read(both, text, sizeof text));
    int left = -1;
    ioctl(both, FIONREAD, &left);
    EXPECT_EQ("both ways: left", 0, left);
}

static void child_check(void) {
    struct stat one, other;
    fstat(writer, &one);
    stat(path, &other);
    EXPECT_EQ("inode in the child", other.st_ino, one.st_ino);
}

static void child(void) {
    workload_live(child_check);
}

int main(int argc, char **argv) {
    workload_begin(argc, argv);
    char name[PATH_MAX];
    workload_path(path, "fifo");
    MUST(mkfifo(path, 0600));
    reader = MUST(open(path, O_RDONLY | O_NONBLOCK));
    writer = MUST(open(path, O_WRONLY));
    fill();
    workload_path(name, "alone");
    MUST(mkfifo(name, 0600));
    alone = MUST(open(name, O_RDONLY | O_NONBLOCK));
    workload_path(name, "both");
    MUST(mkfifo(name, 0600));
    both = MUST(open(name, O_RDWR | O_NONBLOCK));
    workload_fork("child", child);
    workload_live(check);
}
