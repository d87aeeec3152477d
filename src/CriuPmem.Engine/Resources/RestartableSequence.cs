using CriuPmem.Engine.Dump;
using CriuPmem.Engine.Restore;
using CriuPmem.Images.Messages;
using CriuPmem.Remote;

namespace CriuPmem.Engine.Resources;

/// <summary>A thread's registration for restartable sequences (rseq(2)).</summary>
/// <remarks>
/// A thread that was stopped inside a critical section has already been sent to its abort address when it was frozen
/// (<see cref="StepOut"/>): the first remote call would make the kernel forget the section without aborting it.
/// </remarks>
internal sealed unsafe class RestartableSequence : TaskState
{
    /// <summary>Where struct rseq has its rseq_cs pointer.</summary>
    private const ulong CriticalSectionOffset = 8;

    /// <summary>Moves a thread that stands inside a critical section to its abort address, as a preemption would.</summary>
    public static void StepOut(DumpThread thread)
    {
        Tracee task = thread.Task;
        Configuration rseq;
        if (Sys.Ptrace(PTRACE_GET_RSEQ_CONFIGURATION, task.Tid, sizeof(Configuration), (long)&rseq).Failed || rseq.Address == 0) return;
        thread.Core.ThreadCore.RseqEntry = new RseqEntry { RseqAbiPointer = rseq.Address, RseqAbiSize = rseq.Size, Signature = rseq.Signature };
        ulong pointer;
        if (Sys.ProcessVmRead(task.Tid, rseq.Address + CriticalSectionOffset, &pointer, 8).Failed || pointer == 0) return;
        CriticalSection section;
        if (Sys.ProcessVmRead(task.Tid, pointer, &section, (ulong)sizeof(CriticalSection)).Failed) return;
        if (task.Registers.rip - section.Start >= section.Length) return;
        task.Registers.rip = section.Abort;
        task.SetRegisters(task.Registers); // at once: without the pointer the kernel would not do it if the engine dies
        pointer = 0;
        Sys.ProcessVmWrite(task.Tid, rseq.Address + CriticalSectionOffset, &pointer, 8).OrThrow("process_vm_writev", thread.Process.ToString());
    }

    /// <summary>True when a stopped thread has registered.</summary>
    public static bool IsRegistered(int tid)
    {
        Configuration rseq;
        return !Sys.Ptrace(PTRACE_GET_RSEQ_CONFIGURATION, tid, sizeof(Configuration), (long)&rseq).Failed && rseq.Address != 0;
    }

    /// <inheritdoc />
    public override Action? Dump(SyscallBatch batch, DumpThread thread) => null;

    /// <inheritdoc />
    public override void Restore(RemoteCalls calls, RestoreThread thread)
    {
        RseqEntry? entry = thread.Core.ThreadCore.RseqEntry;
        if (entry is null || entry.RseqAbiPointer == 0) return;
        calls.Must("rseq", SyscallNumber.rseq, (long)entry.RseqAbiPointer, entry.RseqAbiSize, 0, entry.Signature);
    }

    /// <summary>struct ptrace_rseq_configuration.</summary>
    private struct Configuration
    {
        public ulong Address;
        public uint Size, Signature, Flags, Padding;
    }

    /// <summary>struct rseq_cs.</summary>
    private struct CriticalSection
    {
        public uint Version, Flags;
        public ulong Start, Length, Abort;
    }
}
