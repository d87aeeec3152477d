// inotify: watches with their descriptors (with a gap between them), masks, and that events come; the queue is empty
// at the dump.
#include "workload.h"
#include <sys/inotify.h>

static int notify, directory_watch, file_watch, second_watch;
static char directory[PATH_MAX], file[PATH_MAX];

static void expect_event(int watch, unsigned mask, const char *name) {
    char buffer[4096] __attribute__((aligned(8)));
    ssize_t got = read(notify, buffer, sizeof buffer);
    if (got < (ssize_t)sizeof(struct inotify_event)) {
        fail("no event 0x%x of watch %d: %s", mask, watch, strerror(errno));
        return;
    }
    bool found = false;
    for (char *at = buffer; at < buffer + got;) {
        struct inotify_event *event = (struct inotify_event *)at;
        found |= event->wd == watch && (event->mask & mask) &&
                 strcmp(event->len ? event->name : "", name) == 0;
        at += sizeof *event + event->len;
    }
    EXPECT(found, "event 0x%x of watch %d, '%s', did not come", mask, watch, name);
}

static void check(void) {
    char path[PATH_MAX + 16], text[4096], line[128];
    EXPECT_EQ("flags", O_RDONLY | O_NONBLOCK, fcntl(notify, F_GETFL) & ~0100000);
    EXPECT(read(notify, text, sizeof text) == -1 && errno == EAGAIN, "the queue was empty and is not");
    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", notify);
    read_text(path, text, sizeof text);
    const int watches[] = {directory_watch, file_watch, second_watch};
    for (size_t i = 0; i < COUNT(watches); i++) {
        snprintf(line, sizeof line, "inotify wd:%x ", watches[i]);
        EXPECT(strstr(text, line) != NULL, "watch %d is missing", watches[i]);
    }
    snprintf(path, sizeof path, "%s/new", directory);
    close(open(path, O_WRONLY | O_CREAT, 0600));
    expect_event(directory_watch, IN_CREATE, "new");
    unlink(path);
    expect_event(directory_watch, IN_DELETE, "new");
    int fd = open(file, O_WRONLY | O_CLOEXEC);
    EXPECT_EQ("write", 1, pwrite(fd, "y", 1, 0));
    expect_event(file_watch, IN_MODIFY, "");
    close(fd);
    chmod(directory, 0711);
    expect_event(second_watch, IN_ATTRIB, "");
    chmod(directory, 0700);
    while (read(notify, text, sizeof text) > 0)
        ;
}

int main(int argc, char **argv) {
    workload_begin(argc, argv);
    char text[4096];
    workload_path(directory, "watched");
    MUST(mkdir(directory, 0700));
    workload_path(file, "file");
    close(MUST(open(file, O_WRONLY | O_CREAT, 0600)));
    notify = MUST(inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
    directory_watch = MUST(inotify_add_watch(notify, directory, IN_CREATE | IN_DELETE));
    int gap = MUST(inotify_add_watch(notify, "/tmp", IN_CREATE));
    file_watch = MUST(inotify_add_watch(notify, file, IN_MODIFY | IN_OPEN));
    MUST(inotify_rm_watch(notify, gap));
    second_watch = MUST(inotify_add_watch(notify, directory, IN_ATTRIB | IN_MASK_ADD));
    while (read(notify, text, sizeof text) > 0)
        ;
    workload_live(check);
}
