# Code that runs outside the engine: in tracees (batch), in the engine's own new child (spawn), in a new process (seed).
# Assembled by scripts/generate-remote-code.sh into RemoteCode.g.cs. Position independent; no vector registers, no stack
# but the scratch's.
.intel_syntax noprefix

# A control block, at rbx:
#   0x00 number of requests        0x08 address of the requests
#   0x10 signal mask while running 0x18 the program's own signal mask
#   0x20 signal that ends it       0x28 not 0: whoever is continued at the end runs the next batch (a restore)
# At the end of the scratch (rbx + 0x3ff00): rdi-to-rbx as popped below, then the frame for iretq: rip, cs, rflags, rsp,
# ss. Below it is room for a signal frame, since signals are let in again before the program's own stack is.
# A request, 64 bytes: u32 number, u32 flags (1: a failure ends the batch, 2: a failure skips the next request), six u64
# arguments, u64 result. Number -1 is no system call: copy from the second argument to the first as many bytes as the third
# says, a multiple of 32, with stores that go past the caches (movnti).
.globl batch
batch:
    mov eax, 14                 # rt_sigprocmask(SIG_SETMASK, rbx + 0x10, NULL, 8)
    mov edi, 2
    lea rsi, [rbx + 0x10]
    xor edx, edx
    mov r10d, 8
    syscall
    mov r12, [rbx]
    mov r13, [rbx + 8]
1:  test r12, r12
    jz 3f
    mov eax, [r13]
    mov rdi, [r13 + 8]
    mov rsi, [r13 + 16]
    mov rdx, [r13 + 24]
    cmp eax, -1
    je 5f
    mov r10, [r13 + 32]
    mov r8, [r13 + 40]
    mov r9, [r13 + 48]
    syscall
    mov [r13 + 56], rax
    cmp rax, -4095
    jb 2f
    test dword ptr [r13 + 4], 1
    jnz 3f
    test dword ptr [r13 + 4], 2
    jz 2f
    add r13, 64
    dec r12
2:  add r13, 64
    dec r12
    jmp 1b
4:  mov rax, [rsi]
    mov rcx, [rsi + 8]
    mov r8, [rsi + 16]
    mov r9, [rsi + 24]
    movnti [rdi], rax
    movnti [rdi + 8], rcx
    movnti [rdi + 16], r8
    movnti [rdi + 24], r9
    add rsi, 32
    add rdi, 32
    sub rdx, 32
5:  test rdx, rdx
    jnz 4b
    sfence
    mov [r13 + 56], rdx         # 0: done
    jmp 2b
batch_finish:
3:  mov eax, 39                 # getpid and gettid answer in the task's own namespace
    syscall
    mov r12, rax
    mov eax, 186
    syscall
    mov esi, eax
    mov edi, r12d
    mov edx, [rbx + 0x20]
    mov eax, 234                # tgkill(self): the tracer sees a stop here
    syscall
.globl heal
heal:                           # in a dump reached only when the tracer has died: go back to the program by ourselves
    cmp dword ptr [rbx + 0x28], 0
    jne batch
    mov eax, 14                 # rt_sigprocmask(SIG_SETMASK, rbx + 0x18, NULL, 8)
    mov edi, 2
    lea rsi, [rbx + 0x18]
    xor edx, edx
    mov r10d, 8
    syscall
    lea rsp, [rbx + 0x3ff00]
    pop rdi
    pop rsi
    pop rdx
    pop rcx
    pop rax
    pop r8
    pop r9
    pop r10
    pop r11
    pop rbp
    pop r12
    pop r13
    pop r14
    pop r15
    pop rbx
    iretq
batch_end:

# One system call from a place outside of any scratch (the vDSO's unused end), by which a scratch is made and removed. It
# uses no stack, changes no flags and writes no memory; where the tracer has died it goes back to the program by itself.
.balign 16
.globl call
call:
    mov eax, 14                 # rt_sigprocmask(SIG_SETMASK, all blocked, NULL, 8)
    mov edi, 2
    lea rsi, [rip + call_mask]
    mov edx, 0
    mov r10d, 8
    syscall
    mov rax, [rip + call_number]
    mov rdi, [rip + call_arguments]
    mov rsi, [rip + call_arguments + 8]
    mov rdx, [rip + call_arguments + 16]
    mov r10, [rip + call_arguments + 24]
    mov r8, [rip + call_arguments + 32]
    mov r9, [rip + call_arguments + 40]
    syscall
    mov rbx, rax                # the tracer finds the result there
    mov eax, 39
    syscall
    mov r12, rax
    mov eax, 186
    syscall
    mov esi, eax
    mov edi, r12d
    mov rdx, [rip + call_signal]
    mov eax, 234                # tgkill(self): the tracer sees a stop here
    syscall
    mov eax, 14                 # rt_sigprocmask(SIG_SETMASK, the program's own, NULL, 8)
    mov edi, 2
    lea rsi, [rip + call_own_mask]
    mov edx, 0
    mov r10d, 8
    syscall
    mov rdi, [rip + call_registers]
    mov rsi, [rip + call_registers + 8]
    mov rdx, [rip + call_registers + 16]
    mov rcx, [rip + call_registers + 24]
    mov rax, [rip + call_registers + 32]
    mov r8, [rip + call_registers + 40]
    mov r9, [rip + call_registers + 48]
    mov r10, [rip + call_registers + 56]
    mov r11, [rip + call_registers + 64]
    mov rbp, [rip + call_registers + 72]
    mov r12, [rip + call_registers + 80]
    mov r13, [rip + call_registers + 88]
    mov r14, [rip + call_registers + 96]
    mov r15, [rip + call_registers + 104]
    mov rbx, [rip + call_registers + 112]
    jmp qword ptr [rip + call_registers + 120]
    .balign 8
