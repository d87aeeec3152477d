// A stream and a datagram socket connected to a server, and one end of a socketpair that the server has the other end of:
// each round every one of them is echoed. With the parameter 1 the server is outside of the tree, and lives on without it.
// With a second parameter 1 there is no pair. The file "numbers" tells the descriptors.
#include "sockets.h"

static int stream, datagram, pair[2];

static void echo(int fd) {
    char bytes[256];
    struct sockaddr_un from;
    socklen_t length = sizeof from;
    ssize_t got = recvfrom(fd, bytes, sizeof bytes, 0, (struct sockaddr *)&from, &length);
    if (got <= 0)
        return;
    if (option(fd, SOL_SOCKET, SO_TYPE) == SOCK_DGRAM)
        sendto(fd, bytes, (size_t)got, MSG_NOSIGNAL, (struct sockaddr *)&from, length);
    else
        send(fd, bytes, (size_t)got, MSG_NOSIGNAL);
}

// Serves until the file "stop" is there.
static void serve(int listener, int server, int end) {
    struct pollfd fds[16] = {{listener, POLLIN, 0}, {server, POLLIN, 0}, {end, POLLIN, 0}};
    nfds_t count = 3;
    char stop[PATH_MAX];
    workload_path(stop, "stop");
    while (access(stop, F_OK) != 0 && access(workload_dir, F_OK) == 0) {
        poll(fds, count, 20);
        if ((fds[0].revents & POLLIN) && count < 16)
            fds[count++] = (struct pollfd){accept(listener, NULL, NULL), POLLIN, 0};
        for (nfds_t i = 1; i < count; i++) {
            if (fds[i].revents & POLLIN)
                echo(fds[i].fd);
            if (fds[i].revents & (POLLHUP | POLLERR)) {
                close(fds[i].fd);
                fds[i] = (struct pollfd){-1, 0, 0};
            }
        }
    }
    _exit(0);
}

static void start_server(void) {
    int listener = unix_bound(SOCK_STREAM, "server"), server = unix_bound(SOCK_DGRAM, "datagrams");
    MUST(listen(listener, 8));
    bool outside = workload_parameter(1, 0);
    pid_t child = MUST(fork());
    if (child != 0) {
        close(listener);
        close(server);
        close(pair[1]);
        if (outside)
            waitpid(child, NULL, 0);
        return;
    }
    close(pair[0]);
    if (outside) { // an orphan in a session of its own
        setsid();
        if (MUST(fork()) != 0)
            _exit(0);
        workload_unmark();
    }
    serve(listener, server, pair[1]);
}

static void exchange(const char *what, int fd) {
    char line[64], got[64] = "";
    int length = snprintf(line, sizeof line, "%s, round %d", what, workload_round);
    EXPECT(send(fd, line, (size_t)length, MSG_NOSIGNAL) == length, "%s: send gives errno %d", what, errno);
    struct pollfd waiting = {fd, POLLIN, 0};
    poll(&waiting, 1, 3000);
    EXPECT_EQ(what, length, recv(fd, got, sizeof got, MSG_DONTWAIT));
    EXPECT(memcmp(line, got, (size_t)length) == 0, "%s: '%s'", what, got);
}

static void check(void) {
    exchange("stream", stream);
    exchange("datagram", datagram);
    if (pair[0] >= 0)
        exchange("pair", pair[0]);
    expect_unix_name("server", stream, true, "server");
    expect_unix_name("own name", datagram, false, "client");
    EXPECT_EQ("flags of the pair", pair[0] < 0 ? -1 : O_RDWR | O_NONBLOCK, fcntl(pair[0], F_GETFL));
}

int main(int argc, char **argv) {
    workload_begin(argc, argv);
    pair[0] = pair[1] = -1;
    if (!workload_parameter(2, 0)) {
        MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
        MUST(fcntl(pair[0], F_SETFL, O_NONBLOCK));
    }
    start_server();
    stream = MUST(socket(AF_UNIX, SOCK_STREAM, 0));
    unix_connect(stream, "server");
    datagram = unix_bound(SOCK_DGRAM, "client");
    unix_connect(datagram, "datagrams");
    char path[PATH_MAX];
    workload_path(path, "numbers");
    FILE *numbers = fopen(path, "w");
    fprintf(numbers, "%d %d %d\n", stream, datagram, pair[0]);
    fclose(numbers);
    workload_live(check);
}
