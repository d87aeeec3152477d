// A session whose leader has ended: its member lives on in it, adopted by the subreaper (our leader).
#include "workload.h"

static pid_t lost_session, lost_group, subreaper;

static void check(void) {
    EXPECT_EQ("pid", subreaper, getpid());
}

static void member_check(void) {
    EXPECT_EQ("parent", subreaper, getppid());
    EXPECT_EQ("session", lost_session, getsid(0));
    EXPECT_EQ("group", lost_group, getpgrp());
    EXPECT(kill(lost_session, 0) == -1 && errno == ESRCH, "the session's leader %d lives", lost_session);
}

int main(int argc, char **argv) {
    workload_begin(argc, argv);
    subreaper = getpid();
    MUST(prctl(PR_SET_CHILD_SUBREAPER, 1));
    workload_expect_part("member");
    fflush(NULL);
    pid_t leader = MUST(fork());
    if (leader == 0) {
        lost_session = lost_group = MUST(setsid());
        if (MUST(fork()) == 0) {
            workload_become("member");
            while (getppid() != subreaper)
                sleep_ms(1);
            workload_live(member_check);
        }
        _exit(0);
    }
    MUST(waitpid(leader, NULL, 0));
    workload_live(check);
}
