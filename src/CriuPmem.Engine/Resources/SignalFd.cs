using System.Globalization;
using CriuPmem.Engine.Dump;
using CriuPmem.Engine.Restore;
using CriuPmem.Images.Messages;

namespace CriuPmem.Engine.Resources;

/// <summary>Signal descriptors (signalfd(2)): a mask. What they read is the reader's own pending signals.</summary>
internal sealed class SignalFd : FileKind
{
    /// <inheritdoc />
    public override FdTypes Type => FdTypes.Signalfd;

    /// <inheritdoc />
    public override bool Matches(OpenFile file) => file.Link == "anon_inode:[signalfd]";

    /// <inheritdoc />
    public override void Dump(DumpContext context, OpenFile file, FileEntry entry)
    {
        entry.Sgfd = new SignalfdEntry
        {
            Id = file.Id,
            Flags = file.Flags,
            Fown = file.Owner(),
            Sigmask = ulong.Parse(file.Required("sigmask"), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture),
        };
    }

    /// <inheritdoc />
    public override unsafe int Restore(RestoreContext context, FileEntry entry)
    {
        SignalfdEntry sgfd = entry.Sgfd;
        ulong mask = sgfd.Sigmask;
        int flags = O_CLOEXEC | (int)sgfd.Flags & O_NONBLOCK;
        int fd = (int)Syscall.Invoke(SyscallNumber.signalfd4, -1, (long)(&mask), sizeof(ulong), flags).OrThrow("signalfd4", $"signal descriptor {sgfd.Id}");
        context.RestoreOwner(fd, sgfd.Fown, sgfd.Flags);
        return fd;
    }
}
