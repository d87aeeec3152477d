// What the kernel does at the end of a thread: it marks robust mutexes as abandoned, clears the tid address and wakes
// its waiters. Both must still happen for threads that were restored.
#include "workload.h"
#include <linux/futex.h>

struct robust_head {
    void *list;
    long offset;
    void *pending;
};

static pthread_mutex_t robust;
static pthread_t holder;
static atomic_int holding, let_go;
static struct robust_head *main_head;
static size_t main_length;
static struct robust_head *holder_head;
static int raw_tid_word;
static atomic_int raw_leave;
static char raw_stack[16384] __attribute__((aligned(16)));

static void *hold(void *unused) {
    (void)unused;
    size_t length;
    syscall(SYS_get_robust_list, 0, &holder_head, &length);
    pthread_mutex_lock(&robust);
    holding = 1;
    while (!let_go)
        sleep_ms(2);
    return NULL; // without unlocking
}

static void start_holder(void) {
    holding = let_go = 0;
    pthread_create(&holder, NULL, hold, NULL);
    while (!holding)
        sleep_ms(1);
}

// A thread made by hand, whose tid word is only known to the kernel (set_tid_address).
static int raw_thread(void *unused) {
    (void)unused;
    syscall(SYS_set_tid_address, &raw_tid_word);
    while (!raw_leave) {
        struct timespec pause_for = {0, 2000000};
        syscall(SYS_nanosleep, &pause_for, NULL);
    }
    syscall(SYS_exit, 0);
    return 0;
}

static void start_raw(void) {
    raw_leave = 0;
    raw_tid_word = -1;
    int flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM;
    MUST(clone(raw_thread, raw_stack + sizeof raw_stack, flags, NULL));
    sleep_ms(20);
}

static void check(void) {
    struct robust_head *head;
    size_t length;
    syscall(SYS_get_robust_list, 0, &head, &length);
    EXPECT_EQ("robust list of the main thread", (uintptr_t)main_head, (uintptr_t)head);
    EXPECT_EQ("length of the head", main_length, length);
    EXPECT_EQ("trylock while it is held", EBUSY, pthread_mutex_trylock(&robust));
    let_go = 1;
    struct timespec deadline;
    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += 5;
    int result = pthread_mutex_timedlock(&robust, &deadline);
    EXPECT_EQ("lock after the holder ended", EOWNERDEAD, result);
    if (result == EOWNERDEAD)
        EXPECT_EQ("consistent", 0, pthread_mutex_consistent(&robust));
    if (result == EOWNERDEAD || result == 0)
        pthread_mutex_unlock(&robust);
    pthread_join(holder, NULL); // returns only when the kernel cleared and woke the tid word
    start_holder();
    raw_leave = 1;
    struct timespec limit = {5, 0};
    while (__atomic_load_n(&raw_tid_word, __ATOMIC_SEQ_CST) == -1 &&
           (syscall(SYS_futex, &raw_tid_word, FUTEX_WAIT, -1, &limit, NULL, 0) == 0 || errno == EINTR))
        ;
    EXPECT_EQ("tid word after the end of the thread made by hand", 0, raw_tid_word);
    sleep_ms(20);
    start_raw();
}

int main(int argc, char **argv) {
    workload_begin(argc, argv);
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&robust, &attributes);
    syscall(SYS_get_robust_list, 0, &main_head, &main_length);
    start_holder();
    start_raw();
    workload_live_until_stop(check);
    _exit(0);
}
