// Parents that wait for a child which shares their memory until its exec: by vfork in a process of one thread, and as
// posix_spawn does it (clone with CLONE_VM | CLONE_VFORK and a stack of its own) in a thread of the main process. The child
// keeps all that belongs to its thread, the parents go on at the exec and not before, and signals that came for them
// meanwhile come then.
#include "workload.h"
#include <sched.h>

struct spawn {
    const char *what;
    volatile int in_child, go, returned, leave, status, waited;
    volatile int signals, signals_before_return, child_failures;
    volatile pid_t parent_tid, child_pid;
    char failure[256];
};

static struct spawn *single, *spawner; // in shared memory: both processes look at them
static struct spawn *mine;             // what this process's signal handler counts for
static int exec_pipe[2];
static char program[PATH_MAX];
static atomic_int children_ended, last_status;

static void on_usr2(int number) {
    (void)number;
    mine->signals++;
    if (!mine->returned)
        mine->signals_before_return++;
}

static void on_chld(int number, siginfo_t *info, void *context) {
    (void)number;
    (void)context;
    if (info->si_code == CLD_EXITED && info->si_pid == spawner->child_pid) {
        last_status = info->si_status;
        children_ended++;
    }
}

static void child_says(struct spawn *of, const char *what, long expected, long got) {
    if (expected == got)
        return;
    of->child_failures++;
    snprintf(of->failure, sizeof of->failure, "%s: expected 0x%lx, got 0x%lx", what, expected, got);
}

// Waits until `go` with values in registers that only this thread has.
static void sleep_with_registers(struct spawn *of) {
    uint64_t in[2] = {0x0123456789abcdefULL, 0xfedcba9876543210ULL}, out[2] = {0, 0}, r15 = 0;
    struct timespec slice = {0, 5000000};
    __asm__ volatile("movdqu %[in], %%xmm11\n"
                     "movabs $0x1122334455667788, %%r15\n"
                     "1: mov %[nr], %%eax\n"
                     "mov %[slice], %%rdi\n"
                     "xor %%esi, %%esi\n"
                     "syscall\n"
                     "cmpl $0, %[go]\n"
                     "je 1b\n"
                     "movdqu %%xmm11, %[out]\n"
                     "mov %%r15, %[r15]\n"
                     : [out] "=m"(out), [r15] "=m"(r15)
                     : [in] "m"(in), [nr] "i"(SYS_nanosleep), [slice] "r"(&slice), [go] "m"(of->go)
                     : "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r15", "xmm11", "memory", "cc");
    child_says(of, "r15", 0x1122334455667788, (long)r15);
    child_says(of, "xmm11, low half", (long)in[0], (long)out[0]);
    child_says(of, "xmm11, high half", (long)in[1], (long)out[1]);
}

// Runs in the parent's memory: raw calls only.
static void in_child(struct spawn *of) {
    static char stack[16384];
    uint64_t mask = 1ULL << (SIGWINCH - 1), now = 0;
    stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack}, found = {0};
    int signal = 0;
    char name[16] = "vforked child", got[16] = "";
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &mask, NULL, 8);
    syscall(SYS_sigaltstack, &alternate, NULL);
    syscall(SYS_prctl, PR_SET_PDEATHSIG, SIGUSR1);
    syscall(SYS_prctl, PR_SET_NAME, name);
    syscall(SYS_setpriority, PRIO_PROCESS, 0, 7);
    pid_t self = (pid_t)syscall(SYS_getpid), parent = (pid_t)syscall(SYS_getppid);
    void *thread_pointer = (void *)pthread_self();
    of->child_pid = self;
    of->in_child = 1;
    sleep_with_registers(of);
    child_says(of, "getpid", self, syscall(SYS_getpid));
    child_says(of, "getppid", parent, syscall(SYS_getppid));
    child_says(of, "thread pointer", (long)thread_pointer, (long)pthread_self());
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, NULL, &now, 8);
    child_says(of, "signal mask", (long)mask, (long)now);
    syscall(SYS_sigaltstack, NULL, &found);
    child_says(of, "alternate stack", (long)stack, (long)found.ss_sp);
    child_says(of, "size of the alternate stack", sizeof stack, (long)found.ss_size);
    syscall(SYS_prctl, PR_GET_PDEATHSIG, &signal);
    child_says(of, "parent-death signal", SIGUSR1, signal);
    syscall(SYS_prctl, PR_GET_NAME, got);
    child_says(of, "name", 0, strcmp(name, got));
    child_says(of, "nice value", 20 - 7, syscall(SYS_getpriority, PRIO_PROCESS, 0));
    char *arguments[] = {workload_argv[0], "--exec", of == single ? "single" : "spawner", NULL};
    syscall(SYS_execve, program, arguments, environ);
    syscall(SYS_exit_group, 99);
}

static int spawned(void *argument) {
    in_child(argument);
    return 0;
}

