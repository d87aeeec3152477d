using System.Runtime.ExceptionServices;

namespace CriuPmem.Engine.Restore;

/// <summary>Work with a descriptor table of its own (unshare(2), CLONE_FILES), where any number can be taken.</summary>
internal static class PrivateTable
{
    /// <summary>Runs <paramref name="work"/> on a thread that has a copy of the engine's descriptors.</summary>
    public static void Run(string name, Action work)
    {
        ExceptionDispatchInfo? failure = null;
        var thread = new Thread(
            () =>
            {
                try
                {
                    Syscall.Invoke(SyscallNumber.unshare, (long)CLONE_FILES).OrThrow("unshare(CLONE_FILES)", name);
                    work();
                }
                catch (CheckpointException exception)
                {
                    failure = ExceptionDispatchInfo.Capture(exception);
                }
            },
            256 * 1024)
        { IsBackground = true, Name = name };
        thread.Begin();
        thread.Join();
        failure?.Throw();
    }
}
