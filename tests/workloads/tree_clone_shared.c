// Children that share tables with their parent, each another (parameter 1: files 1, fs 2, sighand and vm 4, vm 8):
// what one changes the other sees, and what is not shared stays apart.
#include "workload.h"

static char stack[65536] __attribute__((aligned(16)));
static int kind, parent_fd, question_pipe[2], answer_pipe[2];
static pid_t child;
static volatile int in_memory;
static char sub[PATH_MAX];

static void on_signal(int number) {
    (void)number;
}

// The child obeys one-byte orders, by raw calls (in shared memory the C library's state is the parent's too).
static int obey(void *unused) {
    (void)unused;
    for (;;) {
        char order, answer = 0;
        if (syscall(SYS_read, question_pipe[0], &order, 1) != 1)
            continue;
        struct sigaction action;
        switch (order) {
        case 'o': // open: is the number valid in the parent?
            answer = (char)syscall(SYS_dup, parent_fd);
            break;
        case 'c':
            syscall(SYS_chdir, sub);
            break;
        case 'C':
            syscall(SYS_chdir, workload_dir);
            break;
        case 'm':
            in_memory++;
            break;
        case 's':
            memset(&action, 0, sizeof action);
            syscall(SYS_rt_sigaction, SIGUSR2, NULL, &action, 8);
            answer = action.sa_handler == on_signal;
            break;
        case 'q':
            syscall(SYS_exit_group, 0);
        }
        syscall(SYS_write, answer_pipe[1], &answer, 1);
    }
    return 0;
}

static int order(char what) {
    char answer = -1;
    struct pollfd wait_for = {answer_pipe[0], POLLIN, 0};
    if (write(question_pipe[1], &what, 1) != 1 || poll(&wait_for, 1, 5000) != 1 || read(answer_pipe[0], &answer, 1) != 1)
        fail("the child does not answer to '%c'", what);
    return answer;
}

static void check(void) {
    char now[PATH_MAX];
    int fd = order('o');
    bool open_here = fcntl(fd, F_GETFD) != -1;
    EXPECT(open_here == ((kind & 1) != 0), "descriptor %d of the child is %sopen in the parent", fd,
           open_here ? "" : "not ");
    if (open_here)
        close(fd);
    order('c');
    if (getcwd(now, sizeof now) == NULL)
        fail("getcwd: %s", strerror(errno));
    EXPECT_STR("working directory of the parent after chdir of the child", (kind & 2) ? sub : workload_dir, now);
    order('C');
    int before = in_memory;
    order('m');
    EXPECT_EQ("word after the child changed it", before + ((kind & 12) != 0), in_memory);
    EXPECT_EQ("handlers shared, before", 0, order('s'));
    signal(SIGUSR2, on_signal);
    EXPECT_EQ("handlers shared, after", (kind & 4) != 0, order('s'));
    signal(SIGUSR2, SIG_DFL);
}

int main(int argc, char **argv) {
    workload_begin(argc, argv);
    kind = (int)workload_parameter(1, 1);
    workload_path(sub, "sub");
    MUST(mkdir(sub, 0777));
    MUST(chdir(workload_dir));
    MUST(pipe(question_pipe));
    MUST(pipe(answer_pipe));
    parent_fd = answer_pipe[0];
    int flags = SIGCHLD | (kind & 1 ? CLONE_FILES : 0) | (kind & 2 ? CLONE_FS : 0) |
                (kind & 4 ? CLONE_SIGHAND | CLONE_VM : 0) | (kind & 8 ? CLONE_VM : 0);
    child = MUST(clone(obey, stack + sizeof stack, flags, NULL));
    workload_live_until_stop(check);
    kill(child, SIGKILL);
    return 0;
}