static void *spawn_and_wait(void *argument) {
    struct spawn *of = argument;
    static char stack[65536] __attribute__((aligned(16)));
    uint64_t before = 0, after = 0;
    of->parent_tid = (pid_t)syscall(SYS_gettid);
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, NULL, &before, 8);
    pid_t pid = of == single ? vfork() : clone(spawned, stack + sizeof stack, CLONE_VM | CLONE_VFORK | SIGCHLD, of);
    if (pid == 0)
        in_child(of);
    of->returned = 1;
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, NULL, &after, 8);
    if (before != after || pid != of->child_pid)
        child_says(of, "parent's mask, or pid that it was told", (long)before, (long)after);
    int status = 0;
    if (waitpid(pid, &status, 0) != pid)
        status = -1;
    of->status = status;
    of->waited = 1;
    return NULL;
}

// What is exec'ed: again a process like any other.
static int main_of_exec(const char *which) {
    char byte = which[1] == 'i' ? 's' : 'p';
    if (getpid() != (pid_t)syscall(SYS_gettid))
        return 24;
    if (write(exec_pipe[1], &byte, 1) != 1)
        return 25;
    return 23;
}

static void begin(struct spawn *of) {
    const char *what = of->what;
    memset((void *)of, 0, sizeof *of);
    of->what = what;
}

static pthread_t thread;

static void start(void) {
    begin(spawner);
    children_ended = 0;
    pthread_create(&thread, NULL, spawn_and_wait, spawner);
    while (!spawner->in_child)
        sleep_ms(1);
    begin(single);
    if (MUST(fork()) == 0) {
        mine = single;
        signal(SIGCHLD, SIG_DFL);
        spawn_and_wait(single);
        while (!single->leave)
            sleep_ms(1);
        _exit(0);
    }
    while (!single->in_child)
        sleep_ms(1);
}

static void check_one(struct spawn *of) {
    EXPECT(!of->returned, "%s: the parent returned before the exec", of->what);
    syscall(SYS_tkill, of->parent_tid, SIGUSR2);
    sleep_ms(20);
    EXPECT(!of->returned && of->signals == 0, "%s: a signal came out of a vfork", of->what);
    of->go = 1;
    for (int waited = 0; !of->waited && waited < 5000; waited++)
        sleep_ms(1);
    EXPECT(of->waited, "%s: the parent did not go on", of->what);
    EXPECT(WIFEXITED(of->status) && WEXITSTATUS(of->status) == 23, "%s: status of the child: 0x%x", of->what, of->status);
    EXPECT(of->signals == 1, "%s: %d signals came, not one", of->what, of->signals);
    EXPECT(of->child_failures == 0, "%s: %d wrong in the child: %s", of->what, of->child_failures, of->failure);
    char byte = 0;
    struct pollfd wait_for = {exec_pipe[0], POLLIN, 0};
    EXPECT(poll(&wait_for, 1, 100) == 1 && read(exec_pipe[0], &byte, 1) == 1 && byte == (of == single ? 's' : 'p'), "%s: the new program said '%c'", of->what, byte);
}

static void check(void) {
    check_one(spawner);
    if (spawner->waited)
        pthread_join(thread, NULL);
    EXPECT(children_ended == 1 && last_status == 23, "SIGCHLD: %d children ended, the last with status %d", children_ended, last_status);
    check_one(single);
    single->leave = 1;
    while (waitpid(-1, NULL, 0) > 0)
        ;
    start();
}

int main(int argc, char **argv) {
    const char *fd = getenv("VFORK_PIPE");
    if (argc == 3 && strcmp(argv[1], "--exec") == 0 && fd != NULL) {
        exec_pipe[1] = atoi(fd);
        return main_of_exec(argv[2]);
    }
    workload_begin(argc, argv);
    MUST(pipe(exec_pipe));
    // Asked now: after dump -R the child's /proc/self is its ended first thread, which has no exe.
    link_text("/proc/self/exe", program, sizeof program);
    char number[16];
    snprintf(number, sizeof number, "%d", exec_pipe[1]);
    setenv("VFORK_PIPE", number, 1);
    single = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    spawner = single + 1;
    single->what = "vfork in a process of one thread";
    spawner->what = "clone with a stack of its own";
    mine = spawner;
    struct sigaction action = {.sa_handler = on_usr2};
    MUST(sigaction(SIGUSR2, &action, NULL));
    struct sigaction ended = {.sa_flags = SA_SIGINFO | SA_RESTART};
    ended.sa_sigaction = on_chld;
    MUST(sigaction(SIGCHLD, &ended, NULL));
    start();
    workload_live_until_stop(check);
    single->go = spawner->go = 1;
    single->leave = 1;
    pthread_join(thread, NULL);
    while (waitpid(-1, NULL, 0) > 0)
        ;
    return 0;
}
