// The user id of the login (/proc/self/loginuid), of a process and of a child that has another.
#include "workload.h"

static unsigned wanted = 4711;

static unsigned loginuid(void) {
    char text[32] = "";
    int fd = MUST(open("/proc/self/loginuid", O_RDONLY));
    MUST(read(fd, text, sizeof text - 1));
    close(fd);
    return (unsigned)strtoul(text, NULL, 10);
}

static void set(const char *uid) {
    int fd = open("/proc/self/loginuid", O_WRONLY);
    if (fd < 0 || write(fd, uid, strlen(uid)) < 0)
        not_here("loginuid cannot be set");
    close(fd);
}

static void check(void) {
    EXPECT_EQ("loginuid", wanted, loginuid());
}

static void child(void) {
    wanted = 4712;
    set("4712");
    workload_live(check);
}

int main(int argc, char **argv) {
    workload_begin(argc, argv);
    set("4711");
    workload_fork("child", child);
    workload_live(check);
}
