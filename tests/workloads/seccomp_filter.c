// Seccomp filters: one filter on all threads (TSYNC), a second on one thread only, inherited by a child, with the
// verdicts errno, trap and allow; each process and thread keeps exactly its own chain.
#include "workload.h"
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>

static atomic_int asked, answered, ready, trapped;
static pid_t filtered_tid;

static void install(long number, unsigned verdict, unsigned flags) {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 0, 2),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)number, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, verdict),
    };
    struct sock_fprog program = {COUNT(code), code};
    MUST(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program));
}

static void expect_errno(const char *who, long number, int expected) {
    errno = 0;
    long result = syscall(number, -1, -1, -1, -1, -1);
    EXPECT(result == -1 && errno == expected, "%s: call %ld: expected errno %d, got %ld, errno %d", who, number, expected,
           result, errno);
}

static void on_trap(int number, siginfo_t *info, void *context) {
    (void)number;
    (void)context;
    trapped = info->si_syscall;
}

static void filters_expect(const char *who, int expected) {
    char text[64];
    status_field("/proc/thread-self/status", "Seccomp_filters", text, sizeof text);
    EXPECT(atoi(text) == expected, "%s: expected %d filters, got %s", who, expected, text);
    status_field("/proc/thread-self/status", "Seccomp", text, sizeof text);
    EXPECT(strcmp(text, "2") == 0, "%s: mode %s", who, text);
}

// The common filter: swapoff says E2BIG everywhere.
static void check_common(const char *who) {
    expect_errno(who, SYS_swapoff, E2BIG);
}

static void *work(void *argument) {
    bool filtered = argument != NULL;
    if (filtered) {
        install(SYS_acct, SECCOMP_RET_ERRNO | ENOTBLK, 0);
        install(SYS_quotactl, SECCOMP_RET_TRAP, 0);
        filtered_tid = (pid_t)syscall(SYS_gettid);
    }
    ready++;
    for (int round = 0;;) {
        while (asked == round)
            sleep_ms(2);
        round = asked;
        check_common("thread");
        filters_expect("thread", filtered ? 3 : 1);
        if (filtered) {
            expect_errno("filtered thread", SYS_acct, ENOTBLK);
            trapped = 0;
            syscall(SYS_quotactl, -1, 0, 0, 0);
            EXPECT_EQ("trapped call", SYS_quotactl, trapped);
        } else {
            expect_errno("unfiltered thread", SYS_acct, EFAULT);
        }
        answered++;
    }
    return NULL;
}

static void check(void) {
    check_common("main thread");
    filters_expect("main thread", 1);
    expect_errno("main thread", SYS_acct, EFAULT);
    answered = 0;
    asked++;
    for (int waited = 0; answered < 2 && waited < 5000; waited++)
        sleep_ms(1);
    EXPECT_EQ("threads that answered", 2, answered);
    char text[64];
    status_field("/proc/self/status", "NoNewPrivs", text, sizeof text);
    EXPECT_STR("no_new_privs", "1", text);
}

static void child_check(void) {
    check_common("child");
    filters_expect("child", 2);
    expect_errno("child", SYS_swapon, EXDEV);
}

static void child(void) {
    install(SYS_swapon, SECCOMP_RET_ERRNO | EXDEV, 0);
    workload_live(child_check);
}

int main(int argc, char **argv) {
    workload_begin(argc, argv);
    struct sigaction action = {.sa_flags = SA_SIGINFO};
    action.sa_sigaction = on_trap;
    MUST(sigaction(SIGSYS, &action, NULL));
    MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    pthread_t threads[2];
    pthread_create(&threads[0], NULL, work, NULL);
    while (ready < 1)
        sleep_ms(1);
    install(SYS_swapoff, SECCOMP_RET_ERRNO | E2BIG, SECCOMP_FILTER_FLAG_TSYNC);
    workload_fork("child", child);
    pthread_create(&threads[1], NULL, work, (void *)1);
    while (ready < 2)
        sleep_ms(1);
    workload_live(check);
}
