using System.Globalization;
using CriuPmem.Engine.Dump;
using CriuPmem.Engine.Restore;
using CriuPmem.Images.Messages;
using CriuPmem.Remote;

namespace CriuPmem.Engine.Resources;

/// <summary>Small settings of a process: personality, subreaper, oom_score_adj, loginuid, membarrier registrations.</summary>
internal sealed class ProcessAttributes : TaskState
{
    private const int MEMBARRIER_CMD_GET_REGISTRATIONS = 512;

    /// <inheritdoc />
    public override Action? Dump(SyscallBatch batch, DumpThread thread)
    {
        TaskCoreEntry core = thread.Core.Tc;
        DumpProcess process = thread.Process;
        core.Personality = uint.Parse(process.Text("personality") ?? "0", NumberStyles.HexNumber, CultureInfo.InvariantCulture);
        if (int.TryParse(process.Text("oom_score_adj"), CultureInfo.InvariantCulture, out int score)) core.OomScoreAdj = score;
        if (uint.TryParse(process.Text("loginuid"), CultureInfo.InvariantCulture, out uint login)) core.Loginuid = login;
        RemoteAddress subreaper = batch.Reserve(8);
        batch.Must("prctl(PR_GET_CHILD_SUBREAPER)", SyscallNumber.prctl, PR_GET_CHILD_SUBREAPER, subreaper);
        int membarrier = batch.Try(SyscallNumber.membarrier, MEMBARRIER_CMD_GET_REGISTRATIONS);
        return () =>
        {
            core.ChildSubreaper = batch.At<int>(subreaper) != 0;
            SysResult registered = batch.Result(membarrier);
            if (!registered.Failed && registered.Raw != 0) core.MembarrierRegistrationMask = (uint)registered.Value;
        };
    }

    /// <inheritdoc />
    public override void Restore(RemoteCalls calls, RestoreThread thread)
    {
        TaskCoreEntry core = thread.Core.Tc;
        calls.Must("personality", SyscallNumber.personality, core.Personality);
        if (core.ChildSubreaper) calls.Must("prctl(PR_SET_CHILD_SUBREAPER)", SyscallNumber.prctl, PR_SET_CHILD_SUBREAPER, 1);
        for (uint left = core.MembarrierRegistrationMask; left != 0; left &= left - 1)
        {
            calls.Must("membarrier", SyscallNumber.membarrier, left & (0 - left));
        }

        // Processes that share memory share this too, however they were born.
        bool inherited = core.OomScoreAdj == thread.Process.Context.Inherited.OomScoreAdjustment && !SharesMemory(thread.Process);
        if (core.HasOomScoreAdj && !inherited) Write(thread, "oom_score_adj", core.OomScoreAdj.ToString(CultureInfo.InvariantCulture));
    }

    /// <summary>Sets the user id of the login (audit): only the task itself may, by /proc, which a root directory of its own may lack later.</summary>
    /// <param name="context">The restore.</param>
    /// <param name="process">A new-born process with no descriptor but the transport.</param>
    public static void RestoreLogin(RestoreContext context, RestoreProcess process)
    {
        if (process.IsZombie || !process.Core.Tc.HasLoginuid) return;
        string wanted = process.Core.Tc.Loginuid.ToString(CultureInfo.InvariantCulture);
        process.LoginId ??= process.Proc.ReadText("loginuid") ?? wanted;
        if (process.LoginId == wanted) return;
        var calls = new RemoteCalls(process.Space, process.Leader.Task);
        RemoteAddress path = calls.Batch.Data("/proc/self/loginuid\0"u8), text = calls.Batch.Data(LinuxText.Encode(wanted));
        calls.Batch.Gate(SyscallNumber.open, path, O_WRONLY); // lands at 0, the lowest
        int written = calls.Try(SyscallNumber.write, 0, text, wanted.Length);
        SysResult result = calls.RunAndKeep().Result(written);
        calls.Batch.Clear();
        calls.Try(SyscallNumber.close, 0);
        calls.Flush();
        process.LoginId = result.Raw == wanted.Length ? wanted : null;
        if (process.LoginId is not null) return;
        context.Log.Warn("restore", $"{process}: its login user id (loginuid) cannot be set to {wanted}: that takes CAP_AUDIT_CONTROL, or one that is not set yet");
    }

    private static bool SharesMemory(RestoreProcess process) =>
        process.MemoryOwner is not null || process.Children.Exists(child => child.MemoryOwner == process);

    private static void Write(RestoreThread thread, string name, string value)
    {
        ProcDirectory proc = thread.Process.Proc;
        if (proc.ReadText(name) == value) return;
        Sys.WriteFile(proc.Fd, name, value).OrThrow($"writing {name}", thread.Process.ToString());
    }
}
