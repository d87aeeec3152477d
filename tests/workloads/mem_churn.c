// A thread maps, unmaps, moves, writes, drops and protects memory all the time, and forks; a model knows what every page
// must hold. Snapshots in several rounds, or taken while it runs, must show one instant of it.
#include "workload.h"
#include <sys/wait.h>

enum { MAX_SLOTS = 2048, MAX_PAGES = 1024 };
static int slot_count = 48; // or as many as the first argument says; the second is a seed
struct slot {
    char *base;
    int pages;
    uint64_t stamp[MAX_PAGES];
};
static struct slot slots[MAX_SLOTS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t seed = 88172645463325252ULL, last_stamp, operations;

static uint64_t next(uint64_t below) {
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed % below;
}

static volatile uint64_t *word(struct slot *slot, int page, int index) {
    return (volatile uint64_t *)(slot->base + (size_t)page * PAGE) + index;
}

// Four words of a page, so that a torn copy shows.
static void write_page(struct slot *slot, int page) {
    uint64_t stamp = ++last_stamp;
    slot->stamp[page] = stamp;
    for (int i = 0; i < 4; i++)
        *word(slot, page, i * 170) = stamp + (uint64_t)i;
}

static int is_right(struct slot *slot, int page) {
    for (int i = 0; i < 4; i++) {
        uint64_t wanted = slot->stamp[page] == 0 ? 0 : slot->stamp[page] + (uint64_t)i;
        if (*word(slot, page, i * 170) != wanted)
            return 0;
    }
    return 1;
}

static void map_slot(struct slot *slot) {
    slot->pages = next(4) == 0 ? MAX_PAGES : 1 + (int)next(200);
    slot->base = mmap(NULL, (size_t)slot->pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (slot->base == MAP_FAILED) {
        slot->base = NULL;
        return;
    }
    if (next(3) == 0)
        madvise(slot->base, (size_t)slot->pages * PAGE, MADV_HUGEPAGE);
    memset(slot->stamp, 0, sizeof slot->stamp);
}

static void operate(void) {
    struct slot *slot = &slots[next((uint64_t)slot_count)];
    operations++;
    if (slot->base == NULL) {
        map_slot(slot);
        return;
    }
    int from = (int)next((uint64_t)slot->pages), count = 1 + (int)next((uint64_t)(slot->pages - from));
    switch (next(24)) {
    case 0: // the end is given back, or all of it
        munmap(slot->base + (size_t)from * PAGE, (size_t)(slot->pages - from) * PAGE);
        slot->pages = from;
        if (from == 0)
            slot->base = NULL;
        return;
    case 1:
        madvise(slot->base + (size_t)from * PAGE, (size_t)count * PAGE, MADV_DONTNEED);
        memset(slot->stamp + from, 0, (size_t)count * sizeof *slot->stamp);
        return;
    case 2: { // grows, and moves when it must
        int larger = slot->pages + 1 + (int)next(64);
        if (larger > MAX_PAGES)
            return;
        char *moved = mremap(slot->base, (size_t)slot->pages * PAGE, (size_t)larger * PAGE, MREMAP_MAYMOVE);
        if (moved == MAP_FAILED)
            return;
        memset(slot->stamp + slot->pages, 0, (size_t)(larger - slot->pages) * sizeof *slot->stamp);
        slot->base = moved;
        slot->pages = larger;
        return;
    }
    case 3:
        mprotect(slot->base + (size_t)from * PAGE, (size_t)count * PAGE, PROT_NONE);
        mprotect(slot->base + (size_t)from * PAGE, (size_t)count * PAGE, PROT_READ | PROT_WRITE);
        return;
    case 4:
        if (next(8) == 0) { // shared with a child for a moment: the next write copies
            pid_t child = fork();
            if (child == 0)
                _exit(is_right(slot, from) ? 0 : 1);
            int status = 0;
            waitpid(child, &status, 0);
            EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 0, "a child sees page %d as 0x%x", from, status);
        }
        return;
    default:
        for (int i = 0; i < count && i < 40; i++)
            write_page(slot, from + i);
    }
}

static void *churn(void *unused) {
    (void)unused;
    for (;;) {
        pthread_mutex_lock(&lock);
        operate();
        pthread_mutex_unlock(&lock);
        if (operations % 16 == 0)
            sleep_ms(1);
    }
    return NULL;
}

static void check(void) {
    static uint64_t before;
    pthread_mutex_lock(&lock);
    for (int i = 0; i < slot_count; i++) {
        for (int page = 0; slots[i].base != NULL && page < slots[i].pages; page++) {
            if (is_right(&slots[i], page))
                continue;
            fail("page %d of slot %d (%p) has %llx and should have %llx", page, i, (void *)slots[i].base,
                (unsigned long long)*word(&slots[i], page, 0), (unsigned long long)slots[i].stamp[page]);
            pthread_mutex_unlock(&lock);
            return;
        }
    }
    EXPECT(operations > before, "the thread has stood still at %llu operations", (unsigned long long)operations);
    before = operations;
    pthread_mutex_unlock(&lock);
    sleep_ms(30);
}

int main(int argc, char **argv) {
    workload_begin(argc, argv);
    seed ^= (argc > 2 ? strtoull(argv[2], NULL, 10) : (uint64_t)getpid()) * 2654435761u;
    if (argc > 1) {
        slot_count = atoi(argv[1]) < MAX_SLOTS ? atoi(argv[1]) : MAX_SLOTS;
        for (int i = 0; i < slot_count * 40; i++)
            operate();
    }
    pthread_t thread;
    pthread_create(&thread, NULL, churn, NULL);
    sleep_ms(100);
    workload_live(check);
}
