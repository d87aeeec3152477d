using CriuPmem.Engine.Restore;
using CriuPmem.Remote;

namespace CriuPmem.Engine.Resources;

/// <summary>Processes that have ended and wait for their parent: they end again, with the same status.</summary>
internal static class Zombie
{
    /// <summary>Makes a new-born process a zombie.</summary>
    public static void Make(RestoreProcess process)
    {
        int status = (int)process.Core.Tc.ExitCode;
        Tracee task = process.Leader.Task;
        int signal = status & 0x7F;
        if (signal == 0)
        {
            process.Space.Batch.Clear();
            process.Space.Batch.Try(SyscallNumber.exit_group, status >> 8 & 0xFF);
            process.Space.Start(task);
        }
        else
        {
            Sys.Kill(process.Pid, signal);
            task.Detach(signal);
        }

        while (!task.Wait().Ended)
        {
        }
    }

    /// <summary>Takes away the SIGCHLD that the making of zombies has left pending in their parent.</summary>
    public static void ForgetSignal(RemoteCalls calls)
    {
        calls.Room(32);
        RemoteAddress set = calls.Batch.Data(1UL << (SIGCHLD - 1)), now = calls.Batch.Reserve(16);
        calls.Try(SyscallNumber.rt_sigtimedwait, set, 0, now, 8);
    }
}
