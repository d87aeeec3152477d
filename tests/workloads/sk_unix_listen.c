// Servers: listening with a name in the file system, relative, deleted and abstract; accepted connections with unread
// data; clients that wait to be accepted; who connected (SO_PEERCRED), another user among them.
#include "sockets.h"

static int server, accepted, client, relative, deleted, deleted_client, deleted_accepted, abstract, orphan, orphan_client;
static int waiting[2], waiting_server, user_client, user_accepted;
static pid_t leader;

static void check(void) {
    int fd;
    expect_unix_name("server's name", server, false, "server");
    expect_unix_name("accepted's name", accepted, false, "server");
    expect_unix_name("client's peer", client, true, "server");
    expect_unix_name("client's own", client, false, "");
    expect_peek("to the server", accepted, "to the server");
    expect_peek("to the client", client, "to the client");
    expect_credentials("server's view", accepted, leader, 0);
    expect_credentials("client's view", client, leader, 0);
    expect_credentials("server's view of another user", user_accepted, leader, 1234);
    EXPECT_EQ("SO_ACCEPTCONN", 1, option(server, SOL_SOCKET, SO_ACCEPTCONN));
    struct sockaddr_un address;
    socklen_t length = sizeof address;
    EXPECT_EQ("getsockname of the relative one", 0, getsockname(relative, (struct sockaddr *)&address, &length));
    EXPECT_STR("its name", "relative", address.sun_path);
    expect_unix_name("deleted server", deleted, false, "deleted");
    expect_unix_name("its client", deleted_client, true, "deleted");
    char path[PATH_MAX], byte;
    workload_path(path, "deleted");
    EXPECT(access(path, F_OK) != 0, "the deleted name is back");
    EXPECT_EQ("write to the deleted server's end", 1, write(deleted_client, "d", 1));
    EXPECT_EQ("read there", 1, read(deleted_accepted, &byte, 1));
    expect_unix_name("end of a closed server", orphan, false, "orphan");
    EXPECT_EQ("write from there", 1, write(orphan, "o", 1));
    EXPECT_EQ("read here", 1, read(orphan_client, &byte, 1));
    // New clients can come.
    static const char *const names[] = {"server", "relative", "@abstract"};
    int servers[] = {server, relative, abstract};
    for (int i = 0; i < 3; i++) {
        fd = socket(AF_UNIX, SOCK_STREAM, 0);
        length = unix_address(&address, names[i]);
        EXPECT(connect(fd, (struct sockaddr *)&address, length) == 0, "connect to %s: errno %d", names[i], errno);
        int end = accept4(servers[i], NULL, NULL, SOCK_NONBLOCK);
        EXPECT(end >= 0, "accept of %s: errno %d", names[i], errno);
        close(end);
        close(fd);
    }
    // Two wait; they are accepted, and two new ones wait.
    for (int i = 0; i < 2; i++) {
        int end = accept4(waiting_server, NULL, NULL, SOCK_NONBLOCK);
        EXPECT(end >= 0, "accept of waiting client %d: errno %d", i, errno);
        EXPECT_EQ("write to the waiting client", 1, write(end, "w", 1));
        EXPECT_EQ("read by it", 1, recv(waiting[i], &byte, 1, MSG_DONTWAIT));
        close(end);
        close(waiting[i]);
    }
    EXPECT(accept4(waiting_server, NULL, NULL, SOCK_NONBLOCK) == -1 && errno == EAGAIN, "a third client waits");
    for (int i = 0; i < 2; i++) {
        waiting[i] = MUST(socket(AF_UNIX, SOCK_STREAM, 0));
        unix_connect(waiting[i], "waiting");
    }
}

static int listener(const char *name) {
    int fd = unix_bound(SOCK_STREAM | SOCK_NONBLOCK, name);
    MUST(listen(fd, 5));
    return fd;
}

static void connection(const char *name, int from, int *near, int *far) {
    *near = MUST(socket(AF_UNIX, SOCK_STREAM, 0));
    unix_connect(*near, name);
    *far = MUST(accept(from, NULL, NULL));
}

int main(int argc, char **argv) {
    workload_begin(argc, argv);
    char path[PATH_MAX];
    leader = getpid();
    server = listener("server");
    connection("server", server, &client, &accepted);
    MUST(write(client, "to the server", 13));
    MUST(write(accepted, "to the client", 13));
    abstract = listener("@abstract");
    MUST(seteuid(1234));
    connection("@abstract", abstract, &user_client, &user_accepted);
    MUST(seteuid(0));
    MUST(prctl(PR_SET_DUMPABLE, 1));
    MUST(chdir(workload_dir));
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "relative"};
    relative = MUST(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0));
    MUST(bind(relative, (struct sockaddr *)&address, sizeof address));
    MUST(listen(relative, 3));
    MUST(chdir("/"));
    deleted = listener("deleted");
    connection("deleted", deleted, &deleted_client, &deleted_accepted);
    workload_path(path, "deleted");
    MUST(unlink(path));
    int closed = listener("orphan");
    connection("orphan", closed, &orphan_client, &orphan);
    close(closed);
    waiting_server = listener("waiting");
    for (int i = 0; i < 2; i++) {
        waiting[i] = MUST(socket(AF_UNIX, SOCK_STREAM, 0));
        unix_connect(waiting[i], "waiting");
    }
    workload_live(check);
}
