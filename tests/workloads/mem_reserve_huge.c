// A reservation of 512 GB without permission, a few pages of it in use, as .NET, Go and Java hold them; it must cost
// no memory and come back with its flag.
#include "workload.h"

static unsigned char *reserved;
static size_t length;

static void check(void) {
    char flags[256];
    for (size_t i = 0; i < 8; i++) {
        unsigned char *used = reserved + (length / 8) * i + i * PAGE;
        map_expect("used part", used, 4 * PAGE, "rw-p");
        pattern_check("used part", used, 4 * PAGE, 70 + i);
    }
    map_expect("reserved part", reserved + (length / 8) + 100 * PAGE, length / 16, "---p");
    if (smaps_field(reserved + length / 8 + 100 * PAGE, "VmFlags", flags, sizeof flags))
        EXPECT(strstr(flags, "nr") != NULL, "MAP_NORESERVE is gone: %s", flags);
    // It can still be committed piece by piece.
    unsigned char *piece = reserved + length / 3 / PAGE * PAGE;
    EXPECT_EQ("mprotect of a piece", 0, mprotect(piece, 4 * PAGE, PROT_READ | PROT_WRITE));
    zero_check("new piece", piece, 4 * PAGE);
    pattern_fill(piece, 4 * PAGE, 1);
    EXPECT_EQ("giving it back", 0, madvise(piece, 4 * PAGE, MADV_DONTNEED));
    EXPECT_EQ("closing it", 0, mprotect(piece, 4 * PAGE, PROT_NONE));
    char size[64];
    status_field("/proc/self/status", "VmRSS", size, sizeof size);
    EXPECT(atol(size) < 64 * 1024, "resident memory: %s", size);
}

int main(int argc, char **argv) {
    workload_begin(argc, argv);
    length = (size_t)workload_parameter(1, 512) << 30;
    reserved = must_map(NULL, length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    for (size_t i = 0; i < 8; i++) {
        unsigned char *used = reserved + (length / 8) * i + i * PAGE;
        MUST(mprotect(used, 4 * PAGE, PROT_READ | PROT_WRITE));
        pattern_fill(used, 4 * PAGE, 70 + i);
    }
    workload_live(check);
}
