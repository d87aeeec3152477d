using CriuPmem.Engine.Dump;
using CriuPmem.Engine.Restore;
using CriuPmem.Images.Messages;
using Google.Protobuf;

namespace CriuPmem.Engine.Resources;

/// <summary>Files, directories and harmless character devices that are opened by their path.</summary>
/// <remarks>
/// The open file has a position, status flags and an owner for signals; the file itself stays where it is. At restore it
/// is opened again, and must have the size and build-id that it had (--file-validation).
/// </remarks>
internal sealed class RegularFile : FileKind
{
    private const int MemoryDevices = 1; // /dev/null, zero, full, random, urandom, kmsg: state of their own they have none

    /// <inheritdoc />
    public override FdTypes Type => FdTypes.Reg;

    /// <inheritdoc />
    public override bool Matches(OpenFile file) => file.Link.StartsWith('/') && file.Stat.Type switch
    {
        S_IFREG => !file.Link.StartsWith("/memfd:", StringComparison.Ordinal),
        S_IFDIR => true,
        S_IFLNK => (file.Flags & O_PATH) != 0,
        S_IFCHR => file.Stat.DeviceMajor == MemoryDevices || (file.Flags & O_PATH) != 0,
        S_IFSOCK or S_IFIFO or S_IFBLK => (file.Flags & O_PATH) != 0,
        _ => false,
    };

    /// <inheritdoc />
    public override void Dump(DumpContext context, OpenFile file, FileEntry entry)
    {
        // What an external file is, and how large, is the affair of who gives it.
        RegFileEntry reg = context.External.Covers(file)
            ? new RegFileEntry { Name = ByteString.CopyFromUtf8(ExternalFiles.KeyOf(file)), Ext = true }
            : context.Paths.Entry(file.Process, $"fd/{file.Fd}", file.Link, file.Stat, file.ToString(), mayOpen: !context.Locks.IsLeased(file));
        reg.Id = file.Id;
        reg.Flags = file.Flags;
        reg.Pos = file.Position;
        reg.Fown = file.Owner();
        entry.Reg = reg;
    }

    /// <inheritdoc />
    public override IEnumerable<string> ExternalKeys(RestoreContext context, FileEntry entry) => [LinuxText.Decode(entry.Reg.Name.Span)];

    /// <inheritdoc />
    public override bool Accepts(RestoreContext context, FileEntry entry, int flags) => InheritedFiles.Suffices(flags, entry.Reg.Flags);

    /// <inheritdoc />
    public override int Restore(RestoreContext context, FileEntry entry)
    {
        RegFileEntry reg = entry.Reg;
        string path = LinuxText.Decode(reg.Name.Span);
        if (reg.Ext)
        {
            throw new CheckpointException(ErrorCode.ExternalPeer, "this file was left outside of the snapshot (--external), and the restore was given none in its place")
            {
                Object = path,
                Remedy = $"Give it an open descriptor: --inherit-fd 'fd[N]:{path}', with the access that the program had",
            };
        }

        // What made the file must not happen again; O_NOFOLLOW only belongs to links opened as such.
        int flags = (int)reg.Flags & ~(O_CREAT | O_EXCL | O_TRUNC | O_NOCTTY | FASYNC | (O_TMPFILE & ~O_DIRECTORY));
        if ((reg.Flags & O_PATH) == 0) flags &= ~O_NOFOLLOW;
        SysResult opened = context.Remapped.Open(reg, flags | O_NOCTTY);
        if (opened.Failed)
        {
            throw new CheckpointException(ErrorCode.FileMissing, "a file that the program had open cannot be opened again")
            {
                Object = path,
                Errno = opened.Errno,
                Remedy = "Put the file back as it was when the program was saved",
            };
        }

        int fd = opened.Value;
        Validate(context, reg, path, fd);
        if ((reg.Flags & O_PATH) == 0)
        {
            if (reg.Pos != 0) Sys.Seek(fd, (long)reg.Pos, SEEK_SET).OrThrow("lseek", path);
            context.RestoreOwner(fd, reg.Fown, reg.Flags);
        }

        return fd;
    }

    private static void Validate(RestoreContext context, RegFileEntry reg, string path, int fd)
    {
        Sys.Stat(fd, out FileStat stat).OrThrow("fstat", path);
        if (reg.HasMode && !context.Options.SkipFileRwxCheck && stat.st_mode != reg.Mode)
        {
            throw Changed(path, $"its mode is {Convert.ToString(stat.st_mode, 8)} and was {Convert.ToString(reg.Mode, 8)}", "or give --skip-file-rwx-check");
        }

        if (reg.HasSize && (ulong)stat.st_size != reg.Size)
        {
            throw Changed(
                path, $"its size is {stat.st_size} bytes and was {reg.Size}",
                (ulong)stat.st_size > reg.Size ? $"or cut off what was appended: truncate -s {reg.Size} FILE" : "or restore from a snapshot that was made since");
        }

        if (reg.BuildId.Count == 0 || context.Options.FileValidation != FileValidation.BuildId || (reg.Flags & O_PATH) != 0) return;
        byte[] id = ElfBuildId.Read(fd);
        for (int i = 0; i < reg.BuildId.Count; i++)
        {
            if (id.Length >= i * 4 + 4 && BitConverter.ToUInt32(id, i * 4) == reg.BuildId[i]) continue;
            throw Changed(path, "it is another build than the one that was saved (its build-id differs)", "or restore from a snapshot that was made with the new one");
        }
    }

    private static CheckpointException Changed(string path, string cause, string otherwise) =>
        new(ErrorCode.FileChanged, $"the file has changed since the dump: {cause}")
        {
            Object = path,
            Remedy = $"Put the old file back, {otherwise}",
        };
}
