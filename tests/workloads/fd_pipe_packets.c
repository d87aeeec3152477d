// A pipe in packet mode (O_DIRECT): the boundaries of what was written are kept.
#include "workload.h"

static int packets[2];

static void fill(void) {
    MUST(write(packets[1], "one", 3));
    MUST(write(packets[1], "second packet", 13));
    MUST(write(packets[1], "3", 1));
}

static void check(void) {
    char text[64];
    const char *expected[] = {"one", "second packet", "3"};
    EXPECT_EQ("flags of the writing end", O_WRONLY | O_DIRECT | O_NONBLOCK, fcntl(packets[1], F_GETFL));
    for (int i = 0; i < 3; i++) {
        ssize_t got = read(packets[0], text, sizeof text - 1);
        text[got < 0 ? 0 : got] = 0;
        EXPECT_STR("packet", expected[i], text);
    }
    fill();
}

int main(int argc, char **argv) {
    workload_begin(argc, argv);
    MUST(pipe2(packets, O_DIRECT | O_NONBLOCK));
    fill();
    workload_live(check);
}
