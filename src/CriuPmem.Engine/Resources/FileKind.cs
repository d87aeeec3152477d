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
    /// Does what only the task can do once its descriptors are in place: epoll registrations, locks. Called once for each
    /// process and descriptor.
    /// </summary>
    public virtual void Bind(RestoreContext context, RestoreProcess process, FdinfoEntry descriptor, FileEntry entry)
    {
    }
}
