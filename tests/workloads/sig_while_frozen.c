// Signals that are sent while a dump has the program stand still: each comes, once, when it goes on. Whoever sends one adds
// a line to the file "sent".
#include "workload.h"

static atomic_int came;

static void on_usr1(int number) {
    (void)number;
    came++;
}

static void check(void) {
    char path[PATH_MAX], text[4096];
    workload_path(path, "sent");
    read_text(path, text, sizeof text);
    int sent = 0;
    for (char *at = text; *at != 0; at++)
        sent += *at == '\n';
    EXPECT_EQ("signals that came", sent, came);
}

int main(int argc, char **argv) {
    workload_begin(argc, argv);
    struct sigaction action = {.sa_handler = on_usr1, .sa_flags = SA_RESTART};
    MUST(sigaction(SIGUSR1, &action, NULL));
    workload_live(check);
}
