// A thread grows and shrinks mappings in place (mremap) and fills what it got at once: a snapshot taken while it runs must not
// take the new pages for pages that it has seen.
#include "workload.h"

enum { MAPPINGS = 64, MOST_PAGES = 512 };

static char *base[MAPPINGS];
static int pages[MAPPINGS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t steps;

static uint64_t stamp(int mapping, int page) {
    return ((uint64_t)mapping << 32 | (uint64_t)page) * 0x9e3779b97f4a7c15ULL + 1;
}

static void grow(int mapping) {
    int from = pages[mapping], to = from == MOST_PAGES ? 1 : from + 1;
    char *same = mremap(base[mapping], (size_t)from * PAGE, (size_t)to * PAGE, 0);
    if (same == MAP_FAILED)
        return; // something lies behind it now
    for (int page = from; page < to; page++)
        *(volatile uint64_t *)(base[mapping] + (size_t)page * PAGE) = stamp(mapping, page);
    pages[mapping] = to;
}

static void *growing(void *unused) {
    for (;; steps++) {
        pthread_mutex_lock(&lock);
        grow((int)(steps % MAPPINGS));
        pthread_mutex_unlock(&lock);
        if (steps % 32 == 0)
            sleep_ms(1);
    }
    return unused;
}

static void check(void) {
    static uint64_t before;
    pthread_mutex_lock(&lock);
    for (int i = 0; i < MAPPINGS; i++)
        for (int page = 0; page < pages[i]; page++)
            EXPECT_EQ("page", stamp(i, page), *(volatile uint64_t *)(base[i] + (size_t)page * PAGE));
    EXPECT(steps > before, "the thread has stood still at %llu steps", (unsigned long long)steps);
    before = steps;
    pthread_mutex_unlock(&lock);
    sleep_ms(50);
}

int main(int argc, char **argv) {
    workload_begin(argc, argv);
    for (int i = 0; i < MAPPINGS; i++) {
        base[i] = must_map((char *)0x240000000000 + (size_t)i * (MOST_PAGES + 16) * PAGE, PAGE, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
        pages[i] = 1;
        *(volatile uint64_t *)base[i] = stamp(i, 0);
    }
    pthread_t thread;
    pthread_create(&thread, NULL, growing, NULL);
    sleep_ms(100);
    workload_live(check);
}
