// Alternate signal stacks: of the main thread, of another thread, with SS_AUTODISARM, and while running on one.
#include "workload.h"

static stack_t main_stack, thread_stack;
static atomic_int asked, answered, on_stack;
static volatile uintptr_t handler_frame;
static pthread_t thread, inside;
static stack_t inside_stack;

static void on_signal(int number) {
    (void)number;
    handler_frame = (uintptr_t)__builtin_frame_address(0);
}

static void compare(const char *what, const stack_t *expected) {
    stack_t now;
    char text[64];
    sigaltstack(NULL, &now);
    snprintf(text, sizeof text, "%s: address", what);
    EXPECT_EQ(text, (uintptr_t)expected->ss_sp, (uintptr_t)now.ss_sp);
    snprintf(text, sizeof text, "%s: size", what);
    EXPECT_EQ(text, expected->ss_size, now.ss_size);
    snprintf(text, sizeof text, "%s: flags", what);
    EXPECT_EQ(text, (unsigned)expected->ss_flags, (unsigned)now.ss_flags);
    if (expected->ss_flags & SS_DISABLE)
        return;
    handler_frame = 0;
    pthread_kill(pthread_self(), SIGUSR1);
    EXPECT(handler_frame - (uintptr_t)expected->ss_sp < expected->ss_size,
           "%s: the handler ran at %p, not on the alternate stack", what, (void *)handler_frame);
}

static void set(stack_t *stack, size_t size, int flags) {
    stack->ss_sp = must_map(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    stack->ss_size = size;
    stack->ss_flags = flags;
    MUST(sigaltstack(stack, NULL));
}

static void *work(void *unused) {
    (void)unused;
    set(&thread_stack, 48 * 1024, (int)(1U << 31)); // SS_AUTODISARM
    answered = 1;
    for (int round = 0;;) {
        while (asked == round)
            sleep_ms(2);
        round = asked;
        compare("thread with SS_AUTODISARM", &thread_stack);
        answered = 1;
    }
    return NULL;
}

// Stays inside its handler, on its alternate stack, and tells there what the kernel says.
static void on_inside(int number) {
    (void)number;
    on_stack = 1;
    for (int round = 0;;) {
        while (asked == round)
            sleep_ms(2);
        round = asked;
        stack_t now;
        sigaltstack(NULL, &now);
        EXPECT_EQ("inside a handler: flags", SS_ONSTACK, now.ss_flags);
        EXPECT_EQ("inside a handler: address", (uintptr_t)inside_stack.ss_sp, (uintptr_t)now.ss_sp);
        on_stack = 1;
    }
}

static void *work_inside(void *unused) {
    (void)unused;
    set(&inside_stack, 64 * 1024, 0);
    pthread_kill(pthread_self(), SIGUSR2);
    return NULL;
}

static void check(void) {
    compare("main thread", &main_stack);
    answered = on_stack = 0;
    asked++;
    for (int waited = 0; !(answered && on_stack) && waited < 5000; waited++)
        sleep_ms(1);
    EXPECT_EQ("the thread answered", 1, answered);
    EXPECT_EQ("the thread inside its handler answered", 1, on_stack);
}

int main(int argc, char **argv) {
    workload_begin(argc, argv);
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_ONSTACK};
    MUST(sigaction(SIGUSR1, &action, NULL));
    action.sa_handler = on_inside;
    MUST(sigaction(SIGUSR2, &action, NULL));
    set(&main_stack, 32 * 1024, 0);
    pthread_create(&thread, NULL, work, NULL);
    pthread_create(&inside, NULL, work_inside, NULL);
    while (!answered || !on_stack)
        sleep_ms(1);
    workload_live(check);
}
