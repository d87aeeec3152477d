using System.Runtime.InteropServices;

namespace CriuPmem.Kernel;

/// <summary>struct clone_args (clone3(2)).</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct CloneArgs
{
    public ulong flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, cgroup;
}
