// Multicast groups of IPv4 and IPv6, with and without lists of senders, on the loopback interface: who has joined is told by
// the kernel, and who hears what is tried.
#include "sockets.h"
#include <net/if.h>

static int four, mapped, six, outsider, sender;
static unsigned int loopback;
static struct sockaddr_in four_name;

static struct group_filter *filter_of(const char *group) {
    static char bytes[GROUP_FILTER_SIZE(8)];
    memset(bytes, 0, sizeof bytes);
    struct group_filter *filter = (struct group_filter *)bytes;
    struct sockaddr_in *ipv4 = (struct sockaddr_in *)&filter->gf_group;
    struct sockaddr_in6 *ipv6 = (struct sockaddr_in6 *)&filter->gf_group;
    filter->gf_interface = loopback;
    filter->gf_numsrc = 8;
    if (inet_pton(AF_INET, group, &ipv4->sin_addr) == 1) {
        ipv4->sin_family = AF_INET;
    } else {
        inet_pton(AF_INET6, group, &ipv6->sin6_addr);
        ipv6->sin6_family = AF_INET6;
    }
    return filter;
}

static int level_of(const char *group) {
    return strchr(group, ':') == NULL ? IPPROTO_IP : IPPROTO_IPV6;
}

static void join(int fd, const char *group) {
    struct group_req request = {.gr_interface = loopback};
    memcpy(&request.gr_group, &filter_of(group)->gf_group, sizeof request.gr_group);
    MUST(setsockopt(fd, level_of(group), MCAST_JOIN_GROUP, &request, sizeof request));
}

static void set_source(int fd, const char *group, int option, const char *source) {
    struct group_source_req request = {.gsr_interface = loopback};
    memcpy(&request.gsr_source, &filter_of(source)->gf_group, sizeof request.gsr_source);
    memcpy(&request.gsr_group, &filter_of(group)->gf_group, sizeof request.gsr_group);
    MUST(setsockopt(fd, level_of(group), option, &request, sizeof request));
}

static void expect_group(const char *what, int fd, const char *group, unsigned int mode, unsigned int sources, const char *first) {
    struct group_filter *filter = filter_of(group);
    socklen_t length = GROUP_FILTER_SIZE(8);
    int result = getsockopt(fd, level_of(group), MCAST_MSFILTER, filter, &length);
    EXPECT(result == 0, "%s, %s: errno %d", what, group, errno);
    EXPECT_EQ(what, mode, filter->gf_fmode);
    EXPECT_EQ(what, sources, filter->gf_numsrc);
    struct sockaddr_storage got = filter->gf_slist[0];
    if (result == 0 && sources > 0)
        EXPECT(memcmp(&got, &filter_of(first)->gf_group, first[1] == ':' ? 24 : 8) == 0, "%s: another source", what);
}

static void expect_outside(const char *what, int fd, const char *group) {
    socklen_t length = GROUP_FILTER_SIZE(8);
    EXPECT_EQ(what, -1, getsockopt(fd, level_of(group), MCAST_MSFILTER, filter_of(group), &length));
}

// Only a socket that has joined the group, and keeps the sender in, hears it.
static void expect_heard(const char *what, const char *group, bool heard) {
    struct sockaddr_in to = four_name;
    char bytes[16];
    inet_pton(AF_INET, group, &to.sin_addr);
    EXPECT_EQ(what, 4, sendto(sender, "call", 4, 0, (struct sockaddr *)&to, sizeof to));
    EXPECT_EQ(what, heard ? 4 : -1, recv(four, bytes, sizeof bytes, MSG_DONTWAIT));
}

static void check(void) {
    expect_group("plain", four, "239.1.2.3", MCAST_EXCLUDE, 0, NULL);
    expect_group("two senders let in", four, "232.7.7.7", MCAST_INCLUDE, 2, "127.0.0.1");
    expect_group("one let in, who does not send", four, "232.7.7.8", MCAST_INCLUDE, 1, "10.9.8.7");
    expect_group("one sender kept out", four, "239.4.4.4", MCAST_EXCLUDE, 1, "127.0.0.1");
    expect_group("IPv4 of IPv6", mapped, "239.1.2.3", MCAST_EXCLUDE, 0, NULL);
    expect_group("IPv6", six, "ff02::1234", MCAST_EXCLUDE, 0, NULL);
    expect_group("IPv6 with senders", six, "ff35::77", MCAST_INCLUDE, 1, "2001:db8::1");
    expect_outside("another socket", outsider, "239.1.2.3");
    expect_outside("another socket", four, "224.0.0.1");
    expect_outside("another socket", mapped, "ff02::1234");
    expect_outside("everyone's group", six, "ff02::1");
    EXPECT_EQ("IP_MULTICAST_TTL", 3, option(sender, IPPROTO_IP, IP_MULTICAST_TTL));
    EXPECT_EQ("IP_MULTICAST_IF", htonl(INADDR_LOOPBACK), (unsigned int)option(sender, IPPROTO_IP, IP_MULTICAST_IF));
    EXPECT_EQ("IP_MULTICAST_ALL", 0, option(four, IPPROTO_IP, IP_MULTICAST_ALL));
    EXPECT_EQ("IPV6_MULTICAST_IF", loopback, (unsigned int)option(six, IPPROTO_IPV6, IPV6_MULTICAST_IF));
    expect_heard("plain", "239.1.2.3", true);
    expect_heard("let in", "232.7.7.7", true);
    expect_heard("not let in", "232.7.7.8", false);
    expect_heard("kept out", "239.4.4.4", false);
    expect_heard("not joined", "239.5.5.5", false);
}

int main(int argc, char **argv) {
    workload_begin(argc, argv);
    loopback = if_nametoindex("lo");
    four_name.sin_family = AF_INET;
    socklen_t length = sizeof four_name;
    four = MUST(socket(AF_INET, SOCK_DGRAM, 0));
    MUST(bind(four, (struct sockaddr *)&four_name, length));
    MUST(getsockname(four, (struct sockaddr *)&four_name, &length));
    set_option(four, IPPROTO_IP, IP_MULTICAST_ALL, 0);
    join(four, "239.1.2.3");
    set_source(four, "232.7.7.7", MCAST_JOIN_SOURCE_GROUP, "127.0.0.1");
    set_source(four, "232.7.7.7", MCAST_JOIN_SOURCE_GROUP, "10.9.8.7");
    set_source(four, "232.7.7.8", MCAST_JOIN_SOURCE_GROUP, "10.9.8.7");
    join(four, "239.4.4.4");
    set_source(four, "239.4.4.4", MCAST_BLOCK_SOURCE, "127.0.0.1");
    mapped = MUST(socket(AF_INET6, SOCK_DGRAM, 0));
    join(mapped, "239.1.2.3");
    six = MUST(socket(AF_INET6, SOCK_DGRAM, 0));
    join(six, "ff02::1234");
    set_source(six, "ff35::77", MCAST_JOIN_SOURCE_GROUP, "2001:db8::1");
    set_option(six, IPPROTO_IPV6, IPV6_MULTICAST_IF, (int)loopback);
    outsider = MUST(socket(AF_INET, SOCK_DGRAM, 0));
    sender = MUST(socket(AF_INET, SOCK_DGRAM, 0));
    struct in_addr interface = {htonl(INADDR_LOOPBACK)};
    MUST(setsockopt(sender, IPPROTO_IP, IP_MULTICAST_IF, &interface, sizeof interface));
    set_option(sender, IPPROTO_IP, IP_MULTICAST_TTL, 3);
    workload_live(check);
}
