using System.Runtime.ExceptionServices;

namespace CriuPmem.Engine.Restore;

/// <summary>A short-lived thread with a working directory of its own: for calls whose relative path must be as the program gave it.</summary>
internal static class PathThread
{
    private const long MS_REC = 0x4000, MS_PRIVATE = 1 << 18;

    /// <summary>Runs <paramref name="work"/> in <paramref name="directory"/>.</summary>
    public static T Run<T>(string? directory, Func<T> work) => Execute(CLONE_FS, () =>
    {
        if (directory is not null) ChangeDirectory(directory);
        return work();
    });

    /// <summary>
    /// Runs <paramref name="work"/> where <paramref name="directory"/> is an empty one, made for it alone, at the same
    /// path: what it makes there is seen by nobody, and gone when the last descriptor of it is closed.
    /// </summary>
    public static T RunApart<T>(string directory, bool enter, Func<T> work) => Execute(CLONE_FS | CLONE_NEWNS, () =>
    {
        Mount(null, "/", null, MS_REC | MS_PRIVATE);
        string there = directory;
        while (there.Length > 1 && Sys.Stat(AT_FDCWD, there, out _).Failed) there = Parent(there);
        if (there.Length <= 1) there = Parent(directory);
        Mount("none", there, "tmpfs", 0);
        for (string made = there; made != directory;)
        {
            int next = directory.IndexOf('/', made.Length + 1);
            made = next < 0 ? directory : directory[..next];
            Sys.MakeDirectory(AT_FDCWD, made, 0x1ED).OrThrow("mkdir", made);
        }

        if (enter) ChangeDirectory(directory);
        return work();
    });

    private static string Parent(string path) => path.LastIndexOf('/') is > 0 and int slash ? path[..slash] : "/";

    private static unsafe void ChangeDirectory(string path)
    {
        fixed (byte* name = LinuxText.EncodeZ(path)) Syscall.Invoke(SyscallNumber.chdir, (long)name).OrThrow("chdir", path);
    }

    private static unsafe void Mount(string? source, string target, string? type, long flags)
    {
        fixed (byte* a = LinuxText.EncodeZ(source ?? ""), b = LinuxText.EncodeZ(target), c = LinuxText.EncodeZ(type ?? ""))
        {
            Syscall.Invoke(SyscallNumber.mount, source is null ? 0 : (long)a, (long)b, type is null ? 0 : (long)c, flags).OrThrow("mount", target);
        }
    }

    private static T Execute<T>(ulong unshare, Func<T> work)
    {
        T? result = default;
        ExceptionDispatchInfo? failure = null;
        var thread = new Thread(
            () =>
            {
                try
                {
                    Syscall.Invoke(SyscallNumber.unshare, (long)unshare).OrThrow("unshare", "a thread of the engine");
                    result = work();
                }
                catch (CheckpointException exception)
                {
                    failure = ExceptionDispatchInfo.Capture(exception);
                }
            },
            1 << 18)
        { Name = "paths" };
        thread.Begin();
        thread.Join();
        failure?.Throw();
        return result!;
    }
}
