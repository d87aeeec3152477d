// A periodic timer descriptor with unread expirations: they are not lost, and it goes on ticking.
#include "workload.h"
#include <sys/timerfd.h>

static int fd;

static void check(void) {
    uint64_t count = 0;
    EXPECT_EQ("read", 8, read(fd, &count, 8));
    EXPECT(count >= 10, "unread expirations: expected 10 or more, got %llu", (unsigned long long)count);
    sleep_ms(110);
    EXPECT_EQ("second read", 8, read(fd, &count, 8));
    EXPECT(count >= 4 && count <= 200, "expirations in 110 ms: %llu", (unsigned long long)count);
    sleep_ms(250);
}

int main(int argc, char **argv) {
    workload_begin(argc, argv);
    fd = MUST(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK));
    struct itimerspec arm = {{0, 20000000}, {0, 20000000}};
    MUST(timerfd_settime(fd, 0, &arm, NULL));
    sleep_ms(250);
    workload_live(check);
}
