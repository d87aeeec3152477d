// An open file whose name was unlinked while another hard link keeps it alive (needs --link-remap): it is still that
// very file, and no name is left behind.
#include "workload.h"

static int fd;
static char other[PATH_MAX], gone[PATH_MAX];

static void check(void) {
    struct stat by_fd, by_name;
    char text[64];
    EXPECT_EQ("fstat", 0, fstat(fd, &by_fd));
    EXPECT_EQ("stat of the other name", 0, stat(other, &by_name));
    EXPECT_EQ("inode", by_name.st_ino, by_fd.st_ino);
    EXPECT_EQ("links", 1, by_fd.st_nlink);
    EXPECT_EQ("position", 5, lseek(fd, 0, SEEK_CUR));
    EXPECT_EQ("pread", 12, pread(fd, text, sizeof text, 0));
    EXPECT(memcmp(text, "two names on", 12) == 0, "contents: '%.12s'", text);
    EXPECT(access(gone, F_OK) != 0, "the unlinked name is back");
}

int main(int argc, char **argv) {
    workload_begin(argc, argv);
    workload_path(gone, "gone");
    workload_path(other, "other");
    fd = MUST(open(gone, O_RDWR | O_CREAT, 0600));
    MUST(write(fd, "two names on", 12));
    lseek(fd, 5, SEEK_SET);
    MUST(link(gone, other));
    MUST(unlink(gone));
    workload_live(check);
}
