// Three processes with two threads each take numbers from one shared counter as fast as they can, and write each number into
// private memory, into shared anonymous memory, into a memory file and into a mapped deleted file. A snapshot must show one
// instant of all of them. What does not fit together is found by each writer before it writes over it, and by counting: the
// numbers that the writers have used, each known only to itself, are all that the counter has given.
#include "workload.h"

enum { PROCESSES = 3, THREADS = 2, WRITERS = PROCESSES * THREADS, SLOTS = 512, BURST = 200 };

struct logs {
    _Atomic uint64_t number[WRITERS][SLOTS];
};

struct board {
    _Atomic uint64_t counter;
    _Atomic uint64_t used[WRITERS];
    atomic_int pause, parked;
};

struct writer { // private memory: one page for each slot
    _Atomic uint64_t used;
    uint64_t last, misfits;
    struct {
        volatile uint64_t number;
        char rest[4096 - sizeof(uint64_t)];
    } slot[SLOTS];
};

static struct board *board;
static struct logs *logs[3];
static const char *log_names[3] = {"shared anonymous memory", "the memory file", "the mapped file"};
static struct writer *writers; // both of this process
static int first_writer;

static bool slot_fits(int index, int slot) {
    uint64_t own = writers[index].slot[slot].number;
    for (int log = 0; log < 3; log++) {
        uint64_t logged = atomic_load(&logs[log]->number[first_writer + index][slot]);
        if (logged == own)
            continue;
        if (writers[index].misfits++ > 0)
            return false; // one tells enough
        fail("writer %d, slot %d: private memory has number %llu, %s has %llu (counter %llu)", first_writer + index,
             slot, (unsigned long long)own, log_names[log], (unsigned long long)logged,
             (unsigned long long)atomic_load(&board->counter));
        return false;
    }
    return true;
}

static void write_one(int index) {
    struct writer *own = &writers[index];
    int slot = (int)(own->used % SLOTS);
    slot_fits(index, slot);
    uint64_t number = atomic_fetch_add(&board->counter, 1) + 1;
    if (number <= own->last)
        fail("writer %d got number %llu after %llu: the counter ran backwards", first_writer + index,
             (unsigned long long)number, (unsigned long long)own->last);
    own->last = number;
    own->slot[slot].number = number;
    for (int log = 0; log < 3; log++)
        atomic_store(&logs[log]->number[first_writer + index][slot], number);
    own->used++;
}

// Between two numbers: all slots fit, and what was used can be added up.
static void park(int index) {
    for (int slot = 0; slot < SLOTS && slot_fits(index, slot); slot++)
        ;
    atomic_store(&board->used[first_writer + index], writers[index].used);
    atomic_fetch_add(&board->parked, 1);
    while (atomic_load(&board->pause))
        sleep_ms(1);
    atomic_fetch_sub(&board->parked, 1);
}

static void *write_always(void *argument) {
    int index = (int)(intptr_t)argument;
    for (;;) {
        for (int i = 0; i < BURST; i++)
            write_one(index);
        if (atomic_load(&board->pause))
            park(index);
        nanosleep(&(struct timespec){0, 100000}, NULL);
    }
    return NULL;
}

static void start_writers(int process) {
    first_writer = process * THREADS;
    writers = must_map(NULL, THREADS * sizeof *writers, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (intptr_t i = 0; i < THREADS; i++) {
        pthread_t thread;
        pthread_create(&thread, NULL, write_always, (void *)i);
    }
}

// What the writers of this process find is told with the answer: they have seen all their slots by then.
static void see_all_slots(void) {
    for (int i = 0; i < THREADS; i++) {
        uint64_t from = writers[i].used;
        for (int waited = 0; writers[i].used < from + SLOTS && waited < 10000; waited++)
            sleep_ms(1);
        EXPECT(writers[i].used >= from + SLOTS, "writer %d writes no more", first_writer + i);
    }
}

static void child(void) {
    start_writers(workload_name[0] - '0');
    workload_live(see_all_slots);
}

static void check(void) {
    static uint64_t before;
    atomic_store(&board->pause, 1);
    for (int waited = 0; atomic_load(&board->parked) != WRITERS && waited < 10000; waited++)
        sleep_ms(1);
    EXPECT_EQ("writers that stand still", WRITERS, atomic_load(&board->parked));
    uint64_t used = 0;
    for (int i = 0; i < WRITERS; i++)
        used += atomic_load(&board->used[i]);
    EXPECT_EQ("numbers used by the writers, against the counter", atomic_load(&board->counter), used);
    EXPECT(used > before, "nothing was written since %llu", (unsigned long long)before);
    before = used;
    atomic_store(&board->pause, 0);
    while (atomic_load(&board->parked) != 0)
        sleep_ms(1);
    see_all_slots();
}

static int shared_file(bool deleted) {
    if (!deleted)
        return MUST(memfd_create("one instant", MFD_CLOEXEC));
    char path[PATH_MAX];
    workload_path(path, "log");
    int fd = MUST(open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    unlink(path);
    return fd;
}

int main(int argc, char **argv) {
    workload_begin(argc, argv);
    board = must_map(NULL, sizeof *board, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    logs[0] = must_map(NULL, sizeof *logs[0], PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    for (int log = 1; log < 3; log++) {
        int fd = shared_file(log == 2);
        MUST(ftruncate(fd, sizeof *logs[log]));
        logs[log] = must_map(NULL, sizeof *logs[log], PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        close(fd);
    }
    workload_fork("1", child);
    workload_fork("2", child);
    start_writers(0);
    workload_live(check);
}
