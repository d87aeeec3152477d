using System.Runtime.InteropServices;
using CriuPmem.Remote;

namespace CriuPmem.Engine.Dump;

/// <summary>Asks a process about all its descriptors at once.</summary>
/// <remarks>
/// From outside each descriptor costs a look at three files of /proc, some eight microseconds; a call in a batch costs a
/// tenth of one. Two rounds: what each is, then the offset of those that have one (asking a device for it may reset it).
/// </remarks>
internal static unsafe class DescriptorScan
{
    private const int CallsForEach = 5, RequestBytes = 64;
    private static readonly int s_bytesForEach = (CallsForEach * RequestBytes) + sizeof(FileStat) + 16 + 32;

    /// <summary>The device that every pipe's inode is on (st_dev).</summary>
    public static ulong PipeDevice { get; } = FindPipeDevice();

    /// <summary>The descriptors of a frozen process, in ascending order.</summary>
    public static List<DescriptorFacts> Of(DumpProcess process)
    {
        List<int> numbers = process.Proc.Numbers("fd");
        var facts = new List<DescriptorFacts>(numbers.Count);
        SyscallBatch batch = process.Space!.Batch;
        batch.Clear();
        int room = batch.FreeBytes / s_bytesForEach;
        for (int from = 0; from < numbers.Count; from += room) Look(process, CollectionsMarshal.AsSpan(numbers).Slice(from, Math.Min(room, numbers.Count - from)), facts);
        Span<DescriptorFacts> all = CollectionsMarshal.AsSpan(facts);
        for (int from = 0; from < all.Length; from += room) Seek(process, all.Slice(from, Math.Min(room, all.Length - from)));
        return facts;
    }

    /// <summary>The facts of a descriptor of the engine's own, which is a copy of a file of the tree.</summary>
    public static DescriptorFacts OwnCopy(DumpProcess engine, int fd)
    {
        Sys.Stat(fd, out FileStat stat).OrThrow("fstat", $"descriptor {fd}");
        uint flags = (uint)Sys.Fcntl(fd, F_GETFL).OrThrow("fcntl(F_GETFL)", $"descriptor {fd}");
        int* owner = stackalloc int[2];
        if (Sys.Fcntl(fd, F_GETOWN_EX, (long)owner).Failed) owner[1] = 0;
        var facts = new DescriptorFacts(engine, fd, stat, flags, false, (owner[0], owner[1]), Number(Sys.Fcntl(fd, F_GETSIG)));
        return facts.HasPosition ? facts with { Position = Offset(Sys.Seek(fd, 0, SEEK_CUR)) } : facts;
    }

    private static void Look(DumpProcess process, ReadOnlySpan<int> numbers, List<DescriptorFacts> facts)
    {
        SyscallBatch batch = process.Space!.Batch;
        batch.Clear();
        var stats = new RemoteAddress[numbers.Length];
        var owners = new RemoteAddress[numbers.Length];
        for (int i = 0; i < numbers.Length; i++)
        {
            stats[i] = batch.Reserve(sizeof(FileStat));
            owners[i] = batch.Reserve(8); // struct f_owner_ex: type, pid
            batch.Try(SyscallNumber.fstat, numbers[i], stats[i]);
            batch.Try(SyscallNumber.fcntl, numbers[i], F_GETFD);
            batch.Try(SyscallNumber.fcntl, numbers[i], F_GETFL);
            batch.Try(SyscallNumber.fcntl, numbers[i], F_GETOWN_EX, owners[i]);
            batch.Try(SyscallNumber.fcntl, numbers[i], F_GETSIG);
        }

        process.Space.Run(process.Leader.Task);
        for (int i = 0; i < numbers.Length; i++)
        {
            int first = i * CallsForEach;
            if (batch.Result(first).Failed) throw process.Fail(ErrorCode.Vanished, "it was there and is not open", what: $"fd {numbers[i]}", errno: batch.Result(first).Errno);
            (int, int Pid) owner = batch.Result(first + 3).Failed ? default : batch.At<(int, int)>(owners[i]);
            facts.Add(new DescriptorFacts(
                process, numbers[i], batch.At<FileStat>(stats[i]), (uint)batch.Result(first + 2).Raw, (batch.Result(first + 1).Raw & FD_CLOEXEC) != 0,
                owner, Number(batch.Result(first + 4))));
        }
    }

    private static void Seek(DumpProcess process, Span<DescriptorFacts> facts)
    {
        SyscallBatch batch = process.Space!.Batch;
        batch.Clear();
        foreach (ref DescriptorFacts file in facts)
        {
            if (file.HasPosition) batch.Try(SyscallNumber.lseek, file.Fd, 0, SEEK_CUR);
        }

        process.Space.Run(process.Leader.Task);
        int call = 0;
        foreach (ref DescriptorFacts file in facts)
        {
            if (file.HasPosition) file = file with { Position = Offset(batch.Result(call++)) };
        }
    }

    private static uint Number(SysResult result) => result.Failed ? 0 : (uint)result.Raw;

    private static ulong Offset(SysResult result) => result.Failed ? 0 : (ulong)result.Raw;

    private static ulong FindPipeDevice()
    {
        int* ends = stackalloc int[2];
        Syscall.Invoke(SyscallNumber.pipe2, (long)ends, O_CLOEXEC).OrThrow("pipe2", "a pipe to look at");
        Sys.Stat(ends[0], out FileStat stat).OrThrow("fstat", "a pipe to look at");
        Sys.Close(ends[0]);
        Sys.Close(ends[1]);
        return stat.st_dev;
    }
}
