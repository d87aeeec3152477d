// A session with a controlling terminal: its leader, a foreground job and a background job, and /dev/tty. The leader
// moves the terminal from one job to the other, and Ctrl-C reaches the one in the foreground.
#include "workload.h"
#include <sys/ioctl.h>
#include <termios.h>

static int master, slave, tty;
static pid_t session, front, back;
static volatile sig_atomic_t *interrupts;

static void check(void) {
    EXPECT_EQ("tcgetpgrp of the master", front, tcgetpgrp(master));
    pid_t sid = 0;
    EXPECT_EQ("TIOCGSID", 0, ioctl(master, TIOCGSID, &sid));
    EXPECT_EQ("session of the terminal", session, sid);
}

static void check_session(void) {
    EXPECT_EQ("getsid", session, getsid(0));
    EXPECT_EQ("tcgetsid", session, tcgetsid(slave));
    EXPECT_EQ("tcgetsid of /dev/tty", session, tcgetsid(tty));
    EXPECT_EQ("foreground", front, tcgetpgrp(tty));
    EXPECT_EQ("to the background job", 0, tcsetpgrp(slave, back));
    EXPECT_EQ("now in the foreground", back, tcgetpgrp(slave));
    EXPECT_EQ("back again", 0, tcsetpgrp(slave, front));
    int fresh = open("/dev/tty", O_RDWR | O_CLOEXEC);
    EXPECT(fresh >= 0, "/dev/tty cannot be opened: errno %d", errno);
    close(fresh);
    // Ctrl-C.
    int before = *interrupts;
    EXPECT_EQ("typing Ctrl-C", 1, write(master, "\3", 1));
    for (int waited = 0; *interrupts == before && waited < 2000; waited++)
        sleep_ms(1);
    EXPECT_EQ("interrupts", before + 1, *interrupts);
}

static void interrupted(int signal) {
    (void)signal;
    (*interrupts)++;
}

static void job_check(void) {
    EXPECT_EQ("process group", getpid(), getpgrp());
    int fresh = open("/dev/tty", O_RDWR | O_CLOEXEC);
    EXPECT(fresh >= 0, "/dev/tty cannot be opened by a job: errno %d", errno);
    close(fresh);
}

static void job(void) {
    setpgid(0, 0);
    signal(SIGINT, interrupted);
    workload_live(job_check);
}

static void leader(void) {
    MUST(setsid());
    session = getpid();
    MUST(ioctl(slave, TIOCSCTTY, 0));
    tty = MUST(open("/dev/tty", O_RDWR));
    signal(SIGTTOU, SIG_IGN);
    front = workload_fork("front", job);
    MUST(setpgid(front, front));
    back = workload_fork("back", job);
    MUST(setpgid(back, back));
    MUST(tcsetpgrp(slave, front));
    interrupts[1] = front;
    interrupts[2] = session;
    workload_live(check_session);
}

int main(int argc, char **argv) {
    workload_begin(argc, argv);
    interrupts = must_map(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    master = MUST(open("/dev/ptmx", O_RDWR | O_NOCTTY));
    MUST(grantpt(master));
    MUST(unlockpt(master));
    slave = MUST(open(ptsname(master), O_RDWR | O_NOCTTY));
    workload_expect_part("front");
    workload_expect_part("back");
    workload_fork("session", leader);
    while (interrupts[2] == 0)
        sleep_ms(1);
    front = interrupts[1];
    session = interrupts[2];
    workload_live(check);
}
