// What the workloads with sockets share.
#ifndef SOCKETS_H
#define SOCKETS_H
#include "workload.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>

__attribute__((unused)) static socklen_t unix_address(struct sockaddr_un *address, const char *name) {
    memset(address, 0, sizeof *address);
    address->sun_family = AF_UNIX;
    if (name[0] == '@') { // abstract, made unique by the directory's name
        int length = snprintf(address->sun_path + 1, sizeof address->sun_path - 1, "%s%s", workload_dir, name);
        return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)length);
    }
    int length = snprintf(address->sun_path, sizeof address->sun_path, "%s/%s", workload_dir, name);
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)length);
}

__attribute__((unused)) static int unix_bound(int type, const char *name) {
    struct sockaddr_un address;
    socklen_t length = unix_address(&address, name);
    int fd = MUST(socket(AF_UNIX, type, 0));
    MUST(bind(fd, (struct sockaddr *)&address, length));
    return fd;
}

__attribute__((unused)) static void unix_connect(int fd, const char *name) {
    struct sockaddr_un address;
    socklen_t length = unix_address(&address, name);
    MUST(connect(fd, (struct sockaddr *)&address, length));
}

// Expects a name of a socket, or of its peer; "" for none.
__attribute__((unused)) static void expect_unix_name(const char *what, int fd, bool peer, const char *name) {
    struct sockaddr_un expected, got;
    socklen_t length = sizeof got, wanted = name[0] == 0 ? 2 : unix_address(&expected, name);
    int result = peer ? getpeername(fd, (struct sockaddr *)&got, &length) : getsockname(fd, (struct sockaddr *)&got, &length);
    EXPECT(result == 0, "%s: errno %d", what, errno);
    EXPECT_EQ(what, wanted, length);
    if (name[0] != 0 && wanted == length)
        EXPECT(memcmp(expected.sun_path, got.sun_path, length - 2) == 0, "%s: '%s'", what, got.sun_path + (name[0] == '@'));
}

__attribute__((unused)) static void expect_credentials(const char *what, int fd, pid_t pid, uid_t uid) {
    struct ucred peer = {0};
    socklen_t length = sizeof peer;
    EXPECT_EQ(what, 0, getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length));
    EXPECT_EQ(what, pid, peer.pid);
    EXPECT_EQ(what, uid, peer.uid);
}

__attribute__((unused)) static int option(int fd, int level, int name) {
    int value = -12345;
    socklen_t length = sizeof value;
    getsockopt(fd, level, name, &value, &length);
    return value;
}

__attribute__((unused)) static void set_option(int fd, int level, int name, int value) {
    MUST(setsockopt(fd, level, name, &value, sizeof value));
}

// Expects the next bytes or message of a queue, without taking them.
__attribute__((unused)) static void expect_peek(const char *what, int fd, const char *data) {
    char got[512];
    ssize_t length = recv(fd, got, sizeof got, MSG_PEEK | MSG_DONTWAIT);
    EXPECT_EQ(what, strlen(data), length);
    EXPECT(length < 0 || memcmp(got, data, strlen(data)) == 0, "%s: '%.*s'", what, (int)length, got);
}

// Takes the next message and expects it.
__attribute__((unused)) static void expect_receive(const char *what, int fd, const char *data) {
    char got[512];
    ssize_t length = recv(fd, got, sizeof got, MSG_DONTWAIT);
    EXPECT_EQ(what, strlen(data), length);
    EXPECT(length < 0 || memcmp(got, data, strlen(data)) == 0, "%s: '%.*s'", what, (int)length, got);
}

__attribute__((unused)) static void send_descriptor(int fd, const char *data, int passed) {
    struct iovec vector = {(void *)data, strlen(data)};
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control;
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    *header = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
    memcpy(CMSG_DATA(header), &passed, sizeof passed);
    MUST(sendmsg(fd, &message, 0));
}

// Receives data with a descriptor; -1 where none came.
__attribute__((unused)) static int receive_descriptor(const char *what, int fd, size_t size, const char *data) {
    char got[512];
    struct iovec vector = {got, size};
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control;
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    ssize_t length = recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    EXPECT_EQ(what, strlen(data), length);
    EXPECT(length < 0 || memcmp(got, data, strlen(data)) == 0, "%s: '%.*s'", what, (int)length, got);
    struct cmsghdr *header = length < 0 ? NULL : CMSG_FIRSTHDR(&message);
    int passed = -1;
    if (header != NULL && header->cmsg_type == SCM_RIGHTS)
        memcpy(&passed, CMSG_DATA(header), sizeof passed);
    return passed;
}

#endif
