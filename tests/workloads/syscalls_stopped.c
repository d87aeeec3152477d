// Calls that the kernel never restarts after a stop (signal(7)): epoll_wait, sigtimedwait with a limit, a read
// of a socket with a receive timeout. A stop and continue ends them with EINTR, and so may a dump; what they may not
// do is to give a wrong result, an end before its time without an error, or to hang when their event comes.
#include "workload.h"
#include <sys/epoll.h>
#include <sys/socket.h>

static int epoll, pipe_ends[2], pair[2];
static atomic_int epoll_events, epoll_interrupts, epoll_wrong, received, receive_interrupts, receive_wrong, signals,
    signal_interrupts, signal_wrong;
static pid_t signal_tid;

static void *wait_epoll(void *unused) {
    (void)unused;
    for (;;) {
        struct epoll_event event;
        int count = epoll_wait(epoll, &event, 1, 3600 * 1000);
        char byte;
        if (count == 1 && event.data.u64 == 0x1122334455667788 && read(pipe_ends[0], &byte, 1) == 1)
            epoll_events++;
        else if (count == -1 && errno == EINTR)
            epoll_interrupts++;
        else
            epoll_wrong++;
    }
    return NULL;
}

static void *receive(void *unused) {
    (void)unused;
    for (;;) {
        char byte;
        ssize_t got = recv(pair[0], &byte, 1, 0);
        if (got == 1 && byte == 'r')
            received++;
        else if (got == -1 && errno == EINTR)
            receive_interrupts++;
        else
            receive_wrong++;
    }
    return NULL;
}

static void *wait_signal(void *unused) {
    (void)unused;
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    signal_tid = (pid_t)syscall(SYS_gettid);
    for (;;) {
        struct timespec limit = {3600, 0};
        int number = sigtimedwait(&set, NULL, &limit);
        if (number == SIGUSR1)
            signals++;
        else if (number == -1 && errno == EINTR)
            signal_interrupts++;
        else
            signal_wrong++;
    }
    return NULL;
}

static void expect_one_more(const char *what, atomic_int *count, int before) {
    for (int waited = 0; *count == before && waited < 5000; waited++)
        sleep_ms(1);
    EXPECT_EQ(what, before + 1, *count);
}

static void check(void) {
    int before = epoll_events;
    EXPECT_EQ("write", 1, write(pipe_ends[1], "e", 1));
    expect_one_more("events of epoll", &epoll_events, before);
    before = received;
    EXPECT_EQ("send", 1, send(pair[1], "r", 1, 0));
    expect_one_more("received", &received, before);
    before = signals;
    syscall(SYS_tgkill, getpid(), signal_tid, SIGUSR1);
    expect_one_more("signals taken", &signals, before);
    EXPECT(epoll_interrupts <= 1, "epoll_wait was interrupted %d times in one round", epoll_interrupts);
    EXPECT(receive_interrupts <= 1, "recv was interrupted %d times in one round", receive_interrupts);
    EXPECT(signal_interrupts <= 1, "sigtimedwait was interrupted %d times in one round", signal_interrupts);
    EXPECT_EQ("wrong results of epoll_wait", 0, epoll_wrong);
    EXPECT_EQ("wrong results of recv", 0, receive_wrong);
    EXPECT_EQ("wrong results of sigtimedwait", 0, signal_wrong);
    epoll_interrupts = receive_interrupts = signal_interrupts = 0;
    sleep_ms(20);
}

int main(int argc, char **argv) {
    workload_begin(argc, argv);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    MUST(pipe(pipe_ends));
    epoll = MUST(epoll_create1(EPOLL_CLOEXEC));
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = 0x1122334455667788};
    MUST(epoll_ctl(epoll, EPOLL_CTL_ADD, pipe_ends[0], &event));
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    struct timeval limit = {3600, 0};
    MUST(setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit));
    pthread_t threads[3];
    pthread_create(&threads[0], NULL, wait_epoll, NULL);
    pthread_create(&threads[1], NULL, receive, NULL);
    pthread_create(&threads[2], NULL, wait_signal, NULL);
    sleep_ms(50);
    workload_live_until_stop(check);
    _exit(0);
}
