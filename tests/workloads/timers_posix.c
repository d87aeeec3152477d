// POSIX timers of several clocks: ids, notification by signal and by SIGEV_THREAD_ID, values, intervals, time left,
// a pending one, armed and disarmed ones, with gaps between the ids.
#include "workload.h"

struct prepared {
    const char *what;
    clockid_t clock;
    int notify, signal;
    long long value_ns, interval_ns;
    bool absolute;
    int id;
    long long left;
};

#define S 1000000000LL
static struct prepared timers[] = {
    {"realtime, long", CLOCK_REALTIME, SIGEV_SIGNAL, 40, 5000 * S, 7 * S, false, 0, 0},
    {"monotonic, periodic", CLOCK_MONOTONIC, SIGEV_SIGNAL, 41, S / 50, S / 50, false, 0, 0},
    {"boottime, long", CLOCK_BOOTTIME, SIGEV_SIGNAL, 42, 6000 * S, 0, false, 0, 0},
    {"to be deleted", CLOCK_MONOTONIC, SIGEV_NONE, 0, 0, 0, false, 0, 0},
    {"no notification", CLOCK_MONOTONIC, SIGEV_NONE, 0, 7000 * S, 3 * S, false, 0, 0},
    {"disarmed", CLOCK_MONOTONIC, SIGEV_SIGNAL, 43, 0, 0, false, 0, 0},
    {"to a thread", CLOCK_MONOTONIC, SIGEV_THREAD_ID, 44, S / 40, S / 40, false, 0, 0},
    {"processor time", CLOCK_PROCESS_CPUTIME_ID, SIGEV_SIGNAL, 45, S / 30, S / 30, false, 0, 0},
    {"blocked", CLOCK_MONOTONIC, SIGEV_SIGNAL, 46, S / 100, S / 100, false, 0, 0},
    {"absolute", CLOCK_REALTIME, SIGEV_SIGNAL, 47, 8000 * S, 0, true, 0, 0},
};

static atomic_int fired[65];
static atomic_int fired_in_thread, fired_elsewhere;
static pid_t thread_tid;
static void *values_seen[65];

static void on_signal(int number, siginfo_t *info, void *context) {
    (void)context;
    fired[number]++;
    values_seen[number] = info->si_value.sival_ptr;
    if (number == 44) {
        if (syscall(SYS_gettid) == thread_tid)
            fired_in_thread++;
        else
            fired_elsewhere++;
    }
}

static void *work(void *unused) {
    (void)unused;
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, 46);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    thread_tid = (pid_t)syscall(SYS_gettid);
    for (;;)
        sleep_ms(1000);
    return NULL;
}

static long long ns(struct timespec time) {
    return time.tv_sec * S + time.tv_nsec;
}

static struct timespec spec(long long time) {
    return (struct timespec){time / S, time % S};
}

static void check(void) {
    struct itimerspec now;
    for (size_t i = 0; i < COUNT(timers); i++) {
        struct prepared *timer = &timers[i];
        if (timer->id < 0) {
            EXPECT(syscall(SYS_timer_gettime, 3, &now) == -1 && errno == EINVAL, "a deleted timer is back");
            continue;
        }
        if (syscall(SYS_timer_gettime, timer->id, &now) != 0) {
            fail("%s (timer %d): %s", timer->what, timer->id, strerror(errno));
            continue;
        }
        EXPECT(ns(now.it_interval) == timer->interval_ns, "%s: interval %lld, expected %lld", timer->what,
               ns(now.it_interval), timer->interval_ns);
        if (timer->value_ns == 0)
            EXPECT(ns(now.it_value) == 0, "%s: it is armed", timer->what);
        else if (timer->value_ns > 100 * S) {
            EXPECT(ns(now.it_value) <= timer->left && ns(now.it_value) > timer->left - 120 * S,
                   "%s: time left %lld before, %lld now", timer->what, timer->left, ns(now.it_value));
            timer->left = ns(now.it_value);
        } else
            EXPECT(ns(now.it_value) > 0 || timer->signal == 46, "%s: not armed any more", timer->what);
    }
    for (int number = 40; number < 48; number++)
        fired[number] = 0;
    fired_in_thread = fired_elsewhere = 0;
    long long start = now_ns(CLOCK_PROCESS_CPUTIME_ID);
    while (now_ns(CLOCK_PROCESS_CPUTIME_ID) - start < 120000000LL)
        ;
    EXPECT(fired[41] >= 3, "the periodic monotonic timer fired %d times in 120 ms", fired[41]);
    EXPECT(values_seen[41] == &timers[1], "value with the periodic timer's signal");
    EXPECT(fired_in_thread >= 2 && fired_elsewhere == 0, "the thread's timer fired %d times there, %d times elsewhere",
           fired_in_thread, fired_elsewhere);
    EXPECT(fired[45] >= 2, "the processor time timer fired %d times in 120 ms", fired[45]);
    EXPECT_EQ("timers that fired before their time", 0, fired[40] + fired[42] + fired[43] + fired[47]);
    // The blocked one: its signal is pending.
    sigset_t set;
    siginfo_t info;
    sigemptyset(&set);
    sigaddset(&set, 46);
    struct timespec limit = {1, 0};
    memset(&info, 0, sizeof info);
    EXPECT_EQ("the blocked timer's signal", 46, sigtimedwait(&set, &info, &limit));
    EXPECT_EQ("si_code of the blocked timer's signal", SI_TIMER, info.si_code);
    EXPECT(info.si_value.sival_ptr == &timers[8], "value with the blocked timer's signal");
}

int main(int argc, char **argv) {
    workload_begin(argc, argv);
    pthread_t thread;
    pthread_create(&thread, NULL, work, NULL);
    while (thread_tid == 0)
        sleep_ms(1);
    struct sigaction action = {.sa_flags = SA_SIGINFO | SA_RESTART};
    action.sa_sigaction = on_signal;
    for (int number = 40; number < 48; number++)
        MUST(sigaction(number, &action, NULL));
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, 46);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    for (size_t i = 0; i < COUNT(timers); i++) {
        struct sigevent event = {.sigev_notify = timers[i].notify, .sigev_signo = timers[i].signal};
        event.sigev_value.sival_ptr = &timers[i];
        event._sigev_un._tid = thread_tid;
        MUST(syscall(SYS_timer_create, timers[i].clock, &event, &timers[i].id));
    }
    MUST(syscall(SYS_timer_delete, timers[3].id));
    timers[3].id = -1;
    for (size_t i = 0; i < COUNT(timers); i++) {
        if (timers[i].id < 0 || timers[i].value_ns == 0)
            continue;
        long long value = timers[i].value_ns + (timers[i].absolute ? now_ns(timers[i].clock) : 0);
        struct itimerspec arm = {spec(timers[i].interval_ns), spec(value)};
        MUST(syscall(SYS_timer_settime, timers[i].id, timers[i].absolute ? TIMER_ABSTIME : 0, &arm, NULL));
        timers[i].left = timers[i].value_ns;
    }
    workload_live(check);
}
