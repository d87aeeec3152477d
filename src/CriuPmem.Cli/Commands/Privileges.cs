using System.Globalization;
using CriuPmem.Kernel;

namespace CriuPmem.Cli.Commands;

/// <summary>Whether this process may do what the command needs (capabilities(7)).</summary>
/// <param name="EffectiveUid">Who it acts as.</param>
/// <param name="Capabilities">Its effective capabilities, one bit each.</param>
/// <param name="PtraceScope">kernel.yama.ptrace_scope; 0 where there is no Yama.</param>
internal sealed record Privileges(int EffectiveUid, ulong Capabilities, int PtraceScope)
{
    private const int CAP_SYS_PTRACE = 19;
    private const int CAP_SYS_ADMIN = 21;
    private const int CAP_CHECKPOINT_RESTORE = 40;

    /// <summary>Those of this process.</summary>
    public static Privileges Read()
    {
        ulong capabilities = 0;
        SmallFile.TryRead("/proc/self/status", out byte[] status);
        foreach (string line in LinuxText.Decode(status).Split('\n'))
        {
            if (!line.StartsWith("CapEff:", StringComparison.Ordinal)) continue;
            _ = ulong.TryParse(line.AsSpan(7).Trim(), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out capabilities);
        }

        SmallFile.TryRead("/proc/sys/kernel/yama/ptrace_scope", out byte[] scope);
        _ = int.TryParse(LinuxText.Decode(scope).Trim(), out int ptraceScope);
        return new Privileges((int)Sys.GetEffectiveUid(), capabilities, ptraceScope);
    }

    /// <summary>Refuses when something is missing.</summary>
    /// <param name="operation">The command.</param>
    /// <param name="unprivileged">The user accepts what cannot be done without root's rights.</param>
    /// <exception cref="CheckpointException">Something is missing; it says what.</exception>
    public void Require(string operation, bool unprivileged)
    {
        const string forRoot = "Run it as root (sudo criu-pmem …), or give the program the capability (setcap cap_checkpoint_restore,cap_sys_ptrace+eip "
            + "criu-pmem) and pass --unprivileged.";
        if (!Has(CAP_SYS_ADMIN) && !Has(CAP_CHECKPOINT_RESTORE))
        {
            throw Refused(
                operation,
                EffectiveUid == 0 ? "root here has neither CAP_SYS_ADMIN nor CAP_CHECKPOINT_RESTORE" : "needs root, CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE",
                EffectiveUid == 0 ? "Is this a container? Start it with one of them (docker run --cap-add=CHECKPOINT_RESTORE,SYS_PTRACE)." : forRoot);
        }

        if (EffectiveUid != 0 && !unprivileged)
        {
            throw Refused(operation, "it is not run by root", "Run it as root (sudo criu-pmem …), or pass --unprivileged to accept what cannot be done without.");
        }

        if (operation == "dump" && !Has(CAP_SYS_PTRACE) && PtraceScope != 0)
        {
            throw Refused(
                operation, $"needs CAP_SYS_PTRACE, since kernel.yama.ptrace_scope is {PtraceScope}",
                EffectiveUid == 0 ? "Start the container with it, or run sysctl kernel.yama.ptrace_scope=0 on the host." : forRoot);
        }
    }

    private bool Has(int capability) => (Capabilities >> capability & 1) != 0;

    private static CheckpointException Refused(string operation, string cause, string remedy) =>
        new(ErrorCode.NotPermitted, cause) { Operation = operation, Remedy = remedy };
}
