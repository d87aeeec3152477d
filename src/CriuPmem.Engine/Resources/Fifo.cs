using CriuPmem.Engine.Dump;
using CriuPmem.Engine.Restore;
using CriuPmem.Images;
using CriuPmem.Images.Messages;

namespace CriuPmem.Engine.Resources;

/// <summary>Open FIFOs (fifo(7)): found again by their path; contents as with pipes.</summary>
/// <remarks>
/// A FIFO may be open outside the tree as well: the kernel's object then lives on with its contents, and the restored
/// ends join it. Whether a reader sees a hang-up depends on whether a writer was there since it opened.
/// </remarks>
internal sealed class Fifo : FileKind
{
    /// <inheritdoc />
    public override FdTypes Type => FdTypes.Fifo;

    /// <inheritdoc />
    public override bool Matches(OpenFile file) =>
        file.Stat.Type == S_IFIFO && file.Link.StartsWith('/') && (file.Flags & O_PATH) == 0;

    /// <inheritdoc />
    public override void Dump(DumpContext context, OpenFile file, FileEntry entry)
    {
        FileEntry path = context.Files.AddUnopened(FdTypes.Reg);
        path.Reg = context.Paths.Entry(file.Process, $"fd/{file.Fd}", file.Link, file.Stat, file.ToString());
        path.Reg.Id = path.Id;
        path.Reg.Flags = file.Flags;
        path.Reg.Pos = 0;
        path.Reg.Fown = file.Owner();
        uint pipeId = context.Files.FifoId(file.Stat);
        context.Fifos.Note(pipeId, file);
        entry.Fifo = new FifoEntry { Id = file.Id, PipeId = pipeId, RegfId = path.Id };
        if ((Sys.Poll(file.Copy(), POLLIN) & POLLHUP) != 0) entry.Fifo.HungUp = true;
    }

    /// <inheritdoc />
    public override IEnumerable<string> ExternalKeys(RestoreContext context, FileEntry entry) =>
        [LinuxText.Decode(RegularFile(context, entry).Name.Span)];

    /// <inheritdoc />
    public override bool Accepts(RestoreContext context, FileEntry entry, int flags) =>
        InheritedFiles.Suffices(flags, RegularFile(context, entry).Flags);

    /// <inheritdoc />
    public override int Restore(RestoreContext context, FileEntry entry)
    {
        string path = context.Remapped.PathOf(RegularFile(context, entry));
        var result = -1;
        FileEntry[] all = [.. context.PipeContents.OpenFifos(entry.Fifo.PipeId)];
        bool isAlive = IsAlive(path);
        // Readers that never had a writer must not see ours come and go: that would be a hang-up.
        bool fresh = !isAlive && context.PipeContents.BytesOf(ImageKind.FifoData, entry.Fifo.PipeId) == 0 &&
            all.All(other => !other.Fifo.HungUp && (RegularFile(context, other).Flags & O_ACCMODE) == O_RDONLY);
        using var keeper = new OwnedFd(fresh ? -1 : Open(path, O_RDWR | O_NONBLOCK));
        if (!fresh && !isAlive) context.PipeContents.Fill(ImageKind.FifoData, entry.Fifo.PipeId, keeper.Fd, path);
        foreach (FileEntry other in all)
        {
            if (context.Files.IsOpen(other.Id)) continue;
            RegFileEntry reg = RegularFile(context, other);
            int fd = Open(path, (int)(reg.Flags & (O_ACCMODE | O_NOATIME)) | O_NONBLOCK);
            SetStatusFlags(fd, reg.Flags, path);
            context.RestoreOwner(fd, reg.Fown, reg.Flags);
            if (other.Id == entry.Id) result = fd;
            else context.Files.Put(other.Id, fd);
        }

        if (fresh) context.PipeContents.Fill(ImageKind.FifoData, entry.Fifo.PipeId, result, path);
        return result;
    }

    private static RegFileEntry RegularFile(RestoreContext context, FileEntry entry) => context.Files.Entry(entry.Fifo.RegfId).Reg;

    /// <summary>True when somebody has the FIFO open already: its contents are then where they were.</summary>
    private static bool IsAlive(string path)
    {
        SysResult writer = Sys.OpenAt(AT_FDCWD, path, O_WRONLY | O_NONBLOCK);
        if (!writer.Failed)
        {
            Sys.Close(writer.Value);
            return true; // it has readers
        }

        using var reader = new OwnedFd(Open(path, O_RDONLY | O_NONBLOCK));
        int unread = 0;
        Sys.Ioctl(reader.Fd, FIONREAD, ref unread).OrThrow("ioctl(FIONREAD)", path);
        Span<byte> none = stackalloc byte[1];
        return unread != 0 || Sys.Read(reader.Fd, none).Errno == Errno.EAGAIN; // it has writers
    }

    private static int Open(string path, int flags)
    {
        SysResult opened = Sys.OpenAt(AT_FDCWD, path, flags);
        if (!opened.Failed && !Sys.Stat(opened.Value, out FileStat stat).Failed && stat.Type == S_IFIFO) return opened.Value;
        if (!opened.Failed) Sys.Close(opened.Value);
        throw new CheckpointException(opened.Failed ? ErrorCode.FileMissing : ErrorCode.FileChanged, opened.Failed ? "a FIFO that the program had open cannot be opened again" : "where the program had a FIFO open is something else now")
        {
            Object = path,
            Errno = opened.Errno,
            Remedy = "Make it again with mkfifo",
        };
    }
}
