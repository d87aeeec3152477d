// The program break: heap contents, the break itself, growing and shrinking it afterwards, and malloc.
#include "workload.h"

static unsigned char *start;
static void *blocks[64];

static void check(void) {
    struct map_line line;
    void *now = sbrk(0);
    EXPECT_EQ("break", (uintptr_t)start + 40 * PAGE + 123, (uintptr_t)now);
    pattern_check("heap", start, 40 * PAGE, 1);
    if (map_find(start, &line))
        EXPECT_STR("mapping", "[heap]", line.path);
    EXPECT_EQ("growing", (uintptr_t)now, (uintptr_t)sbrk(100 * PAGE));
    zero_check("new heap", (unsigned char *)now + PAGE, 98 * PAGE);
    memset((unsigned char *)now + PAGE, 1, 98 * PAGE);
    EXPECT_EQ("shrinking", 0, brk(now));
    EXPECT_EQ("break after shrinking", (uintptr_t)now, (uintptr_t)sbrk(0));
    for (size_t i = 0; i < COUNT(blocks); i++) {
        pattern_check("block of malloc", blocks[i], 8 * (i + 1) * 10, 20 + i);
        free(blocks[i]);
        blocks[i] = malloc(8 * (i + 1) * 10);
        pattern_fill(blocks[i], 8 * (i + 1) * 10, 20 + i);
    }
}

int main(int argc, char **argv) {
    workload_begin(argc, argv);
    for (size_t i = 0; i < COUNT(blocks); i++) {
        blocks[i] = malloc(8 * (i + 1) * 10);
        pattern_fill(blocks[i], 8 * (i + 1) * 10, 20 + i);
    }
    // Room that malloc already has, so that it does not move the break between check and check.
    free(malloc(64 * 1024));
    FILE *warm = fopen("/proc/self/maps", "r");
    fclose(warm);
    start = (unsigned char *)(((uintptr_t)sbrk(0) + PAGE - 1) / PAGE * PAGE);
    MUST(brk(start + 40 * PAGE + 123));
    pattern_fill(start, 40 * PAGE, 1);
    workload_live(check);
}
