// Pseudoterminals: modes, size, packet mode, lock, owner and mode of the slave, unread bytes in both directions, a
// master whose slave was closed, several descriptors of one terminal. With parameter 1 also what the peer cannot.
#include "workload.h"
#include <sys/ioctl.h>
#include <termios.h>

static int master, slave, second, locked, packets, packets_slave, closed;
static char slave_name[64];
static struct termios modes;

static void expect_read(const char *what, int fd, const char *expected) {
    char text[256];
    struct pollfd waiting = {fd, POLLIN, 0};
    if (poll(&waiting, 1, 2000) != 1) {
        fail("%s: nothing can be read", what);
        return;
    }
    ssize_t length = read(fd, text, sizeof text);
    EXPECT_EQ(what, strlen(expected), length);
    EXPECT(length < 0 || memcmp(text, expected, strlen(expected)) == 0, "%s: '%.*s'", what, (int)length, text);
}

static void fill(void) {
    MUST(write(master, "typed\n", 6));
    if (workload_parameter(1, 0))
        MUST(write(master, "half", 4));
    if (workload_parameter(1, 0))
        MUST(write(slave, "shown\n", 6));
    sleep_ms(20);
}

static void check(void) {
    struct winsize size;
    struct termios now;
    struct stat file;
    char text[PATH_MAX], path[64];
    ioctl(slave, TIOCGWINSZ, &size);
    EXPECT(size.ws_row == 33 && size.ws_col == 77, "size %dx%d", size.ws_row, size.ws_col);
    tcgetattr(slave, &now);
    EXPECT_EQ("c_iflag", modes.c_iflag, now.c_iflag);
    EXPECT_EQ("c_oflag", modes.c_oflag, now.c_oflag);
    EXPECT_EQ("c_cflag", modes.c_cflag, now.c_cflag);
    EXPECT_EQ("c_lflag", modes.c_lflag, now.c_lflag);
    EXPECT(memcmp(modes.c_cc, now.c_cc, 19) == 0, "control characters differ");
    EXPECT_STR("name of the slave", slave_name, ptsname(master));
    snprintf(path, sizeof path, "/proc/self/fd/%d", slave);
    link_text(path, text, sizeof text);
    EXPECT_STR("path of the slave", slave_name, text);
    EXPECT_EQ("fstat", 0, fstat(slave, &file));
    EXPECT_EQ("mode of the slave", S_IFCHR | 0620, file.st_mode);
    EXPECT_EQ("owner of the slave", 3, file.st_uid);
    EXPECT_EQ("flags of the master", O_RDWR, fcntl(master, F_GETFL) & (O_ACCMODE | O_NONBLOCK));
    EXPECT_EQ("flags of the second slave", O_WRONLY | O_NONBLOCK, fcntl(second, F_GETFL) & (O_ACCMODE | O_NONBLOCK));
    expect_read("line at the slave", slave, "typed\n");
    if (workload_parameter(1, 0)) {
        MUST(write(master, "\n", 1));
        expect_read("the rest of the line", slave, "half\n");
    }
    if (workload_parameter(1, 0))
        expect_read("output at the master", master, "shown\r\n");
    struct pollfd waiting = {master, POLLIN, 0};
    EXPECT_EQ("nothing more at the master", 0, poll(&waiting, 1, 0));
    EXPECT_EQ("write by the second", 2, write(second, "2\n", 2));
    expect_read("output of the second", master, "2\r\n");
    fill();
    int value = 0;
    ioctl(locked, TIOCGPTLCK, &value);
    EXPECT_EQ("lock", 1, value);
    value = 0;
    ioctl(packets, TIOCGPKT, &value);
    EXPECT_EQ("packet mode", 1, value);
    EXPECT_EQ("write to a packet terminal", 3, write(packets_slave, "pkt", 3));
    EXPECT_EQ("first byte of the packet", 4, read(packets, text, sizeof text));
    EXPECT(memcmp(text, "\0pkt", 4) == 0, "packet '%.3s'", text + 1);
    if (workload_parameter(1, 0))
        EXPECT(read(closed, text, 1) == -1 && errno == EIO, "the master of a closed slave reads, errno %d", errno);
}

static int new_master(void) {
    int fd = MUST(open("/dev/ptmx", O_RDWR | O_NOCTTY));
    MUST(grantpt(fd));
    MUST(unlockpt(fd));
    return fd;
}

int main(int argc, char **argv) {
    workload_begin(argc, argv);
    master = new_master();
    snprintf(slave_name, sizeof slave_name, "%s", ptsname(master));
    slave = MUST(open(slave_name, O_RDWR | O_NOCTTY));
    second = MUST(open(slave_name, O_WRONLY | O_NOCTTY | O_NONBLOCK));
    MUST(fchown(slave, 3, 0));
    MUST(fchmod(slave, 0620));
    struct winsize size = {33, 77, 0, 0};
    MUST(ioctl(master, TIOCSWINSZ, &size));
    tcgetattr(slave, &modes);
    modes.c_lflag &= ~(tcflag_t)(ECHO | IEXTEN);
    modes.c_cc[VEOF] = 5;
    MUST(tcsetattr(slave, TCSANOW, &modes));
    tcgetattr(slave, &modes);
    fill();
    locked = MUST(open("/dev/ptmx", O_RDWR | O_NOCTTY));
    packets = new_master();
    packets_slave = MUST(open(ptsname(packets), O_RDWR | O_NOCTTY));
    int on = 1;
    MUST(ioctl(packets, TIOCPKT, &on));
    struct termios raw;
    tcgetattr(packets_slave, &raw);
    cfmakeraw(&raw);
    MUST(tcsetattr(packets_slave, TCSANOW, &raw));
    char control;
    struct pollfd waiting = {packets, POLLIN | POLLPRI, 0};
    while (poll(&waiting, 1, 50) == 1)
        MUST(read(packets, &control, 1));
    if (workload_parameter(1, 0)) {
        closed = new_master();
        close(MUST(open(ptsname(closed), O_RDWR | O_NOCTTY)));
    }
    workload_live(check);
}
