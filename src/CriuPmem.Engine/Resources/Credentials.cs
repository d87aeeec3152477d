using CriuPmem.Engine.Dump;
using CriuPmem.Engine.Restore;
using CriuPmem.Images.Messages;
using CriuPmem.Remote;
using Google.Protobuf.Collections;

namespace CriuPmem.Engine.Resources;

/// <summary>A thread's credentials (credentials(7), capabilities(7)): ids, groups, capability sets, securebits, no_new_privs.</summary>
internal sealed class Credentials : TaskState
{
    private const uint LINUX_CAPABILITY_VERSION_3 = 0x20080522;
    private const int SECBIT_NO_SETUID_FIXUP = 4, SECBIT_KEEP_CAPS = 16;

    /// <inheritdoc />
    public override Action? Dump(SyscallBatch batch, DumpThread thread)
    {
        ProcStatus status = thread.Status;
        var creds = new CredsEntry
        {
            Uid = status.Uids[0],
            Euid = status.Uids[1],
            Suid = status.Uids[2],
            Fsuid = status.Uids[3],
            Gid = status.Gids[0],
            Egid = status.Gids[1],
            Sgid = status.Gids[2],
            Fsgid = status.Gids[3],
            Secbits = 0,
        };
        creds.Groups.AddRange(status.Groups);
        Words(creds.CapInh, status.CapInheritable);
        Words(creds.CapPrm, status.CapPermitted);
        Words(creds.CapEff, status.CapEffective);
        Words(creds.CapBnd, status.CapBounding);
        Words(creds.CapAmb, status.CapAmbient);
        if (status.NoNewPrivs) creds.NoNewPrivs = 1;
        thread.Core.ThreadCore.Creds = creds;
        int securebits = batch.Must("prctl(PR_GET_SECUREBITS)", SyscallNumber.prctl, PR_GET_SECUREBITS);
        return () => creds.Secbits = (uint)batch.Result(securebits).Value;
    }

    /// <inheritdoc />
    public override void Restore(RemoteCalls calls, RestoreThread thread)
    {
        CredsEntry? creds = thread.Core.ThreadCore.Creds;
        if (creds is null) return;
        ThreadCoreEntry core = thread.Core.ThreadCore;
        if (!IsOwn(creds, thread.RestoredAs))
        {
            Ids(calls, creds, thread);
            Capabilities(calls, creds);
        }

        // The parent-death signal is forgotten when ids change, so it comes after them (PR_SET_PDEATHSIG(2const)).
        calls.Must("prctl(PR_SET_PDEATHSIG)", SyscallNumber.prctl, PR_SET_PDEATHSIG, core.PdeathSig);
        if (creds.NoNewPrivs != 0) calls.Must("prctl(PR_SET_NO_NEW_PRIVS)", SyscallNumber.prctl, PR_SET_NO_NEW_PRIVS, 1);
    }

    private static void Ids(RemoteCalls calls, CredsEntry creds, RestoreThread thread)
    {
        calls.Room(creds.Groups.Count * 4 + 64, 80);
        // With this bit a change of ids leaves the capabilities alone; the saved bits follow at the end.
        calls.Must("prctl(PR_SET_SECUREBITS)", SyscallNumber.prctl, PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP | SECBIT_KEEP_CAPS);
        RemoteAddress groups = calls.Batch.Data(System.Runtime.InteropServices.MemoryMarshal.AsBytes<uint>(creds.Groups.ToArray()));
        calls.Must("setgroups", SyscallNumber.setgroups, creds.Groups.Count, groups);
        calls.Must("setresgid", SyscallNumber.setresgid, creds.Gid, creds.Egid, creds.Sgid);
        calls.Must("setresuid", SyscallNumber.setresuid, creds.Uid, creds.Euid, creds.Suid);
        calls.Must("setfsgid", SyscallNumber.setfsgid, creds.Fsgid);
        calls.Must("setfsuid", SyscallNumber.setfsuid, creds.Fsuid);
        ulong bounding = Value(creds.CapBnd);
        for (int capability = 0; capability <= thread.LastCapability; capability++)
        {
            if ((bounding >> capability & 1) == 0) calls.Must("prctl(PR_CAPBSET_DROP)", SyscallNumber.prctl, PR_CAPBSET_DROP, capability);
        }
    }

    private static void Capabilities(RemoteCalls calls, CredsEntry creds)
    {
        // Bits first while CAP_SETPCAP is there, then the sets; ambient ones need permitted and inheritable to stand.
        calls.Room(96, 72);
        calls.Must("prctl(PR_SET_SECUREBITS)", SyscallNumber.prctl, PR_SET_SECUREBITS, creds.Secbits);
        RemoteAddress header = calls.Batch.Data(new CapHeader { Version = LINUX_CAPABILITY_VERSION_3 });
        RemoteAddress data = calls.Batch.Data(new CapData
        {
            Effective0 = At(creds.CapEff, 0),
            Permitted0 = At(creds.CapPrm, 0),
            Inheritable0 = At(creds.CapInh, 0),
            Effective1 = At(creds.CapEff, 1),
            Permitted1 = At(creds.CapPrm, 1),
            Inheritable1 = At(creds.CapInh, 1),
        });
        calls.Must("capset", SyscallNumber.capset, header, data);
        ulong ambient = Value(creds.CapAmb);
        for (int capability = 0; ambient != 0 && capability < 64; capability++)
        {
            if ((ambient >> capability & 1) != 0) calls.Must("prctl(PR_CAP_AMBIENT_RAISE)", SyscallNumber.prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability);
        }
    }

    /// <summary>True when the new task has these credentials already, being the engine's own.</summary>
    private static bool IsOwn(CredsEntry creds, ProcStatus own) =>
        creds.Uid == own.Uids[0] && creds.Euid == own.Uids[1] && creds.Suid == own.Uids[2] && creds.Fsuid == own.Uids[3] &&
        creds.Gid == own.Gids[0] && creds.Egid == own.Gids[1] && creds.Sgid == own.Gids[2] && creds.Fsgid == own.Gids[3] &&
        creds.Secbits == 0 && creds.Groups.SequenceEqual(own.Groups) &&
        Value(creds.CapInh) == own.CapInheritable && Value(creds.CapPrm) == own.CapPermitted && Value(creds.CapEff) == own.CapEffective &&
        Value(creds.CapBnd) == own.CapBounding && Value(creds.CapAmb) == own.CapAmbient;

    private static void Words(RepeatedField<uint> words, ulong value)
    {
        words.Add((uint)value);
        words.Add((uint)(value >> 32));
    }

    private static uint At(RepeatedField<uint> words, int index) => index < words.Count ? words[index] : 0;

    private static ulong Value(RepeatedField<uint> words) => At(words, 0) | (ulong)At(words, 1) << 32;

    /// <summary>struct __user_cap_header_struct.</summary>
#pragma warning disable CS0649 // filled in or left zero for the kernel
    private struct CapHeader
    {
        public uint Version;
        public int Pid;
    }
#pragma warning restore CS0649

    /// <summary>Two struct __user_cap_data_struct (capget(2)).</summary>
    private struct CapData
    {
        public uint Effective0, Permitted0, Inheritable0, Effective1, Permitted1, Inheritable1;
    }
}
