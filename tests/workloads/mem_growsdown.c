// A mapping that grows downwards by faults (MAP_GROWSDOWN), grown before and growing on after; and the main stack.
#include "workload.h"

static unsigned char *top;
static size_t used = 8;

static void check(void) {
    char flags[256];
    struct map_line line;
    pattern_check("grown part", top - used * PAGE, used * PAGE, 5);
    if (smaps_field(top - PAGE, "VmFlags", flags, sizeof flags))
        EXPECT(strstr(flags, "gd") != NULL, "MAP_GROWSDOWN is gone: %s", flags);
    EXPECT(map_find(top - PAGE, &line) && (uintptr_t)top - line.start >= used * PAGE, "the mapping shrank");
    // Grow it further. A missing flag would be a segmentation fault, so only when it is there.
    if (strstr(flags, "gd") != NULL) {
        used += 8;
        pattern_fill(top - used * PAGE, used * PAGE, 5);
    }
    // The main stack grows too: half a megabyte more each round.
    volatile unsigned char deep[512 * 1024];
    for (size_t i = 0; i < sizeof deep; i += PAGE)
        deep[sizeof deep - 1 - i] = 1;
    int here;
    map_find(&here, &line);
    EXPECT_STR("main stack", "[stack]", line.path);
}

int main(int argc, char **argv) {
    workload_begin(argc, argv);
    unsigned char *room = must_map((void *)0x220000000000, 1024 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    top = room + 1024 * PAGE;
    MUST(munmap(room, 1024 * PAGE));
    must_map(top - 2 * PAGE, 2 * PAGE, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN | MAP_FIXED_NOREPLACE, -1, 0);
    for (size_t page = 1; page <= used; page++)
        *(volatile unsigned char *)(top - page * PAGE) = 1;
    pattern_fill(top - used * PAGE, used * PAGE, 5);
    workload_live(check);
}
