// Threads that wait, under a seccomp filter that kills for restart_syscall(2): the call by which the kernel goes on with
// a wait that something interrupted. A dump interrupts all of them; none may die, see EINTR, or end before its time.
#include "workload.h"
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>

struct waiting {
    const char *what;
    unsigned verdict;
    long (*wait)(struct waiting *);
    void (*wake)(struct waiting *);
    int word, fds[2];
    long result;
    int error;
    pid_t tid;
    atomic_int inside, rounds;
};

static int rounds;

static void on_signal(int number) {
    (void)number;
}

// Its argument is a time: the filter must let the first call through, whatever its arguments are.
static long wait_nanosleep(struct waiting *one) {
    (void)one;
    struct timespec limit = {3600, 0};
    return syscall(SYS_nanosleep, &limit, NULL);
}

static long wait_nanosleep_rest(struct waiting *one) {
    (void)one;
    struct timespec limit = {3600, 0}, left = {0, 0};
    long result = syscall(SYS_nanosleep, &limit, &left);
    EXPECT(limit.tv_sec == 3600 && limit.tv_nsec == 0, "the time to sleep was changed to %lld s", (long long)limit.tv_sec);
    return result;
}

static void wake_signal(struct waiting *one) {
    syscall(SYS_tgkill, getpid(), one->tid, SIGUSR1);
}

static long wait_poll(struct waiting *one) {
    struct pollfd wait_for = {one->fds[0], POLLIN, 0};
    long result = syscall(SYS_poll, &wait_for, 1, 3600 * 1000);
    char byte;
    if (result == 1 && read(one->fds[0], &byte, 1) != 1)
        fail("poll said readable, read did not agree");
    return result;
}

static void wake_poll(struct waiting *one) {
    if (write(one->fds[1], "x", 1) != 1)
        fail("cannot write to the pipe");
}

static long wait_futex(struct waiting *one) {
    struct timespec limit = {3600, 0};
    return syscall(SYS_futex, &one->word, FUTEX_WAIT_PRIVATE, 0, &limit, NULL, 0);
}

static void wake_futex(struct waiting *one) {
    if (syscall(SYS_futex, &one->word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0) != 1)
        fail("%s: nobody was waiting", one->what);
}

static struct waiting all[] = {
    {.what = "nanosleep", .verdict = SECCOMP_RET_KILL_PROCESS, .wait = wait_nanosleep, .wake = wake_signal},
    {.what = "nanosleep that tells the rest", .verdict = SECCOMP_RET_KILL_PROCESS, .wait = wait_nanosleep_rest, .wake = wake_signal},
    {.what = "poll", .verdict = SECCOMP_RET_KILL_THREAD, .wait = wait_poll, .wake = wake_poll},
    {.what = "poll, errno", .verdict = SECCOMP_RET_ERRNO | EDOM, .wait = wait_poll, .wake = wake_poll},
    {.what = "futex", .verdict = SECCOMP_RET_KILL_PROCESS, .wait = wait_futex, .wake = wake_futex},
    {.what = "futex, trap", .verdict = SECCOMP_RET_TRAP, .wait = wait_futex, .wake = wake_futex},
};

// Two filters: the older one says the verdict for the call, the newer one allows all.
static void install(unsigned verdict) {
    struct sock_filter deny[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_restart_syscall, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, verdict),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_filter allow[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    struct sock_fprog older = {COUNT(deny), deny}, newer = {COUNT(allow), allow};
    MUST(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &older));
    MUST(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &newer));
}

static void *work(void *argument) {
    struct waiting *one = argument;
    one->tid = (pid_t)syscall(SYS_gettid);
    install(one->verdict);
    for (;;) {
        errno = 0;
        one->inside = 1;
        one->result = one->wait(one);
        one->error = errno;
        one->inside = 0;
        one->rounds++;
    }
    return NULL;
}

static void wait_blocked(void) {
    char path[64], text[512];
    for (size_t i = 0; i < COUNT(all); i++) {
        snprintf(path, sizeof path, "/proc/self/task/%d/syscall", all[i].tid);
        for (int waited = 0; waited < 5000; waited++) {
            read_text(path, text, sizeof text);
            if (all[i].inside && text[0] >= '0' && text[0] <= '9')
                break;
            sleep_ms(1);
        }
    }
    sleep_ms(20);
}

static void check(void) {
    // A call that is made anew begins when its thread gets to run: a signal before that would find it outside.
    wait_blocked();
    for (size_t i = 0; i < COUNT(all); i++) {
        struct waiting *one = &all[i];
        if (one->rounds != rounds) {
            fail("%s ended before it was woken: result %ld, errno %d (%s)", one->what, one->result, one->error, strerror(one->error));
            one->rounds = rounds;
            continue;
        }
        one->wake(one);
        for (int waited = 0; one->rounds == rounds && waited < 5000; waited++)
            sleep_ms(1);
        if (one->rounds == rounds) {
            fail("%s did not end when it was woken: is thread %d alive?", one->what, one->tid);
            one->rounds = rounds + 1;
            continue;
        }
        long expected = one->wake == wake_signal ? -1 : one->wake == wake_poll ? 1 : 0;
        EXPECT(one->result == expected && (expected >= 0 || one->error == EINTR), "%s: expected result %ld, got %ld, errno %d (%s)",
               one->what, expected, one->result, one->error, strerror(one->error));
    }
    rounds++;
    wait_blocked();
}

int main(int argc, char **argv) {
    workload_begin(argc, argv);
    struct sigaction action = {.sa_handler = on_signal};
    MUST(sigaction(SIGUSR1, &action, NULL));
    MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    for (size_t i = 0; i < COUNT(all); i++) {
        pthread_t thread;
        MUST(pipe2(all[i].fds, O_CLOEXEC));
        pthread_create(&thread, NULL, work, &all[i]);
        while (!all[i].inside)
            sleep_ms(1);
    }
    wait_blocked();
    workload_live(check);
}
