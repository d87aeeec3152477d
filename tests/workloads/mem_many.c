// Very many mappings (parameter: how many) of one page each, alternately readable and writable, every one with
// contents of its own.
#include "workload.h"

static unsigned char *memory;
static size_t count;

static void check(void) {
    for (size_t i = 0; i < count; i++) {
        uint64_t *words = (uint64_t *)(memory + i * PAGE);
        if (words[0] != pattern_word(1, i) || words[511] != pattern_word(2, i)) {
            fail("mapping %zu: contents differ", i);
            return;
        }
    }
    FILE *maps = fopen("/proc/self/maps", "re");
    char line[512];
    size_t inside = 0;
    while (fgets(line, sizeof line, maps) != NULL) {
        uintptr_t start, end;
        char permissions[8];
        sscanf(line, "%lx-%lx %7s", &start, &end, permissions);
        if (start < (uintptr_t)memory || start >= (uintptr_t)memory + count * PAGE)
            continue;
        size_t index = (start - (uintptr_t)memory) / PAGE;
        EXPECT(end - start == PAGE && strcmp(permissions, index % 2 == 0 ? "rw-p" : "r--p") == 0,
               "mapping %zu is %lx-%lx %s", index, start, end, permissions);
        inside++;
    }
    fclose(maps);
    EXPECT_EQ("mappings", count, inside);
}

int main(int argc, char **argv) {
    workload_begin(argc, argv);
    count = (size_t)workload_parameter(1, 2000);
    char limit[32];
    read_text("/proc/sys/vm/max_map_count", limit, sizeof limit);
    if (count + 200 > strtoul(limit, NULL, 10))
        not_here("vm.max_map_count is %lu", strtoul(limit, NULL, 10));
    memory = must_map((void *)0x250000000000, count * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    MUST(madvise(memory, count * PAGE, MADV_NOHUGEPAGE));
    for (size_t i = 0; i < count; i++) {
        uint64_t *words = (uint64_t *)(memory + i * PAGE);
        words[0] = pattern_word(1, i), words[511] = pattern_word(2, i);
        if (i % 2 == 1)
            MUST(mprotect(words, PAGE, PROT_READ));
    }
    workload_live(check);
}
