// disk MEMORY_MIB FILE: how fast memory gets onto a disk until it is durable. Prints the bytes a second through the page cache
// (write(2) with two threads, then fdatasync(2)) and past it (O_DIRECT, eight threads, so that many requests are on their way).
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define PIECE (4ul << 20)

static unsigned char *memory;
static size_t length;
static int file;
static atomic_size_t next;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static void *writer(void *unused) {
    for (size_t at; (at = atomic_fetch_add(&next, PIECE)) < length;)
        for (size_t done = 0; done < PIECE;) {
            ssize_t written = pwrite(file, memory + at + done, PIECE - done, (off_t)(at + done));
            if (written <= 0) fail("pwrite");
            done += (size_t)written;
        }
    return unused;
}

static double speed(const char *path, int flags, int threads) {
    file = open(path, O_RDWR | O_CREAT | O_EXCL | flags, 0600);
    if (file < 0) fail("open");
    if (ftruncate(file, (off_t)length) != 0) fail("ftruncate");
    if (flags != 0 && posix_fallocate(file, 0, (off_t)length) != 0) fail("posix_fallocate");
    next = 0;
    struct timespec begun, ended;
    clock_gettime(CLOCK_MONOTONIC, &begun);
    pthread_t others[16];
    for (int i = 1; i < threads; i++)
        if (pthread_create(&others[i], NULL, writer, NULL) != 0) fail("pthread_create");
    writer(NULL);
    for (int i = 1; i < threads; i++)
        pthread_join(others[i], NULL);
    if (fdatasync(file) != 0) fail("fdatasync");
    clock_gettime(CLOCK_MONOTONIC, &ended);
    close(file);
    unlink(path);
    return (double)length / ((double)(ended.tv_sec - begun.tv_sec) + (double)(ended.tv_nsec - begun.tv_nsec) * 1e-9);
}

int main(int argc, char **argv) {
    if (argc != 3) return 2;
    length = strtoul(argv[1], NULL, 10) << 20;
    memory = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) fail("mmap");
    for (size_t at = 0; at < length; at += 8)
        memcpy(memory + at, &at, 8);
    sync(); // what others have written shall not count
    double cached = speed(argv[2], 0, 2);
    sync();
    printf("%.0f %.0f\n", cached, speed(argv[2], O_DIRECT, 8));
    return 0;
}
