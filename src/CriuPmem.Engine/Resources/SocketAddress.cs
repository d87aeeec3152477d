using CriuPmem.Engine.Restore;
using CriuPmem.Images.Messages;

namespace CriuPmem.Engine.Resources;

/// <summary>Binds UNIX sockets to their names, and takes care of what lies there.</summary>
internal static class SocketAddress
{
    /// <summary>struct sockaddr_un of a sun_path.</summary>
    public static byte[] Of(ReadOnlySpan<byte> path)
    {
        var address = new byte[2 + path.Length];
        address[0] = AF_UNIX;
        path.CopyTo(address.AsSpan(2));
        return address;
    }

    /// <summary>struct sockaddr_un that leads to the file of a descriptor.</summary>
    public static byte[] OfDescriptor(int fd) => Of(LinuxText.Encode($"/proc/thread-self/fd/{fd}\0"));

    /// <summary>True for a name of the abstract namespace.</summary>
    public static bool IsAbstract(UnixSkEntry socket) => socket.Name.Length != 0 && socket.Name[0] == 0;

    /// <summary>Binds a socket; what stood there before comes back if the restore fails.</summary>
    /// <param name="context">The restore.</param>
    /// <param name="socket">What it shall be.</param>
    /// <param name="fd">The socket.</param>
    /// <param name="apart">True to make the file where nobody sees it: it was deleted, or never was this socket's own.</param>
    /// <returns>An O_PATH descriptor of the socket's file, which the caller closes; -1 for an abstract name.</returns>
    public static int Bind(RestoreContext context, UnixSkEntry socket, int fd, bool apart)
    {
        string what = UnixSocket.Describe(socket.Name);
        byte[] address = Of(socket.Name.Span);
        if (IsAbstract(socket))
        {
            SysResult bound = Sys.Bind(fd, address);
            if (bound.Errno == Errno.EADDRINUSE) throw Taken(what);
            bound.OrThrow("bind", what);
            return -1;
        }

        string name = LinuxText.Decode(socket.Name.Span.TrimEnd((byte)0));
        string? directory = socket.NameDir.Length == 0 ? null : LinuxText.Decode(socket.NameDir.Span);
        if (!apart) return PathThread.Run(directory, () => BindHere(context, socket, fd, name, directory, what));
        string parent = directory ?? (name.LastIndexOf('/') is > 0 and int slash ? name[..slash] : "/");
        return PathThread.RunApart(parent, directory is not null, () =>
        {
            Sys.Bind(fd, address).OrThrow("bind", what);
            int file = Finish(socket, name);
            Sys.Unlink(AT_FDCWD, name); // deleted it was, and the next dump shall see that
            return file;
        });
    }

    private static int BindHere(RestoreContext context, UnixSkEntry socket, int fd, string name, string? directory, string what)
    {
        string full = directory is null ? name : $"{directory}/{name}";
        if (!Sys.Stat(AT_FDCWD, name, out FileStat there, AT_SYMLINK_NOFOLLOW).Failed)
        {
            uint device = FileStat.KernelDevice(there.st_dev);
            bool live = SocketDiagnosis.Unix().Values.Any(other => other.FileInode == (uint)there.st_ino && other.FileDevice == device);
            if (there.Type != S_IFSOCK || live) throw Taken(what);
            // What a server leaves behind: put aside, and gone when nothing can fail any more.
            string aside = $"{full}.criu-pmem.{Sys.GetPid()}";
            Sys.Rename(full, aside, RENAME_NOREPLACE).OrThrow("rename", full);
            context.AtFailure.Add(() => Sys.Rename(aside, full, 0));
            context.AtCommit.Add(() => Sys.Unlink(AT_FDCWD, aside));
        }

        Sys.Bind(fd, Of(socket.Name.Span)).OrThrow("bind", what);
        context.AtFailure.Insert(0, () => Sys.Unlink(AT_FDCWD, full));
        return Finish(socket, name);
    }

    private static int Finish(UnixSkEntry socket, string name)
    {
        if (socket.FilePerms is { } perms)
        {
            Sys.ChangeOwner(AT_FDCWD, name, perms.Uid, perms.Gid).OrThrow("fchownat", name);
            Sys.ChangeMode(AT_FDCWD, name, perms.Mode & 0xFFF).OrThrow("fchmodat", name);
        }

        return (int)Sys.OpenAt(AT_FDCWD, name, O_PATH | O_NOFOLLOW).OrThrow("open", name);
    }

    private static CheckpointException Taken(string what) => new(ErrorCode.NameTaken, "its name is in use")
    {
        Object = what,
        Remedy = "End the program that has it, or remove the file",
    };
}
