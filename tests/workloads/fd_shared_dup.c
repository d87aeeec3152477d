// One open file behind several descriptors: by dup, by fork, and by SCM_RIGHTS to an unrelated process; position and
// status flags are common, close-on-exec is not. A second open of the same file has a position of its own.
#include "workload.h"
#include <linux/kcmp.h>
#include <sys/socket.h>

static int first, duplicate, far_away, other, passed, pair[2];
static pid_t child;
static off_t at;

static bool same_file(pid_t one, int one_fd, pid_t another, int another_fd) {
    return syscall(SYS_kcmp, one, another, KCMP_FILE, one_fd, another_fd) == 0;
}

static void check(void) {
    EXPECT(same_file(getpid(), first, getpid(), duplicate), "dup: not one open file any more");
    EXPECT(same_file(getpid(), first, getpid(), far_away), "dup to a high number: not one open file any more");
    EXPECT(same_file(getpid(), first, child, first), "fork: not one open file any more");
    EXPECT(same_file(getpid(), passed, child, 50), "passed: not one open file any more");
    EXPECT(!same_file(getpid(), first, getpid(), other), "a second open became the same open file");
    EXPECT_EQ("common position", at, lseek(duplicate, 0, SEEK_CUR));
    EXPECT_EQ("other position", 3, lseek(other, 0, SEEK_CUR));
    EXPECT_EQ("close-on-exec of the first", 0, fcntl(first, F_GETFD));
    EXPECT_EQ("close-on-exec of the duplicate", FD_CLOEXEC, fcntl(duplicate, F_GETFD));
    at += 10;
    lseek(first, at, SEEK_SET);
    EXPECT_EQ("position by the duplicate", at, lseek(far_away, 0, SEEK_CUR));
    fcntl(first, F_SETFL, O_APPEND);
    EXPECT((fcntl(duplicate, F_GETFL) & O_APPEND) != 0, "status flags are not common");
    fcntl(duplicate, F_SETFL, 0);
    EXPECT_EQ("position of the passed one", 1, lseek(passed, 0, SEEK_CUR));
}

static void check_child(void) {
    EXPECT_EQ("position of the passed one in the child", 1, lseek(50, 0, SEEK_CUR));
    off_t now = lseek(first, 0, SEEK_CUR);
    EXPECT(now % 10 == 5, "position in the child: %lld", (long long)now);
}

static void run_child(void) {
    char byte, control[CMSG_SPACE(sizeof(int))];
    struct iovec data = {&byte, 1};
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = control,
                             .msg_controllen = sizeof control};
    MUST(recvmsg(pair[1], &message, 0));
    int fd;
    memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof fd);
    MUST(dup2(fd, 50));
    close(fd);
    workload_live(check_child);
}

int main(int argc, char **argv) {
    workload_begin(argc, argv);
    char path[PATH_MAX];
    workload_path(path, "file");
    first = MUST(open(path, O_RDWR | O_CREAT, 0600));
    MUST(write(first, "0123456789", 10));
    at = 5;
    lseek(first, at, SEEK_SET);
    duplicate = MUST(fcntl(first, F_DUPFD_CLOEXEC, 0));
    far_away = MUST(fcntl(first, F_DUPFD, 200));
    other = MUST(open(path, O_RDWR));
    lseek(other, 3, SEEK_SET);
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    child = workload_fork("child", run_child);
    passed = MUST(open(path, O_RDONLY)); // after the fork: the child has it by passing alone
    lseek(passed, 1, SEEK_SET);
    char byte = 0, control[CMSG_SPACE(sizeof(int))];
    struct iovec data = {&byte, 1};
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = control,
                             .msg_controllen = sizeof control};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET, header->cmsg_type = SCM_RIGHTS, header->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(header), &passed, sizeof passed);
    MUST(sendmsg(pair[0], &message, 0));
    workload_live(check);
}
