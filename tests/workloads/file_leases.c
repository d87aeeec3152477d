// Leases, to read and to write: they are held, and breaking one sends SIGIO to the holder.
#include "workload.h"

static int reader, writer;
static char path_reader[PATH_MAX], path_writer[PATH_MAX];
static volatile sig_atomic_t broken;

static void on_break(int signal) {
    (void)signal;
    broken++;
}

static void check(void) {
    EXPECT_EQ("lease to read", F_RDLCK, fcntl(reader, F_GETLEASE));
    EXPECT_EQ("lease to write", F_WRLCK, fcntl(writer, F_GETLEASE));
    int before = broken;
    int other = open(path_reader, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    EXPECT(other == -1 && errno == EWOULDBLOCK, "opening a leased file gives %d, errno %d", other, errno);
    for (int waited = 0; broken == before && waited < 2000; waited++)
        sleep_ms(1);
    EXPECT_EQ("signals", before + 1, broken);
    EXPECT_EQ("giving the lease up", 0, fcntl(reader, F_SETLEASE, F_UNLCK));
    EXPECT_EQ("taking it again", 0, fcntl(reader, F_SETLEASE, F_RDLCK));
}

int main(int argc, char **argv) {
    workload_begin(argc, argv);
    signal(SIGIO, on_break);
    workload_path(path_reader, "reader");
    workload_path(path_writer, "writer");
    close(MUST(open(path_reader, O_RDWR | O_CREAT, 0600)));
    reader = MUST(open(path_reader, O_RDONLY));
    writer = MUST(open(path_writer, O_RDWR | O_CREAT, 0600));
    MUST(fcntl(reader, F_SETLEASE, F_RDLCK));
    MUST(fcntl(writer, F_SETLEASE, F_WRLCK));
    workload_live(check);
}
