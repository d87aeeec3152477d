// A tree of 200 processes (parameter), twenty children with nine of their own each.
#include "workload.h"

static int branches, leaves, branch, leaf;
static pid_t parent;
static uint64_t *mine;

static void check_one(void) {
    EXPECT_EQ("parent", parent, getppid());
    pattern_check("own memory", mine, 4 * PAGE, (uint64_t)(branch * 1000 + leaf));
}

static void prepare(void) {
    mine = must_map(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    pattern_fill(mine, 4 * PAGE, (uint64_t)(branch * 1000 + leaf));
}

static void grow_branch(void) {
    parent = getppid();
    char name[24];
    for (leaf = 1; leaf < leaves; leaf++) {
        snprintf(name, sizeof name, "p%d.%d", branch, leaf);
        pid_t own = getpid();
        if (MUST(fork()) == 0) {
            workload_become(name);
            parent = own;
            prepare();
            workload_live(check_one);
        }
    }
    leaf = 0;
    prepare();
    workload_live(check_one);
}

static void check(void) {
}

int main(int argc, char **argv) {
    workload_begin(argc, argv);
    workload_poll_ms = 50;
    branches = (int)workload_parameter(1, 200) / 10;
    leaves = 10;
    char name[24];
    for (int i = 0; i < branches; i++)
        for (int j = 1; j < leaves; j++) {
            snprintf(name, sizeof name, "p%d.%d", i, j);
            workload_expect_part(name);
        }
    for (branch = 0; branch < branches; branch++) {
        snprintf(name, sizeof name, "p%d.0", branch);
        workload_fork(name, grow_branch);
    }
    workload_live(check);
}
