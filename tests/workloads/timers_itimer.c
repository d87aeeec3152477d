// The three interval timers: the time left does not grow, the interval stays, and they fire.
#include "workload.h"

static atomic_int fired[65];
static const int kinds[] = {ITIMER_REAL, ITIMER_VIRTUAL, ITIMER_PROF};
static const int signals[] = {SIGALRM, SIGVTALRM, SIGPROF};
static struct itimerval last[3];

static void on_signal(int number) {
    fired[number]++;
}

static long long us(struct timeval time) {
    return time.tv_sec * 1000000LL + time.tv_usec;
}

static void check(void) {
    char what[64];
    // ITIMER_REAL is long: only its time left can be judged. The others are short and must have fired.
    struct itimerval now;
    for (int i = 0; i < 3; i++) {
        getitimer(kinds[i], &now);
        snprintf(what, sizeof what, "interval of timer %d", i);
        EXPECT_EQ(what, us(last[i].it_interval), us(now.it_interval));
        EXPECT(us(now.it_value) > 0, "timer %d is not armed any more", i);
        if (i == 0)
            EXPECT(us(now.it_value) <= us(last[0].it_value) && us(now.it_value) > us(last[0].it_value) - 120000000LL,
                   "time left of ITIMER_REAL: %lld us before, %lld us now", us(last[0].it_value), us(now.it_value));
        else
            EXPECT(us(now.it_value) <= us(now.it_interval) + 20000, "time left of timer %d: %lld us", i,
                   us(now.it_value));
    }
    last[0] = now;
    getitimer(ITIMER_REAL, &last[0]);
    fired[SIGVTALRM] = fired[SIGPROF] = 0;
    long long start = now_ns(CLOCK_PROCESS_CPUTIME_ID);
    while (now_ns(CLOCK_PROCESS_CPUTIME_ID) - start < 200000000LL)
        for (volatile int i = 0; i < 1000000; i++) // in user mode, for ITIMER_VIRTUAL
            ;
    for (int i = 1; i < 3; i++)
        EXPECT(fired[signals[i]] >= 2, "timer %d fired %d times in 200 ms of computing", i, fired[signals[i]]);
    EXPECT_EQ("SIGALRM before its time", 0, fired[SIGALRM]);
}

int main(int argc, char **argv) {
    workload_begin(argc, argv);
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    for (int i = 0; i < 3; i++)
        MUST(sigaction(signals[i], &action, NULL));
    struct itimerval values[] = {{{77, 5000}, {3600, 250000}}, {{0, 30000}, {0, 30000}}, {{0, 40000}, {0, 40000}}};
    for (int i = 0; i < 3; i++) {
        MUST(setitimer(kinds[i], &values[i], NULL));
        last[i] = values[i];
        getitimer(kinds[i], &last[i]);
    }
    workload_live(check);
}
