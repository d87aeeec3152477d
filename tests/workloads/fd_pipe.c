// Pipes: contents, sizes, O_NONBLOCK, one end closed, full, and shared between processes.
#include "workload.h"
#include <sys/ioctl.h>

struct prepared_pipe {
    const char *what;
    int ends[2], size, contents;
    uint64_t seed;
    int flags[2];
};

static struct prepared_pipe pipes[8];
static int pipe_count, closed_read, shared[2], back[2];

static struct prepared_pipe *make(const char *what, int flags, int size, int contents) {
    struct prepared_pipe *one = &pipes[pipe_count];
    one->what = what;
    MUST(pipe2(one->ends, flags));
    if (size != 0)
        MUST(fcntl(one->ends[1], F_SETPIPE_SZ, size));
    one->size = fcntl(one->ends[0], F_GETPIPE_SZ);
    one->contents = contents;
    one->seed = 200 + (uint64_t)pipe_count++;
    char *data = malloc((size_t)contents + 8);
    pattern_fill(data, (size_t)contents, one->seed);
    if (contents > 0 && write(one->ends[1], data, (size_t)contents) != contents)
        die("fill pipe");
    free(data);
    one->flags[0] = fcntl(one->ends[0], F_GETFL), one->flags[1] = fcntl(one->ends[1], F_GETFL);
    return one;
}

static void check_pipe(struct prepared_pipe *one) {
    char what[64];
    for (int end = 0; end < 2; end++) {
        snprintf(what, sizeof what, "%s: flags of end %d", one->what, end);
        EXPECT_EQ(what, one->flags[end], fcntl(one->ends[end], F_GETFL));
    }
    snprintf(what, sizeof what, "%s: size", one->what);
    EXPECT_EQ(what, one->size, fcntl(one->ends[0], F_GETPIPE_SZ));
    struct pollfd ready = {one->ends[0], POLLIN, 0};
    snprintf(what, sizeof what, "%s: readable", one->what);
    EXPECT_EQ(what, one->contents > 0, poll(&ready, 1, 0));
    if (one->contents == 0)
        return;
    char *data = calloc(1, (size_t)one->contents + 8);
    ssize_t got = read(one->ends[0], data, (size_t)one->contents);
    snprintf(what, sizeof what, "%s: bytes inside", one->what);
    EXPECT_EQ(what, one->contents, got);
    pattern_check(one->what, data, (size_t)one->contents, one->seed);
    EXPECT_EQ("poll after reading", 0, poll(&ready, 1, 0));
    if (got == one->contents)
        EXPECT_EQ("writing back", one->contents, write(one->ends[1], data, (size_t)one->contents));
    free(data);
}

static void check(void) {
    char text[64];
    for (int i = 0; i < pipe_count; i++)
        check_pipe(&pipes[i]);
    // The writer is gone: the rest is there, then the end of the file.
    EXPECT_EQ("contents without a writer", 1, poll(&(struct pollfd){closed_read, POLLIN, 0}, 1, 0));
    int left = 0;
    ioctl(closed_read, FIONREAD, &left);
    EXPECT_EQ("bytes left without a writer", 9, left);
    // A child echoes over the shared pipe.
    EXPECT_EQ("to the child", 4, write(shared[1], "ping", 4));
    ssize_t got = read(back[0], text, sizeof text);
    EXPECT(got == 4 && memcmp(text, "gnip", 4) == 0, "from the child: %zd bytes '%.4s'", got, text);
    struct stat now;
    fstat(shared[1], &now);
    EXPECT(S_ISFIFO(now.st_mode), "not a pipe any more");
}

static void child_check(void) {
    struct stat one, other;
    fstat(shared[0], &one);
    fstat(shared[1], &other);
    EXPECT_EQ("both ends are one pipe", one.st_ino, other.st_ino);
}

static void *echo(void *unused) {
    (void)unused;
    char text[64];
    ssize_t got;
    while ((got = read(shared[0], text, sizeof text)) > 0) {
        for (ssize_t i = 0; i < got / 2; i++) {
            char kept = text[i];
            text[i] = text[got - 1 - i], text[got - 1 - i] = kept;
        }
        if (write(back[1], text, (size_t)got) != got)
            break;
    }
    fail("the echo ended: %s", strerror(errno));
    return NULL;
}

static void child(void) {
    pthread_t thread;
    close(back[0]);
    pthread_create(&thread, NULL, echo, NULL);
    workload_live(child_check);
}


int main(int argc, char **argv) {
    workload_begin(argc, argv);
    make("empty", 0, 0, 0);
    make("some bytes, non-blocking", O_NONBLOCK, 0, 1000);
    make("full", O_NONBLOCK, 0, 65536);
    make("small, full", O_NONBLOCK | O_CLOEXEC, 4096, 4096);
    make("large", 0, 1 << 20, 600 * 1024);
    int ends[2];
    MUST(pipe(ends));
    MUST(write(ends[1], "last will", 9));
    close(ends[1]);
    closed_read = ends[0];
    MUST(pipe(shared));
    MUST(pipe(back));
    workload_fork("child", child);
    close(back[1]);
    workload_live(check);
}
