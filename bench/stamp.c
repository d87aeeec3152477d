// stamp MEMORY_MIB PAGES WRITTEN: fills memory, and then tells all the time that it runs, so that a pause can be measured
// from inside. PAGES: "small" or "huge" (transparent ones). WRITTEN: pages written in a second, or "all": as fast as it can.
// $WORKLOAD_DIR/stamp is a mapped file: the time now and the longest pause since the word "reset" was set, and the end of
// that pause, in nanoseconds of CLOCK_REALTIME.
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096ul

struct stamp {
    volatile uint64_t now, pause, pause_end, reset, written;
};

static struct stamp *stamp;
static unsigned char *memory;
static size_t length;
static long written_per_second; // -1: as fast as it can

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static void *writer(void *unused) {
    uint64_t at = 0, state = 88172645463325252ull, begun = now();
    for (uint64_t count = 0;; count++) {
        state ^= state << 13, state ^= state >> 7, state ^= state << 17;
        at = written_per_second < 0 ? (at + PAGE) % length : state % (length / PAGE) * PAGE;
        memory[at]++;
        stamp->written++;
        if (written_per_second < 0) continue;
        while (count * 1000000000 / (uint64_t)written_per_second > now() - begun) usleep(1000);
    }
    return unused;
}

int main(int argc, char **argv) {
    char path[4096];
    if (argc != 4) return 2;
    snprintf(path, sizeof path, "%s/stamp", getenv("WORKLOAD_DIR"));
    int fd = open(path, O_RDWR | O_CREAT, 0600);
    if (ftruncate(fd, (off_t)PAGE) != 0) return 1;
    stamp = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    length = strtoul(argv[1], NULL, 10) << 20;
    memory = mmap(NULL, length + (2ul << 20), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memory = (unsigned char *)(((uintptr_t)memory + (2ul << 20) - 1) & ~((2ul << 20) - 1));
    madvise(memory, length, strcmp(argv[2], "huge") == 0 ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
    uint64_t state = 0x9e3779b97f4a7c15ull;
    for (size_t at = 0; at < length; at += 8) {
        state = state * 6364136223846793005ull + 1442695040888963407ull;
        memcpy(memory + at, &state, 8);
    }
    written_per_second = strcmp(argv[3], "all") == 0 ? -1 : strtol(argv[3], NULL, 10);
    pthread_t thread;
    if (written_per_second != 0) pthread_create(&thread, NULL, writer, NULL);
    snprintf(path, sizeof path, "%s/ready", getenv("WORKLOAD_DIR"));
    FILE *ready = fopen(path, "w");
    fprintf(ready, "%d", getpid());
    fclose(ready);
    for (uint64_t last = now();;) {
        usleep(100);
        uint64_t time = now();
        if (stamp->reset) stamp->pause = stamp->pause_end = stamp->reset = 0;
        else if (time - last > stamp->pause) stamp->pause = time - last, stamp->pause_end = time;
        stamp->now = last = time;
    }
}
