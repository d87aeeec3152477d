// Options of sockets that the image format has no field for: of every kind, of IP, TCP, UDP and netlink. With the parameter 1
// an eBPF program filters what one of them receives.
#include "sockets.h"
#include <linux/bpf.h>
#include <linux/filter.h>
#include <linux/netlink.h>
#include <netinet/udp.h>

#ifndef UDPLITE_SEND_CSCOV
#define UDPLITE_SEND_CSCOV 10
#define UDPLITE_RECV_CSCOV 11
#endif

static int tcp, udp, udp6, netlink, local[2], lite;
static const char congestion[] = "reno";
// Record route: one slot, and padding.
static const unsigned char route[8] = {7, 7, 4, 0, 0, 0, 0, 0};

static const struct {
    const char *name;
    int *fd, level, option, value;
} options[] = {
    {"SO_TIMESTAMPING", &udp, SOL_SOCKET, 37, 1 << 3},
    {"SO_RXQ_OVFL", &udp, SOL_SOCKET, SO_RXQ_OVFL, 1},
    {"SO_SELECT_ERR_QUEUE", &udp, SOL_SOCKET, SO_SELECT_ERR_QUEUE, 1},
    {"SO_MAX_PACING_RATE", &tcp, SOL_SOCKET, SO_MAX_PACING_RATE, 123456},
    {"SO_ZEROCOPY", &tcp, SOL_SOCKET, SO_ZEROCOPY, 1},
    {"SO_LOCK_FILTER", &local[0], SOL_SOCKET, SO_LOCK_FILTER, 1},
    {"IP_RECVERR", &udp, IPPROTO_IP, IP_RECVERR, 1},
    {"IP_RETOPTS", &udp, IPPROTO_IP, IP_RETOPTS, 1},
    {"IP_PASSSEC", &udp, IPPROTO_IP, IP_PASSSEC, 1},
    {"IPV6_RECVPATHMTU", &udp6, IPPROTO_IPV6, IPV6_RECVPATHMTU, 1},
    {"IPV6_DONTFRAG", &udp6, IPPROTO_IPV6, IPV6_DONTFRAG, 1},
    {"IPV6_RECVORIGDSTADDR", &udp6, IPPROTO_IPV6, 74, 1},
    {"IPV6_MULTICAST_ALL", &udp6, IPPROTO_IPV6, 29, 0},
    {"TCP_MAXSEG", &tcp, IPPROTO_TCP, TCP_MAXSEG, 700},
    {"TCP_SAVE_SYN", &tcp, IPPROTO_TCP, TCP_SAVE_SYN, 1},
    {"TCP_INQ", &tcp, IPPROTO_TCP, TCP_INQ, 1},
    {"UDP_GRO", &udp, IPPROTO_UDP, UDP_GRO, 1},
    {"UDPLITE_SEND_CSCOV", &lite, 136, UDPLITE_SEND_CSCOV, 12},
    {"NETLINK_PKTINFO", &netlink, SOL_NETLINK, NETLINK_PKTINFO, 1},
    {"NETLINK_NO_ENOBUFS", &netlink, SOL_NETLINK, NETLINK_NO_ENOBUFS, 1},
    {"NETLINK_EXT_ACK", &netlink, SOL_NETLINK, NETLINK_EXT_ACK, 1},
    {"NETLINK_GET_STRICT_CHK", &netlink, SOL_NETLINK, NETLINK_GET_STRICT_CHK, 1},
};

enum { COUNT = sizeof options / sizeof *options };

static void check(void) {
    for (int i = 0; i < COUNT; i++)
        if (*options[i].fd >= 0)
            EXPECT_EQ(options[i].name, options[i].value, option(*options[i].fd, options[i].level, options[i].option));
    char name[16] = "";
    socklen_t length = sizeof name;
    EXPECT_EQ("TCP_CONGESTION", 0, getsockopt(tcp, IPPROTO_TCP, TCP_CONGESTION, name, &length));
    EXPECT_STR("TCP_CONGESTION", congestion, name);
    unsigned char got[64];
    length = sizeof got;
    EXPECT_EQ("IP_OPTIONS", 0, getsockopt(udp, IPPROTO_IP, IP_OPTIONS, got, &length));
    EXPECT_EQ("IP_OPTIONS", (int)sizeof route, (int)length);
    EXPECT(memcmp(route, got, sizeof route) == 0, "other IP_OPTIONS");
    EXPECT_EQ("type of netlink", SOCK_DGRAM, option(netlink, SOL_SOCKET, SO_TYPE));
    struct sock_fprog none = {0};
    EXPECT_EQ("a locked filter", -1, setsockopt(local[0], SOL_SOCKET, SO_DETACH_FILTER, &none, sizeof none));
    EXPECT_EQ("a locked filter", EPERM, errno);
}

static void attach_bpf(int fd) {
    struct bpf_insn all[] = {
        {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = 0xFFFF},
        {.code = BPF_JMP | BPF_EXIT},
    };
    union bpf_attr load = {.prog_type = BPF_PROG_TYPE_SOCKET_FILTER, .insns = (uintptr_t)all, .insn_cnt = 2, .license = (uintptr_t)"GPL"};
    int program = (int)syscall(SYS_bpf, BPF_PROG_LOAD, &load, sizeof load);
    if (program < 0)
        not_here("no eBPF for socket filters (errno %d)", errno);
    set_option(fd, SOL_SOCKET, SO_ATTACH_BPF, program);
    close(program);
}

int main(int argc, char **argv) {
    workload_begin(argc, argv);
    tcp = MUST(socket(AF_INET, SOCK_STREAM, 0));
    udp = MUST(socket(AF_INET, SOCK_DGRAM, 0));
    udp6 = MUST(socket(AF_INET6, SOCK_DGRAM, 0));
    lite = socket(AF_INET, SOCK_DGRAM, 136); // newer kernels have no UDP-Lite any more
    netlink = MUST(socket(AF_NETLINK, SOCK_DGRAM, NETLINK_ROUTE));
    MUST(socketpair(AF_UNIX, SOCK_DGRAM, 0, local));
    struct sock_filter all = BPF_STMT(BPF_RET | BPF_K, 0xFFFF);
    struct sock_fprog program = {1, &all};
    MUST(setsockopt(local[0], SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program));
    for (int i = 0; i < COUNT; i++)
        if (*options[i].fd >= 0)
            set_option(*options[i].fd, options[i].level, options[i].option, options[i].value);
    MUST(setsockopt(tcp, IPPROTO_TCP, TCP_CONGESTION, congestion, sizeof congestion - 1));
    MUST(setsockopt(udp, IPPROTO_IP, IP_OPTIONS, route, sizeof route));
    if (workload_parameter(1, 0))
        attach_bpf(udp6);
    workload_live(check);
}
