using System.Buffers.Binary;
using System.Runtime.InteropServices;

namespace CriuPmem.Remote;

/// <summary>The first process of a restored tree: a tiny program that waits for its tracer.</summary>
/// <remarks>
/// Started by emitted code (clone3 and execveat of a memfd), so no managed code ever runs in a forked child. It dies with
/// the thread that made it until it is traced with PTRACE_O_EXITKILL.
/// </remarks>
internal static unsafe class Seed
{
    private const ulong LoadAddress = 0x10000;
    private const int HeaderBytes = 64 + 56;

    /// <summary>The <c>syscall</c> instruction in the seed's memory.</summary>
    public static RemoteAddress SyscallInstruction => new(LoadAddress + HeaderBytes + 5);

    /// <summary>Makes a process with pid <paramref name="pid"/>, seizes it and waits until it stands.</summary>
    /// <param name="pid">The pid it shall have; 0 for any.</param>
    /// <param name="cloneFlags">CLONE_PARENT, CLONE_NEW… or 0.</param>
    /// <returns>The new task, its registers loaded.</returns>
    /// <exception cref="CheckpointException">The pid is in use, or the kernel refuses.</exception>
    public static Tracee Spawn(int pid, ulong cloneFlags)
    {
        using var program = new OwnedFd((int)Sys.MemfdCreate("criu-pmem-seed", MFD_CLOEXEC).OrThrow("memfd_create", "seed"));
        Sys.WriteAll(program.Fd, Elf());
        nint code = (nint)Sys.Mmap(0, PageSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0).OrThrow("mmap", "code");
        try
        {
            RemoteCode.Spawn.CopyTo(new Span<byte>((void*)code, (int)PageSize));
            Syscall.Invoke(SyscallNumber.mprotect, code, (long)PageSize, PROT_READ | PROT_EXEC).OrThrow("mprotect", "code");
            int child = Clone((delegate* unmanaged<SpawnRequest*, long>)code, pid, cloneFlags, program.Fd);
            return Adopt(child);
        }
        finally
        {
            Sys.Munmap((ulong)code, PageSize);
        }
    }

    /// <summary>As <see cref="Spawn"/>, with any pid.</summary>
    public static Tracee SpawnAnywhere() => Spawn(0, 0);

    private static int Clone(delegate* unmanaged<SpawnRequest*, long> spawn, int pid, ulong cloneFlags, int program)
    {
        int* setTid = stackalloc int[1] { pid };
        byte* empty = stackalloc byte[16];
        NativeMemory.Clear(empty, 16);
        byte** none = stackalloc byte*[2] { null, null };
        byte** arguments = stackalloc byte*[2] { empty, null };
        var clone = new CloneArgs
        {
            flags = CLONE_VM | CLONE_VFORK | cloneFlags,
            exit_signal = (cloneFlags & CLONE_PARENT) == 0 ? (ulong)SIGCHLD : 0,
            set_tid = pid == 0 ? 0 : (ulong)setTid,
            set_tid_size = pid == 0 ? 0u : 1,
        };
        var request = new SpawnRequest
        {
            Clone = &clone,
            SizeBytes = (ulong)sizeof(CloneArgs),
            Program = program,
            Path = empty,
            Arguments = arguments,
            Environment = none,
            Parent = (cloneFlags & CLONE_PARENT) == 0 ? Sys.GetPid() : 0,
        };
        var result = new SysResult(spawn(&request));
        for (int waited = 0; result.Errno == Errno.EEXIST; waited++)
        {
            if (!PidPatience.Wait(pid, waited)) throw PidPatience.InUse(pid);
            result = new SysResult(spawn(&request));
        }

        int child = (int)result.OrThrow("clone3", $"pid {pid}");
        if (request.Error != 0)
        {
            Sys.Wait4(child, out _, __WALL);
            new SysResult(request.Error).OrThrow("execveat", "seed");
        }

        return child;
    }

    private static Tracee Adopt(int child)
    {
        var task = new Tracee(child);
        Errno error = Tracee.Seize(child, PTRACE_O_EXITKILL | PTRACE_O_TRACESYSGOOD);
        if (error == Errno.None && !task.Wait().Ended && task.LoadIfAlive()) return task;
        Sys.Kill(child, SIGKILL);
        Sys.Wait4(child, out _, __WALL);
        throw new CheckpointException(ErrorCode.RestoredDied, "the first process of the tree could not be taken hold of")
        {
            Pid = child,
            Errno = error,
            Remedy = error == Errno.EPERM ? "Is criu-pmem itself traced, with what it starts (strace -f, a debugger)? Run it without; else look at kernel.yama.ptrace_scope." : null,
        };
    }

    private static byte[] Elf()
    {
        var elf = new byte[HeaderBytes + RemoteCode.Seed.Length];
        Span<byte> s = elf;
        ((ReadOnlySpan<byte>)[0x7F, (byte)'E', (byte)'L', (byte)'F', 2, 1, 1]).CopyTo(s);
        U16(s, 16, 2); // ET_EXEC
        U16(s, 18, 62); // EM_X86_64
        U16(s, 20, 1);
        U64(s, 24, LoadAddress + HeaderBytes); // e_entry
        U64(s, 32, 64); // e_phoff
        U16(s, 52, 64); // e_ehsize
        U16(s, 54, 56); // e_phentsize
        U16(s, 56, 1); // e_phnum
        U16(s, 64, 1); // PT_LOAD
        U16(s, 68, 5); // PF_R | PF_X
        U64(s, 64 + 16, LoadAddress);
        U64(s, 64 + 24, LoadAddress);
        U64(s, 64 + 32, (ulong)elf.Length);
        U64(s, 64 + 40, (ulong)elf.Length);
        U64(s, 64 + 48, PageSize);
        RemoteCode.Seed.CopyTo(s[HeaderBytes..]);
        return elf;
    }

    private static void U16(Span<byte> s, int at, ushort value) => BinaryPrimitives.WriteUInt16LittleEndian(s[at..], value);

    private static void U64(Span<byte> s, int at, ulong value) => BinaryPrimitives.WriteUInt64LittleEndian(s[at..], value);

    [StructLayout(LayoutKind.Sequential)]
    private struct SpawnRequest
    {
        public CloneArgs* Clone;
        public ulong SizeBytes;
        public long Program;
        public byte* Path;
        public byte** Arguments;
        public byte** Environment;
        public long Error;
        public long Parent;
    }
}
