// copy MEMORY_MIB FILE: how fast the CPUs alone copy memory into a fresh file of a tmpfs, in bytes a second: two threads, extents of
// 2 MiB that are made huge pages first (MADV_COLLAPSE), memcpy(3) from pages of 4 KiB. What a dump can reach at best.
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define EXTENT (2ul << 20)
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

static unsigned char *memory;
static size_t length;
static int file;
static atomic_size_t next;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static void *copier(void *unused) {
    unsigned char *reserved = mmap(NULL, 2 * EXTENT, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    unsigned char *window = (unsigned char *)(((uintptr_t)reserved + EXTENT - 1) & ~(EXTENT - 1));
    for (size_t at; (at = atomic_fetch_add(&next, EXTENT)) < length;) {
        if (pwrite(file, "", 1, (off_t)at) != 1) fail("pwrite");
        if (mmap(window, EXTENT, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file, (off_t)at) == MAP_FAILED) fail("mmap");
        if (madvise(window, EXTENT, MADV_COLLAPSE) != 0) fail("madvise");
        memcpy(window, memory + at, EXTENT);
    }
    return unused;
}

int main(int argc, char **argv) {
    if (argc != 3) return 2;
    length = strtoul(argv[1], NULL, 10) << 20;
    memory = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) fail("mmap");
    madvise(memory, length, MADV_NOHUGEPAGE);
    for (size_t at = 0; at < length; at += 8) memcpy(memory + at, &at, 8);
    file = open(argv[2], O_RDWR | O_CREAT | O_EXCL, 0600);
    if (file < 0 || ftruncate(file, (off_t)length) != 0) fail("file");
    struct timespec begun, ended;
    clock_gettime(CLOCK_MONOTONIC, &begun);
    pthread_t other;
    pthread_create(&other, NULL, copier, NULL);
    copier(NULL);
    pthread_join(other, NULL);
    clock_gettime(CLOCK_MONOTONIC, &ended);
    unlink(argv[2]);
    double seconds = (double)(ended.tv_sec - begun.tv_sec) + (double)(ended.tv_nsec - begun.tv_nsec) * 1e-9;
    printf("%.0f\n", (double)length / seconds);
    return 0;
}
