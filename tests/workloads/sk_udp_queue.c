// UDP sockets with datagrams that nobody has read: each comes back once, in order, from the same sender: of IPv4 and IPv6 on
// bound, connected, shared (SO_REUSEPORT) and wildcard sockets, empty ones and large ones. They are read and sent again in
// each round. With the parameter 1 one more socket holds an unfinished datagram back (MSG_MORE).
#include "sockets.h"
#include <netinet/udp.h>

enum { SENDERS = 6, LARGE = 20000 };

static int server, any, connected, peeking, told, shared[2], senders[SENDERS], sender6;
static struct sockaddr_in server_name, connected_name, peeking_name, told_name, shared_name, sender_names[SENDERS];
static struct sockaddr_in6 any_name, sender6_name;
static int shared_count[2];
static char large[LARGE];

static int bound4(struct sockaddr_in *name, in_addr_t address, bool reuse) {
    int fd = MUST(socket(AF_INET, SOCK_DGRAM, 0));
    if (reuse)
        set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    name->sin_family = AF_INET;
    name->sin_addr.s_addr = htonl(address);
    socklen_t length = sizeof *name;
    MUST(bind(fd, (struct sockaddr *)name, length));
    MUST(getsockname(fd, (struct sockaddr *)name, &length));
    return fd;
}

static int bound6(struct sockaddr_in6 *name, struct in6_addr address) {
    int fd = MUST(socket(AF_INET6, SOCK_DGRAM, 0));
    name->sin6_family = AF_INET6;
    name->sin6_addr = address;
    socklen_t length = sizeof *name;
    MUST(bind(fd, (struct sockaddr *)name, length));
    MUST(getsockname(fd, (struct sockaddr *)name, &length));
    return fd;
}

static void send4(int from, const void *data, size_t size, const struct sockaddr_in *to, in_addr_t address) {
    struct sockaddr_in name = *to;
    name.sin_addr.s_addr = htonl(address);
    EXPECT_EQ("send", (long)size, sendto(from, data, size, 0, (struct sockaddr *)&name, sizeof name));
}

static void fill(void) {
    send4(senders[0], "first", 5, &server_name, INADDR_LOOPBACK);
    send4(senders[1], "", 0, &server_name, INADDR_LOOPBACK);
    send4(senders[1], large, LARGE, &server_name, INADDR_LOOPBACK);
    send4(senders[0], "last", 4, &server_name, INADDR_LOOPBACK);
    struct sockaddr_in four = {.sin_port = any_name.sin6_port, .sin_family = AF_INET};
    send4(senders[2], "four", 4, &four, INADDR_LOOPBACK);
    struct sockaddr_in6 six = any_name;
    six.sin6_addr = in6addr_loopback;
    EXPECT_EQ("send", 3, sendto(sender6, "six", 3, 0, (struct sockaddr *)&six, sizeof six));
    EXPECT_EQ("send", 5, sendto(sender6, "again", 5, 0, (struct sockaddr *)&six, sizeof six));
    send4(senders[3], "connected", 9, &connected_name, INADDR_LOOPBACK);
    send4(senders[0], "peek", 4, &peeking_name, INADDR_LOOPBACK);
    send4(senders[1], "peek again", 10, &peeking_name, INADDR_LOOPBACK);
    send4(senders[4], "told", 4, &told_name, INADDR_LOOPBACK + 1);
    for (int i = 0; i < SENDERS; i++)
        send4(senders[i], "shared", 6, &shared_name, INADDR_LOOPBACK);
}

static void expect_from(const char *what, int fd, const void *data, size_t size, const void *name, socklen_t length) {
    static char got[LARGE + 1];
    struct sockaddr_storage from;
    socklen_t from_length = sizeof from;
    ssize_t received = recvfrom(fd, got, sizeof got, MSG_DONTWAIT, (struct sockaddr *)&from, &from_length);
    EXPECT_EQ(what, (long)size, received);
    EXPECT(received < 0 || memcmp(got, data, size) == 0, "%s: other bytes", what);
    EXPECT(received < 0 || (from_length == length && memcmp(&from, name, length) == 0), "%s: another sender", what);
}

static void expect_4(const char *what, int fd, const void *data, size_t size, int sender) {
    expect_from(what, fd, data, size, &sender_names[sender], sizeof sender_names[sender]);
}

