// Much memory, of which a check touches a few scattered blocks only, in an order of their own: what is brought back
// first after a restore shows in how long it waits, and in what is there already. With a file "all" it looks at
// everything; with a file "write" it writes what it looks at.
#include "workload.h"

enum { BLOCK = 64 << 10, HOT = 64 };

static unsigned char *memory;
static size_t blocks;

// Scattered over the last quarter: what is filled in order of addresses comes there last.
static size_t hot_block(size_t i) {
    return blocks - 1 - ((i * 37) % HOT) * (blocks / 4 / HOT);
}

static void stamp_check(size_t page) {
    uint64_t found = *(volatile uint64_t *)(memory + page * PAGE);
    EXPECT(found == page + 1, "page %zu has %llx", page, (unsigned long long)found);
}

static void check(void) {
    char path[PATH_MAX];
    workload_path(path, "write");
    bool write = workload_file_exists(path);
    for (size_t i = 0; i < HOT; i++) {
        size_t page = hot_block(i) * (BLOCK / PAGE) + i % 16;
        stamp_check(page);
        if (write)
            *(volatile uint64_t *)(memory + page * PAGE) = page + 1;
    }
    workload_path(path, "all");
    bool all = workload_file_exists(path);
    for (size_t page = 0; all && page < blocks * (BLOCK / PAGE); page++)
        stamp_check(page);
}

// A page that was only read is not saved, and a restored program waits for it like for any other: so all are written.
static void write_everywhere(void) {
    char line[512], rights[8];
    unsigned long start, end;
    FILE *maps = fopen("/proc/self/maps", "re");
    while (maps != NULL && fgets(line, sizeof line, maps) != NULL)
        if (sscanf(line, "%lx-%lx %7s", &start, &end, rights) == 3 && strcmp(rights, "rw-p") == 0)
            for (volatile char *at = (volatile char *)start; at < (volatile char *)end; at += PAGE)
                *at = *at;
    fclose(maps);
}

int main(int argc, char **argv) {
    workload_begin(argc, argv);
    size_t mib = argc > 1 ? strtoull(argv[1], NULL, 10) : 16;
    blocks = (mib << 20) / BLOCK;
    memory = must_map((void *)0x300000000000, mib << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (size_t page = 0; page < blocks * (BLOCK / PAGE); page++)
        *(uint64_t *)(memory + page * PAGE) = page + 1;
    write_everywhere();
    workload_live(check);
}
