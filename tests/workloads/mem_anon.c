// Private anonymous memory: patterns in several mappings, holes, untouched and zero pages, read-only pages,
// pages without any permission that still have contents, and mappings split by mprotect.
#include "workload.h"

static unsigned char *plain, *sparse, *holed, *readonly, *nothing, *split, *executable;

static void check(void) {
    map_expect("plain", plain, 64 * PAGE, "rw-p");
    pattern_check("plain", plain, 64 * PAGE, 1);

    map_expect("sparse", sparse, 256 * PAGE, "rw-p");
    for (size_t page = 0; page < 256; page++) {
        if (page % 7 == 0)
            pattern_check("sparse, written page", sparse + page * PAGE, PAGE, 100 + page);
        else if (page % 7 == 3)
            zero_check("sparse, page written with zeros", sparse + page * PAGE, PAGE);
    }
    // The rest was never touched: it must be there, read as zero, and stay writable.
    zero_check("sparse, untouched page", sparse + 5 * PAGE, PAGE);

    pattern_check("before the hole", holed, 8 * PAGE, 2);
    map_expect_none("hole", holed + 8 * PAGE);
    map_expect_none("end of hole", holed + 15 * PAGE);
    pattern_check("after the hole", holed + 16 * PAGE, 8 * PAGE, 3);

    map_expect("read-only", readonly, 8 * PAGE, "r--p");
    pattern_check("read-only", readonly, 8 * PAGE, 4);

    map_expect("no permission", nothing, 8 * PAGE, "---p");
    if (mprotect(nothing, 8 * PAGE, PROT_READ) != 0)
        fail("no permission: mprotect says %s", strerror(errno));
    else
        pattern_check("no permission", nothing, 8 * PAGE, 5);
    mprotect(nothing, 8 * PAGE, PROT_NONE);

    map_expect("split, first", split, 4 * PAGE, "rw-p");
    map_expect("split, second", split + 4 * PAGE, 4 * PAGE, "r--p");
    map_expect("split, third", split + 8 * PAGE, 4 * PAGE, "r-xp");
    map_expect("split, fourth", split + 12 * PAGE, 4 * PAGE, "rw-p");
    pattern_check("split", split, 16 * PAGE, 6);

    map_expect("executable", executable, PAGE, "r-xp");
    int (*answer)(void) = (int (*)(void))(uintptr_t)executable;
    EXPECT_EQ("result of copied code", 42, answer());

    // MADV_DONTNEED must bring zeros, not what was saved.
    madvise(plain + 10 * PAGE, PAGE, MADV_DONTNEED);
    zero_check("page after MADV_DONTNEED", plain + 10 * PAGE, PAGE);
    pattern_fill(plain, 64 * PAGE, 1);
}

int main(int argc, char **argv) {
    workload_begin(argc, argv);
    int flags = MAP_PRIVATE | MAP_ANONYMOUS;
    plain = must_map(NULL, 64 * PAGE, PROT_READ | PROT_WRITE, flags, -1, 0);
    pattern_fill(plain, 64 * PAGE, 1);
    must_map(NULL, PAGE, PROT_NONE, flags, -1, 0); // keeps the neighbours from being merged
    sparse = must_map(NULL, 256 * PAGE, PROT_READ | PROT_WRITE, flags, -1, 0);
    for (size_t page = 0; page < 256; page++) {
        if (page % 7 == 0)
            pattern_fill(sparse + page * PAGE, PAGE, 100 + page);
        else if (page % 7 == 3)
            memset(sparse + page * PAGE, 0, PAGE);
    }
    must_map(NULL, PAGE, PROT_NONE, flags, -1, 0);
    holed = must_map(NULL, 24 * PAGE, PROT_READ | PROT_WRITE, flags, -1, 0);
    pattern_fill(holed, 8 * PAGE, 2);
    pattern_fill(holed + 16 * PAGE, 8 * PAGE, 3);
    MUST(munmap(holed + 8 * PAGE, 8 * PAGE));
    readonly = must_map((void *)0x200000000000, 8 * PAGE, PROT_READ | PROT_WRITE, flags, -1, 0);
    pattern_fill(readonly, 8 * PAGE, 4);
    MUST(mprotect(readonly, 8 * PAGE, PROT_READ));
    nothing = must_map((void *)0x200010000000, 8 * PAGE, PROT_READ | PROT_WRITE, flags, -1, 0);
    pattern_fill(nothing, 8 * PAGE, 5);
    MUST(mprotect(nothing, 8 * PAGE, PROT_NONE));
    split = must_map((void *)0x200020000000, 16 * PAGE, PROT_READ | PROT_WRITE, flags, -1, 0);
    pattern_fill(split, 16 * PAGE, 6);
    MUST(mprotect(split + 4 * PAGE, 4 * PAGE, PROT_READ));
    MUST(mprotect(split + 8 * PAGE, 4 * PAGE, PROT_READ | PROT_EXEC));
    executable = must_map((void *)0x200030000000, PAGE, PROT_READ | PROT_WRITE, flags, -1, 0);
    memcpy(executable, "\xb8\x2a\x00\x00\x00\xc3", 6); // mov eax, 42; ret
    MUST(mprotect(executable, PAGE, PROT_READ | PROT_EXEC));
    workload_live(check);
}