static void expect_none(const char *what, int fd) {
    char byte;
    EXPECT_EQ(what, -1, recv(fd, &byte, 1, MSG_DONTWAIT));
    EXPECT_EQ(what, EAGAIN, errno);
}

static void expect_told(void) {
    char data[16];
    struct iovec vector = {data, sizeof data};
    union {
        char bytes[256];
        struct cmsghdr align;
    } control;
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    EXPECT_EQ("told", 4, recvmsg(told, &message, MSG_DONTWAIT));
    int ttl = -1;
    struct in_addr to = {0};
    for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header != NULL; header = CMSG_NXTHDR(&message, header)) {
        if (header->cmsg_type == IP_TTL)
            memcpy(&ttl, CMSG_DATA(header), sizeof ttl);
        if (header->cmsg_type == IP_PKTINFO)
            to = ((struct in_pktinfo *)CMSG_DATA(header))->ipi_addr;
    }
    EXPECT_EQ("time to live", 33, ttl);
    EXPECT_EQ("destination", INADDR_LOOPBACK + 1, ntohl(to.s_addr));
}

static void check(void) {
    expect_4("first", server, "first", 5, 0);
    expect_4("empty", server, "", 0, 1);
    expect_4("large", server, large, LARGE, 1);
    expect_4("last", server, "last", 4, 0);
    struct sockaddr_in6 mapped = {.sin6_family = AF_INET6, .sin6_port = sender_names[2].sin_port};
    memcpy(&mapped.sin6_addr.s6_addr[10], "\377\377\177\0\0\1", 6);
    expect_from("IPv4 on IPv6", any, "four", 4, &mapped, sizeof mapped);
    expect_from("IPv6", any, "six", 3, &sender6_name, sizeof sender6_name);
    expect_from("IPv6 again", any, "again", 5, &sender6_name, sizeof sender6_name);
    expect_4("connected", connected, "connected", 9, 3);
    EXPECT_EQ("SO_PEEK_OFF", 0, option(peeking, SOL_SOCKET, SO_PEEK_OFF));
    expect_4("peek", peeking, "peek", 4, 0);
    expect_4("peek again", peeking, "peek again", 10, 1);
    expect_told();
    for (int i = 0; i < 2; i++) {
        for (int j = 0; j < shared_count[i]; j++)
            expect_receive("shared", shared[i], "shared");
        expect_none("shared", shared[i]);
    }
    int all[] = {server, any, connected, peeking, told};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        expect_none("nothing more", all[i]);
    fill();
}

int main(int argc, char **argv) {
    workload_begin(argc, argv);
    for (int i = 0; i < LARGE; i++)
        large[i] = (char)(i * 7);
    for (int i = 0; i < SENDERS; i++)
        senders[i] = bound4(&sender_names[i], INADDR_LOOPBACK, false);
    set_option(senders[4], IPPROTO_IP, IP_TTL, 33);
    sender6 = bound6(&sender6_name, in6addr_loopback);
    server = bound4(&server_name, INADDR_LOOPBACK, false);
    any = bound6(&any_name, in6addr_any);
    connected = bound4(&connected_name, INADDR_LOOPBACK, false);
    MUST(connect(connected, (struct sockaddr *)&sender_names[3], sizeof sender_names[3]));
    peeking = bound4(&peeking_name, INADDR_LOOPBACK, false);
    set_option(peeking, SOL_SOCKET, SO_PEEK_OFF, 0);
    told = bound4(&told_name, INADDR_ANY, false);
    set_option(told, IPPROTO_IP, IP_PKTINFO, 1);
    set_option(told, IPPROTO_IP, IP_RECVTTL, 1);
    for (int i = 0; i < 2; i++)
        shared[i] = bound4(&shared_name, INADDR_LOOPBACK, true);
    fill();
    for (int i = 0; i < 2; i++) {
        char bytes[16];
        while (recv(shared[i], bytes, sizeof bytes, MSG_DONTWAIT) > 0)
            shared_count[i]++;
    }
    for (int i = 0; i < SENDERS; i++)
        send4(senders[i], "shared", 6, &shared_name, INADDR_LOOPBACK);
    if (workload_parameter(1, 0)) {
        int corked = MUST(socket(AF_INET, SOCK_DGRAM, 0));
        MUST(sendto(corked, "begun", 5, MSG_MORE, (struct sockaddr *)&server_name, sizeof server_name));
    }
    workload_live(check);
}
