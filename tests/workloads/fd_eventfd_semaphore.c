// Event counters in semaphore mode, and with a value of more than 32 bits.
#include "workload.h"
#include <sys/eventfd.h>

static int semaphore, large;

static void check(void) {
    uint64_t value = 0;
    for (int i = 0; i < 3; i++) {
        EXPECT_EQ("read of the semaphore", 8, read(semaphore, &value, 8));
        EXPECT_EQ("semaphore", 1, value);
    }
    EXPECT(read(semaphore, &value, 8) == -1 && errno == EAGAIN, "an empty semaphore must say EAGAIN");
    value = 3;
    EXPECT_EQ("write", 8, write(semaphore, &value, 8));
    EXPECT_EQ("read of the large one", 8, read(large, &value, 8));
    EXPECT_EQ("large", 0xfffffffffffffff0ULL, value);
    value = 0xfffffffffffffff0ULL;
    EXPECT_EQ("write", 8, write(large, &value, 8));
}

int main(int argc, char **argv) {
    workload_begin(argc, argv);
    uint64_t value = 0xfffffffffffffff0ULL;
    semaphore = MUST(eventfd(3, EFD_NONBLOCK | EFD_SEMAPHORE));
    large = MUST(eventfd(0, EFD_NONBLOCK));
    MUST(write(large, &value, 8));
    workload_live(check);
}
