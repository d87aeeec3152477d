using System.Numerics;
using CriuPmem.Images.Messages;
using CriuPmem.Kernel;

namespace CriuPmem.Images;

/// <summary>The process tree and what each task says about itself.</summary>
internal sealed partial class SnapshotValidator
{
    // PID_MAX_LIMIT of 64-bit kernels (proc_sys_kernel(5), pid_max).
    private const uint PidLimit = 1 << 22;
    private const int MaxSignals = 64;
    private const int MaxRlimits = 32;

    private void CheckTree()
    {
        string file = ImageKind.Pstree.FileName();
        if (_contents.Pstree.Count == 0) Add(file, -1, "no process");
        var known = new HashSet<uint>();
        var tids = new HashSet<uint>();
        for (int i = 0; i < _contents.Pstree.Count; i++)
        {
            PstreeEntry process = _contents.Pstree[i];
            if (process.Pid is 0 or >= PidLimit) Add(file, i, $"{process.Pid} is no pid");
            if (!known.Add(process.Pid)) Add(file, i, $"pid {process.Pid} appears twice");
            if (i == 0 ? known.Contains(process.Ppid) : !known.Contains(process.Ppid) || process.Ppid == process.Pid)
            {
                Add(file, i, $"the parent {process.Ppid} of {process.Pid} does not come before it");
            }

            if (process.Pgid >= PidLimit || process.Sid >= PidLimit)
            {
                Add(file, i, $"group {process.Pgid} or session {process.Sid} is no pid");
            }

            CheckThreads(file, i, process, tids);
        }
    }

    private void CheckThreads(string file, int entry, PstreeEntry process, HashSet<uint> tids)
    {
        bool zombie = _contents.IsZombie(process.Pid);
        if (zombie)
        {
            // The peer leaves the thread ids of a zombie uninitialized: only its pid counts.
            if (!tids.Add(process.Pid)) Add(file, entry, $"thread {process.Pid} appears twice");
            CheckCore(process.Pid, leader: true, zombie: true);
            return;
        }

        if (!process.Threads.Contains(process.Pid)) Add(file, entry, $"{process.Pid} is none of its own threads");
        foreach (uint tid in process.Threads)
        {
            if (tid is 0 or >= PidLimit) Add(file, entry, $"{tid} is no thread id");
            if (!tids.Add(tid)) Add(file, entry, $"thread {tid} appears twice");
            CheckCore(tid, leader: tid == process.Pid, zombie: false);
        }

        if (!_contents.Ids.ContainsKey(process.Pid))
        {
            Add(ErrorCode.ImageMissing, ImageKind.Ids.FileName(process.Pid), -1, "the image is missing");
        }
    }

    private void CheckCore(uint tid, bool leader, bool zombie)
    {
        string file = ImageKind.Core.FileName(tid);
        if (!_contents.Cores.TryGetValue(tid, out CoreEntry? core))
        {
            Add(ErrorCode.ImageMissing, file, -1, "the image is missing");
            return;
        }

        if (core.Mtype != CoreEntry.Types.March.X8664)
        {
            Add(ErrorCode.ImageUnsupported, file, 0, "the task of another processor architecture");
            return;
        }

        if (leader) CheckProcess(file, core.Tc);
        if (zombie) return;
        if (core.ThreadInfo is null || core.ThreadCore is null)
        {
            Add(file, 0, "a live thread without registers or without its own state");
            return;
        }

        // A process's first thread may have its mask among the state of the process.
        if (core.Tc is null && !core.ThreadCore.HasBlkSigset) Add(file, 0, "a thread without a signal mask");
        CheckRegisters(file, core.ThreadInfo);
        CheckThreadState(file, core.ThreadCore);
    }

    private void CheckProcess(string file, TaskCoreEntry? process)
    {
        if (process is null)
        {
            Add(file, 0, "a process's first thread without the process's state");
            return;
        }

        if (process.TaskState is < (uint)TaskState.Alive or > (uint)TaskState.Stopped)
        {
            Add(file, 0, $"{process.TaskState} is no task state");
        }

        CheckName(file, process.Comm);
        if (process.Sigactions.Count > MaxSignals) Add(file, 0, $"{process.Sigactions.Count} signal actions");
        if (process.Rlimits?.Rlimits.Count > MaxRlimits) Add(file, 0, $"{process.Rlimits.Rlimits.Count} limits");
        if (process.HasOomScoreAdj && process.OomScoreAdj is < -1000 or > 1000)
        {
            Add(file, 0, $"{process.OomScoreAdj} is no oom_score_adj");
        }

        CheckSignals(file, process.SignalsS);
        if (process.Timers is null) return;
        CheckTimer(file, process.Timers.Real);
        CheckTimer(file, process.Timers.Virt);
        CheckTimer(file, process.Timers.Prof);
        foreach (PosixTimerEntry timer in process.Timers.Posix)
        {
            if (timer.Insec >= 1_000_000_000 || timer.Vnsec >= 1_000_000_000)
            {
                Add(file, 0, $"POSIX timer {timer.ItId} with more nanoseconds than a second has");
            }
        }
    }

