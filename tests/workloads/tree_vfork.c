// A parent inside vfork: it goes on only when the child execs or ends, and shares its memory until then.
// Parameter: 1 for a child with a word that is cleared at its end, 2 for one with a child of its own (no second thread could
// carry that on).
#include "workload.h"

static volatile int word_of_child;
static volatile int returned, child_status;
static atomic_int go;
static pthread_t thread;
static long kind;
static volatile int cleared;

// The child of vfork runs in the parent's memory: it sleeps until `go`, by raw calls only.
static void *parent_of_vfork(void *unused) {
    (void)unused;
    pid_t pid = vfork();
    if (pid == 0) {
        pid_t own_child = 0;
        if (kind == 1)
            syscall(SYS_set_tid_address, &cleared);
        if (kind == 2 && (own_child = (pid_t)syscall(SYS_fork)) == 0) {
            for (;;)
                syscall(SYS_pause);
        }
        word_of_child = 1;
        while (!go) {
            struct timespec wait_for = {0, 5000000};
            syscall(SYS_nanosleep, &wait_for, NULL);
        }
        word_of_child = 2;
        if (own_child > 0) {
            syscall(SYS_kill, own_child, SIGKILL);
            syscall(SYS_wait4, own_child, NULL, 0, NULL);
        }
        syscall(SYS_exit_group, 17);
    }
    int status = 0;
    waitpid(pid, &status, 0);
    child_status = status;
    returned = 1;
    return NULL;
}

static void start(void) {
    go = word_of_child = returned = child_status = 0;
    cleared = 1;
    pthread_create(&thread, NULL, parent_of_vfork, NULL);
    while (word_of_child != 1)
        sleep_ms(1);
}

static void check(void) {
    EXPECT_EQ("the parent returned from vfork", 0, returned);
    EXPECT_EQ("word of the child", 1, word_of_child);
    EXPECT_EQ("the word to be cleared at the child's end", 1, cleared);
    go = 1;
    for (int waited = 0; !returned && waited < 5000; waited++)
        sleep_ms(1);
    EXPECT_EQ("the parent returned after the child's end", 1, returned);
    EXPECT_EQ("word that the child wrote into shared memory", 2, word_of_child);
    EXPECT(WIFEXITED(child_status) && WEXITSTATUS(child_status) == 17, "status of the child: 0x%x", child_status);
    EXPECT_EQ("the word to be cleared at the child's end, after that", kind != 1, cleared);
    if (returned)
        pthread_join(thread, NULL);
    start();
}

int main(int argc, char **argv) {
    workload_begin(argc, argv);
    kind = workload_parameter(1, 0);
    start();
    workload_live_until_stop(check);
    go = 1;
    pthread_join(thread, NULL);
    return 0;
}
