// Threads that are inside a blocking call when the dump comes: none may see EINTR, a wrong result, or an end before
// its time. Every thread waits far longer than a test takes, and is woken by the check; then it blocks again.
// Parameter: 1 for calls that the kernel simply begins anew, 2 for those whose rest it keeps in a restart block.
// (Calls that the kernel itself ends with EINTR when any signal stops the thread are in syscalls_stopped.)
#include "workload.h"
#include <linux/futex.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/un.h>

enum { SLICE_MS = 400 };

struct blocked {
    const char *what;
    int kind;
    void (*block)(struct blocked *);
    void (*wake)(struct blocked *);
    int fds[2];
    int word;
    long result;
    int error;
    long long started, ended;
    atomic_int inside, rounds;
    pthread_t thread;
    pid_t tid, child;
};

static int rounds, kind;

static void finish(struct blocked *one, long result) {
    one->error = errno;
    one->result = result;
    one->ended = now_ns(CLOCK_MONOTONIC);
}

static void block_read(struct blocked *one) {
    char byte;
    finish(one, read(one->fds[0], &byte, 1));
}

static void block_poll(struct blocked *one) {
    struct pollfd wait_for = {one->fds[0], POLLIN, 0};
    long result = poll(&wait_for, 1, 3600 * 1000);
    finish(one, result);
    char byte;
    if (result == 1 && read(one->fds[0], &byte, 1) != 1)
        fail("poll said readable, read did not agree");
}

static void block_poll_forever(struct blocked *one) {
    struct pollfd wait_for = {one->fds[0], POLLIN, 0};
    long result = poll(&wait_for, 1, -1);
    finish(one, result);
    char byte;
    if (result == 1 && read(one->fds[0], &byte, 1) != 1)
        fail("poll said readable, read did not agree");
}

static void block_select(struct blocked *one) {
    fd_set set;
    FD_ZERO(&set);
    FD_SET(one->fds[0], &set);
    struct timeval limit = {3600, 0};
    long result = select(one->fds[0] + 1, &set, NULL, NULL, &limit);
    finish(one, result);
    char byte;
    if (result == 1 && read(one->fds[0], &byte, 1) != 1)
        fail("select said readable, read did not agree");
}

static void wake_pipe(struct blocked *one) {
    if (write(one->fds[1], "x", 1) != 1)
        fail("cannot write to the pipe of %s", one->what);
}

static void block_futex(struct blocked *one) {
    struct timespec limit = {3600, 0};
    finish(one, syscall(SYS_futex, &one->word, FUTEX_WAIT_PRIVATE, 0, &limit, NULL, 0));
}

static void block_futex_forever(struct blocked *one) {
    finish(one, syscall(SYS_futex, &one->word, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0));
}

static void wake_futex(struct blocked *one) {
    if (syscall(SYS_futex, &one->word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0) != 1)
        fail("%s: nobody was waiting", one->what);
}

static void block_accept(struct blocked *one) {
    int fd = accept4(one->fds[0], NULL, NULL, SOCK_CLOEXEC);
    finish(one, fd < 0 ? -1 : 1);
    if (fd >= 0)
        close(fd);
}

static void wake_accept(struct blocked *one) {
    struct sockaddr_un address;
    socklen_t length = sizeof address;
    getsockname(one->fds[0], (struct sockaddr *)&address, &length);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, (struct sockaddr *)&address, length) != 0)
        fail("cannot connect: %s", strerror(errno));
    close(fd);
}

static void block_wait(struct blocked *one) {
    int status = 0;
    long pid = wait4(one->child, &status, 0, NULL);
    finish(one, pid == one->child && WIFSIGNALED(status) ? 1 : -1);
    one->child = 0;
}

static void wake_wait(struct blocked *one) {
    kill(one->child, SIGKILL);
}

static void on_signal(int number) {
    (void)number;
}

static void wake_signal(struct blocked *one) {
    syscall(SYS_tgkill, getpid(), one->tid, SIGUSR1);
}

static void block_sigsuspend(struct blocked *one) {
    sigset_t set;
    sigfillset(&set);
    sigdelset(&set, SIGUSR1);
    finish(one, sigsuspend(&set));
}

static void block_pause(struct blocked *one) {
    finish(one, pause());
}

// A signal wakes sleepers too: to the program that is a right EINTR, at the right time.
static void block_nanosleep(struct blocked *one) {
    struct timespec limit = {3600, 0}, left = {0, 0};
    finish(one, nanosleep(&limit, &left));
    if (one->error == EINTR && (left.tv_sec > 3600 || left.tv_sec < 3400))
        fail("nanosleep says %lld s are left of 3600", (long long)left.tv_sec);
}

static void block_clock_nanosleep(struct blocked *one) {
    struct timespec limit = {3600, 0}, left = {0, 0};
    int error = clock_nanosleep(CLOCK_MONOTONIC, 0, &limit, &left);
    errno = error;
    finish(one, error == 0 ? 0 : -1);
    if (one->error == EINTR && (left.tv_sec > 3600 || left.tv_sec < 3400))
        fail("clock_nanosleep says %lld s are left of 3600", (long long)left.tv_sec);
}

static void block_clock_nanosleep_absolute(struct blocked *one) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 3600;
    int error = clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &until, NULL);
    errno = error;
    finish(one, error == 0 ? 0 : -1);
}