    private void CheckRegisters(string file, ThreadInfoX86 info)
    {
        // Code segments of 64-bit and 32-bit user code; with any other the kernel kills the task or worse.
        if (info.Gpregs.Cs is not (0x33 or 0x23)) Add(file, 0, $"code segment 0x{info.Gpregs.Cs:x}");
        if (info.Gpregs.Ss is not (0x2b or 0)) Add(file, 0, $"stack segment 0x{info.Gpregs.Ss:x}");
        if (info.Gpregs.FsBase >= UserSpaceEnd || info.Gpregs.GsBase >= UserSpaceEnd)
        {
            Add(file, 0, "a segment base outside user space");
        }

        if (info.Tls.Count > 3) Add(file, 0, $"{info.Tls.Count} TLS segments");
        CheckCount(file, "st_space", info.Fpregs.StSpace.Count, 32);
        CheckCount(file, "xmm_space", info.Fpregs.XmmSpace.Count, 64);
        if (info.Fpregs.Xsave is { } xsave)
        {
            CheckCount(file, "ymmh_space", xsave.YmmhSpace.Count, 64);
            CheckCount(file, "bndreg_state", xsave.BndregState.Count, 8);
            CheckCount(file, "bndcsr_state", xsave.BndcsrState.Count, 8); // two of them used: the component is 64 bytes
            CheckCount(file, "opmask_reg", xsave.OpmaskReg.Count, 8);
            CheckCount(file, "zmm_upper", xsave.ZmmUpper.Count, 64);
            CheckCount(file, "hi16_zmm", xsave.Hi16Zmm.Count, 128);
            CheckCount(file, "pkru", xsave.Pkru.Count, 2);
        }
    }

    // sched_getscheduler(2) tells it with the policy.
    private const uint SchedResetOnFork = 0x40000000;

    private void CheckThreadState(string file, ThreadCoreEntry thread)
    {
        if (thread.HasComm) CheckName(file, thread.Comm);
        if (thread.HasSchedNice && thread.SchedNice is < -20 or > 19) Add(file, 0, $"nice value {thread.SchedNice}");
        if (thread.HasSchedPolicy && (thread.SchedPolicy & ~SchedResetOnFork) > 7) Add(file, 0, $"scheduling policy {thread.SchedPolicy}");
        if (thread.HasSchedPrio && thread.SchedPrio > 99) Add(file, 0, $"scheduling priority {thread.SchedPrio}");
        if (thread.HasPdeathSig && thread.PdeathSig > MaxSignals) Add(file, 0, $"signal {thread.PdeathSig}");
        CheckSignals(file, thread.SignalsP);
        if (thread.HasSeccompFilter && thread.HasSeccompMode && thread.SeccompMode == SeccompMode.Filter)
        {
            int filters = _contents.Seccomp?.SeccompFilters.Count ?? 0;
            if (thread.SeccompFilter >= filters) Add(file, 0, $"filter {thread.SeccompFilter} of {filters}");
        }

        if (thread.Creds is not { } creds) return;
        CheckCount(file, "cap_inh", creds.CapInh.Count, 2);
        CheckCount(file, "cap_prm", creds.CapPrm.Count, 2);
        CheckCount(file, "cap_eff", creds.CapEff.Count, 2);
        CheckCount(file, "cap_bnd", creds.CapBnd.Count, 2);
        CheckCount(file, "cap_amb", creds.CapAmb.Count, 2);
        if (creds.Groups.Count > 65536) Add(file, 0, $"{creds.Groups.Count} groups");
    }

    private void CheckName(string file, Google.Protobuf.ByteString name)
    {
        // TASK_COMM_LEN of the kernel, less its zero.
        if (name.Length > 15) Add(file, 0, $"a task name of {name.Length} bytes");
    }

    private void CheckSignals(string file, SignalQueueEntry? queue)
    {
        if (queue is null) return;
        foreach (SiginfoEntry signal in queue.Signals)
        {
            if (signal.Siginfo.Length != 128) Add(file, 0, $"a siginfo of {signal.Siginfo.Length} bytes");
        }
    }

    private void CheckTimer(string file, ItimerEntry timer)
    {
        if (timer.Iusec >= 1_000_000 || timer.Vusec >= 1_000_000)
        {
            Add(file, 0, "a timer with more microseconds than a second has");
        }
    }

    private void CheckCount<T>(string file, string field, T count, T most) where T : INumber<T>
    {
        if (count > most) Add(file, 0, $"{count} words in {field}, which holds {most}");
    }
}
