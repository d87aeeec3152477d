using System.Globalization;
using CriuPmem.Engine.Dump;
using CriuPmem.Engine.Restore;
using CriuPmem.Images.Messages;

namespace CriuPmem.Engine.Resources;

/// <summary>Event counters (eventfd(2)): the value, and whether they count down as a semaphore.</summary>
internal sealed class EventFd : FileKind
{
    private const int EFD_SEMAPHORE = 1;

    /// <inheritdoc />
    public override FdTypes Type => FdTypes.Eventfd;

    /// <inheritdoc />
    public override bool Matches(OpenFile file) => file.Link == "anon_inode:[eventfd]";

    /// <inheritdoc />
    public override void Dump(DumpContext context, OpenFile file, FileEntry entry)
    {
        entry.Efd = new EventfdFileEntry
        {
            Id = file.Id,
            Flags = file.Flags,
            Fown = file.Owner(),
            Counter = ulong.Parse(file.Required("eventfd-count"), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture),
        };
        if (file.Field("eventfd-semaphore") == "1") entry.Efd.Semaphore = true;
    }

    /// <inheritdoc />
    public override unsafe int Restore(RestoreContext context, FileEntry entry)
    {
        EventfdFileEntry efd = entry.Efd;
        int flags = O_CLOEXEC | (int)efd.Flags & O_NONBLOCK | (efd.Semaphore ? EFD_SEMAPHORE : 0);
        int fd = (int)Syscall.Invoke(SyscallNumber.eventfd2, 0, flags).OrThrow("eventfd2", $"event counter {efd.Id}");
        // Written, since eventfd2 takes 32 bits. The largest value of all only the kernel itself can reach.
        ulong counter = Math.Min(efd.Counter, ulong.MaxValue - 1);
        if (counter != 0) Sys.Write(fd, new ReadOnlySpan<byte>(&counter, sizeof(ulong))).OrThrow("write", $"event counter {efd.Id}");
        context.RestoreOwner(fd, efd.Fown, efd.Flags);
        return fd;
    }
}
