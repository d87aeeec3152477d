// Registers kept in a spinning loop of assembly, without any system call: general registers, flags, SSE/AVX/AVX-512
// state, MXCSR, the x87 control word and stack, FS and GS base, and PKRU where the processor has it.
#include "workload.h"
#include <cpuid.h>
#include <sys/auxv.h>

// Loaded before the spin, and stored after it. The assembly knows the offsets.
struct block {
    uint64_t general[16];    // rax rbx (rcx drives the loop) rdx rsi rdi rbp r8…r15
    uint64_t vectors[32][8]; // 128
    uint64_t masks[8];       // 2176
    uint64_t flags;          // 2240
    uint64_t fs, gs;         // 2248, 2256
    uint32_t mxcsr;          // 2264
    uint16_t x87_control;    // 2268
    uint32_t pkru;           // 2272
    uint8_t x87[8][16] __attribute__((aligned(16))); // 2288
};
_Static_assert(offsetof(struct block, vectors) == 128 && offsetof(struct block, masks) == 2176 &&
                   offsetof(struct block, flags) == 2240 && offsetof(struct block, mxcsr) == 2264 &&
                   offsetof(struct block, pkru) == 2272 && offsetof(struct block, x87) == 2288,
               "layout known to the assembly");

__attribute__((visibility("hidden"), aligned(64))) struct block spin_load, spin_store;
__attribute__((visibility("hidden"))) int spin_go, spin_running, spin_has_fsgsbase, spin_has_pku, spin_vectors;
void spin(void);

__asm__(R"(
.macro general do
    \do rax, 0
    \do rbx, 8
    \do rdx, 24
    \do rsi, 32
    \do rdi, 40
    \do rbp, 48
    \do r8, 56
    \do r9, 64
    \do r10, 72
    \do r11, 80
    \do r12, 88
    \do r13, 96
    \do r14, 104
    \do r15, 112
.endm
.macro load reg, offset
    mov spin_load+\offset(%rip), %\reg
.endm
.macro store reg, offset
    mov %\reg, spin_store+\offset(%rip)
.endm
.text
.globl spin
.hidden spin
.type spin, @function
spin:
    push %rbx
    push %rbp
    push %r12
    push %r13
    push %r14
    push %r15
    # x87 and MXCSR
    fninit
    fldcw spin_load+2268(%rip)
.irp n,7,6,5,4,3,2,1,0
    fldt spin_load+2288+16*\n(%rip)
.endr
    ldmxcsr spin_load+2264(%rip)
    # vectors: 0 SSE, 1 AVX, 2 AVX-512
    cmpl $1, spin_vectors(%rip)
    jl 10f
    je 11f
.irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
    vmovdqu64 spin_load+128+64*\n(%rip), %zmm\n
.endr
.irp n,0,1,2,3,4,5,6,7
    kmovq spin_load+2176+8*\n(%rip), %k\n
.endr
    jmp 12f
11:
.irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
    vmovdqu spin_load+128+64*\n(%rip), %ymm\n
.endr
    jmp 12f
10:
.irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
    movdqu spin_load+128+64*\n(%rip), %xmm\n
.endr
12:
    cmpl $0, spin_has_pku(%rip)
    je 13f
    xor %ecx, %ecx
    xor %edx, %edx
    mov spin_load+2272(%rip), %eax
    wrpkru
13:
    cmpl $0, spin_has_fsgsbase(%rip)
    je 14f
    rdfsbase %rax
    mov %rax, spin_saved_fs(%rip)
    mov spin_load+2248(%rip), %rax
    wrfsbase %rax
    mov spin_load+2256(%rip), %rax
    wrgsbase %rax
14:
    movl $1, spin_running(%rip)
    pushq spin_load+2240(%rip)
    popfq
    general load
    # neither mov nor jrcxz changes a flag
15: mov spin_go(%rip), %ecx
    jrcxz 15b
    general store
    pushfq
    cld
    popq spin_store+2240(%rip)
    movl $0, spin_running(%rip)
    cmpl $0, spin_has_fsgsbase(%rip)
    je 16f
    rdfsbase %rax
    mov %rax, spin_store+2248(%rip)
    rdgsbase %rax
    mov %rax, spin_store+2256(%rip)
    mov spin_saved_fs(%rip), %rax
    wrfsbase %rax
16:
    cmpl $0, spin_has_pku(%rip)
    je 17f
    xor %ecx, %ecx
    rdpkru
    mov %eax, spin_store+2272(%rip)
17:
    cmpl $1, spin_vectors(%rip)
    jl 20f
    je 21f
.irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
    vmovdqu64 %zmm\n, spin_store+128+64*\n(%rip)
.endr
.irp n,0,1,2,3,4,5,6,7
    kmovq %k\n, spin_store+2176+8*\n(%rip)
.endr
    vzeroupper
    jmp 22f
21:
.irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
    vmovdqu %ymm\n, spin_store+128+64*\n(%rip)
.endr
    vzeroupper
    jmp 22f
20:
.irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
    movdqu %xmm\n, spin_store+128+64*\n(%rip)
.endr
22:
    stmxcsr spin_store+2264(%rip)
    fnstcw spin_store+2268(%rip)
.irp n,0,1,2,3,4,5,6,7
    fstpt spin_store+2288+16*\n(%rip)
.endr
    fninit
    ldmxcsr spin_plain_mxcsr(%rip)
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbp
    pop %rbx
    ret
.size spin, .-spin
.section .data
spin_plain_mxcsr: .long 0x1f80
spin_saved_fs: .quad 0
.text
)");

