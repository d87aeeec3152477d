// N threads (parameter): thread-local storage, names, ids, stacks, mutexes, condition variables, futex waiters, join.
#include "workload.h"

static int thread_count;
static _Thread_local uint64_t local_value;
static _Thread_local int local_errno_like;

struct worker {
    pthread_t thread;
    pid_t tid;
    int number;
    uint64_t *stack_pattern;
    atomic_int answered;
    char name[16];
};

static struct worker *workers;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t round_changed = PTHREAD_COND_INITIALIZER, all_answered = PTHREAD_COND_INITIALIZER;
static pthread_barrier_t started;
static int asked_round, answers;
static bool stopping;
static atomic_ullong computed;

static void check_worker(struct worker *worker) {
    char path[64], text[64];
    EXPECT_EQ("thread-local value", worker->number * 1000003ULL, local_value);
    EXPECT_EQ("second thread-local value", -worker->number, local_errno_like);
    EXPECT_EQ("tid", worker->tid, syscall(SYS_gettid));
    EXPECT(pthread_equal(pthread_self(), worker->thread), "pthread_self changed");
    pattern_check("stack of thread", worker->stack_pattern, 1024, (uint64_t)worker->number);
    snprintf(path, sizeof path, "/proc/self/task/%d/comm", worker->tid);
    read_text(path, text, sizeof text);
    text[strcspn(text, "\n")] = 0;
    EXPECT_STR("thread name", worker->name, text);
}

// Threads of three kinds: waiting on a condition variable, sleeping, computing.
static void *work(void *argument) {
    struct worker *worker = argument;
    uint64_t on_stack[128];
    worker->stack_pattern = on_stack;
    worker->tid = (pid_t)syscall(SYS_gettid);
    worker->thread = pthread_self();
    pattern_fill(on_stack, sizeof on_stack, (uint64_t)worker->number);
    local_value = (uint64_t)worker->number * 1000003ULL;
    local_errno_like = -worker->number;
    snprintf(worker->name, sizeof worker->name, "worker %d", worker->number);
    pthread_setname_np(pthread_self(), worker->name);
    pthread_barrier_wait(&started);
    int round = 0;
    pthread_mutex_lock(&lock);
    for (;;) {
        while (asked_round == round && !stopping) {
            if (worker->number % 3 == 0) {
                pthread_cond_wait(&round_changed, &lock);
            } else {
                pthread_mutex_unlock(&lock);
                if (worker->number % 3 == 1 || worker->number > 8)
                    sleep_ms(thread_count > 50 ? 100 : 5);
                else
                    for (int i = 0; i < 20000; i++)
                        atomic_fetch_add_explicit(&computed, 1, memory_order_relaxed);
                pthread_mutex_lock(&lock);
            }
        }
        if (stopping)
            break;
        round = asked_round;
        check_worker(worker);
        answers++;
        if (answers == thread_count)
            pthread_cond_signal(&all_answered);
    }
    pthread_mutex_unlock(&lock);
    return (void *)(uintptr_t)(worker->number + 7);
}

static void check(void) {
    struct timespec deadline;
    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += 20;
    pthread_mutex_lock(&lock);
    answers = 0;
    asked_round++;
    pthread_cond_broadcast(&round_changed);
    while (answers < thread_count && pthread_cond_timedwait(&all_answered, &lock, &deadline) != ETIMEDOUT)
        ;
    EXPECT_EQ("threads that answered", thread_count, answers);
    pthread_mutex_unlock(&lock);
    char text[64];
    status_field("/proc/self/status", "Threads", text, sizeof text);
    EXPECT_EQ("Threads in status", thread_count + 1, atoi(text));
}

int main(int argc, char **argv) {
    workload_begin(argc, argv);
    thread_count = (int)workload_parameter(1, 8);
    workers = calloc((size_t)thread_count, sizeof *workers);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 128 * 1024);
    pthread_barrier_init(&started, NULL, (unsigned)thread_count + 1);
    for (int i = 0; i < thread_count; i++) {
        workers[i].number = i;
        pthread_t thread;
        if ((errno = pthread_create(&thread, &attributes, work, &workers[i])) != 0)
            die("pthread_create %d", i);
        workers[i].thread = thread;
    }
    pthread_barrier_wait(&started);
    workload_live_until_stop(check);
    pthread_mutex_lock(&lock);
    stopping = true;
    pthread_cond_broadcast(&round_changed);
    pthread_mutex_unlock(&lock);
    for (int i = 0; i < thread_count; i++) {
        void *result;
        if (pthread_join(workers[i].thread, &result) != 0 || (uintptr_t)result != (uintptr_t)i + 7)
            return 5;
    }
    return 0;
}
