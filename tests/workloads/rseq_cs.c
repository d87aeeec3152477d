// Restartable sequences: the registration of every thread still works (the kernel keeps writing the cpu number), and
// a thread that is nearly always inside a critical section is never seen to lose an abort.
#include "workload.h"
#include <linux/rseq.h>

enum { THREADS = 4 };

// glibc registers rseq for each thread, at this offset from the thread pointer.
extern const ptrdiff_t __rseq_offset;
extern const unsigned int __rseq_size;

static struct rseq *own_rseq(void) {
    return (struct rseq *)((char *)__builtin_thread_pointer() + __rseq_offset);
}

static atomic_int asked, answered, stopping;
static atomic_llong aborts, rounds;

// A critical section that takes long: counts a register from 0 to 200,000, then commits. When the thread is preempted,
// migrated, or stopped inside, the kernel must send it to the abort handler; a section that goes on is an error that
// shows as a changed marker: the abort handler alone sets `aborted`.
static int long_section(struct rseq *rseq) {
    int aborted = 0;
    uint64_t count = 0;
    __asm__ volatile(
        ".pushsection __rseq_cs, \"aw\"\n"
        ".balign 32\n"
        "1: .long 0, 0\n"
        ".quad 2f, 3f - 2f, 4f\n"
        ".popsection\n"
        "lea 1b(%%rip), %%rax\n"
        "mov %%rax, %[cs]\n"
        "2: inc %[count]\n"
        "cmp $200000, %[count]\n"
        "jb 2b\n"
        "3: jmp 5f\n"
        ".long 0x53053053\n" // RSEQ_SIG
        "4: movl $1, %[aborted]\n"
        "5:\n"
        : [count] "+r"(count), [aborted] "+r"(aborted), [cs] "=m"(rseq->rseq_cs)
        :
        : "rax", "memory", "cc");
    rseq->rseq_cs = 0;
    if (!aborted && count != 200000)
        fail("a critical section ended after %llu of 200000 steps without an abort", (unsigned long long)count);
    return aborted;
}

static void check_registration(const char *who) {
    struct rseq *rseq = own_rseq();
    cpu_set_t all, one;
    CPU_ZERO(&all);
    sched_getaffinity(0, sizeof all, &all);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, &all))
            continue;
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        sched_setaffinity(0, sizeof one, &one);
        EXPECT(__atomic_load_n(&rseq->cpu_id, __ATOMIC_RELAXED) == (unsigned)cpu, "%s: cpu_id is %u on processor %d",
               who, rseq->cpu_id, cpu);
    }
    sched_setaffinity(0, sizeof all, &all);
    // Registered already: the kernel refuses a second registration in the way it does only then.
    long result = syscall(SYS_rseq, rseq, 32, 0, 0x53053053);
    EXPECT(result == -1 && errno == EBUSY, "%s: second registration: result %ld, %s", who, result, strerror(errno));
}

static void *work(void *unused) {
    (void)unused;
    for (int round = 0; !stopping;) {
        aborts += long_section(own_rseq());
        rounds++;
        if (asked != round) {
            round = asked;
            check_registration("thread");
            answered++;
        }
    }
    return NULL;
}

static void check(void) {
    check_registration("main thread");
    long long before = rounds;
    answered = 0;
    asked++;
    for (int waited = 0; answered < THREADS && waited < 10000; waited++)
        sleep_ms(1);
    EXPECT_EQ("threads that answered", THREADS, answered);
    sleep_ms(20);
    EXPECT(rounds > before, "the critical sections do not run any more");
    // Preemption alone must still abort: with more threads than processors there is some within a second.
    long long aborts_before = aborts;
    for (int waited = 0; aborts == aborts_before && waited < 5000; waited++)
        sleep_ms(1);
    EXPECT(aborts > aborts_before, "no critical section was aborted within 5 s");
}

int main(int argc, char **argv) {
    workload_begin(argc, argv);
    if (__rseq_size == 0 || (int)own_rseq()->cpu_id < 0)
        not_here("the C library has not registered rseq");
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, work, NULL);
    workload_live_until_stop(check);
    stopping = 1;
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    return 0;
}
