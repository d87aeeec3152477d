// Strict seccomp mode: a thread that may only read, write, exit and return from signals goes on under the same rule,
// and is killed by the kernel for anything else.
#include "workload.h"
#include <linux/seccomp.h>

static int questions[2], answers[2];
static pid_t child;

// A process: strict mode allows the raw calls read, write, _exit (not exit_group) and rt_sigreturn.
static void strict(void) {
    MUST(prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT, 0, 0, 0));
    for (;;) {
        char byte;
        long got;
        __asm__ volatile("syscall" : "=a"(got) : "0"(SYS_read), "D"(questions[0]), "S"(&byte), "d"(1)
                         : "rcx", "r11", "memory");
        if (got != 1)
            continue;
        if (byte == '!') { // forbidden: must be the end
            long pid;
            __asm__ volatile("syscall" : "=a"(pid) : "0"(SYS_getpid) : "rcx", "r11", "memory");
        }
        byte++;
        __asm__ volatile("syscall" : "=a"(got) : "0"(SYS_write), "D"(answers[1]), "S"(&byte), "d"(1)
                         : "rcx", "r11", "memory");
    }
}

static void start(void) {
    child = MUST(fork());
    if (child == 0) {
        strict();
    }
    char path[64], text[64] = "";
    snprintf(path, sizeof path, "/proc/%d/status", child);
    for (int waited = 0; strcmp(text, "1") != 0 && waited < 5000; waited++) {
        sleep_ms(1);
        status_field(path, "Seccomp", text, sizeof text);
    }
}

static void check(void) {
    char path[64], byte = 'a', text[64];
    snprintf(path, sizeof path, "/proc/%d/status", child);
    status_field(path, "Seccomp", text, sizeof text);
    EXPECT_STR("seccomp mode", "1", text);
    EXPECT_EQ("question", 1, write(questions[1], &byte, 1));
    struct pollfd wait_for = {answers[0], POLLIN, 0};
    EXPECT_EQ("answer within 5 s", 1, poll(&wait_for, 1, 5000));
    if (wait_for.revents & POLLIN) {
        EXPECT_EQ("read", 1, read(answers[0], &byte, 1));
        EXPECT_EQ("answer", 'b', byte);
    }
    byte = '!';
    EXPECT_EQ("forbidden question", 1, write(questions[1], &byte, 1));
    int status = 0;
    for (int waited = 0; waitpid(child, &status, WNOHANG) == 0 && waited < 5000; waited++)
        sleep_ms(1);
    EXPECT(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "after a forbidden call: wait status 0x%x", status);
    if (!WIFSIGNALED(status)) {
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
    }
    start();
}

int main(int argc, char **argv) {
    workload_begin(argc, argv);
    MUST(pipe(questions));
    MUST(pipe(answers));
    start();
    workload_live_until_stop(check);
    kill(child, SIGKILL);
    return 0;
}