static pthread_t spinner;

static void *spin_thread(void *unused) {
    (void)unused;
    spin();
    return NULL;
}

static int is_running(void) {
    return __atomic_load_n(&spin_running, __ATOMIC_ACQUIRE);
}

static void start_spinning(void) {
    spin_go = 0;
    memset(&spin_store, 0, sizeof spin_store);
    if ((errno = pthread_create(&spinner, NULL, spin_thread, NULL)) != 0)
        die("pthread_create");
    while (!is_running())
        sleep_ms(1);
}

static void check(void) {
    EXPECT_EQ("spinning", 1, is_running());
    __atomic_store_n(&spin_go, 1, __ATOMIC_RELEASE);
    pthread_join(spinner, NULL);
    const char *names[] = {"rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "r8",
                           "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
    char what[64];
    for (int i = 0; i < 15; i++) {
        if (i != 2)
            EXPECT_EQ(names[i], spin_load.general[i], spin_store.general[i]);
    }
    int words = spin_vectors == 2 ? 8 : spin_vectors == 1 ? 4 : 2;
    for (int n = 0; n < (spin_vectors == 2 ? 32 : 16); n++) {
        for (int word = 0; word < words; word++) {
            snprintf(what, sizeof what, "vector register %d, word %d", n, word);
            EXPECT_EQ(what, spin_load.vectors[n][word], spin_store.vectors[n][word]);
        }
    }
    for (int n = 0; n < 8 && spin_vectors == 2; n++) {
        snprintf(what, sizeof what, "mask register %d", n);
        EXPECT_EQ(what, spin_load.masks[n], spin_store.masks[n]);
    }
    EXPECT_EQ("flags", spin_load.flags, spin_store.flags);
    EXPECT_EQ("mxcsr", spin_load.mxcsr, spin_store.mxcsr);
    EXPECT_EQ("x87 control word", spin_load.x87_control, spin_store.x87_control);
    for (int n = 0; n < 8; n++)
        EXPECT(memcmp(spin_load.x87[n], spin_store.x87[n], 10) == 0, "x87 register %d differs", n);
    if (spin_has_fsgsbase) {
        EXPECT_EQ("FS base", spin_load.fs, spin_store.fs);
        EXPECT_EQ("GS base", spin_load.gs, spin_store.gs);
    }
    if (spin_has_pku)
        EXPECT_EQ("PKRU", spin_load.pkru, spin_store.pkru);
    start_spinning();
}

int main(int argc, char **argv) {
    workload_begin(argc, argv);
    unsigned a, b, c, d;
    spin_vectors = __builtin_cpu_supports("avx512bw") ? 2 : __builtin_cpu_supports("avx") ? 1 : 0;
    spin_has_fsgsbase = (getauxval(AT_HWCAP2) & 2) != 0;
    spin_has_pku = __get_cpuid_count(7, 0, &a, &b, &c, &d) && (c & 16) != 0;
    for (int i = 0; i < 16; i++)
        spin_load.general[i] = pattern_word(11, (size_t)i);
    pattern_fill(spin_load.vectors, sizeof spin_load.vectors, 12);
    pattern_fill(spin_load.masks, sizeof spin_load.masks, 13);
    spin_load.flags = 0x202 | 0x400 | 0x800 | 0x1 | 0x10 | 0x80; // IF and bit 1, DF, OF, CF, AF, SF
    spin_load.fs = 0x00001122334455aa, spin_load.gs = 0x0000566778899aab;
    spin_load.mxcsr = 0x1f80 | 0x6000 | 0x8000; // round to zero, flush to zero
    spin_load.x87_control = 0x0f7f;             // round to zero, double extended
    spin_load.pkru = 0x55555550;                // keys 2 to 15: access disabled
    for (int n = 0; n < 8; n++) {
        long double value = 1.25L * n - 3;
        memcpy(spin_load.x87[n], &value, 10);
    }
    start_spinning();
    workload_live_until_stop(check);
    return 0;
}
