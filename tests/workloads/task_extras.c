// What belongs to a thread or process and is easily forgotten: affinity, I/O priority, timer slack, personality.
#include "workload.h"
#include <sys/personality.h>

enum { THREADS = 3 };

struct extras {
    int ioprio;
    unsigned long slack;
    cpu_set_t affinity;
};

static struct extras prepared[THREADS + 1];
static int persona;
static atomic_int asked, answered, ready;

static void observe(struct extras *now) {
    memset(now, 0, sizeof *now);
    now->ioprio = (int)syscall(SYS_ioprio_get, 1, 0);
    now->slack = (unsigned long)prctl(PR_GET_TIMERSLACK);
    sched_getaffinity(0, sizeof now->affinity, &now->affinity);
}

static void compare(int index) {
    struct extras now;
    char what[64];
    observe(&now);
    snprintf(what, sizeof what, "I/O priority of thread %d", index);
    EXPECT_EQ(what, prepared[index].ioprio, now.ioprio);
    snprintf(what, sizeof what, "timer slack of thread %d", index);
    EXPECT_EQ(what, prepared[index].slack, now.slack);
    EXPECT(CPU_EQUAL(&prepared[index].affinity, &now.affinity), "affinity of thread %d differs", index);
}

static void become(int index) {
    cpu_set_t set;
    switch (index) {
    case 1:
        MUST(prctl(PR_SET_TIMERSLACK, 123456));
        MUST(syscall(SYS_ioprio_set, 1, 0, 3 << 13)); // idle class
        break;
    case 2:
        MUST(syscall(SYS_ioprio_set, 1, 0, (2 << 13) | 1)); // best effort, level 1
        CPU_ZERO(&set);
        CPU_SET(0, &set);
        MUST(sched_setaffinity(0, sizeof set, &set));
        break;
    case 3:
        MUST(syscall(SYS_ioprio_set, 1, 0, (1 << 13) | 6)); // real time, level 6
        break;
    }
}

static void *work(void *argument) {
    int index = (int)(intptr_t)argument;
    become(index);
    observe(&prepared[index]);
    ready++;
    for (int round = 0;;) {
        while (asked == round)
            sleep_ms(2);
        round = asked;
        compare(index);
        answered++;
    }
    return NULL;
}

static void check(void) {
    EXPECT_EQ("personality", persona, personality(0xffffffff));
    compare(0);
    answered = 0;
    asked++;
    for (int waited = 0; answered < THREADS && waited < 5000; waited++)
        sleep_ms(1);
    EXPECT_EQ("threads that answered", THREADS, answered);
}

int main(int argc, char **argv) {
    workload_begin(argc, argv);
    persona = ADDR_NO_RANDOMIZE | SHORT_INODE;
    MUST(personality((unsigned long)persona));
    MUST(prctl(PR_SET_TIMERSLACK, 70000));
    pthread_t threads[THREADS];
    for (int i = 1; i <= THREADS; i++)
        pthread_create(&threads[i - 1], NULL, work, (void *)(intptr_t)i);
    while (ready < THREADS)
        sleep_ms(1);
    observe(&prepared[0]);
    workload_live(check);
}
