// Timer descriptors: clocks, intervals, time left, one that has expired and was not read, disarmed.
#include "workload.h"
#include <sys/timerfd.h>

#define S 1000000000LL

struct prepared {
    const char *what;
    clockid_t clock;
    long long value, interval;
    int flags, fd;
    long long left;
};

static struct prepared timers[] = {
    {"realtime, long", CLOCK_REALTIME, 5000 * S, 7 * S, 0, 0, 0},
    {"monotonic, long", CLOCK_MONOTONIC, 6000 * S, 0, 0, 0, 0},
    {"boottime, long", CLOCK_BOOTTIME, 7000 * S, S, 0, 0, 0},
    {"disarmed", CLOCK_MONOTONIC, 0, 0, 0, 0, 0},
    {"absolute", CLOCK_REALTIME, 8000 * S, 0, TFD_TIMER_ABSTIME, 0, 0},
};

static int expired;

static long long ns(struct timespec time) {
    return time.tv_sec * S + time.tv_nsec;
}

static struct timespec spec(long long time) {
    return (struct timespec){time / S, time % S};
}

static int make(clockid_t clock, long long value, long long interval, int flags) {
    int fd = MUST(timerfd_create(clock, TFD_NONBLOCK | TFD_CLOEXEC));
    if (flags & TFD_TIMER_ABSTIME)
        value += now_ns(clock);
    struct itimerspec arm = {spec(interval), spec(value)};
    MUST(timerfd_settime(fd, flags, &arm, NULL));
    return fd;
}

static void check(void) {
    struct itimerspec now;
    uint64_t count = 0;
    for (size_t i = 0; i < COUNT(timers); i++) {
        struct prepared *timer = &timers[i];
        EXPECT(timerfd_gettime(timer->fd, &now) == 0, "%s: %s", timer->what, strerror(errno));
        EXPECT(ns(now.it_interval) == timer->interval, "%s: interval %lld", timer->what, ns(now.it_interval));
        EXPECT(ns(now.it_value) <= timer->left && ns(now.it_value) > timer->left - 120 * S - (timer->value == 0),
               "%s: time left %lld before, %lld now", timer->what, timer->left, ns(now.it_value));
        timer->left = ns(now.it_value);
        EXPECT(read(timer->fd, &count, 8) == -1 && errno == EAGAIN, "%s has expired", timer->what);
    }
    EXPECT_EQ("flags", O_RDWR | O_NONBLOCK, fcntl(expired, F_GETFL));
    EXPECT_EQ("the expired one is readable", 1, poll(&(struct pollfd){expired, POLLIN, 0}, 1, 0));
    EXPECT_EQ("read of the expired one", 8, read(expired, &count, 8));
    EXPECT_EQ("its expirations", 1, count);
    close(expired);
    int fd = make(CLOCK_MONOTONIC, 1000000, 0, 0);
    if (fd != expired) {
        dup3(fd, expired, O_CLOEXEC);
        close(fd);
    }
    sleep_ms(60);
}

int main(int argc, char **argv) {
    workload_begin(argc, argv);
    for (size_t i = 0; i < COUNT(timers); i++) {
        timers[i].fd = make(timers[i].clock, timers[i].value, timers[i].interval, timers[i].flags);
        timers[i].left = timers[i].value;
    }
    expired = make(CLOCK_MONOTONIC, 1000000, 0, 0);
    sleep_ms(60);
    workload_live(check);
}