call_mask:      .quad 0
call_own_mask:  .quad 0
call_signal:    .quad 0
call_number:    .quad 0
call_arguments: .fill 6, 8, 0
call_registers: .fill 16, 8, 0  # in the order above, then rip
call_end:

# spawn(rdi = {clone_args*, size, memfd, path*, argv*, envp*, error, parent or 0}): pid, or a negated errno.
# The child shares memory until execveat (CLONE_VM | CLONE_VFORK), touches no stack, and dies with its parent.
.globl spawn
spawn:
    push rbx
    mov rbx, rdi
    mov rdi, [rbx]
    mov rsi, [rbx + 8]
    mov eax, 435                # clone3
    syscall
    test rax, rax
    jz 1f
    pop rbx
    ret
1:  mov eax, 157                # prctl(PR_SET_PDEATHSIG, SIGKILL)
    mov edi, 1
    mov esi, 9
    syscall
    mov rcx, [rbx + 56]         # a parent that died before that call is never told of
    test rcx, rcx
    jz 2f
    mov r12, rcx
    mov eax, 110                # getppid
    syscall
    cmp rax, r12
    jne 3f
2:  mov eax, 322                # execveat(memfd, "", argv, envp, AT_EMPTY_PATH)
    mov rdi, [rbx + 16]
    mov rsi, [rbx + 24]
    mov rdx, [rbx + 32]
    mov r10, [rbx + 40]
    mov r8d, 0x1000
    syscall
    mov [rbx + 48], rax
3:  mov eax, 60                 # exit
    mov edi, 127
    syscall
    hlt
spawn_end:

# seed: waits for its tracer.
.globl seed
seed:
    mov eax, 34                 # pause
    syscall
    jmp seed
seed_end:

# vfork: how a parent waits for its vfork child without standing in vfork(2), where nothing stops it (VforkPages.cs). Copied
# to the start of two pages that stay in the program; this data is on the second. No stack is used, no flags are changed.
#   0x00 not 0 until the child has left this memory: its clear_child_tid
#   0x08 0 until one of two tasks has come to "handover"
#   0x10 signal that ends "bear"
#   0x18 the parent's signal mask   0x20 the child's
#   0x80 the parent's registers: rdi to rbx in the order below, then rip
#   0x100 the child's registers     0x180 struct clone_args
.balign 16
.globl vfork
vfork:                          # the parent: futex(FUTEX_WAIT) until the word is 0, then back to the program
    .set vfork_data, vfork + 0x1000
1:  mov ecx, [rip + vfork_data]
    jecxz 2f
    lea rdi, [rip + vfork_data]
    mov esi, 0
    mov edx, ecx
    mov r10d, 0
    mov eax, 202
    syscall
.globl vfork_after_futex
vfork_after_futex:
    jmp 1b
2:  mov eax, 14                 # rt_sigprocmask(SIG_SETMASK, the parent's own, NULL, 8)
    mov edi, 2
    lea rsi, [rip + vfork_data + 0x18]
    mov edx, 0
    mov r10d, 8
    syscall
.globl vfork_after_mask
vfork_after_mask:
    mov rdi, [rip + vfork_data + 0x80]
    mov rsi, [rip + vfork_data + 0x88]
    mov rdx, [rip + vfork_data + 0x90]
    mov rcx, [rip + vfork_data + 0x98]
    mov rax, [rip + vfork_data + 0xa0]
    mov r8, [rip + vfork_data + 0xa8]
    mov r9, [rip + vfork_data + 0xb0]
    mov r10, [rip + vfork_data + 0xb8]
    mov r11, [rip + vfork_data + 0xc0]
    mov rbp, [rip + vfork_data + 0xc8]
    mov r12, [rip + vfork_data + 0xd0]
    mov r13, [rip + vfork_data + 0xd8]
    mov r14, [rip + vfork_data + 0xe0]
    mov r15, [rip + vfork_data + 0xe8]
    mov rbx, [rip + vfork_data + 0xf0]
    jmp qword ptr [rip + vfork_data + 0xf8]
