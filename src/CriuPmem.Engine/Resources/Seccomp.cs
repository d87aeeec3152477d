using System.Runtime.InteropServices;
using CriuPmem.Engine.Dump;
using CriuPmem.Engine.Restore;
using CriuPmem.Images.Messages;
using CriuPmem.Remote;
using Google.Protobuf;

namespace CriuPmem.Engine.Resources;

/// <summary>Seccomp modes and filters of threads (seccomp(2)).</summary>
/// <remarks>
/// While a task is worked on its seccomp is suspended (PTRACE_O_SUSPEND_SECCOMP), or it would catch remote calls. Filters
/// form chains; in the image each names the one installed before it, and equal chains are stored once. What all threads
/// of a process have in common is installed for all at once (TSYNC), so that a later TSYNC of the program still works.
/// </remarks>
internal static unsafe class Seccomp
{
    private const int Strict = 1, Filter = 2;
    private const int SECCOMP_SET_MODE_STRICT = 0, SECCOMP_SET_MODE_FILTER = 1;
    private const uint SECCOMP_FILTER_FLAG_TSYNC = 1;
    private const int MaxInstructions = 4096;

    private static readonly byte[] s_code = new byte[MaxInstructions * SeccompProgram.InstructionBytes]; // the tracer thread's

    /// <summary>Suspends a frozen thread's seccomp until the engine lets it go.</summary>
    public static void Suspend(DumpThread thread)
    {
        if (thread.Status.Seccomp == 0) return;
        SysResult set = Sys.Ptrace(PTRACE_SETOPTIONS, thread.Task.Tid, 0, PTRACE_O_SUSPEND_SECCOMP);
        if (!set.Failed) return;
        throw thread.Process.Fail(
            ErrorCode.NotPermitted, $"the seccomp of thread {thread.Task.Tid} cannot be suspended",
            "Run as root, outside of seccomp itself", errno: set.Errno);
    }

    /// <summary>True when a filter of a stopped thread forbids a call, or cannot be read.</summary>
    public static bool Forbids(int tid, in SeccompData call)
    {
        for (int i = 0; ; i++)
        {
            SysResult read;
            fixed (byte* buffer = s_code) read = Sys.Ptrace(PTRACE_SECCOMP_GET_FILTER, tid, i, (long)buffer);
            if (read.Errno is Errno.ENOENT or Errno.EINVAL) return false; // no more; none at all
            if (read.Failed) return true;
            if (!SeccompProgram.Allows(SeccompProgram.Run(s_code.AsSpan(0, read.Value * SeccompProgram.InstructionBytes), call))) return true;
        }
    }

    /// <summary>True when a filter that a restored thread has forbids a call.</summary>
    public static bool Forbids(RestoreContext context, RestoreThread thread, in SeccompData call)
    {
        foreach (SeccompFilter filter in Chain(context, thread))
        {
            if (!SeccompProgram.Allows(SeccompProgram.Run(filter.Filter.Span, call))) return true;
        }

        return false;
    }

    /// <summary>Saves a thread's mode and filters; they change nothing but the image.</summary>
    /// <param name="thread">The thread.</param>
    /// <param name="image">All filters of the tree so far.</param>
    public static void Dump(DumpThread thread, SeccompEntry image)
    {
        ThreadCoreEntry core = thread.Core.ThreadCore;
        switch (thread.Status.Seccomp)
        {
            case 0:
                return;
            case Strict:
                core.SeccompMode = SeccompMode.Strict;
                return;
        }

        core.SeccompMode = SeccompMode.Filter;
        int last = -1;
        foreach (SeccompFilter filter in Read(thread)) last = IndexOf(image, filter, last);
        core.SeccompFilter = (uint)last;
    }

    /// <summary>Installs the filters of all threads of a process, then strict mode. Seccomp stays suspended until detach.</summary>
    /// <remarks>Before credentials: a filter without no_new_privs takes CAP_SYS_ADMIN.</remarks>
    public static void Restore(RestoreContext context, RestoreProcess process)
    {
        var chains = process.Threads.Select(thread => Chain(context, thread)).ToList();
        if (!IsUsed(process)) return;
        foreach (RestoreThread thread in process.Threads)
        {
            Sys.Ptrace(PTRACE_SETOPTIONS, thread.Tid, 0, PTRACE_O_EXITKILL | PTRACE_O_TRACESYSGOOD | PTRACE_O_SUSPEND_SECCOMP)
                .OrThrow("ptrace(PTRACE_O_SUSPEND_SECCOMP)", process.ToString());
        }

        int common = CommonLength(chains);
        for (int i = 0; i < process.Threads.Count; i++)
        {
            RestoreThread thread = process.Threads[i];
            var calls = new RemoteCalls(process.Space, thread.Task);
            for (int j = i == 0 ? 0 : common; j < chains[i].Count; j++)
            {
                Install(calls, chains[i][j], i == 0 && j < common && process.Threads.Count > 1);
            }

            if (Mode(thread) == SeccompMode.Strict)
            {
                calls.Must("seccomp", SyscallNumber.seccomp, SECCOMP_SET_MODE_STRICT, 0, 0);
            }

            calls.Flush();
        }
    }

