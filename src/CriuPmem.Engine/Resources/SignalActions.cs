using System.Runtime.InteropServices;
using CriuPmem.Engine.Dump;
using CriuPmem.Engine.Restore;
using CriuPmem.Images.Messages;
using CriuPmem.Remote;

namespace CriuPmem.Engine.Resources;

/// <summary>What a process does at each signal (rt_sigaction(2)); shared by its threads.</summary>
internal sealed class SignalActions : TaskState
{
    private const ulong SIG_IGN = 1;

    /// <inheritdoc />
    public override Action? Dump(SyscallBatch batch, DumpThread thread)
    {
        RemoteAddress actions = batch.Reserve(Marshal.SizeOf<KernelSigaction>() * (_NSIG + 1));
        foreach (int signal in Changeable())
        {
            batch.Must("rt_sigaction", SyscallNumber.rt_sigaction, signal, 0, actions + (ulong)(32 * signal), 8);
        }

        return () =>
        {
            foreach (int signal in Changeable())
            {
                ref KernelSigaction action = ref batch.At<KernelSigaction>(actions + (ulong)(32 * signal));
                thread.Core.Tc.Sigactions.Add(new SaEntry
                {
                    Sigaction = action.handler,
                    Flags = action.flags,
                    Restorer = action.restorer,
                    Mask = action.mask,
                    CompatSigaction = false,
                });
            }
        };
    }

    /// <inheritdoc />
    public override void Restore(RemoteCalls calls, RestoreThread thread)
    {
        calls.Room(32 * _NSIG, _NSIG);
        int index = 0;
        foreach (int signal in Changeable())
        {
            if (index >= thread.Core.Tc.Sigactions.Count) break;
            SaEntry entry = thread.Core.Tc.Sigactions[index++];
            if (entry is { Sigaction: SIG_DFL, Flags: 0, Restorer: 0, Mask: 0 }) continue; // as it was born
            var action = new KernelSigaction { handler = entry.Sigaction, flags = entry.Flags, restorer = entry.Restorer, mask = entry.Mask };
            calls.Must($"restoring the action for signal {signal}", SyscallNumber.rt_sigaction, signal, calls.Batch.Data(action), 0, 8);
        }
    }

    /// <summary>
    /// Gives every signal its default action, which all that descend from the process have then. An ignored SIGCHLD,
    /// inherited, would reap zombies as they are made.
    /// </summary>
    public static void Reset(RemoteCalls calls)
    {
        RemoteAddress none = calls.Batch.Reserve(Marshal.SizeOf<KernelSigaction>());
        foreach (int signal in Changeable()) calls.Must("rt_sigaction", SyscallNumber.rt_sigaction, signal, none, 0, 8);
    }

    /// <summary>Whether a restored process ignores SIGTRAP, which forbids single steps.</summary>
    public static bool IgnoresTrap(RestoreThread leader) =>
        leader.Core.Tc.Sigactions.Count >= SIGTRAP && leader.Core.Tc.Sigactions[SIGTRAP - 1].Sigaction == SIG_IGN;

    private static IEnumerable<int> Changeable()
    {
        for (int signal = 1; signal <= _NSIG; signal++)
        {
            if (signal is not (SIGKILL or SIGSTOP)) yield return signal;
        }
    }

    /// <summary>struct sigaction as the kernel has it on x86-64.</summary>
    [StructLayout(LayoutKind.Sequential)]
    private struct KernelSigaction
    {
        public ulong handler, flags, restorer, mask;
    }
}
