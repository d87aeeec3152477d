// epoll: registrations under numbers that their files no longer have. One number was closed and is another file's now
// (also registered: the same number twice), one is free, one file is only the child's by now; and a set within a set that
// watches many. With a parameter, that many descriptors of mixed kinds.
#include "workload.h"
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/timerfd.h>

static int set, inner, reused, reused_elsewhere, closed, closed_elsewhere, given, count, *many;
static int to_child[2];

enum { OLD = 1, NEW = 2, CLOSED = 3, GIVEN = 4, NESTED = 5, FIRST = 100 };

static void add(int to, int fd, uint64_t data) {
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = data};
    MUST(epoll_ctl(to, EPOLL_CTL_ADD, fd, &event));
}

static bool fires(int which, uint64_t data) {
    static struct epoll_event events[8192];
    int got = epoll_wait(which, events, 8192, 0);
    for (int i = 0; i < got; i++)
        if (events[i].data.u64 == data)
            return true;
    return false;
}

static void give(int fd) {
    EXPECT_EQ("write", 8, write(fd, &(uint64_t){1}, 8));
}

static void take(int fd) {
    uint64_t value;
    EXPECT_EQ("read", 8, read(fd, &value, 8));
}

static void expect_only(int fd, uint64_t data, const char *what) {
    EXPECT(!fires(set, data), "%s: ready too early", what);
    give(fd);
    EXPECT(fires(set, data), "%s: not ready", what);
    take(fd);
    EXPECT(!fires(set, data), "%s: still ready", what);
}

static void check(void) {
    struct epoll_event event = {.events = EPOLLIN};
    expect_only(reused_elsewhere, OLD, "closed and reused");
    expect_only(reused, NEW, "in its place");
    expect_only(closed_elsewhere, CLOSED, "closed");
    EXPECT(epoll_ctl(set, EPOLL_CTL_MOD, closed_elsewhere, &event) == -1 && errno == ENOENT, "registered by its other number");
    EXPECT(fcntl(closed, F_GETFD) == -1, "the closed number is open");
    EXPECT(fires(set, GIVEN), "the child's is not ready");
    EXPECT(!fires(inner, FIRST + 1), "an idle one is ready");
    give(many[0]);
    EXPECT(fires(inner, FIRST), "in the inner set: not ready");
    EXPECT(fires(set, NESTED), "the inner set is not ready");
    take(many[0]);
    EXPECT(!fires(set, NESTED), "the inner set is still ready");
    for (int i = 0; i < count; i++)
        if (epoll_ctl(inner, EPOLL_CTL_MOD, many[i],
                      &(struct epoll_event){.events = EPOLLIN, .data.u64 = FIRST + (uint64_t)i}) != 0) {
            fail("number %d is not registered: %s", many[i], strerror(errno));
            break;
        }
}

static void child_check(void) {
    struct stat now;
    EXPECT_EQ("the child's file is open", 0, fstat(given, &now));
}

static void child(void) {
    workload_live(child_check);
}

int main(int argc, char **argv) {
    workload_begin(argc, argv);
    count = (int)workload_parameter(1, 40);
    struct rlimit limit = {(rlim_t)count + 1000, (rlim_t)count + 1000};
    if (count > 500 && setrlimit(RLIMIT_NOFILE, &limit) != 0)
        not_here("needs %d descriptors", count + 1000);
    set = MUST(epoll_create1(0));
    inner = MUST(epoll_create1(0));
    reused = MUST(eventfd(0, 0));
    add(set, reused, OLD);
    reused_elsewhere = MUST(fcntl(reused, F_DUPFD, 100));
    close(reused);
    if (MUST(eventfd(0, 0)) != reused)
        die("another number");
    add(set, reused, NEW);
    closed = MUST(fcntl(reused, F_DUPFD, count + 200)); // above all others, so that it stays free
    close(closed);
    int fd = MUST(eventfd(0, 0));
    if (dup2(fd, closed) != closed)
        die("dup2");
    add(set, closed, CLOSED);
    closed_elsewhere = fd;
    close(closed);
    given = MUST(eventfd(1, 0));
    add(set, given, GIVEN);
    add(set, inner, NESTED);
    MUST(pipe(to_child));
    workload_fork("child", child);
    close(given);
    many = calloc((size_t)count + 2, sizeof *many);
    for (int i = 0; i < count; i += 2) {
        if (i % 8 == 2) {
            int ends[2];
            MUST(pipe(ends));
            many[i] = ends[0], many[i + 1] = ends[1];
            continue;
        }
        many[i] = MUST(eventfd(0, EFD_NONBLOCK));
        many[i + 1] = i % 8 == 4 ? MUST(timerfd_create(CLOCK_MONOTONIC, 0)) : MUST(eventfd(0, 0));
    }
    for (int i = 0; i < count; i++)
        add(inner, many[i], FIRST + (uint64_t)i);
    workload_live(check);
}
