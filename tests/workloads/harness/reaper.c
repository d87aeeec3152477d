// Runs a command and reaps at once whatever orphans its descendants leave behind: a process that was dumped and killed
// must be gone, not a zombie, before its number can be had again, and not every init is quick.
// Descriptors that the caller leaked stay out: they would be part of every program under test.
//   usage: reaper COMMAND [ARGUMENT…]      exits as the command does
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv) {
    if (argc < 2 || prctl(PR_SET_CHILD_SUBREAPER, 1) != 0) {
        fprintf(stderr, "usage: reaper COMMAND [ARGUMENT...]\n");
        return 2;
    }
    close_range(3, ~0U, 0);
    pid_t command = fork();
    if (command == 0) {
        execvp(argv[1], argv + 1);
        fprintf(stderr, "reaper: %s: %s\n", argv[1], strerror(errno));
        _exit(127);
    }
    for (;;) {
        int status;
        pid_t ended = wait(&status);
        if (ended == command)
            return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        if (ended < 0 && errno != EINTR)
            return 2;
    }
}
