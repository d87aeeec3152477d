// The overrun count of a timer whose signal is pending: what was counted before is not forgotten.
#include "workload.h"

static int timer;

static int take(void) {
    sigset_t set;
    siginfo_t info;
    struct timespec limit = {1, 0};
    sigemptyset(&set);
    sigaddset(&set, 46);
    memset(&info, 0, sizeof info);
    EXPECT_EQ("the timer's signal", 46, sigtimedwait(&set, &info, &limit));
    EXPECT_EQ("si_code", SI_TIMER, info.si_code);
    return info.si_overrun;
}

static void check(void) {
    int overrun = take();
    EXPECT(overrun >= 20, "overruns: expected at least 20, got %d", overrun);
    overrun = take(); // from here on it counts anew
    EXPECT(overrun < 20, "overruns right after: %d", overrun);
    sleep_ms(300);
}

int main(int argc, char **argv) {
    workload_begin(argc, argv);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, 46);
    sigprocmask(SIG_BLOCK, &set, NULL);
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = 46};
    MUST(syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, &timer));
    struct itimerspec arm = {{0, 10000000}, {0, 10000000}};
    MUST(syscall(SYS_timer_settime, timer, 0, &arm, NULL));
    sleep_ms(300);
    workload_live(check);
}
