// Signal actions: default, ignored, handlers with every flag and a mask; and the handlers still run.
#include "workload.h"

struct kernel_sigaction {
    void *handler;
    unsigned long flags;
    void *restorer;
    uint64_t mask;
};

static struct kernel_sigaction prepared[65];
static atomic_int handled[65], info_value;
static atomic_int blocked_inside;

static void on_signal(int number) {
    handled[number]++;
}

static void on_info(int number, siginfo_t *info, void *context) {
    (void)context;
    handled[number]++;
    info_value = info->si_value.sival_int;
    sigset_t now;
    sigprocmask(SIG_BLOCK, NULL, &now);
    blocked_inside = sigismember(&now, SIGUSR2) && sigismember(&now, 40);
}

static void check(void) {
    char what[64];
    for (int number = 1; number <= 64; number++) {
        struct kernel_sigaction now;
        memset(&now, 0, sizeof now);
        syscall(SYS_rt_sigaction, number, NULL, &now, 8);
        snprintf(what, sizeof what, "handler of signal %d", number);
        EXPECT_EQ(what, (uintptr_t)prepared[number].handler, (uintptr_t)now.handler);
        snprintf(what, sizeof what, "flags of signal %d", number);
        EXPECT_EQ(what, prepared[number].flags, now.flags);
        snprintf(what, sizeof what, "mask of signal %d", number);
        EXPECT_EQ(what, prepared[number].mask, now.mask);
        snprintf(what, sizeof what, "restorer of signal %d", number);
        EXPECT_EQ(what, (uintptr_t)prepared[number].restorer, (uintptr_t)now.restorer);
    }
    handled[SIGUSR1] = handled[40] = info_value = blocked_inside = 0;
    raise(SIGUSR1);
    EXPECT_EQ("runs of the handler of SIGUSR1", 1, handled[SIGUSR1]);
    union sigval value = {.sival_int = 4711};
    sigqueue(getpid(), 40, value);
    EXPECT_EQ("runs of the handler of signal 40", 1, handled[40]);
    EXPECT_EQ("value with signal 40", 4711, info_value);
    EXPECT_EQ("signals blocked in the handler", 1, blocked_inside);
    raise(SIGHUP); // ignored
}

static void set(int number, void *handler, int flags, uint64_t mask) {
    struct sigaction action = {.sa_flags = flags};
    action.sa_handler = handler;
    for (int other = 1; other <= 64; other++) {
        if (mask & (1ULL << (other - 1)))
            sigaddset(&action.sa_mask, other);
    }
    MUST(sigaction(number, &action, NULL));
}

int main(int argc, char **argv) {
    workload_begin(argc, argv);
    set(SIGUSR1, on_signal, SA_RESTART, 0);
    set(SIGUSR2, on_signal, SA_NODEFER | SA_RESETHAND, 1ULL << (SIGTERM - 1));
    set(SIGHUP, SIG_IGN, 0, 0);
    set(SIGURG, on_signal, 0, 0);
    set(SIGCHLD, on_signal, SA_NOCLDSTOP | SA_NOCLDWAIT, 0);
    set(SIGSEGV, on_info, SA_SIGINFO | SA_ONSTACK, ~0ULL);
    set(SIGPIPE, SIG_IGN, SA_RESTART, 0);
    set(SIGINT, SIG_DFL, SA_RESTART | SA_NODEFER, 1ULL << (SIGUSR2 - 1));
    set(40, on_info, SA_SIGINFO, 1ULL << (SIGUSR2 - 1));
    set(64, on_signal, 0, 1ULL << 62);
    for (int number = 1; number <= 64; number++)
        syscall(SYS_rt_sigaction, number, NULL, &prepared[number], 8);
    workload_live(check);
}
