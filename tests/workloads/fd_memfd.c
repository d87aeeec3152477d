// Memory files that are open but not mapped: contents with holes, an odd size, position, seals, mode and owner, one open
// file for reading alone, and one inode in two processes.
#include "workload.h"

enum { SIZE = 64 * 1024 * 1024 + 777 };

static int sparse, read_only, sealed, plain, empty;
static struct stat before;
static char page[PAGE];

static void check(void) {
    char text[PATH_MAX], path[64];
    struct stat now;
    EXPECT_EQ("flags of the sparse one", O_RDWR | 0100000, fcntl(sparse, F_GETFL));
    EXPECT_EQ("flags of the one for reading", O_RDONLY | 0100000, fcntl(read_only, F_GETFL));
    EXPECT(write(read_only, "x", 1) == -1 && errno == EBADF, "the one for reading can be written");
    EXPECT_EQ("position", 4321, lseek(sparse, 0, SEEK_CUR));
    EXPECT_EQ("position of the one for reading", 99, lseek(read_only, 0, SEEK_CUR));
    fstat(sparse, &now);
    EXPECT_EQ("size", SIZE, now.st_size);
    EXPECT_EQ("mode", before.st_mode, now.st_mode);
    EXPECT_EQ("owner", 1234, now.st_uid);
    EXPECT_EQ("group", 4321, now.st_gid);
    EXPECT_EQ("blocks", before.st_blocks, now.st_blocks);
    for (int i = 0; i < 4; i++) {
        EXPECT_EQ("read", PAGE, pread(sparse, page, PAGE, i * 16 * 1024 * 1024L));
        pattern_check("page between holes", page, PAGE, 50 + (uint64_t)i);
        EXPECT_EQ("read of a hole", PAGE, pread(sparse, page, PAGE, i * 16 * 1024 * 1024L + PAGE));
        zero_check("hole", page, PAGE);
    }
    EXPECT_EQ("the end", 777, pread(read_only, page, PAGE, SIZE - 777));
    pattern_check("the end", page, 776, 60);
    EXPECT_EQ("seals", F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE, fcntl(sealed, F_GET_SEALS));
    EXPECT_EQ("seals of the plain one", F_SEAL_SEAL, fcntl(plain, F_GET_SEALS));
    EXPECT_EQ("sealed", 5, pread(sealed, text, sizeof text, 0));
    EXPECT_EQ("empty", 0, lseek(empty, 0, SEEK_END));
    snprintf(path, sizeof path, "/proc/self/fd/%d", plain);
    link_text(path, text, sizeof text);
    EXPECT_STR("name", "/memfd:a (strange)/name (deleted)", text);
    EXPECT_EQ("status flags", O_RDWR | O_APPEND | 0100000, fcntl(plain, F_GETFL));
}

static void child_check(void) {
    struct stat one, other;
    fstat(sparse, &one);
    fstat(read_only, &other);
    EXPECT_EQ("one inode", one.st_ino, other.st_ino);
    EXPECT_EQ("position in the child", 4321, lseek(sparse, 0, SEEK_CUR));
}

static void child(void) {
    workload_live(child_check);
}

int main(int argc, char **argv) {
    workload_begin(argc, argv);
    sparse = MUST(memfd_create("sparse", 0));
    MUST(ftruncate(sparse, SIZE));
    for (int i = 0; i < 4; i++) {
        pattern_fill(page, PAGE, 50 + (uint64_t)i);
        MUST(pwrite(sparse, page, PAGE, i * 16 * 1024 * 1024L));
    }
    pattern_fill(page, 776, 60);
    MUST(pwrite(sparse, page, 777, SIZE - 777));
    MUST(fchmod(sparse, 0640));
    MUST(fchown(sparse, 1234, 4321));
    fstat(sparse, &before);
    lseek(sparse, 4321, SEEK_SET);
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", sparse);
    read_only = MUST(open(path, O_RDONLY));
    lseek(read_only, 99, SEEK_SET);
    sealed = MUST(memfd_create("sealed", MFD_ALLOW_SEALING));
    MUST(write(sealed, "12345", 5));
    MUST(fcntl(sealed, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE));
    plain = MUST(memfd_create("a (strange)/name", MFD_CLOEXEC));
    MUST(fcntl(plain, F_SETFL, O_APPEND));
    empty = MUST(memfd_create("", 0));
    workload_fork("child", child);
    workload_live(check);
}
