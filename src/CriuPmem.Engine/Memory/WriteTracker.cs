using CriuPmem.Engine.Dump;
using CriuPmem.Remote;

namespace CriuPmem.Engine.Memory;

/// <summary>Tells which private pages of a process were written since the last round: asynchronous write protection of a userfaultfd.</summary>
/// <remarks>
/// The process makes the descriptor (it belongs to its address space), the engine takes it over and registers the mappings.
/// PAGEMAP_SCAN with PM_SCAN_WP_MATCHING then tells what was written and protects it again in one go; a first write after
/// that costs the program one fault (1.4 µs) and nobody is told. Mappings that are new, moved or forked are not registered:
/// all their pages count as written. When the descriptor's last copy is closed the kernel forgets everything.
/// <para>
/// A page into which a device writes for a read with O_DIRECT is not seen to be written when that read began before the
/// round. So after the pages are protected, and before they are copied, every thread passes through a stop, which none
/// does inside of such a read.
/// </para>
/// Needs Linux 6.7 (UFFD_FEATURE_WP_ASYNC).
/// </remarks>
internal sealed class WriteTracker : IDisposable
{
    private readonly OwnedFd _fd;
    private readonly List<(ulong Start, ulong End, bool IsNew)> _ranges = [];

    private WriteTracker(int fd) => _fd = new OwnedFd(fd);

    /// <summary>The userfaultfd.</summary>
    public int Fd => _fd.Fd;

    /// <summary>The ranges that are tracked, in ascending order: whole mappings, and whether they are only from now on.</summary>
    /// <remarks>
    /// A new one may have been moved there (mremap(2)). Should a kernel let its pages keep the mark of not being written, it would
    /// mean other pages, which an earlier snapshot has at that address: so all of a new one count as written.
    /// </remarks>
    public IReadOnlyList<(ulong Start, ulong End, bool IsNew)> Ranges => _ranges;

    /// <summary>Has a frozen process make one; null when it cannot (no free descriptor), or the kernel lacks it.</summary>
    public static WriteTracker? TryCreate(DumpProcess process)
    {
        SyscallBatch batch = process.Space!.Batch;
        batch.Clear();
        int made = batch.Try(SyscallNumber.userfaultfd, O_CLOEXEC | O_NONBLOCK | Sys.UFFD_USER_MODE_ONLY);
        process.Space.Run(process.Leader.Task);
        SysResult remote = batch.Result(made);
        if (remote.Failed) return null;
        SysResult copy = process.CopyOf(remote.Value);
        batch.Clear();
        batch.Try(SyscallNumber.close, remote.Value);
        process.Space.Run(process.Leader.Task);
        if (copy.Failed) return null;
        var tracker = new WriteTracker(copy.Value);
        if (!Sys.UserfaultfdApi(tracker.Fd, Sys.UFFD_FEATURE_WP_ASYNC | Sys.UFFD_FEATURE_WP_UNPOPULATED).Failed) return tracker;
        tracker.Dispose();
        return null;
    }

    /// <summary>Takes over the descriptor of an earlier round.</summary>
    public static WriteTracker Adopt(int fd) => new(fd);

    /// <summary>Notes which of a process's mappings are tracked since an earlier round, as their flags tell.</summary>
    public void Recognize(DumpProcess process)
    {
        _ranges.Clear();
        foreach (MemoryMapping mapping in process.Mappings)
        {
            if ((mapping.Flags & VmFlags.UffdWriteProtect) != 0) _ranges.Add((mapping.Start, mapping.End, false));
        }
    }

    /// <summary>Registers every mapping that can be tracked and is not yet; their pages count as written.</summary>
    public void Register(DumpProcess process)
    {
        _ranges.Clear();
        foreach (MemoryMapping mapping in process.Mappings)
        {
            bool known = (mapping.Flags & VmFlags.UffdWriteProtect) != 0;
            if (known || (CanTrack(mapping) && !Sys.UserfaultfdRegister(Fd, mapping.Start, mapping.LengthBytes, Sys.UFFDIO_REGISTER_MODE_WP).Failed))
            {
                _ranges.Add((mapping.Start, mapping.End, !known));
            }
        }
    }

    /// <summary>Ends the tracking of a program that runs, piece by piece.</summary>
    /// <remarks>
    /// Closing the descriptor does the same in one go, and the program waits meanwhile with any fault that it has: 40 to 80 ms for
    /// 4 GiB. What has changed since the mappings were read is left to that.
    /// </remarks>
    public void Forget()
    {
        const ulong pieceBytes = 32 << 20;
        foreach ((ulong start, ulong end, _) in _ranges)
        {
            for (ulong at = start; at < end;)
            {
                ulong next = Math.Min((at + pieceBytes) & ~(pieceBytes - 1), end);
                Sys.UserfaultfdUnregister(Fd, at, next - at);
                at = next;
            }
        }
    }

    /// <inheritdoc />
    public void Dispose() => _fd.Dispose();

    private static bool CanTrack(in MemoryMapping mapping) =>
        !mapping.Shared && (mapping.Flags & VmFlags.MayWrite) != 0 && (mapping.Flags & (VmFlags.Io | VmFlags.PfnMap | VmFlags.HugeTlb | VmFlags.Droppable)) == 0 &&
        !mapping.Name.StartsWith("[v", StringComparison.Ordinal);
}
