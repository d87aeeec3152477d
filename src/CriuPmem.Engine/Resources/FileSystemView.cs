using CriuPmem.Engine.Restore;
using CriuPmem.Images.Messages;
using CriuPmem.Remote;

namespace CriuPmem.Engine.Resources;

/// <summary>A process's working directory, root directory and umask (chdir(2), chroot(2), umask(2)).</summary>
internal static class FileSystemView
{
    /// <summary>Restores them; a process that shares them with its parent (CLONE_FS) has them already.</summary>
    public static void Restore(RestoreContext context, RestoreProcess process)
    {
        if (process.Parent?.Ids is { } parent && process.Ids!.FsId == parent.FsId) return;
        var calls = new RemoteCalls(process.Space, process.Leader.Task);
        FsEntry fs = context.Contents.Fs[(uint)process.Pid];
        bool chroot = LinuxText.Decode(context.Files.Entry(fs.RootId).Reg.Name.Span) != "/";
        context.Transport.Pass(calls, chroot ? [context.Files.Open(fs.CwdId), context.Files.Open(fs.RootId)] : [context.Files.Open(fs.CwdId)]);
        if (chroot)
        {
            RemoteAddress dot = calls.Batch.Data("."u8);
            calls.Must("fchdir", SyscallNumber.fchdir, 1);
            calls.Must("chroot", SyscallNumber.chroot, dot);
            calls.Must("close", SyscallNumber.close, 1);
        }

        calls.Must("fchdir", SyscallNumber.fchdir, 0);
        calls.Must("close", SyscallNumber.close, 0);
        calls.Must("umask", SyscallNumber.umask, fs.Umask);
        context.Launch(process, calls);
    }
}
