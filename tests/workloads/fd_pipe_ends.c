// Pipes whose ends come in unusual numbers: opened again by /proc, both ways by one descriptor, no reader left, one end
// in each of two processes, the set of signals for input.
#include "workload.h"
#include <sys/ioctl.h>

static int again[2], second_reader, second_writer, both, widow, divided[2], asked[2];

static void check(void) {
    char text[64];
    EXPECT_EQ("flags of the first reader", O_RDONLY, fcntl(again[0], F_GETFL));
    EXPECT_EQ("flags of the second reader", O_RDONLY | O_NONBLOCK | 0100000, fcntl(second_reader, F_GETFL));
    EXPECT_EQ("flags of the second writer", O_WRONLY | O_APPEND | 0100000, fcntl(second_writer, F_GETFL));
    EXPECT_EQ("flags of the one for both", O_RDWR | 0100000, fcntl(both, F_GETFL));
    EXPECT_EQ("write by the second writer", 3, write(second_writer, "two", 3));
    EXPECT_EQ("read by the second reader", 6, read(second_reader, text, sizeof text));
    EXPECT(memcmp(text, "onetwo", 6) == 0, "contents: '%.6s'", text);
    EXPECT_EQ("write by the one for both", 3, write(both, "one", 3));
    signal(SIGPIPE, SIG_IGN);
    EXPECT(write(widow, "x", 1) == -1 && errno == EPIPE, "a pipe without a reader can be written");
    EXPECT_EQ("to the child", 1, write(divided[1], "x", 1));
    struct f_owner_ex owner = {0};
    EXPECT_EQ("owner", 0, fcntl(asked[0], F_GETOWN_EX, &owner));
    EXPECT_EQ("owner", getpid(), owner.pid);
    EXPECT_EQ("signal", SIGUSR1, fcntl(asked[0], F_GETSIG));
    EXPECT_EQ("flags with signals", O_RDONLY | O_ASYNC, fcntl(asked[0], F_GETFL));
}

static void child_check(void) {
    char byte;
    EXPECT_EQ("from the parent", 1, read(divided[0], &byte, 1));
}

static void child(void) {
    close(divided[1]);
    workload_live(child_check);
}

static int open_again(int fd, int flags) {
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return MUST(open(path, flags));
}

int main(int argc, char **argv) {
    workload_begin(argc, argv);
    MUST(pipe(again));
    second_reader = open_again(again[0], O_RDONLY | O_NONBLOCK);
    second_writer = open_again(again[1], O_WRONLY | O_APPEND);
    both = open_again(again[1], O_RDWR);
    MUST(write(again[1], "one", 3));
    int ends[2];
    MUST(pipe(ends));
    close(ends[0]);
    widow = ends[1];
    MUST(pipe(asked));
    signal(SIGUSR1, SIG_IGN);
    struct f_owner_ex owner = {F_OWNER_PID, getpid()};
    MUST(fcntl(asked[0], F_SETOWN_EX, &owner));
    MUST(fcntl(asked[0], F_SETSIG, SIGUSR1));
    MUST(fcntl(asked[0], F_SETFL, O_ASYNC));
    MUST(pipe(divided));
    workload_fork("child", child);
    close(divided[0]);
    workload_live(check);
}
