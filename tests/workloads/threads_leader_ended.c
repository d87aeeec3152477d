// A process whose main thread has ended alone (pthread_exit) while another thread goes on.
#include "workload.h"

static pid_t tid;
static pthread_mutex_t checked;

static void check(void) {
    char path[64], text[64];
    snprintf(path, sizeof path, "/proc/%d/status", (int)getpid());
    status_field(path, "State", text, sizeof text);
    EXPECT_STR("state of the main thread", "Z (zombie)", text);
    EXPECT_EQ("id of the thread", tid, syscall(SYS_gettid));
    // The C library knows its threads by their ids.
    EXPECT_EQ("lock", 0, pthread_mutex_lock(&checked));
    EXPECT_EQ("lock again, by the same thread", EDEADLK, pthread_mutex_lock(&checked));
    EXPECT_EQ("unlock", 0, pthread_mutex_unlock(&checked));
    EXPECT_EQ("pthread_kill", 0, pthread_kill(pthread_self(), 0));
}

static void *work(void *main_thread) {
    pthread_join(*(pthread_t *)main_thread, NULL);
    tid = (pid_t)syscall(SYS_gettid);
    workload_live(check);
}

int main(int argc, char **argv) {
    static pthread_t self, thread;
    workload_begin(argc, argv);
    pthread_mutexattr_t kind;
    pthread_mutexattr_init(&kind);
    pthread_mutexattr_settype(&kind, PTHREAD_MUTEX_ERRORCHECK);
    pthread_mutex_init(&checked, &kind);
    self = pthread_self();
    pthread_create(&thread, NULL, work, &self);
    pthread_exit(NULL);
}
