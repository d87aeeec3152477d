// epoll: sets of pipes and eventfds with their data values, level and edge triggered, one-shot armed and spent, nested
// sets, one open file watched by two numbers (dup), and a set shared with a child.
#include "workload.h"
#include <sys/epoll.h>
#include <sys/eventfd.h>

static int set, inner, empty, level[2], edge[2], oneshot[2], spent[2], quiet, dup_number;
static char prepared[4096];

enum { LEVEL = 0x11, EDGE = 0x22, ONESHOT = 0x33, SPENT = 0x44, NESTED = 0x55, DUP = 0x66, QUIET = 0x77 };
static const uint64_t high = 0xdeadbeef00000000;

// fdinfo without the position and the mount: which targets with which events and data.
static void observe(char *text, size_t size) {
    static char all[8192];
    char path[64];
    size_t length = 0;
    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", set);
    read_text(path, all, sizeof all);
    for (char *line = strtok(all, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        int target;
        unsigned events;
        unsigned long long data;
        if (sscanf(line, "tfd: %d events: %x data: %llx", &target, &events, &data) != 3)
            continue;
        // A spent one-shot can only be made again with error and hang-up in its mask: epoll_ctl always adds these.
        if ((events & EPOLLONESHOT) && (events & 0xfff & ~(unsigned)(EPOLLERR | EPOLLHUP)) == 0)
            events &= ~(unsigned)(EPOLLERR | EPOLLHUP);
        length += (size_t)snprintf(text + length, size - length, "%d:%x:%llx ", target, events, data);
    }
}

// The order in fdinfo is by the kernel's addresses: compare as sets.
static void compare(const char *expected, const char *got) {
    char copy[4096];
    EXPECT_EQ("length of the description", strlen(expected), strlen(got));
    snprintf(copy, sizeof copy, "%s", expected);
    for (char *one = strtok(copy, " "); one != NULL; one = strtok(NULL, " "))
        EXPECT(strstr(got, one) != NULL, "target %s is missing in: %s", one, got);
}

static int wait_for(int which, struct epoll_event *events, uint64_t wanted) {
    int count = epoll_wait(which, events, 16, 0);
    for (int i = 0; i < count; i++)
        if (events[i].data.u64 == (high | wanted))
            return (int)events[i].events;
    return 0;
}

static void check(void) {
    char now[4096];
    struct epoll_event events[16];
    observe(now, sizeof now);
    compare(prepared, now);
    EXPECT_EQ("close-on-exec", FD_CLOEXEC, fcntl(set, F_GETFD));
    EXPECT_EQ("level triggered", EPOLLIN, wait_for(set, events, LEVEL));
    EXPECT_EQ("level triggered again", EPOLLIN, wait_for(set, events, LEVEL));
    EXPECT_EQ("nested", EPOLLIN, wait_for(set, events, NESTED));
    EXPECT_EQ("in the nested set", EPOLLIN, wait_for(inner, events, LEVEL));
    EXPECT_EQ("by the second number", EPOLLIN, wait_for(set, events, DUP));
    EXPECT_EQ("spent one-shot", 0, wait_for(set, events, SPENT));
    EXPECT_EQ("quiet", 0, wait_for(set, events, QUIET));
    EXPECT_EQ("empty set", 0, epoll_wait(empty, events, 16, 0));
    // An edge comes once. Whether a restore gives one more is not judged; a new edge must come.
    wait_for(set, events, EDGE);
    EXPECT_EQ("no edge", 0, wait_for(set, events, EDGE));
    EXPECT_EQ("write", 1, write(edge[1], "x", 1));
    EXPECT_EQ("new edge", EPOLLIN, wait_for(set, events, EDGE));
    char byte;
    EXPECT_EQ("read", 1, read(edge[0], &byte, 1));
    // The armed one-shot fires once, and is armed again.
    EXPECT_EQ("write", 1, write(oneshot[1], "x", 1));
    EXPECT_EQ("armed one-shot", EPOLLIN, wait_for(set, events, ONESHOT));
    EXPECT_EQ("one-shot, a second time", 0, wait_for(set, events, ONESHOT));
    EXPECT_EQ("read", 1, read(oneshot[0], &byte, 1));
    struct epoll_event event = {.events = EPOLLIN | EPOLLONESHOT, .data.u64 = high | ONESHOT};
    EXPECT_EQ("arming it again", 0, epoll_ctl(set, EPOLL_CTL_MOD, oneshot[0], &event));
    EXPECT(epoll_ctl(set, EPOLL_CTL_ADD, level[0], &event) == -1 && errno == EEXIST, "a target is not registered");
}

static void child_check(void) {
    struct epoll_event events[16];
    EXPECT_EQ("level triggered, in the child", EPOLLIN, wait_for(set, events, LEVEL));
}

static void child(void) {
    workload_live(child_check);
}

static void add(int to, int fd, unsigned events, uint64_t data) {
    struct epoll_event event = {.events = events, .data.u64 = high | data};
    MUST(epoll_ctl(to, EPOLL_CTL_ADD, fd, &event));
}

int main(int argc, char **argv) {
    workload_begin(argc, argv);
    struct epoll_event events[16];
    set = MUST(epoll_create1(EPOLL_CLOEXEC));
    inner = MUST(epoll_create1(0));
    empty = MUST(epoll_create1(0));
    MUST(pipe(level));
    MUST(pipe(edge));
    MUST(pipe(oneshot));
    MUST(pipe(spent));
    quiet = MUST(eventfd(0, 0));
    MUST(write(level[1], "x", 1));
    MUST(write(spent[1], "x", 1));
    add(set, level[0], EPOLLIN, LEVEL);
    add(set, edge[0], EPOLLIN | EPOLLET, EDGE);
    add(set, oneshot[0], EPOLLIN | EPOLLONESHOT, ONESHOT);
    add(set, spent[0], EPOLLIN | EPOLLONESHOT, SPENT);
    add(set, quiet, EPOLLIN | EPOLLPRI | EPOLLRDHUP, QUIET);
    dup_number = MUST(fcntl(level[0], F_DUPFD, 100));
    add(set, dup_number, EPOLLIN, DUP);
    add(inner, level[0], EPOLLIN, LEVEL);
    add(set, inner, EPOLLIN, NESTED);
    epoll_wait(set, events, 16, 0); // spends the one-shot
    workload_fork("child", child);
    observe(prepared, sizeof prepared);
    workload_live(check);
}