static struct blocked all[] = {
    {.what = "read of a pipe", .kind = 1, .block = block_read, .wake = wake_pipe},
    {.what = "poll with a limit", .kind = 2, .block = block_poll, .wake = wake_pipe},
    {.what = "poll without limit", .kind = 2, .block = block_poll_forever, .wake = wake_pipe},
    {.what = "select", .kind = 1, .block = block_select, .wake = wake_pipe},
    {.what = "futex with a limit", .kind = 2, .block = block_futex, .wake = wake_futex},
    {.what = "futex without limit", .kind = 1, .block = block_futex_forever, .wake = wake_futex},
    {.what = "accept", .kind = 1, .block = block_accept, .wake = wake_accept},
    {.what = "wait4", .kind = 1, .block = block_wait, .wake = wake_wait},
    {.what = "sigsuspend", .kind = 1, .block = block_sigsuspend, .wake = wake_signal},
    {.what = "pause", .kind = 1, .block = block_pause, .wake = wake_signal},
    {.what = "nanosleep", .kind = 2, .block = block_nanosleep, .wake = wake_signal},
    {.what = "clock_nanosleep", .kind = 2, .block = block_clock_nanosleep, .wake = wake_signal},
    {.what = "clock_nanosleep until", .kind = 1, .block = block_clock_nanosleep_absolute, .wake = wake_signal},
};

static void prepare(struct blocked *one) {
    if (one->block == block_wait && (one->child = MUST(fork())) == 0) {
        for (;;)
            pause();
    }
}

static void *work(void *argument) {
    struct blocked *one = argument;
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    pthread_sigmask(one->block == block_sigsuspend ? SIG_BLOCK : SIG_UNBLOCK, &set, NULL);
    one->tid = (pid_t)syscall(SYS_gettid);
    for (;;) {
        prepare(one);
        one->started = now_ns(CLOCK_MONOTONIC);
        errno = 0;
        one->inside = 1;
        one->block(one);
        one->inside = 0;
        one->rounds++;
    }
    return NULL;
}

// In the call, by the kernel's word: sleeping, with the number of a system call.
static bool is_blocked(struct blocked *one) {
    char path[64], text[512];
    snprintf(path, sizeof path, "/proc/self/task/%d/syscall", one->tid);
    read_text(path, text, sizeof text);
    return one->inside && text[0] >= '0' && text[0] <= '9';
}

static void wait_blocked(void) {
    for (size_t i = 0; i < COUNT(all); i++) {
        int waited = 0;
        while (all[i].kind == kind && !is_blocked(&all[i]) && waited++ < 3000)
            sleep_ms(1);
    }
    sleep_ms(20);
}

// A short sleep that is running while the dump comes must end neither early nor with an error.
static atomic_int early, interrupted;
static void *short_sleeps(void *unused) {
    (void)unused;
    for (;;) {
        long long start = now_ns(CLOCK_BOOTTIME);
        struct timespec limit = {0, SLICE_MS * 1000000L};
        if (nanosleep(&limit, NULL) != 0)
            interrupted++;
        else if (now_ns(CLOCK_BOOTTIME) - start < SLICE_MS * 1000000LL)
            early++;
    }
    return NULL;
}

static void check(void) {
    for (size_t i = 0; i < COUNT(all); i++) {
        struct blocked *one = &all[i];
        if (one->kind != kind)
            continue;
        if (one->rounds != rounds) {
            fail("%s ended before it was woken: result %ld, errno %d (%s)", one->what, one->result, one->error,
                 strerror(one->error));
            one->rounds = rounds;
            continue;
        }
        one->wake(one);
        for (int waited = 0; one->rounds == rounds && waited < 5000; waited++)
            sleep_ms(1);
        if (one->rounds == rounds) {
            fail("%s did not end when it was woken", one->what);
            one->rounds = rounds + 1;
            continue;
        }
        bool by_signal = one->wake == wake_signal;
        long expected = by_signal ? -1 : one->block == block_futex || one->block == block_futex_forever ? 0 : 1;
        EXPECT(one->result == expected && (!by_signal || one->error == EINTR),
               "%s: expected result %ld, got %ld, errno %d (%s)", one->what, expected, one->result, one->error,
               strerror(one->error));
    }
    if (kind == 2) {
        EXPECT_EQ("short sleeps that ended early", 0, early);
        EXPECT_EQ("short sleeps that were interrupted", 0, interrupted);
    }
    early = interrupted = 0;
    rounds++;
    wait_blocked();
}

int main(int argc, char **argv) {
    workload_begin(argc, argv);
    kind = (int)workload_parameter(1, 1);
    struct sigaction action = {.sa_handler = on_signal};
    MUST(sigaction(SIGUSR1, &action, NULL));
    for (size_t i = 0; i < COUNT(all); i++) {
        struct blocked *one = &all[i];
        if (one->kind != kind)
            continue;
        if (one->wake == wake_pipe) {
            MUST(pipe2(one->fds, O_CLOEXEC));
        } else if (one->wake == wake_accept) {
            struct sockaddr_un address = {.sun_family = AF_UNIX};
            one->fds[0] = MUST(socket(AF_UNIX, SOCK_STREAM, 0));
            snprintf(address.sun_path + 1, sizeof address.sun_path - 1, "workload-accept-%d", getpid());
            socklen_t length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(address.sun_path + 1));
            MUST(bind(one->fds[0], (struct sockaddr *)&address, length));
            MUST(listen(one->fds[0], 4));
        }
        pthread_create(&one->thread, NULL, work, one);
    }
    if (kind == 2) {
        pthread_t thread;
        pthread_create(&thread, NULL, short_sleeps, NULL);
    }
    wait_blocked();
    workload_live_until_stop(check);
    for (size_t i = 0; i < COUNT(all); i++)
        if (all[i].child != 0)
            kill(all[i].child, SIGKILL);
    _exit(0);
}
