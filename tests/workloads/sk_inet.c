// TCP servers, bound and unbound TCP sockets, UDP sockets connected and not, IPv4 and IPv6, with their options; a route
// netlink socket. Everything is used again afterwards.
#include "sockets.h"
#include <linux/filter.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>

static int server4, server6, bound, unbound, udp_server, udp_client, udp6, reuse[2], netlink;
static struct sockaddr_in server4_name, bound_name, udp_name;
static struct sockaddr_in6 server6_name, udp6_name;
static int sent_buffer;
static struct sock_filter filter[] = {
    BPF_STMT(BPF_LD | BPF_W | BPF_LEN, 0),
    BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 4, 0, 1),
    BPF_STMT(BPF_RET | BPF_K, 0xFFFF),
    BPF_STMT(BPF_RET | BPF_K, 0),
};

static void expect_name(const char *what, int fd, const void *name, size_t size) {
    struct sockaddr_storage got;
    socklen_t length = sizeof got;
    EXPECT_EQ(what, 0, getsockname(fd, (struct sockaddr *)&got, &length));
    EXPECT_EQ(what, size, length);
    EXPECT(memcmp(name, &got, size) == 0, "%s: another name", what);
}

static void connect_once(const char *what, int server, const void *name, socklen_t length) {
    int fd = socket(((const struct sockaddr *)name)->sa_family, SOCK_STREAM, 0);
    EXPECT(connect(fd, name, length) == 0, "%s: connect gives errno %d", what, errno);
    EXPECT_EQ(what, 1, send(fd, "x", 1, MSG_NOSIGNAL));
    struct pollfd waiting = {server, POLLIN, 0};
    poll(&waiting, 1, 5000);
    int end = accept(server, NULL, NULL);
    EXPECT(end >= 0, "%s: accept gives errno %d", what, errno);
    // The client resets the connection, so that nothing lingers.
    struct linger reset = {1, 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    close(fd);
    close(end);
}

static void check(void) {
    char text[64];
    expect_name("IPv4 server", server4, &server4_name, sizeof server4_name);
    expect_name("IPv6 server", server6, &server6_name, sizeof server6_name);
    expect_name("bound", bound, &bound_name, sizeof bound_name);
    expect_name("UDP", udp_server, &udp_name, sizeof udp_name);
    expect_name("UDP of IPv6", udp6, &udp6_name, sizeof udp6_name);
    EXPECT_EQ("TCP_NODELAY", 1, option(server4, IPPROTO_TCP, TCP_NODELAY));
    EXPECT_EQ("TCP_KEEPIDLE", 77, option(server4, IPPROTO_TCP, TCP_KEEPIDLE));
    EXPECT_EQ("SO_KEEPALIVE", 1, option(server4, SOL_SOCKET, SO_KEEPALIVE));
    EXPECT_EQ("SO_REUSEADDR", 1, option(server4, SOL_SOCKET, SO_REUSEADDR));
    EXPECT_EQ("SO_REUSEADDR of the other", 0, option(server6, SOL_SOCKET, SO_REUSEADDR));
    EXPECT_EQ("SO_SNDBUF", sent_buffer, option(server4, SOL_SOCKET, SO_SNDBUF));
    EXPECT_EQ("O_NONBLOCK", O_RDWR | O_NONBLOCK, fcntl(server4, F_GETFL));
    EXPECT_EQ("IPV6_V6ONLY", 1, option(server6, IPPROTO_IPV6, IPV6_V6ONLY));
    EXPECT_EQ("IP_FREEBIND", 1, option(bound, IPPROTO_IP, IP_FREEBIND));
    EXPECT_EQ("IP_TOS", 0x10, option(udp_server, IPPROTO_IP, IP_TOS));
    EXPECT_EQ("IP_PKTINFO", 1, option(udp_server, IPPROTO_IP, IP_PKTINFO));
    EXPECT_EQ("SO_BROADCAST", 1, option(udp_client, SOL_SOCKET, SO_BROADCAST));
    EXPECT_EQ("SO_REUSEPORT", 1, option(reuse[0], SOL_SOCKET, SO_REUSEPORT));
    EXPECT_EQ("type", SOCK_STREAM, option(unbound, SOL_SOCKET, SO_TYPE));
    if (workload_parameter(1, 0)) {
        EXPECT_EQ("TCP_DEFER_ACCEPT", 3, option(server6, IPPROTO_TCP, TCP_DEFER_ACCEPT));
        EXPECT_EQ("TCP_USER_TIMEOUT", 4321, option(server6, IPPROTO_TCP, TCP_USER_TIMEOUT));
    }
    struct sock_filter got[8];
    socklen_t instructions = 8; // counted as such, not in bytes
    EXPECT_EQ("SO_GET_FILTER", 0, getsockopt(udp6, SOL_SOCKET, SO_GET_FILTER, got, &instructions));
    EXPECT_EQ("SO_GET_FILTER", 4, (int)instructions);
    EXPECT(memcmp(filter, got, sizeof filter) == 0, "another filter");
    connect_once("IPv4 server", server4, &server4_name, sizeof server4_name);
    struct sockaddr_in6 loopback = server6_name;
    loopback.sin6_addr = in6addr_loopback;
    connect_once("IPv6 server", server6, &loopback, sizeof loopback);
    EXPECT_EQ("UDP", 3, send(udp_client, "udp", 3, 0));
    EXPECT_EQ("UDP", 3, recv(udp_server, text, sizeof text, 0));
    struct {
        struct nlmsghdr header;
        struct rtgenmsg body;
    } request = {{sizeof request, RTM_GETLINK, NLM_F_REQUEST | NLM_F_DUMP, 1, 0}, {AF_UNSPEC}};
    static char answer[65536];
    EXPECT_EQ("netlink", (int)sizeof request, send(netlink, &request, sizeof request, 0));
    bool done = false;
    while (!done) {
        ssize_t length = recv(netlink, answer, sizeof answer, 0);
        if (length < 16)
            break;
        for (struct nlmsghdr *message = (struct nlmsghdr *)answer; NLMSG_OK(message, (unsigned)length);
             message = NLMSG_NEXT(message, length))
            done |= message->nlmsg_type == NLMSG_DONE || message->nlmsg_type == NLMSG_ERROR;
    }
    EXPECT(done, "netlink does not answer");
}

static int inet(int family, int type, void *name, socklen_t length, int level, int value) {
    int fd = MUST(socket(family, type, 0));
    if (level >= 0)
        set_option(fd, level, value, 1);
    ((struct sockaddr *)name)->sa_family = (sa_family_t)family;
    MUST(bind(fd, name, length));
    MUST(getsockname(fd, name, &length));
    return fd;
}

int main(int argc, char **argv) {
    workload_begin(argc, argv);
    server4_name.sin_addr.s_addr = bound_name.sin_addr.s_addr = udp_name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    udp6_name.sin6_addr = in6addr_loopback;
    server4 = inet(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, &server4_name, sizeof server4_name, SOL_SOCKET, SO_REUSEADDR);
    MUST(listen(server4, 7));
    set_option(server4, IPPROTO_TCP, TCP_NODELAY, 1);
    set_option(server4, IPPROTO_TCP, TCP_KEEPIDLE, 77);
    set_option(server4, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_option(server4, SOL_SOCKET, SO_SNDBUF, 40000);
    sent_buffer = option(server4, SOL_SOCKET, SO_SNDBUF);
    server6 = inet(AF_INET6, SOCK_STREAM, &server6_name, sizeof server6_name, IPPROTO_IPV6, IPV6_V6ONLY);
    if (workload_parameter(1, 0)) {
        set_option(server6, IPPROTO_TCP, TCP_DEFER_ACCEPT, 3);
        set_option(server6, IPPROTO_TCP, TCP_USER_TIMEOUT, 4321);
    }
    MUST(listen(server6, 9));
    bound = inet(AF_INET, SOCK_STREAM, &bound_name, sizeof bound_name, IPPROTO_IP, IP_FREEBIND);
    unbound = MUST(socket(AF_INET, SOCK_STREAM, 0));
    udp_server = inet(AF_INET, SOCK_DGRAM, &udp_name, sizeof udp_name, IPPROTO_IP, IP_PKTINFO);
    set_option(udp_server, IPPROTO_IP, IP_TOS, 0x10);
    udp_client = MUST(socket(AF_INET, SOCK_DGRAM, 0));
    set_option(udp_client, SOL_SOCKET, SO_BROADCAST, 1);
    MUST(connect(udp_client, (struct sockaddr *)&udp_name, sizeof udp_name));
    udp6 = inet(AF_INET6, SOCK_DGRAM, &udp6_name, sizeof udp6_name, -1, 0);
    struct sock_fprog program = {4, filter};
    MUST(setsockopt(udp6, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program));
    struct sockaddr_in shared = {.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    for (int i = 0; i < 2; i++) {
        reuse[i] = inet(AF_INET, SOCK_STREAM, &shared, sizeof shared, SOL_SOCKET, SO_REUSEPORT);
        MUST(listen(reuse[i], 5));
    }
    netlink = MUST(socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE));
    struct sockaddr_nl route = {.nl_family = AF_NETLINK};
    MUST(bind(netlink, (struct sockaddr *)&route, sizeof route));
    workload_live(check);
}
