using CriuPmem.Engine.Lazy;
using CriuPmem.Images;

namespace CriuPmem.Engine;

/// <summary>A lazy-pages daemon: fills the memory of one restored tree (restore --lazy-pages), from images or from the machine where it was.</summary>
public static class LazyPagesJob
{
    private const int LookAtSignalsEveryMs = 200;

    /// <summary>Waits for a restore, and returns when all of its memory is there.</summary>
    /// <exception cref="CheckpointException">It cannot be filled; a tree that runs already has been ended.</exception>
    public static void Run(LazyPagesOptions options)
    {
        using var reading = DirectoryLock.Take(options.ImagesDirectoryFd, options.ImagesDirectory, exclusive: false);
        var reader = new SnapshotReader(options.ImagesDirectoryFd, options.ImagesDirectory);
        using var chain = new SnapshotChain(reader);
        using var source = new LazyPagesSource(options, chain);
        using var control = new RestoreControl(Accept(options, source), source.RunsOf, options.Log);
        try
        {
            new Pager(source.Pages, control, HotPages.Open(options.ImagesDirectoryFd, options.Log), options.Log).Run(static () => { });
        }
        catch (CheckpointException failure) when (failure.Remedy is null && failure.Object is null)
        {
            failure.Object = LazyPagesSocket.Name;
            throw;
        }

        source.Finish();
    }

    private static int Accept(LazyPagesOptions options, LazyPagesSource source)
    {
        using var listener = new OwnedFd((int)Sys.Socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK).OrThrow("socket", LazyPagesSocket.Name));
        Sys.SetOption(listener.Fd, SOL_SOCKET, SO_PASSCRED, 1);
        Sys.Unlink(options.WorkDirectoryFd, LazyPagesSocket.Name); // of a daemon that was killed
        SysResult bound = Sys.Bind(listener.Fd, LazyPagesSocket.Address(options.WorkDirectoryFd));
        if (!bound.Failed) bound = Sys.Listen(listener.Fd, 1);
        if (bound.Failed)
        {
            throw new CheckpointException(ErrorCode.NoConnection, "no restore can be waited for in the work directory") { Object = LazyPagesSocket.Name, Errno = bound.Errno, Remedy = "Give another one with -W." };
        }

        try
        {
            if (!options.OnReady()) throw new CheckpointException(ErrorCode.ActionRefused, "the status-ready action said no");
            while (true)
            {
                SysResult accepted = Sys.Accept(listener.Fd);
                if (!accepted.Failed) return accepted.Value;
                if (accepted.Errno is not (Errno.EAGAIN or Errno.EINTR or Errno.ECONNABORTED)) accepted.OrThrow("accept", LazyPagesSocket.Name);
                Sys.Poll(listener.Fd, POLLIN, LookAtSignalsEveryMs);
                Interruption.Check();
                source.Require();
            }
        }
        finally
        {
            Sys.Unlink(options.WorkDirectoryFd, LazyPagesSocket.Name);
        }
    }
}
