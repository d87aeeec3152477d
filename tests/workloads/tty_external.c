// A terminal in raw mode that controls the session: each round writes a line to it. With the parameter 1 the process that has
// its master is outside of the tree, lives on, and has a second one besides. What is written comes into the files "screen"
// and "screen2"; the file "terminals" tells both slaves. With a second parameter 1 the terminal is in non-blocking mode.
#include "workload.h"
#include <sys/ioctl.h>
#include <termios.h>

static int terminal;

static int master(char *slave, size_t size) {
    int fd = MUST(posix_openpt(O_RDWR | O_NOCTTY));
    MUST(grantpt(fd));
    MUST(unlockpt(fd));
    ptsname_r(fd, slave, size);
    return fd;
}

// Copies what is written to the terminals until the file "stop" is there.
static void hold(const int masters[2]) {
    char stop[PATH_MAX], path[PATH_MAX], bytes[512];
    int screens[2];
    workload_path(stop, "stop");
    for (int i = 0; i < 2; i++) {
        workload_path(path, i == 0 ? "screen" : "screen2");
        screens[i] = MUST(open(path, O_WRONLY | O_CREAT | O_APPEND, 0644));
        MUST(fcntl(masters[i], F_SETFL, O_NONBLOCK));
    }
    while (access(stop, F_OK) != 0 && access(workload_dir, F_OK) == 0) {
        for (int i = 0; i < 2; i++) {
            ssize_t got = read(masters[i], bytes, sizeof bytes); // EIO while nobody has the slave open
            if (got > 0)
                MUST(write(screens[i], bytes, (size_t)got));
        }
        usleep(2000);
    }
    _exit(0);
}

static void start_holder(const int masters[2]) {
    bool outside = workload_parameter(1, 0);
    pid_t child = MUST(fork());
    if (child != 0) {
        if (outside)
            waitpid(child, NULL, 0);
        return;
    }
    if (outside) { // an orphan in a session of its own
        setsid();
        if (MUST(fork()) != 0)
            _exit(0);
        workload_unmark();
    }
    hold(masters);
}

static void check(void) {
    char line[32];
    int length = snprintf(line, sizeof line, "round %d\n", workload_round);
    EXPECT_EQ("write", length, write(terminal, line, (size_t)length));
    struct termios modes;
    EXPECT_EQ("modes", 0, tcgetattr(terminal, &modes));
    EXPECT_EQ("raw", 0, modes.c_lflag & (ICANON | ECHO | ISIG));
    EXPECT_EQ("no output processing", 0, modes.c_oflag & OPOST);
    EXPECT_EQ("session", getsid(0), tcgetsid(terminal));
    EXPECT_EQ("foreground group", getpgrp(), tcgetpgrp(terminal));
    EXPECT_EQ("O_NONBLOCK", workload_parameter(2, 0) ? O_NONBLOCK : 0, fcntl(terminal, F_GETFL) & O_NONBLOCK);
    int own = open("/dev/tty", O_RDWR);
    EXPECT(own >= 0, "/dev/tty gives errno %d", errno);
    close(own);
}

int main(int argc, char **argv) {
    workload_begin(argc, argv);
    char slaves[2][64], path[PATH_MAX];
    int masters[2];
    for (int i = 0; i < 2; i++)
        masters[i] = master(slaves[i], sizeof slaves[i]);
    start_holder(masters);
    terminal = MUST(open(slaves[0], O_RDWR | O_NOCTTY | (workload_parameter(2, 0) ? O_NONBLOCK : 0)));
    MUST(ioctl(terminal, TIOCSCTTY, 0));
    for (int i = 0; i < 2; i++)
        close(masters[i]);
    struct termios modes;
    MUST(tcgetattr(terminal, &modes));
    cfmakeraw(&modes);
    MUST(tcsetattr(terminal, TCSANOW, &modes));
    workload_path(path, "terminals");
    FILE *told = fopen(path, "w");
    fprintf(told, "%s %s\n", slaves[0], slaves[1]);
    fclose(told);
    workload_live(check);
}
