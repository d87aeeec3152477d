// Credentials of each thread: real, effective, saved and file system ids, supplementary groups, capability sets,
// securebits, no_new_privs, dumpable, keep-caps. Threads differ from each other; the leader stays root, so that the
// harness's files can be written.
#include "workload.h"
#include <grp.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <sys/fsuid.h>

enum { THREADS = 4 };

static const char *fields[] = {"Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs"};
static char prepared[THREADS + 1][COUNT(fields)][256];
static int securebits[THREADS + 1], dumpable, keepcaps[THREADS + 1];
static pid_t tids[THREADS + 1];
static atomic_int asked, answered, ready;

static void status_of(pid_t tid, char into[][256]) {
    char path[64];
    snprintf(path, sizeof path, "/proc/self/task/%d/status", tid);
    for (size_t i = 0; i < COUNT(fields); i++)
        status_field(path, fields[i], into[i], 256);
}

static void set_capabilities(uint64_t permitted, uint64_t effective, uint64_t inheritable) {
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2] = {
        {(uint32_t)effective, (uint32_t)permitted, (uint32_t)inheritable},
        {(uint32_t)(effective >> 32), (uint32_t)(permitted >> 32), (uint32_t)(inheritable >> 32)},
    };
    MUST(syscall(SYS_capset, &header, data));
}

#define CAP(name) (1ULL << (name))

// By raw calls: glibc would set the ids of all threads.
static void become(int index) {
    gid_t groups[] = {1000, 4, 27, 65534};
    switch (index) {
    case 1: // an ordinary user with groups
        MUST(syscall(SYS_setgroups, 4, groups));
        MUST(syscall(SYS_setresgid, 1000, 1001, 1002));
        MUST(syscall(SYS_setresuid, 2000, 2001, 2002));
        break;
    case 2: // a user with some capabilities kept, one of them inheritable and ambient
        MUST(prctl(PR_SET_SECUREBITS, SECBIT_KEEP_CAPS));
        MUST(syscall(SYS_setresuid, 3000, 3000, 3000));
        set_capabilities(CAP(CAP_NET_BIND_SERVICE) | CAP(CAP_CHOWN) | CAP(CAP_SETFCAP), CAP(CAP_CHOWN),
                         CAP(CAP_NET_BIND_SERVICE));
        MUST(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_BIND_SERVICE, 0, 0));
        break;
    case 3: // root with a smaller bounding set, locked securebits and another file system id
        MUST(prctl(PR_CAPBSET_DROP, CAP_SYS_BOOT));
        MUST(prctl(PR_CAPBSET_DROP, CAP_MKNOD));
        MUST(prctl(PR_SET_SECUREBITS, SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP));
        setfsuid(4000);
        setfsgid(4001);
        break;
    case 4: // no new privileges
        MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
        break;
    }
}

static void check_thread(int index) {
    char now[COUNT(fields)][256], what[64];
    status_of(tids[index], now);
    for (size_t i = 0; i < COUNT(fields); i++) {
        snprintf(what, sizeof what, "%s of thread %d", fields[i], index);
        EXPECT_STR(what, prepared[index][i], now[i]);
    }
    snprintf(what, sizeof what, "securebits of thread %d", index);
    EXPECT_EQ(what, securebits[index], prctl(PR_GET_SECUREBITS));
    snprintf(what, sizeof what, "keep-caps of thread %d", index);
    EXPECT_EQ(what, keepcaps[index], prctl(PR_GET_KEEPCAPS));
}

static void *work(void *argument) {
    int index = (int)(intptr_t)argument;
    become(index);
    tids[index] = (pid_t)syscall(SYS_gettid);
    securebits[index] = prctl(PR_GET_SECUREBITS);
    keepcaps[index] = prctl(PR_GET_KEEPCAPS);
    status_of(tids[index], prepared[index]);
    ready++;
    for (int round = 0;;) {
        while (asked == round)
            sleep_ms(2);
        round = asked;
        check_thread(index);
        answered++;
    }
    return NULL;
}

static void check(void) {
    check_thread(0);
    EXPECT_EQ("dumpable", dumpable, prctl(PR_GET_DUMPABLE));
    answered = 0;
    asked++;
    for (int waited = 0; answered < THREADS && waited < 5000; waited++)
        sleep_ms(1);
    EXPECT_EQ("threads that answered", THREADS, answered);
}

int main(int argc, char **argv) {
    workload_begin(argc, argv);
    if (geteuid() != 0)
        not_here("credentials need root");
    MUST(prctl(PR_SET_KEEPCAPS, 1));
    pthread_t threads[THREADS];
    for (int i = 1; i <= THREADS; i++) {
        pthread_create(&threads[i - 1], NULL, work, (void *)(intptr_t)i);
        while (ready < i)
            sleep_ms(1);
    }
    tids[0] = getpid();
    securebits[0] = prctl(PR_GET_SECUREBITS);
    keepcaps[0] = prctl(PR_GET_KEEPCAPS);
    dumpable = prctl(PR_GET_DUMPABLE);
    status_of(tids[0], prepared[0]);
    workload_live(check);
}
