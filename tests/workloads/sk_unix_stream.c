// Stream sockets: pairs with unread data, shared with a child, half closed in each way, with options and an owner.
#include "sockets.h"

static int pair[2], shut[2], survivor, lone, with_child[2];
static pid_t leader;
static int buffer_size;

static void check(void) {
    char byte;
    expect_peek("unread", pair[1], "hello, more");
    expect_peek("unread, other way", pair[0], "back");
    expect_credentials("SO_PEERCRED", pair[0], leader, 0);
    EXPECT_EQ("SO_SNDBUF", buffer_size, option(pair[0], SOL_SOCKET, SO_SNDBUF));
    EXPECT_EQ("SO_PASSCRED", 1, option(lone, SOL_SOCKET, SO_PASSCRED));
    EXPECT_EQ("O_NONBLOCK", O_RDWR | O_NONBLOCK, fcntl(pair[0], F_GETFL));
    EXPECT_EQ("blocking", O_RDWR, fcntl(pair[1], F_GETFL));
    struct timeval time;
    socklen_t length = sizeof time;
    getsockopt(pair[1], SOL_SOCKET, SO_RCVTIMEO, &time, &length);
    EXPECT_EQ("SO_RCVTIMEO", 7, time.tv_sec);
    EXPECT_EQ("write", 1, write(pair[0], "x", 1));
    char text[32];
    EXPECT_EQ("read all", 12, read(pair[1], text, sizeof text));
    EXPECT(memcmp(text, "hello, morex", 12) == 0, "read all: '%.12s'", text);
    EXPECT_EQ("write again", 11, write(pair[0], "hello, more", 11));
    // Shut down for writing at one end: data, then the end.
    EXPECT(send(shut[0], "x", 1, MSG_NOSIGNAL) == -1 && errno == EPIPE, "the shut end can send");
    EXPECT_EQ("before the end", 4, recv(shut[1], text, sizeof text, MSG_PEEK));
    EXPECT_EQ("the other way", 1, send(shut[1], "y", 1, MSG_NOSIGNAL));
    EXPECT_EQ("the other way, read", 1, read(shut[0], &byte, 1));
    // The other end is closed: what it sent can still be read.
    EXPECT_EQ("of the closed one", 6, recv(survivor, text, sizeof text, MSG_PEEK | MSG_DONTWAIT));
    EXPECT(send(survivor, "x", 1, MSG_NOSIGNAL) == -1 && errno == EPIPE, "sending to a closed end gives errno %d", errno);
    EXPECT(recv(lone, &byte, 1, 0) == -1 && errno == EINVAL, "receiving unconnected gives errno %d", errno);
    // The child answers by the same pair.
    EXPECT_EQ("question", 1, write(with_child[0], "q", 1));
    struct pollfd waiting = {with_child[0], POLLIN, 0};
    EXPECT_EQ("answer comes", 1, poll(&waiting, 1, 10000));
    EXPECT_EQ("answer", 1, read(with_child[0], &byte, 1));
    EXPECT_EQ("answer", 'r', byte);
}

static void child_check(void) {
    expect_credentials("SO_PEERCRED in the child", with_child[1], leader, 0);
}

static void *answer(void *unused) {
    char byte;
    while (read(with_child[1], &byte, 1) == 1 && write(with_child[1], "r", 1) == 1)
        ;
    return unused;
}

static void child(void) {
    pthread_t thread;
    pthread_create(&thread, NULL, answer, NULL);
    workload_live(child_check);
}

int main(int argc, char **argv) {
    workload_begin(argc, argv);
    leader = getpid();
    int gone[2];
    MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair));
    MUST(fcntl(pair[1], F_SETFL, 0));
    MUST(write(pair[0], "hello, ", 7));
    MUST(write(pair[0], "more", 4));
    MUST(write(pair[1], "back", 4));
    set_option(pair[0], SOL_SOCKET, SO_SNDBUF, 30000);
    buffer_size = option(pair[0], SOL_SOCKET, SO_SNDBUF);
    struct timeval seven = {7, 0};
    MUST(setsockopt(pair[1], SOL_SOCKET, SO_RCVTIMEO, &seven, sizeof seven));
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, shut));
    MUST(write(shut[0], "last", 4));
    MUST(shutdown(shut[0], SHUT_WR));
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, gone));
    MUST(write(gone[0], "legacy", 6));
    close(gone[0]);
    survivor = gone[1];
    lone = MUST(socket(AF_UNIX, SOCK_STREAM, 0));
    set_option(lone, SOL_SOCKET, SO_PASSCRED, 1);
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, with_child));
    workload_fork("child", child);
    workload_live(check);
}
