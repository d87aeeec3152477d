// Event counters: value, flags, empty, shared with a child.
#include "workload.h"
#include <sys/eventfd.h>

static int counter, shared;

static uint64_t take(int fd) {
    uint64_t value = 0;
    EXPECT(read(fd, &value, 8) == 8, "read: %s", strerror(errno));
    return value;
}

static void give(int fd, uint64_t value) {
    EXPECT(write(fd, &value, 8) == 8, "write: %s", strerror(errno));
}

static void check(void) {
    uint64_t value;
    EXPECT_EQ("flags", O_RDWR | O_NONBLOCK, fcntl(counter, F_GETFL));
    EXPECT_EQ("close-on-exec", FD_CLOEXEC, fcntl(counter, F_GETFD));
    EXPECT_EQ("counter", 41, take(counter));
    EXPECT(read(counter, &value, 8) == -1 && errno == EAGAIN, "an empty counter must say EAGAIN");
    give(counter, 41);
    // The child takes what it is given.
    give(shared, 7);
    for (int waited = 0; waited < 5000; waited++) {
        if (poll(&(struct pollfd){shared, POLLIN, 0}, 1, 0) == 0)
            break;
        sleep_ms(1);
    }
    EXPECT_EQ("taken by the child", 0, poll(&(struct pollfd){shared, POLLIN, 0}, 1, 0));
}

static void *eat(void *unused) {
    (void)unused;
    for (;;) {
        uint64_t value;
        if (read(shared, &value, 8) != 8 || value != 7)
            fail("the shared counter gave %llu: %s", (unsigned long long)value, strerror(errno));
    }
    return NULL;
}

static void child_check(void) {
}

static void child(void) {
    pthread_t thread;
    pthread_create(&thread, NULL, eat, NULL);
    workload_live(child_check);
}

int main(int argc, char **argv) {
    workload_begin(argc, argv);
    counter = MUST(eventfd(41, EFD_NONBLOCK | EFD_CLOEXEC));
    shared = MUST(eventfd(0, 0));
    workload_fork("child", child);
    workload_live(check);
}
