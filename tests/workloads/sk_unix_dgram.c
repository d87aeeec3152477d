// Datagram and sequenced-packet sockets: message boundaries, senders' names, abstract names, connected and not.
#include "sockets.h"

static int pair[2], packets[2], server, client, abstract_server, abstract_client, widow;

static void check(void) {
    char text[64];
    expect_receive("first", pair[1], "one");
    expect_receive("second", pair[1], "three");
    expect_receive("third", pair[1], "fourth!");
    expect_receive("packet", packets[1], "seq1");
    expect_receive("packet", packets[1], "packet2");
    EXPECT_EQ("end of the packets", 0, recv(packets[1], text, sizeof text, MSG_DONTWAIT));
    struct sockaddr_un from, expected;
    socklen_t length = sizeof from, wanted = unix_address(&expected, "client");
    EXPECT_EQ("datagram", 2, recvfrom(server, text, sizeof text, MSG_DONTWAIT, (struct sockaddr *)&from, &length));
    EXPECT_EQ("length of the sender's name", wanted, length);
    EXPECT(memcmp(&expected, &from, wanted) == 0, "sender's name: '%s'", from.sun_path);
    expect_receive("abstract", abstract_server, "dg");
    expect_receive("abstract", abstract_server, "dg2");
    expect_unix_name("own name", server, false, "server");
    expect_unix_name("client's name", client, false, "client");
    expect_unix_name("abstract name", abstract_server, false, "@server");
    expect_unix_name("peer's name", abstract_client, true, "@server");
    // The first sending would tell ECONNREFUSED, and end the connection.
    length = sizeof from;
    EXPECT_EQ("connected to a closed peer", 0, getpeername(widow, (struct sockaddr *)&from, &length));
    // Everything goes on working, and stands as before.
    EXPECT_EQ("send", 3, send(pair[0], "one", 3, 0));
    EXPECT_EQ("send", 5, send(pair[0], "three", 5, 0));
    EXPECT_EQ("send", 7, send(pair[0], "fourth!", 7, 0));
    EXPECT_EQ("back", 1, send(pair[1], "b", 1, 0));
    expect_receive("back", pair[0], "b");
    length = unix_address(&expected, "server");
    EXPECT_EQ("send by name", 2, sendto(client, "dg", 2, 0, (struct sockaddr *)&expected, length));
    EXPECT_EQ("send to abstract", 2, send(abstract_client, "dg", 2, 0));
    EXPECT_EQ("send to abstract", 3, send(abstract_client, "dg2", 3, 0));
    struct stat file;
    char path[PATH_MAX];
    workload_path(path, "server");
    EXPECT_EQ("stat", 0, stat(path, &file));
    EXPECT_EQ("mode of the file", S_IFSOCK | 0620, file.st_mode);
    EXPECT_EQ("owner of the file", 7, file.st_uid);
    // Packets cannot be sent again over the shut end: a new pair.
    close(packets[0]);
    close(packets[1]);
    MUST(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, packets));
    MUST(write(packets[0], "seq1", 4));
    MUST(write(packets[0], "packet2", 7));
    MUST(shutdown(packets[0], SHUT_WR));
}

int main(int argc, char **argv) {
    workload_begin(argc, argv);
    char path[PATH_MAX];
    int gone[2];
    struct sockaddr_un address;
    socklen_t length;
    MUST(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair));
    MUST(write(pair[0], "one", 3));
    MUST(write(pair[0], "three", 5));
    MUST(write(pair[0], "fourth!", 7));
    MUST(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, packets));
    MUST(write(packets[0], "seq1", 4));
    MUST(write(packets[0], "packet2", 7));
    MUST(shutdown(packets[0], SHUT_WR));
    server = unix_bound(SOCK_DGRAM, "server");
    workload_path(path, "server");
    MUST(chown(path, 7, 0));
    MUST(chmod(path, 0620));
    client = unix_bound(SOCK_DGRAM, "client");
    length = unix_address(&address, "server");
    MUST(sendto(client, "dg", 2, 0, (struct sockaddr *)&address, length));
    abstract_server = unix_bound(SOCK_DGRAM, "@server");
    abstract_client = MUST(socket(AF_UNIX, SOCK_DGRAM, 0));
    unix_connect(abstract_client, "@server");
    MUST(write(abstract_client, "dg", 2));
    MUST(write(abstract_client, "dg2", 3));
    MUST(socketpair(AF_UNIX, SOCK_DGRAM, 0, gone));
    close(gone[0]);
    widow = gone[1];
    workload_live(check);
}
