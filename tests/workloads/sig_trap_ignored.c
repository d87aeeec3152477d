// SIGTRAP ignored, and blocked in a thread: what a tracer that steps or breaks would reset.
#include "workload.h"

static atomic_int asked, answered;

static void check_blocked(const char *what, int expected) {
    sigset_t now;
    pthread_sigmask(SIG_BLOCK, NULL, &now);
    EXPECT_EQ(what, expected, sigismember(&now, SIGTRAP));
}

static void *work(void *unused) {
    (void)unused;
    sigset_t set;
    sigfillset(&set);
    pthread_sigmask(SIG_SETMASK, &set, NULL);
    answered = 1;
    for (int round = 0;;) {
        while (asked == round)
            sleep_ms(2);
        round = asked;
        check_blocked("SIGTRAP blocked in the thread", 1);
        answered = 1;
    }
    return NULL;
}

static void check(void) {
    struct sigaction now;
    sigaction(SIGTRAP, NULL, &now);
    EXPECT(now.sa_handler == SIG_IGN, "action of SIGTRAP: expected SIG_IGN, got %p", (void *)(uintptr_t)now.sa_handler);
    check_blocked("SIGTRAP blocked in the main thread", 0);
    answered = 0;
    asked++;
    for (int waited = 0; !answered && waited < 5000; waited++)
        sleep_ms(1);
    EXPECT_EQ("the thread answered", 1, answered);
    if (now.sa_handler == SIG_IGN)
        raise(SIGTRAP); // nothing may happen
}

int main(int argc, char **argv) {
    workload_begin(argc, argv);
    signal(SIGTRAP, SIG_IGN);
    pthread_t thread;
    pthread_create(&thread, NULL, work, NULL);
    while (!answered)
        sleep_ms(1);
    workload_live(check);
}
