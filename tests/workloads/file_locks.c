// Locks: flock of an open file that two processes share, record locks of a process (through two descriptors), record
// locks of an open file; a child sees who holds what. The parameter is a number of further descriptors, of files, pipes
// and event counters, which nobody has locked.
#include "workload.h"
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/resource.h>

static int locked, shared_lock, records, records_again, open_file;
static char path_locked[PATH_MAX], path_records[PATH_MAX], path_open_file[PATH_MAX];
static pid_t leader;

static void expect_record(const char *what, int fd, int command, off_t start, off_t length, short type, pid_t pid) {
    struct flock lock = {.l_type = F_WRLCK, .l_start = start, .l_len = length};
    EXPECT_EQ(what, 0, fcntl(fd, command, &lock));
    EXPECT_EQ(what, type, lock.l_type);
    if (type == F_UNLCK)
        return;
    EXPECT_EQ(what, start, lock.l_start);
    EXPECT_EQ(what, length, lock.l_len);
    EXPECT_EQ(what, pid, lock.l_pid);
}

static void check(void) {
    int other = open(path_locked, O_RDWR | O_CLOEXEC);
    EXPECT(flock(other, LOCK_SH | LOCK_NB) == -1 && errno == EWOULDBLOCK, "the flock is gone");
    close(other);
    // One's own lock through the same open file does not hinder.
    EXPECT_EQ("flock again", 0, flock(locked, LOCK_EX | LOCK_NB));
    EXPECT_EQ("own record", 0, fcntl(records, F_SETLK, &(struct flock){.l_type = F_WRLCK, .l_start = 10, .l_len = 5}));
}

static void check_child(void) {
    int other = open(path_records, O_RDWR | O_CLOEXEC);
    expect_record("record to write", other, F_GETLK, 10, 5, F_WRLCK, leader);
    expect_record("record to read", other, F_GETLK, 100, 0, F_RDLCK, leader);
    expect_record("between them", other, F_GETLK, 20, 5, F_UNLCK, 0);
    close(other);
    other = open(path_open_file, O_RDWR | O_CLOEXEC);
    expect_record("record of an open file", other, F_OFD_GETLK, 3, 4, F_WRLCK, -1);
    close(other);
    EXPECT_EQ("flock by the shared open file", 0, flock(locked, LOCK_EX | LOCK_NB));
    EXPECT_EQ("own shared flock", 0, flock(shared_lock, LOCK_SH | LOCK_NB));
}

static void child(void) {
    char path[PATH_MAX];
    workload_path(path, "shared");
    shared_lock = MUST(open(path, O_RDWR | O_CREAT, 0600));
    MUST(flock(shared_lock, LOCK_SH));
    workload_live(check_child);
}

static void open_more(int count) {
    struct rlimit limit;
    MUST(getrlimit(RLIMIT_NOFILE, &limit));
    limit.rlim_cur = limit.rlim_max;
    MUST(setrlimit(RLIMIT_NOFILE, &limit));
    char path[PATH_MAX];
    for (int i = 0; i < count; i += 4) {
        int ends[2];
        workload_path(path, "more-%d", i % 32);
        MUST(open(path, O_RDWR | O_CREAT, 0600));
        MUST(eventfd((unsigned)i, 0));
        MUST(pipe(ends));
    }
}

int main(int argc, char **argv) {
    workload_begin(argc, argv);
    open_more(argc > 1 ? atoi(argv[1]) : 0);
    leader = getpid();
    workload_path(path_locked, "locked");
    workload_path(path_records, "records");
    workload_path(path_open_file, "open-file");
    locked = MUST(open(path_locked, O_RDWR | O_CREAT, 0600));
    MUST(flock(locked, LOCK_EX));
    records_again = MUST(open(path_records, O_RDONLY | O_CREAT, 0600));
    records = MUST(open(path_records, O_RDWR));
    MUST(fcntl(records, F_SETLK, &(struct flock){.l_type = F_WRLCK, .l_start = 10, .l_len = 5}));
    MUST(fcntl(records, F_SETLK, &(struct flock){.l_type = F_RDLCK, .l_start = 100}));
    open_file = MUST(open(path_open_file, O_RDWR | O_CREAT, 0600));
    MUST(fcntl(open_file, F_OFD_SETLK, &(struct flock){.l_type = F_WRLCK, .l_start = 3, .l_len = 4}));
    workload_fork("child", child);
    workload_live(check);
}
