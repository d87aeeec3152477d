// A process that asked for a signal when its parent dies (PR_SET_PDEATHSIG): it is still asked for, and it comes when
// the parent, restored too, is killed. Each round ends the pair and makes a new one.
#include "workload.h"

static pid_t parent;
static volatile sig_atomic_t told;

static void on_signal(int number) {
    told = number;
}

static void note(const char *name) {
    char path[PATH_MAX];
    workload_path(path, "%s.%d", name, workload_round);
    workload_write_file(path, "", 0);
}

static void expect_note(const char *name, const char *failure) {
    char path[PATH_MAX];
    workload_path(path, "%s.%d", name, workload_round);
    EXPECT(workload_wait_file(path, 5000), "%s", failure);
}

static void watch(void) {
    char path[PATH_MAX];
    int asked_for = 0;
    signal(SIGUSR1, on_signal);
    MUST(prctl(PR_SET_PDEATHSIG, SIGUSR1));
    note("armed");
    workload_path(path, "stop");
    while (!told && !workload_file_exists(path))
        sleep_ms(2);
    prctl(PR_GET_PDEATHSIG, &asked_for);
    if (told == SIGUSR1 && asked_for == SIGUSR1)
        note("told");
    _exit(0);
}

static void make_pair(void) {
    char path[PATH_MAX];
    fflush(NULL);
    parent = MUST(fork());
    if (parent == 0) {
        if (MUST(fork()) == 0)
            watch();
        workload_path(path, "stop");
        while (!workload_file_exists(path))
            sleep_ms(2);
        _exit(0);
    }
    workload_path(path, "armed.%d", workload_round);
    if (!workload_wait_file(path, 5000))
        die("the watcher does not start");
}

static void check(void) {
    int own = -1;
    prctl(PR_GET_PDEATHSIG, &own);
    EXPECT_EQ("death signal of the leader", 0, own);
    kill(parent, SIGKILL);
    waitpid(parent, NULL, 0);
    // The watcher was made before this round's number was reached.
    expect_note("told", "no signal came, or not the one asked for, when the parent was killed");
    workload_round++;
    make_pair();
    workload_round--;
}

int main(int argc, char **argv) {
    workload_begin(argc, argv);
    make_pair();
    workload_live(check);
}
