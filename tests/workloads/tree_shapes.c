// A process tree of every shape: deep chain, wide level, sessions and groups, an orphan
// adopted by a subreaper, zombies with exit status and killed by a signal, and a stopped child.
#include "workload.h"

struct known {
    const char *what;
    pid_t pid, parent, group, session;
    char state;
};

static struct known known[32];
static int known_count, my_pid;
static pid_t zombie_exited, zombie_killed, stopped;

// pid (comm) state ppid pgrp session …
static bool read_stat(pid_t pid, struct known *now) {
    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    if (read_text(path, text, sizeof text) == 0)
        return false;
    return sscanf(strrchr(text, ')') + 2, "%c %d %d %d", &now->state, &now->parent, &now->group, &now->session) == 4;
}

static void remember(const char *what, pid_t pid) {
    struct known *one = &known[known_count++];
    if (!read_stat(pid, one))
        die("no stat of %s (%d)", what, pid);
    one->what = what;
    one->pid = pid;
}

static void check(void) {
    char what[128];
    EXPECT_EQ("pid of the leader", my_pid, getpid());
    for (int i = 0; i < known_count; i++) {
        struct known now, *one = &known[i];
        if (!read_stat(one->pid, &now)) {
            fail("%s: process %d is gone", one->what, one->pid);
            continue;
        }
        EXPECT_EQ((snprintf(what, sizeof what, "%s: parent", one->what), what), one->parent, now.parent);
        EXPECT_EQ((snprintf(what, sizeof what, "%s: group", one->what), what), one->group, now.group);
        EXPECT_EQ((snprintf(what, sizeof what, "%s: session", one->what), what), one->session, now.session);
        bool running = strchr("RSD", one->state) != NULL && strchr("RSD", now.state) != NULL;
        EXPECT(running || one->state == now.state, "%s: state was %c and is %c", one->what, one->state, now.state);
    }
    siginfo_t info;
    memset(&info, 0, sizeof info);
    EXPECT_EQ("waitid on the exited zombie", 0, waitid(P_PID, (id_t)zombie_exited, &info, WEXITED | WNOWAIT | WNOHANG));
    EXPECT_EQ("code of the exited zombie", CLD_EXITED, info.si_code);
    EXPECT_EQ("status of the exited zombie", 42, info.si_status);
    memset(&info, 0, sizeof info);
    EXPECT_EQ("waitid on the killed zombie", 0, waitid(P_PID, (id_t)zombie_killed, &info, WEXITED | WNOWAIT | WNOHANG));
    EXPECT_EQ("code of the killed zombie", CLD_KILLED, info.si_code);
    EXPECT_EQ("status of the killed zombie", SIGKILL, info.si_status);
}

static void child_check(void) {
    struct known now;
    EXPECT(read_stat(getpid(), &now), "cannot read my own stat");
    EXPECT_EQ("getppid", now.parent, getppid());
    EXPECT_EQ("getpgrp", now.group, getpgrp());
    EXPECT_EQ("getsid", now.session, getsid(0));
}

static void plain(void) {
    workload_live(child_check);
}

static void own_group(void) {
    MUST(setpgid(0, 0));
    workload_live(child_check);
}

static void tell_pid(const char *name) {
    char path[PATH_MAX], text[32];
    workload_path(path, "pid.%s", name);
    workload_write_file(path, text, (size_t)snprintf(text, sizeof text, "%d", getpid()));
}

static pid_t told_pid(const char *name) {
    char path[PATH_MAX], text[32];
    workload_path(path, "pid.%s", name);
    if (!workload_wait_file(path, 10000))
        die("%s did not tell its pid", name);
    read_text(path, text, sizeof text);
    return atoi(text);
}

// A chain of six, each the parent of the next.
static void chain(void) {
    static const char *names[] = {"chain1", "chain2", "chain3", "chain4", "chain5", "chain6"};
    for (size_t depth = 1; depth < COUNT(names); depth++) {
        tell_pid(names[depth - 1]);
        if (MUST(fork()) != 0)
            break;
        workload_become(names[depth]);
    }
    tell_pid(workload_name);
    workload_live(child_check);
}

// A session with two groups.
static void session(void) {
    MUST(setsid());
    tell_pid("session");
    if (MUST(fork()) == 0) {
        workload_become("session_same");
        tell_pid("session_same");
        workload_live(child_check);
    }
    if (MUST(fork()) == 0) {
        workload_become("session_group");
        MUST(setpgid(0, 0));
        tell_pid("session_group");
        workload_live(child_check);
    }
    workload_live(child_check);
}

// A group whose leader has ended.
static void lost_group(void) {
    MUST(setpgid(0, 0));
    if (MUST(fork()) == 0) {
        workload_become("orphan");
        while (getppid() != my_pid)
            sleep_ms(1);
        tell_pid("orphan");
        workload_live(child_check);
    }
    _exit(0);
}

int main(int argc, char **argv) {
    workload_begin(argc, argv);
    my_pid = getpid();
    MUST(prctl(PR_SET_CHILD_SUBREAPER, 1));
    static const char *parts[] = {"chain2", "chain3", "chain4", "chain5", "chain6", "session_same", "session_group", "orphan"};
    for (size_t i = 0; i < COUNT(parts); i++)
        workload_expect_part(parts[i]);
    pid_t leaves[8];
    static char names[8][16];
    for (int i = 0; i < 8; i++) {
        snprintf(names[i], sizeof names[i], "wide%d", i);
        leaves[i] = workload_fork(names[i], plain);
    }
    pid_t grouped = workload_fork("group", own_group);
    workload_fork("chain1", chain);
    workload_fork("session", session);
    fflush(NULL);
    pid_t gone = MUST(fork());
    if (gone == 0)
        lost_group();
    MUST(waitpid(gone, NULL, 0));
    if ((zombie_exited = MUST(fork())) == 0)
        _exit(42);
    if ((zombie_killed = MUST(fork())) == 0) {
        for (;;)
            pause();
    }
    kill(zombie_killed, SIGKILL);
    if ((stopped = MUST(fork())) == 0) {
        raise(SIGSTOP);
        for (;;) // ends by the leader's SIGKILL
            pause();
    }
    siginfo_t info;
    MUST(waitid(P_PID, (id_t)zombie_exited, &info, WEXITED | WNOWAIT));
    MUST(waitid(P_PID, (id_t)zombie_killed, &info, WEXITED | WNOWAIT));
    MUST(waitid(P_PID, (id_t)stopped, &info, WSTOPPED | WNOWAIT));
    char path[PATH_MAX];
    for (int i = 0; i < workload_part_count; i++) {
        workload_path(path, "part.%s.ready", workload_parts[i]);
        if (!workload_wait_file(path, 10000))
            die("%s not ready", workload_parts[i]);
    }
    for (int i = 0; i < 8; i++)
        remember(names[i], leaves[i]);
    remember("own group", grouped);
    static const char *told[] = {"chain1", "chain2", "chain3", "chain4", "chain5", "chain6", "session",
                                 "session_same", "session_group", "orphan"};
    for (size_t i = 0; i < COUNT(told); i++)
        remember(told[i], told_pid(told[i]));
    remember("zombie that exited", zombie_exited);
    remember("zombie that was killed", zombie_killed);
    remember("stopped child", stopped);
    workload_live_until_stop(check);
    kill(stopped, SIGKILL);
    return 0;
}
