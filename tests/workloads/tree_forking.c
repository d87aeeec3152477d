// A tree in which processes come and go all the time: plain children, children that are killed by a sibling, and
// daemons that leave the tree, since their parent ends first. Nobody may lose a child, or see one end in another way.
#include "workload.h"
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

enum { FORKERS = 3 };

static struct {
    _Atomic long rounds[FORKERS];
    _Atomic long wrong;
} *seen;

static void expect_status(pid_t child, int wanted) {
    int status = 0;
    if (waitpid(child, &status, 0) != child || status != wanted)
        seen->wrong = status | 0x10000;
}

static void plain(long round) {
    pid_t child = fork();
    if (child == 0)
        _exit(round & 0x7f);
    expect_status(child, (int)(round & 0x7f) << 8);
}

static void killed(void) {
    pid_t parent = getpid(), child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        while (getppid() == parent)
            pause();
        _exit(0); // the parent was faster
    }
    sched_yield();
    kill(child, SIGKILL);
    expect_status(child, SIGKILL);
}

static void daemon_leaves(void) {
    pid_t child = fork();
    if (child == 0) {
        if (fork() == 0) {
            sched_yield();
            _exit(0);
        }
        _exit(7);
    }
    expect_status(child, 7 << 8);
}

static void forker(int kind) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (long round = 0;; round++) {
        if (kind == 0)
            plain(round);
        else if (kind == 1)
            killed();
        else
            daemon_leaves();
        seen->rounds[kind]++;
        usleep(200); // so that others get to run, too
    }
}

static void check(void) {
    for (int kind = 0; kind < FORKERS; kind++) {
        long before = seen->rounds[kind];
        for (int waited = 0; seen->rounds[kind] < before + 3; waited++) {
            EXPECT(waited < 10000, "forker %d goes on no more", kind);
            usleep(1000);
        }
    }
    EXPECT(seen->wrong == 0, "a child ended with status 0x%lx, or was lost", seen->wrong & 0xffffL);
}

int main(int argc, char **argv) {
    workload_begin(argc, argv);
    seen = must_map(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t forkers[FORKERS];
    for (int kind = 0; kind < FORKERS; kind++) {
        forkers[kind] = MUST(fork());
        if (forkers[kind] == 0)
            forker(kind);
    }
    workload_live_until_stop(check);
    for (int kind = 0; kind < FORKERS; kind++) {
        kill(forkers[kind], SIGKILL);
        MUST(waitpid(forkers[kind], NULL, 0));
    }
    usleep(100000); // the last daemons
    return 0;
}