.globl vfork_bear
vfork_bear:                     # the child: makes a second thread, tells the tracer, and goes back to the program
    lea rdi, [rip + vfork_data + 0x180]
    mov esi, 88
    mov eax, 435                # clone3
    syscall
    mov ecx, eax
    jecxz 5f                    # the new thread is never beyond this point as long as its tracer lives
    mov rbx, rax                # the tracer finds the result there
    mov eax, 39
    syscall
    mov r12, rax
    mov eax, 186
    syscall
    mov esi, eax
    mov edi, r12d
    mov rdx, [rip + vfork_data + 0x10]
    mov eax, 234                # tgkill(self): the tracer sees a stop here
    syscall
    jmp 4f
.globl vfork_handover
vfork_handover:                 # of the two threads the first that comes here ends, the second is the child from now on
5:  mov ecx, 1
    xchg [rip + vfork_data + 8], ecx
    jecxz 3f
    jmp 4f
3:  mov eax, 60                 # exit: of the thread alone
    mov edi, 0
    syscall
4:  mov eax, 14                 # rt_sigprocmask(SIG_SETMASK, the child's own, NULL, 8)
    mov edi, 2
    lea rsi, [rip + vfork_data + 0x20]
    mov edx, 0
    mov r10d, 8
    syscall
    mov rdi, [rip + vfork_data + 0x100]
    mov rsi, [rip + vfork_data + 0x108]
    mov rdx, [rip + vfork_data + 0x110]
    mov rcx, [rip + vfork_data + 0x118]
    mov rax, [rip + vfork_data + 0x120]
    mov r8, [rip + vfork_data + 0x128]
    mov r9, [rip + vfork_data + 0x130]
    mov r10, [rip + vfork_data + 0x138]
    mov r11, [rip + vfork_data + 0x140]
    mov rbp, [rip + vfork_data + 0x148]
    mov r12, [rip + vfork_data + 0x150]
    mov r13, [rip + vfork_data + 0x158]
    mov r14, [rip + vfork_data + 0x160]
    mov r15, [rip + vfork_data + 0x168]
    mov rbx, [rip + vfork_data + 0x170]
    jmp qword ptr [rip + vfork_data + 0x178]
vfork_end:

# twin: a copy of the process that never runs (TwinMaker.cs). Copied into a scratch, whose address is in rbx, and ends as a
# batch does. The process bears a helper that shares its memory, and that one the twin: the kernel gives the twin to another
# parent when the helper ends. While SIGCHLD is ignored an ended child leaves nothing: no zombie, no signal, no times of
# children. No stack is used; whoever has no tracer any more ends at once, and the process gets its action back.
.balign 16
.globl twin
twin:
    mov eax, 14                 # rt_sigprocmask(SIG_SETMASK, rbx + 0x10, NULL, 8)
    mov edi, 2
    lea rsi, [rbx + 0x10]
    xor edx, edx
    mov r10d, 8
    syscall
    mov eax, 13                 # rt_sigaction(SIGCHLD, ignore, own, 8)
    mov edi, 17
    lea rsi, [rip + twin_ignore]
    lea rdx, [rip + twin_own]
    mov r10d, 8
    syscall
    mov [rip + twin_made], rax
    test rax, rax
    jnz 3f
    mov eax, 435                # clone3
    lea rdi, [rip + twin_helper_clone]
    mov esi, 88
    syscall
    test rax, rax
    jz 4f
    mov [rip + twin_helper], rax
    js 2f
    mov r12, rax
1:  mov eax, 61                 # wait4(helper, NULL, __WALL, NULL): until it is gone
    mov rdi, r12
    xor esi, esi
    mov edx, 0x40000000
    xor r10d, r10d
    syscall
    cmp rax, -4                 # EINTR
    je 1b
2:  mov eax, 13                 # rt_sigaction(SIGCHLD, own, NULL, 8)
    mov edi, 17
    lea rsi, [rip + twin_own]
    xor edx, edx
    mov r10d, 8
    syscall
3:  lea rax, [rbx + 0x100 + (batch_finish - batch)]
    jmp rax
4:  mov eax, 436                # the helper: close_range(0, ~0, CLOSE_RANGE_UNSHARE)
    xor edi, edi
    mov esi, -1
    mov edx, 2
    syscall
    mov eax, 112                # setsid: signals for the program's group are not for the twin
    syscall
    mov eax, 435                # clone3
    lea rdi, [rip + twin_clone]
    mov esi, 88
    syscall
    test rax, rax
    jz 5f
    mov [rip + twin_made], rax
5:  mov eax, 231                # exit_group: the helper's end; the twin never comes here while it is traced
    xor edi, edi
    syscall
    jmp 5b
    .balign 8
twin_ignore:        .quad 1, 0, 0, 0    # SIG_IGN
twin_own:           .fill 4, 8, 0
twin_helper_clone:  .fill 11, 8, 0
twin_clone:         .fill 11, 8, 0
twin_helper:        .quad 0             # its pid in the process's own namespace, or a negated errno
twin_made:          .quad 0             # the same of the twin
twin_end:
