// Many descriptors of mixed kinds: files, pipes, event counters, timers, signal descriptors; those that can be polled are
// in one epoll set. Parameters: how many; 1 for socket pairs among them.
#include "workload.h"
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>

enum { REGULAR, PIPE_READ, PIPE_WRITE, EVENT, TIMER, SIGNAL, SOCKET };
static int count, set, *fds, *kinds, made;
static struct epoll_event *events;

static void keep(int fd, int kind) {
    fds[made] = fd;
    kinds[made++] = kind;
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = (uint64_t)fd};
    if (kind != REGULAR)
        MUST(epoll_ctl(set, EPOLL_CTL_ADD, fd, &event));
}

static void make(int number) {
    int ends[2];
    char path[PATH_MAX];
    sigset_t signals;
    switch (number % 6) {
    case 0:
        workload_path(path, "file.%d", number % 48);
        keep(MUST(open(path, O_RDWR | O_CREAT, 0600)), REGULAR);
        MUST(lseek(fds[made - 1], number, SEEK_SET));
        return;
    case 1:
        MUST(pipe(ends));
        keep(ends[0], PIPE_READ);
        keep(ends[1], PIPE_WRITE);
        MUST(write(ends[1], &number, sizeof number));
        return;
    case 2:
        keep(MUST(timerfd_create(CLOCK_MONOTONIC, 0)), TIMER);
        return;
    case 3:
        sigemptyset(&signals);
        sigaddset(&signals, SIGUSR1);
        keep(MUST(signalfd(-1, &signals, 0)), SIGNAL);
        return;
    case 4:
        if (workload_parameter(2, 0)) {
            MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, ends));
            keep(ends[0], SOCKET);
            keep(ends[1], SOCKET);
            return;
        }
        // fall through
    default:
        keep(MUST(eventfd((unsigned)number, 0)), EVENT);
    }
}

static void check(void) {
    int ready = 0, wanted = 0, files = 0;
    for (int i = 0; i < made; i++) {
        if (kinds[i] == REGULAR && lseek(fds[i], 0, SEEK_CUR) % 6 == 0)
            files++;
        wanted += kinds[i] == PIPE_READ || kinds[i] == EVENT;
        struct epoll_event event = {.events = EPOLLIN, .data.u64 = (uint64_t)fds[i]};
        if (kinds[i] != REGULAR && epoll_ctl(set, EPOLL_CTL_MOD, fds[i], &event) != 0) {
            fail("descriptor %d of kind %d is not registered: %s", fds[i], kinds[i], strerror(errno));
            return;
        }
    }
    int regular = 0;
    for (int i = 0; i < made; i++)
        regular += kinds[i] == REGULAR;
    EXPECT_EQ("positions in files", regular, files);
    ready = epoll_wait(set, events, made, 0);
    EXPECT_EQ("ready", wanted, ready);
    for (int i = 0; i < ready; i++) {
        uint64_t value = 0;
        if (read((int)events[i].data.u64, &value, sizeof value) <= 0 || value == 0)
            fail("descriptor %d is ready and has nothing", (int)events[i].data.u64);
    }
    EXPECT_EQ("ready when all was read", 0, epoll_wait(set, events, made, 0));
    for (int i = 0; i < made; i++) {
        uint64_t value = (uint64_t)i + 1;
        if (kinds[i] == PIPE_WRITE || kinds[i] == EVENT)
            EXPECT(write(fds[i], &value, 8) == 8, "write into descriptor %d: %s", fds[i], strerror(errno));
    }
}

int main(int argc, char **argv) {
    workload_begin(argc, argv);
    count = (int)workload_parameter(1, 200);
    struct rlimit limit = {(rlim_t)count + 100, (rlim_t)count + 100};
    if (count > 900 && setrlimit(RLIMIT_NOFILE, &limit) != 0)
        not_here("needs %d descriptors", count + 100);
    fds = calloc((size_t)count + 2, sizeof *fds);
    kinds = calloc((size_t)count + 2, sizeof *kinds);
    events = calloc((size_t)count + 2, sizeof *events);
    set = MUST(epoll_create1(EPOLL_CLOEXEC));
    for (int number = 1; made < count; number++)
        make(number);
    workload_live(check);
}
