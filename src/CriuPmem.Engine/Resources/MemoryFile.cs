using System.Globalization;
using CriuPmem.Engine.Dump;
using CriuPmem.Engine.Memory;
using CriuPmem.Engine.Restore;
using CriuPmem.Images.Messages;

namespace CriuPmem.Engine.Resources;

/// <summary>Memory files (memfd_create(2)): flags and position here, the inode with name and seals in memfd.img, its contents with shared memory.</summary>
internal sealed class MemoryFile : FileKind
{
    /// <inheritdoc />
    public override FdTypes Type => FdTypes.Memfd;

    /// <inheritdoc />
    public override bool Matches(OpenFile file) => MemoryFileInodes.Is(file.Link, file.Stat);

    /// <inheritdoc />
    public override void Dump(DumpContext context, OpenFile file, FileEntry entry)
    {
        if ((file.Flags & O_PATH) != 0)
        {
            throw file.Fail(ErrorCode.UnsupportedFile, "it is a memory file opened with O_PATH", "Let the program close it");
        }

        string link = string.Create(CultureInfo.InvariantCulture, $"fd/{file.Fd}");
        entry.Memfd = new MemfdFileEntry
        {
            Id = file.Id,
            Flags = file.Flags,
            Pos = file.Position,
            Fown = file.Owner(),
            InodeId = context.MemoryFiles.IdOf(file.Process, link, file.Link, file.Stat, file.ToString()),
        };
    }

    /// <inheritdoc />
    public override int Restore(RestoreContext context, FileEntry entry)
    {
        MemfdFileEntry memfd = entry.Memfd;
        int fd = context.MemoryFiles.Open(memfd.InodeId, (int)memfd.Flags);
        if (memfd.Pos != 0) Sys.Seek(fd, (long)memfd.Pos, SEEK_SET).OrThrow("lseek", $"memory file {memfd.InodeId}");
        context.RestoreOwner(fd, memfd.Fown, memfd.Flags);
        return fd;
    }
}
