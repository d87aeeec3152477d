// A program with memory worth a fork and without any child: nothing of the kind may ever show, whatever is done to save it. No
// ended child to wait for, no SIGCHLD, no times or memory of children, and its action for SIGCHLD stays. An argument gives it a
// reason why it must not, or cannot, be forked.
#include "workload.h"
#include <linux/filter.h>
#include <linux/seccomp.h>

enum { MIB = 6 };
static unsigned char *memory;
static volatile sig_atomic_t signals;

static void count(int signal) {
    (void)signal;
    signals++;
}

static void check(void) {
    for (size_t page = 0; page < MIB * 256; page += 7)
        pattern_check("memory", memory + page * PAGE, PAGE, 100 + page);
    errno = 0;
    EXPECT_EQ("waiting for any child", -1, waitpid(-1, NULL, __WALL | WNOHANG));
    EXPECT_EQ("why not", ECHILD, errno);
    EXPECT_EQ("SIGCHLD received", 0, signals);
    struct sigaction action;
    sigaction(SIGCHLD, NULL, &action);
    EXPECT(action.sa_handler == count, "another handler for SIGCHLD: %p", (void *)action.sa_handler);
    EXPECT((action.sa_flags & SA_RESTART) != 0, "flags of SIGCHLD: %x", action.sa_flags);
    sigset_t pending;
    sigpending(&pending);
    EXPECT(!sigismember(&pending, SIGCHLD), "SIGCHLD is pending");
    struct rusage usage;
    getrusage(RUSAGE_CHILDREN, &usage);
    EXPECT_EQ("system time of children, in us", 0, usage.ru_stime.tv_sec * 1000000 + usage.ru_stime.tv_usec);
    EXPECT_EQ("user time of children, in us", 0, usage.ru_utime.tv_sec * 1000000 + usage.ru_utime.tv_usec);
    EXPECT_EQ("most memory of children", 0, usage.ru_maxrss);
    char path[64], text[256];
    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    read_text(path, text, sizeof text);
    EXPECT_STR("children", "", text);
}

static void allow_all(void) {
    struct sock_filter allow[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    struct sock_fprog program = {.len = COUNT(allow), .filter = allow};
    MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    MUST(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program));
}

// No second process is allowed to that user.
static void alone(void) {
    const uid_t nobody_else = 54321;
    MUST(chmod(workload_dir, 0777));
    struct rlimit one = {1, 1};
    MUST(setrlimit(RLIMIT_NPROC, &one));
    MUST(setresuid(nobody_else, nobody_else, nobody_else));
    MUST(prctl(PR_SET_DUMPABLE, 1));
}

static void give_reason(const char *reason) {
    if (strcmp(reason, "subreaper") == 0)
        MUST(prctl(PR_SET_CHILD_SUBREAPER, 1));
    else if (strcmp(reason, "filter") == 0)
        allow_all();
    else if (strcmp(reason, "alone") == 0)
        alone();
    else
        die("unknown reason %s", reason);
}

int main(int argc, char **argv) {
    workload_begin(argc, argv);
    if (argc > 1)
        give_reason(argv[1]);
    struct sigaction action = {.sa_handler = count, .sa_flags = SA_RESTART};
    sigaction(SIGCHLD, &action, NULL);
    memory = must_map(NULL, MIB << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (size_t page = 0; page < MIB * 256; page++)
        pattern_fill(memory + page * PAGE, PAGE, 100 + page);
    workload_live(check);
}
