// A process that gave up every privilege, and is not dumpable: it is restored as powerless as it was.
#include "workload.h"
#include <grp.h>

static const char *fields[] = {"Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs"};
static char prepared[COUNT(fields)][256];

static void check(void) {
    EXPECT_EQ("uid of the leader", 0, getuid());
    EXPECT_EQ("dumpable of the leader", 1, prctl(PR_GET_DUMPABLE));
}

static void check_powerless(void) {
    char now[256], what[64];
    for (size_t i = 0; i < COUNT(fields); i++) {
        status_field("/proc/thread-self/status", fields[i], now, sizeof now);
        snprintf(what, sizeof what, "%s of the powerless process", fields[i]);
        EXPECT_STR(what, prepared[i], now);
    }
    EXPECT_EQ("dumpable of the powerless process", 0, prctl(PR_GET_DUMPABLE));
    EXPECT(setuid(0) == -1, "the powerless process became root");
    struct stat owner;
    EXPECT(stat("/proc/self/status", &owner) == 0 && owner.st_uid == 0, "its /proc files belong to uid %u", owner.st_uid);
}

static void powerless(void) {
    gid_t groups[] = {7, 8};
    MUST(setgroups(2, groups));
    MUST(setresgid(65534, 65534, 65534));
    MUST(setresuid(65534, 65534, 65534));
    MUST(prctl(PR_SET_DUMPABLE, 0));
    for (size_t i = 0; i < COUNT(fields); i++)
        status_field("/proc/thread-self/status", fields[i], prepared[i], sizeof prepared[i]);
    workload_live(check_powerless);
}

int main(int argc, char **argv) {
    workload_begin(argc, argv);
    if (geteuid() != 0)
        not_here("credentials need root");
    MUST(chmod(workload_dir, 0777));
    workload_fork("powerless", powerless);
    workload_live(check);
}
