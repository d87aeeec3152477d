// Descriptors on their way through sockets: a file open nowhere else, one that is open too, a socket with data of its own.
#include "sockets.h"

static int pair[2], inner_end, shared;

static void fill(void) {
    int inner[2];
    char path[PATH_MAX];
    MUST(write(pair[0], "before", 6));
    workload_path(path, "only");
    int only = MUST(open(path, O_RDWR | O_CREAT, 0600));
    MUST(pwrite(only, "only in flight", 14, 0));
    lseek(only, 5, SEEK_SET);
    send_descriptor(pair[0], "FILE", only);
    close(only);
    send_descriptor(pair[0], "S", shared);
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, inner));
    MUST(write(inner[0], "inner data", 10));
    inner_end = inner[0];
    send_descriptor(pair[0], "I", inner[1]);
    close(inner[1]);
    MUST(write(pair[0], "after", 5));
}

static void check(void) {
    char text[64];
    // Exactly the bytes before the message: no descriptor may come with them.
    EXPECT_EQ("before", -1, receive_descriptor("before", pair[1], 6, "before"));
    int only = receive_descriptor("message with a file", pair[1], 100, "FILE");
    EXPECT_EQ("position of the file", 5, lseek(only, 0, SEEK_CUR));
    EXPECT_EQ("contents", 14, pread(only, text, sizeof text, 0));
    int same = receive_descriptor("message with a shared file", pair[1], 100, "S");
    lseek(shared, 17, SEEK_SET);
    EXPECT_EQ("position moves with the shared one", 17, lseek(same, 0, SEEK_CUR));
    int inner = receive_descriptor("message with a socket", pair[1], 100, "I");
    expect_receive("its data", inner, "inner data");
    EXPECT_EQ("back", 1, write(inner, "b", 1));
    expect_receive("back", inner_end, "b");
    expect_receive("after", pair[1], "after");
    close(only);
    close(same);
    close(inner);
    close(inner_end);
    fill();
}

int main(int argc, char **argv) {
    workload_begin(argc, argv);
    shared = MUST(open("/dev/zero", O_RDONLY));
    close(shared);
    char path[PATH_MAX];
    workload_path(path, "shared");
    shared = MUST(open(path, O_RDWR | O_CREAT, 0600));
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    fill();
    workload_live(check);
}