    /// <summary>True when system calls of any thread are filtered.</summary>
    public static bool IsUsed(RestoreProcess process) => process.Threads.Exists(thread => Mode(thread) != SeccompMode.Disabled);

    private static SeccompMode Mode(RestoreThread thread) =>
        thread.Core.ThreadCore.HasSeccompMode ? thread.Core.ThreadCore.SeccompMode
        : thread.Core.Tc is { HasOldSeccompMode: true } ? thread.Core.Tc.OldSeccompMode : SeccompMode.Disabled;

    /// <summary>A thread's filters, the oldest first.</summary>
    private static List<SeccompFilter> Read(DumpThread thread)
    {
        var filters = new List<SeccompFilter>();
        ulong* metadata = stackalloc ulong[2]; // struct seccomp_metadata: index, flags
        for (int i = 0; ; i++)
        {
            SysResult read;
            fixed (byte* buffer = s_code) read = Sys.Ptrace(PTRACE_SECCOMP_GET_FILTER, thread.Task.Tid, i, (long)buffer);
            if (read.Errno == Errno.ENOENT) break;
            if (read.Failed)
            {
                throw thread.Process.Fail(
                    ErrorCode.UnsupportedState, $"the seccomp filters of thread {thread.Task.Tid} cannot be read", null, errno: read.Errno);
            }

            metadata[0] = (ulong)i;
            SysResult told = Sys.Ptrace(PTRACE_SECCOMP_GET_METADATA, thread.Task.Tid, 16, (long)metadata);
            var filter = new SeccompFilter { Filter = ByteString.CopyFrom(s_code, 0, read.Value * SeccompProgram.InstructionBytes) };
            if (!told.Failed && metadata[1] != 0) filter.Flags = (uint)metadata[1];
            filters.Add(filter);
        }

        filters.Reverse();
        return filters;
    }

    private static int IndexOf(SeccompEntry image, SeccompFilter filter, int previous)
    {
        if (previous >= 0) filter.Prev = (uint)previous;
        int known = image.SeccompFilters.IndexOf(filter);
        if (known >= 0) return known;
        image.SeccompFilters.Add(filter);
        return image.SeccompFilters.Count - 1;
    }

    /// <summary>The filters of the image that a thread had, the oldest first.</summary>
    private static List<SeccompFilter> Chain(RestoreContext context, RestoreThread thread)
    {
        var chain = new List<SeccompFilter>();
        if (Mode(thread) != SeccompMode.Filter) return chain;
        ThreadCoreEntry core = thread.Core.ThreadCore;
        uint index = core.HasSeccompFilter ? core.SeccompFilter : thread.Core.Tc?.OldSeccompFilter ?? 0;
        for (; ; )
        {
            SeccompFilter filter = context.Contents.Seccomp!.SeccompFilters[(int)index];
            chain.Add(filter);
            if (!filter.HasPrev) break;
            index = filter.Prev;
        }

        chain.Reverse();
        return chain;
    }

    private static int CommonLength(List<List<SeccompFilter>> chains)
    {
        int common = chains.Min(chain => chain.Count);
        foreach (List<SeccompFilter> chain in chains)
        {
            for (int i = 0; i < common; i++)
            {
                if (!ReferenceEquals(chain[i], chains[0][i])) common = i;
            }
        }

        return common;
    }

    private static void Install(RemoteCalls calls, SeccompFilter filter, bool forAll)
    {
        calls.Room(filter.Filter.Length + 64);
        RemoteAddress code = calls.Batch.Data(filter.Filter.Span);
        var program = new SockFprog { Length = (ushort)(filter.Filter.Length / SeccompProgram.InstructionBytes), Code = code.Value };
        uint flags = filter.Flags | (forAll ? SECCOMP_FILTER_FLAG_TSYNC : 0);
        calls.Must("seccomp", SyscallNumber.seccomp, SECCOMP_SET_MODE_FILTER, flags, calls.Batch.Data(program));
    }

    /// <summary>struct sock_fprog.</summary>
    [StructLayout(LayoutKind.Sequential)]
    private struct SockFprog
    {
        public ushort Length;
        public ulong Code;
    }
}
