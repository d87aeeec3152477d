// Resource limits of the process, nice and scheduling policy of every thread, oom_score_adj, umask, child subreaper.
// What else belongs to a thread and is easily forgotten is in task_extras.
#include "workload.h"

enum { THREADS = 5 };

struct schedule {
    int policy, priority, nice;
};

static struct schedule prepared[THREADS + 1];
static struct rlimit limits[RLIM_NLIMITS];
static atomic_int asked, answered, ready;
static int subreaper;
static mode_t mask;
static const char *policies[] = {"main", "batch", "idle", "fifo", "round robin", "nice"};

static void observe(struct schedule *now) {
    struct sched_param parameters;
    memset(now, 0, sizeof *now);
    now->policy = sched_getscheduler(0);
    sched_getparam(0, &parameters);
    now->priority = parameters.sched_priority;
    errno = 0;
    now->nice = getpriority(PRIO_PROCESS, 0);
}

static void compare(int index) {
    struct schedule now;
    char what[64];
#define SAME(field)                                                                       \
    snprintf(what, sizeof what, "%s of thread %d (%s)", #field, index, policies[index]);  \
    EXPECT_EQ(what, prepared[index].field, now.field)
    observe(&now);
    SAME(policy);
    SAME(priority);
    SAME(nice);
}

static void set_policy(int policy, int priority) {
    struct sched_param parameters = {priority};
    if (sched_setscheduler(0, policy, &parameters) != 0)
        fprintf(stderr, "policy %d is not permitted here: %s\n", policy, strerror(errno));
}

static void become(int index) {
    switch (index) {
    case 1:
        set_policy(SCHED_BATCH, 0);
        MUST(setpriority(PRIO_PROCESS, 0, 7));
        break;
    case 2:
        set_policy(SCHED_IDLE, 0);
        break;
    case 3:
        set_policy(SCHED_FIFO, 5);
        break;
    case 4:
        set_policy(SCHED_RR | SCHED_RESET_ON_FORK, 3);
        break;
    case 5:
        MUST(setpriority(PRIO_PROCESS, 0, -3));
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

static void check_process(void) {
    char text[64], what[64];
    struct rlimit now;
    for (int i = 0; i < RLIM_NLIMITS; i++) {
        getrlimit((__rlimit_resource_t)i, &now);
        snprintf(what, sizeof what, "soft limit %d", i);
        EXPECT_EQ(what, limits[i].rlim_cur, now.rlim_cur);
        snprintf(what, sizeof what, "hard limit %d", i);
        EXPECT_EQ(what, limits[i].rlim_max, now.rlim_max);
    }
    read_text("/proc/self/oom_score_adj", text, sizeof text);
    EXPECT_EQ("oom_score_adj", 345, atoi(text));
    int now_subreaper = -1;
    prctl(PR_GET_CHILD_SUBREAPER, &now_subreaper);
    EXPECT_EQ("child subreaper", subreaper, now_subreaper);
    mode_t now_mask = umask(0);
    umask(now_mask);
    EXPECT_EQ("umask", mask, now_mask);
}

static void check(void) {
    check_process();
    compare(0);
    answered = 0;
    asked++;
    for (int waited = 0; answered < THREADS && waited < 5000; waited++)
        sleep_ms(1);
    EXPECT_EQ("threads that answered", THREADS, answered);
}

static void limit(__rlimit_resource_t resource, rlim_t soft, rlim_t hard) {
    struct rlimit now; // raising a hard limit needs CAP_SYS_RESOURCE
    MUST(getrlimit(resource, &now));
    if (hard > now.rlim_max)
        hard = now.rlim_max;
    if (soft > hard)
        soft = hard;
    MUST(setrlimit(resource, &(struct rlimit){soft, hard}));
}

int main(int argc, char **argv) {
    workload_begin(argc, argv);
    limit(RLIMIT_CORE, 0, 4096);
    limit(RLIMIT_NOFILE, 333, 1500);
    limit(RLIMIT_STACK, 4 << 20, 64 << 20);
    limit(RLIMIT_FSIZE, 1 << 30, RLIM_INFINITY);
    limit(RLIMIT_NICE, 5, 30);
    limit(RLIMIT_SIGPENDING, 500, 1000);
    limit(RLIMIT_MSGQUEUE, 4096, 819200);
    limit(RLIMIT_CPU, 100000, RLIM_INFINITY);
    int fd = MUST(open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC));
    MUST(write(fd, "345", 3));
    close(fd);
    MUST(prctl(PR_SET_CHILD_SUBREAPER, 1));
    MUST(setpriority(PRIO_PROCESS, 0, 2));
    umask(0137);
    mask = 0137;
    pthread_t threads[THREADS];
    for (int i = 1; i <= THREADS; i++)
        pthread_create(&threads[i - 1], NULL, work, (void *)(intptr_t)i);
    while (ready < THREADS)
        sleep_ms(1);
    for (int i = 0; i < RLIM_NLIMITS; i++)
        getrlimit((__rlimit_resource_t)i, &limits[i]);
    subreaper = 1;
    observe(&prepared[0]);
    workload_live(check);
}
