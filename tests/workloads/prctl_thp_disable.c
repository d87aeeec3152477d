// Huge pages switched off for the whole process (PR_SET_THP_DISABLE).
#include "workload.h"

static void check(void) {
    EXPECT_EQ("THP-disable", 1, prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0));
}

int main(int argc, char **argv) {
    workload_begin(argc, argv);
    MUST(prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0));
    workload_live(check);
}
