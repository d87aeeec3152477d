using CriuPmem.Engine.Dump;
using CriuPmem.Engine.Restore;
using CriuPmem.Images.Messages;

namespace CriuPmem.Engine.Resources;

/// <summary>One kind of open file: its dump and its restore, side by side.</summary>
internal abstract class FileKind
{
    /// <summary>The kind's name in the images.</summary>
    public abstract FdTypes Type { get; }

    /// <summary>True for the open files that are of this kind.</summary>
    public abstract bool Matches(OpenFile file);

    /// <summary>Fills <paramref name="entry"/> from <paramref name="file"/>; changes nothing.</summary>
    /// <exception cref="CheckpointException">It is in a state that cannot be saved.</exception>
    public abstract void Dump(DumpContext context, OpenFile file, FileEntry entry);

    /// <summary>Makes the open file in the engine's own table.</summary>
    /// <returns>A descriptor that the caller closes.</returns>
    public abstract int Restore(RestoreContext context, FileEntry entry);

    /// <summary>
    /// The names under which the user may give a descriptor in the place of this file (--inherit-fd 'fd[N]:KEY'):
    /// "pipe:[123]", "file[mnt_id:inode]", "tty[rdev:dev]", "socket:[123]", a path.
    /// </summary>
    public virtual IEnumerable<string> ExternalKeys(RestoreContext context, FileEntry entry) => [];

    /// <summary>True when a given descriptor with these flags can take the file's place: for pipes, the side must fit.</summary>
    public virtual bool Accepts(RestoreContext context, FileEntry entry, int flags) => true;

    /// <summary>
    /// Does what only the task can do once its descriptors are in place: epoll registrations, locks. Called once for each
    /// process and descriptor.
    /// </summary>
    public virtual void Bind(RestoreContext context, RestoreProcess process, FdinfoEntry descriptor, FileEntry entry)
    {
    }

    /// <summary>Opens once more what a descriptor of the engine leads to: a new open file of the same object.</summary>
    protected static int Reopen(int fd, uint flags, string what) =>
        (int)Sys.OpenAt(AT_FDCWD, $"/proc/thread-self/fd/{fd}", (int)(flags & (O_ACCMODE | O_NONBLOCK))).OrThrow("open", what);

    /// <summary>Sets the status flags that fcntl(2) can change, but for O_ASYNC, which comes with the owner.</summary>
    protected static void SetStatusFlags(int fd, uint flags, string what) =>
        Sys.Fcntl(fd, F_SETFL, flags & (O_APPEND | O_NONBLOCK | O_DIRECT | O_NOATIME)).OrThrow("fcntl(F_SETFL)", what);
}
