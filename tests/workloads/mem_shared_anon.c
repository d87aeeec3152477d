// Shared anonymous memory inherited by fork: one memory before and after, both sides write, also mapped twice,
// partly, read-only, and bigger than what was touched.
#include "workload.h"

struct board {
    atomic_int question, answer, child_rounds;
};

static struct board *board;
static unsigned char *area, *partial;

static void check(void) {
    for (size_t page = 0; page < 64; page++) {
        if (page % 4 == 0)
            pattern_check("written by the parent", area + page * PAGE, PAGE, 300 + page);
        else if (page % 4 == 1)
            pattern_check("written by the child", area + page * PAGE, PAGE, 400 + page);
        else
            zero_check("never touched", area + page * PAGE, PAGE);
    }
    map_expect("area", area, 64 * PAGE, "rw-s");
    map_expect_none("hole in the parent's mapping", partial + 4 * PAGE);
    for (size_t page = 8; page < 16; page++)
        pattern_check("behind the hole", partial + page * PAGE, PAGE, 700 + page);
    int question = board->question + 1;
    board->question = question;
    for (int waited = 0; board->answer != question * 3 && waited < 10000; waited++)
        sleep_ms(1);
    EXPECT_EQ("answer through shared memory", question * 3, board->answer);
}

static void child_check(void) {
    map_expect("read-only in the child", partial, 4 * PAGE, "r--s");
    for (size_t page = 0; page < 16; page++)
        pattern_check("the child's view of the hole", partial + page * PAGE, PAGE, 700 + page);
    pattern_check("the parent's page", area, PAGE, 300);
}

static void *answer(void *unused) {
    (void)unused;
    for (;;) {
        if (board->answer != board->question * 3)
            board->answer = board->question * 3;
        sleep_ms(1);
    }
    return NULL;
}

static void child(void) {
    for (size_t page = 0; page < 64; page++)
        if (page % 4 == 1)
            pattern_fill(area + page * PAGE, PAGE, 400 + page);
    MUST(mprotect(partial, 16 * PAGE, PROT_READ));
    pthread_t thread;
    pthread_create(&thread, NULL, answer, NULL);
    workload_live(child_check);
}

int main(int argc, char **argv) {
    workload_begin(argc, argv);
    int flags = MAP_SHARED | MAP_ANONYMOUS;
    board = must_map(NULL, PAGE, PROT_READ | PROT_WRITE, flags, -1, 0);
    area = must_map(NULL, 64 * PAGE, PROT_READ | PROT_WRITE, flags, -1, 0);
    partial = must_map(NULL, 16 * PAGE, PROT_READ | PROT_WRITE, flags, -1, 0);
    for (size_t page = 0; page < 16; page++)
        pattern_fill(partial + page * PAGE, PAGE, 700 + page);
    for (size_t page = 0; page < 64; page++)
        if (page % 4 == 0)
            pattern_fill(area + page * PAGE, PAGE, 300 + page);
    workload_fork("child", child);
    MUST(munmap(partial + 4 * PAGE, 4 * PAGE));
    workload_live(check);
}
