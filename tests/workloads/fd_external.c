// A file that may stay outside of the snapshot, and a pipe: each round writes a line into both. With the parameter 1 the
// pipe's reader is outside of the tree, and ends with the pipe. The file "numbers" tells the descriptors.
#include "workload.h"

static int file, pipe_end;

static void check(void) {
    char line[32];
    int length = snprintf(line, sizeof line, "round %d\n", workload_round);
    EXPECT_EQ("write to the file", length, write(file, line, (size_t)length));
    EXPECT_EQ("write to the pipe", length, write(pipe_end, line, (size_t)length));
    EXPECT_EQ("access", O_WRONLY, fcntl(file, F_GETFL) & O_ACCMODE);
    EXPECT_EQ("close-on-exec", FD_CLOEXEC, fcntl(file, F_GETFD));
}

// An orphan in a session of its own: no part of the tree.
static void start_reader(const int ends[2]) {
    if (MUST(fork()) != 0) {
        wait(NULL);
        return;
    }
    setsid();
    if (MUST(fork()) != 0)
        _exit(0);
    char path[PATH_MAX], bytes[512];
    workload_path(path, "piped");
    int out = MUST(open(path, O_WRONLY | O_CREAT | O_APPEND, 0644));
    close(ends[1]);
    for (ssize_t got; (got = read(ends[0], bytes, sizeof bytes)) > 0;)
        MUST(write(out, bytes, (size_t)got));
    _exit(0);
}

int main(int argc, char **argv) {
    workload_begin(argc, argv);
    char path[PATH_MAX];
    int ends[2];
    workload_path(path, "file");
    MUST(pipe(ends));
    if (workload_parameter(1, 0)) {
        start_reader(ends);
        close(ends[0]);
    }
    pipe_end = ends[1];
    file = MUST(open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_APPEND, 0644));
    workload_path(path, "numbers");
    FILE *numbers = fopen(path, "w");
    fprintf(numbers, "%d %d\n", file, pipe_end);
    fclose(numbers);
    workload_live(check);
}
