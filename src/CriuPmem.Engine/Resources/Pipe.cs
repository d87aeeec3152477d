using CriuPmem.Engine.Dump;
using CriuPmem.Engine.Restore;
using CriuPmem.Images;
using CriuPmem.Images.Messages;

namespace CriuPmem.Engine.Resources;

/// <summary>Pipes (pipe(7)): each open end is an open file; those with the same inode are one pipe, whose contents are apart.</summary>
/// <remarks>
/// An end whose other end nobody has stays so. If somebody outside the tree has it, the restored pipe needs a new
/// partner: --inherit-fd 'fd[N]:pipe[INODE]' gives it.
/// </remarks>
internal sealed unsafe class Pipe : FileKind
{
    /// <inheritdoc />
    public override FdTypes Type => FdTypes.Pipe;

    /// <inheritdoc />
    public override bool Matches(OpenFile file) => file.Stat.Type == S_IFIFO && file.Link.StartsWith("pipe:[", StringComparison.Ordinal);

    /// <inheritdoc />
    public override void Dump(DumpContext context, OpenFile file, FileEntry entry)
    {
        if ((file.Flags & O_PATH) != 0) throw file.Fail(ErrorCode.UnsupportedFile, "it is a pipe opened with O_PATH", "Let the program close it");
        uint pipeId = (uint)file.Stat.st_ino;
        entry.Pipe = new PipeEntry { Id = file.Id, PipeId = pipeId, Flags = file.Flags, Fown = file.Owner() };
        if (!context.Pipes.Sources.Any()) context.WhenFilesAreKnown.Add(() => FindOutsiders(context));
        context.Pipes.Note(pipeId, file);
    }

    /// <inheritdoc />
    public override IEnumerable<string> ExternalKeys(RestoreContext context, FileEntry entry) => [$"pipe:[{entry.Pipe.PipeId}]"];

    /// <inheritdoc />
    public override bool Accepts(RestoreContext context, FileEntry entry, int flags) =>
        InheritedFiles.Suffices(flags, entry.Pipe.Flags);

    /// <inheritdoc />
    public override int Restore(RestoreContext context, FileEntry entry)
    {
        string what = $"pipe:[{entry.Pipe.PipeId}]";
        int* ends = stackalloc int[2];
        Syscall.Invoke(SyscallNumber.pipe2, (long)ends, O_CLOEXEC | O_NONBLOCK).OrThrow("pipe2", what);
        context.PipeContents.Fill(ImageKind.PipesData, entry.Pipe.PipeId, ends[1], what);
        Span<bool> taken = stackalloc bool[2];
        int result = -1;
        foreach (FileEntry other in context.PipeContents.OpenEnds(entry.Pipe.PipeId))
        {
            if (context.Files.IsOpen(other.Id)) continue; // inherited
            if (other.Pipe.Outside) throw Alone(context, other, what);
            int side = (other.Pipe.Flags & O_ACCMODE) == O_RDONLY ? 0 : 1;
            int fd = ends[side];
            // Ends that pipe2 made lack this flag; those that somebody opened by /proc/PID/fd have it.
            if (taken[side] || (other.Pipe.Flags & O_LARGEFILE) != 0) fd = Reopen(fd, other.Pipe.Flags | O_NONBLOCK, what);
            else taken[side] = true;
            SetStatusFlags(fd, other.Pipe.Flags, what);
            context.RestoreOwner(fd, other.Pipe.Fown, other.Pipe.Flags);
            if (other.Id == entry.Id) result = fd;
            else context.Files.Put(other.Id, fd);
        }

        for (int side = 0; side < 2; side++)
        {
            if (!taken[side]) Sys.Close(ends[side]);
        }

        return result;
    }

    /// <summary>Notes of each pipe with one end in the tree whether somebody outside has the other.</summary>
    private static void FindOutsiders(DumpContext context)
    {
        var outside = new HashSet<uint>();
        foreach (PipeSource source in context.Pipes.Sources)
        {
            if (source.HasReader && source.HasWriter) continue;
            string what = $"{source.Process}, fd {source.Fd} → pipe:[{source.PipeId}]";
            using var end = new OwnedFd((int)source.Process.CopyOf(source.Fd).OrThrow("pidfd_getfd", what));
            if ((Sys.Poll(end.Fd, 0) & (POLLHUP | POLLERR)) != 0) continue;
            outside.Add(source.PipeId);
            context.Log.Warn("files", $"{what}: its other end is outside the tree; restore needs --inherit-fd 'fd[N]:pipe[{source.PipeId}]'");
        }

        if (outside.Count == 0) return;
        foreach (FileEntry entry in context.Files.Entries)
        {
            if (entry.Pipe is { } pipe && outside.Contains(pipe.PipeId)) pipe.Outside = true;
        }
    }

    private static CheckpointException Alone(RestoreContext context, FileEntry end, string what)
    {
        string side = (end.Pipe.Flags & O_ACCMODE) == O_RDONLY ? "wrote to" : "read from";
        string holders = string.Join(", ", context.Processes
            .SelectMany(process => context.Contents.Fdinfos.GetValueOrDefault(process.Ids?.FilesId ?? 0, []).Where(entry => entry.Id == end.Id).Select(entry => $"{process}, fd {entry.Fd}"))
            .Take(4));
        return new CheckpointException(ErrorCode.ExternalPeer, $"a process outside the tree {side} the other end of this pipe of {holders}")
        {
            Object = what,
            Remedy = $"Give the restore an open descriptor in its place: --inherit-fd 'fd[N]:{what}'",
        };
    }
}
