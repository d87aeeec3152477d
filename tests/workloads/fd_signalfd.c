// Signal descriptors: their masks, a pending signal that is read from one, and one shared with a child.
#include "workload.h"
#include <sys/signalfd.h>

static int users, rest, inherited;

static void take(int fd, int number, int value) {
    struct signalfd_siginfo info;
    memset(&info, 0, sizeof info);
    EXPECT_EQ("read", (ssize_t)sizeof info, read(fd, &info, sizeof info));
    EXPECT_EQ("signal", number, info.ssi_signo);
    EXPECT_EQ("value", value, info.ssi_int);
    EXPECT_EQ("sender", getpid(), info.ssi_pid);
}

static void give(int number, int value) {
    sigqueue(getpid(), number, (union sigval){.sival_int = value});
}

static void expect_mask(int fd, const char *mask) {
    char path[64], text[64];
    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", fd);
    status_field(path, "sigmask", text, sizeof text);
    EXPECT_STR("mask", mask, text);
}

static void check(void) {
    struct signalfd_siginfo info;
    expect_mask(users, "0000000000000a00");
    expect_mask(rest, "8000000000004000");
    EXPECT_EQ("flags", O_RDWR | O_NONBLOCK, fcntl(users, F_GETFL));
    EXPECT_EQ("close-on-exec", FD_CLOEXEC, fcntl(rest, F_GETFD));
    take(users, SIGUSR1, 5);
    EXPECT(read(users, &info, sizeof info) == -1 && errno == EAGAIN, "more than one signal was pending");
    take(rest, 64, 6);
    take(rest, 64, 7);
    give(SIGUSR1, 5);
    give(64, 6);
    give(64, 7);
}

// A signalfd inherited by fork reads the signals of whoever reads.
static void child_check(void) {
    take(inherited, SIGUSR2, 9);
    give(SIGUSR2, 9);
}

static void child(void) {
    give(SIGUSR2, 9);
    workload_live(child_check);
}

int main(int argc, char **argv) {
    workload_begin(argc, argv);
    sigset_t set;
    sigfillset(&set);
    sigprocmask(SIG_SETMASK, &set, NULL);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGUSR2);
    users = inherited = MUST(signalfd(-1, &set, SFD_NONBLOCK));
    sigemptyset(&set);
    sigaddset(&set, 64);
    sigaddset(&set, SIGTERM);
    rest = MUST(signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC));
    workload_fork("child", child);
    give(SIGUSR1, 5);
    give(64, 6);
    give(64, 7);
    workload_live(check);
}
