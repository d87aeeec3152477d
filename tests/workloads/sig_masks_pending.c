// Blocked and pending signals: masks of several threads, signals pending for the process and for single threads,
// with their siginfo, and the queues of real-time signals in order.
#include "workload.h"

enum { THREADS = 3 };

struct expected_signal {
    int number, code, value;
};

static pthread_t threads[THREADS];
static pid_t tids[THREADS], sender;
static atomic_int asked, answered;
static const char *mask_fields[] = {"SigQ", "SigPnd", "ShdPnd", "SigBlk", "SigIgn", "SigCgt"};
static char prepared[THREADS + 1][COUNT(mask_fields)][64];

static void on_signal(int number) {
    (void)number;
}

static void status_of(pid_t tid, char fields[][64]) {
    char path[64];
    snprintf(path, sizeof path, "/proc/self/task/%d/status", tid);
    for (size_t i = 1; i < COUNT(mask_fields); i++)
        status_field(path, mask_fields[i], fields[i], 64);
}

static void take(int number, int code, int value, pid_t from) {
    sigset_t set;
    siginfo_t info;
    struct timespec none = {0, 0};
    sigemptyset(&set);
    sigaddset(&set, number);
    memset(&info, 0, sizeof info);
    // glibc turns SI_TKILL into SI_USER: ask the kernel itself.
    if (syscall(SYS_rt_sigtimedwait, &set, &info, &none, 8) != number) {
        fail("signal %d was not pending: %s", number, strerror(errno));
        return;
    }
    char what[64];
    snprintf(what, sizeof what, "si_code of signal %d", number);
    EXPECT_EQ(what, code, info.si_code);
    if (code == SI_QUEUE) {
        snprintf(what, sizeof what, "value of signal %d", number);
        EXPECT_EQ(what, value, info.si_value.sival_int);
    }
    snprintf(what, sizeof what, "sender of signal %d", number);
    EXPECT_EQ(what, from, info.si_pid);
    EXPECT_EQ("uid of the sender", getuid(), info.si_uid);
}

static void queue_process(int number, int value) {
    union sigval with = {.sival_int = value};
    if (sigqueue(getpid(), number, with) != 0)
        fail("sigqueue %d: %s", number, strerror(errno));
}

static void queue_thread(int number, int value) {
    siginfo_t info;
    memset(&info, 0, sizeof info);
    info.si_code = SI_QUEUE;
    info.si_pid = getpid();
    info.si_uid = getuid();
    info.si_value.sival_int = value;
    if (syscall(SYS_rt_tgsigqueueinfo, getpid(), syscall(SYS_gettid), number, &info) != 0)
        fail("rt_tgsigqueueinfo %d: %s", number, strerror(errno));
}

// Each thread: SIGUSR1 by tgkill, and three queued signals on its own number, in order.
static void prepare_thread(int index) {
    syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), SIGUSR1);
    for (int i = 0; i < 3; i++)
        queue_thread(50 + index, 1000 * index + i);
}

static void take_thread(int index) {
    take(SIGUSR1, SI_TKILL, 0, getpid());
    for (int i = 0; i < 3; i++)
        take(50 + index, SI_QUEUE, 1000 * index + i, getpid());
}

static void prepare_process(void) {
    kill(getpid(), SIGUSR2);
    for (int i = 0; i < 5; i++)
        queue_process(45, 70 + i);
    queue_process(44, 9);
}

static void block(int index) {
    sigset_t set;
    sigfillset(&set);
    sigdelset(&set, 60 + index);
    pthread_sigmask(SIG_SETMASK, &set, NULL);
}

static void *work(void *argument) {
    int index = (int)(intptr_t)argument;
    block(index);
    tids[index] = (pid_t)syscall(SYS_gettid);
    prepare_thread(index);
    answered++;
    for (int round = 0;;) {
        while (asked == round)
            sleep_ms(3);
        round = asked;
        take_thread(index);
        prepare_thread(index);
        answered++;
    }
    return NULL;
}

static void check(void) {
    char now[COUNT(mask_fields)][64];
    for (int i = 0; i <= THREADS; i++) {
        status_of(i < THREADS ? tids[i] : getpid(), now);
        for (size_t field = 1; field < COUNT(mask_fields); field++) {
            char what[64];
            snprintf(what, sizeof what, "%s of thread %d", mask_fields[field], i);
            EXPECT_STR(what, prepared[i][field], now[field]);
        }
    }
    answered = 0;
    asked++;
    for (int waited = 0; answered < THREADS && waited < 5000; waited++)
        sleep_ms(1);
    EXPECT_EQ("threads that answered", THREADS, answered);
    take(SIGUSR2, SI_USER, 0, getpid());
    take(44, SI_QUEUE, 9, getpid());
    for (int i = 0; i < 5; i++)
        take(45, SI_QUEUE, 70 + i, getpid());
    prepare_process();
}

int main(int argc, char **argv) {
    workload_begin(argc, argv);
    sender = getpid();
    signal(SIGUSR1, on_signal);
    signal(SIGUSR2, on_signal);
    for (int number = 44; number <= 64; number++)
        signal(number, on_signal);
    sigset_t set;
    sigfillset(&set);
    sigdelset(&set, SIGTERM);
    pthread_sigmask(SIG_SETMASK, &set, NULL);
    for (int i = 0; i < THREADS; i++) {
        if ((errno = pthread_create(&threads[i], NULL, work, (void *)(intptr_t)i)) != 0)
            die("pthread_create");
    }
    while (answered < THREADS)
        sleep_ms(1);
    prepare_process();
    for (int i = 0; i <= THREADS; i++)
        status_of(i < THREADS ? tids[i] : getpid(), prepared[i]);
    workload_live(check);
}
