// A thread with a descriptor table of its own (unshare(CLONE_FILES)): the images have one for each process.
#define _GNU_SOURCE
#include <sched.h>
#include "workload.h"

static void *apart(void *kind) {
    MUST(unshare(kind ? CLONE_FS : CLONE_FILES));
    for (;;)
        pause();
}

static void check(void) {}

int main(int argc, char **argv) {
    workload_begin(argc, argv);
    pthread_t thread;
    pthread_create(&thread, NULL, apart, (void *)workload_parameter(1, 0));
    sleep_ms(50);
    workload_live(check);
}
