using CriuPmem.Images.Messages;
using CriuPmem.Remote;
using Google.Protobuf;

namespace CriuPmem.Engine.Resources;

/// <summary>Pending signals with their siginfo, read by PTRACE_PEEKSIGINFO and sent again by the task itself.</summary>
internal static unsafe class SignalQueue
{
    private const int SiginfoBytes = 128;
    private const int PerCall = 32;
    private const int SI_TIMER = -2;

    /// <summary>Reads a queue: a thread's own, or (<paramref name="shared"/>) its process's.</summary>
    public static SignalQueueEntry Read(int tid, bool shared)
    {
        var queue = new SignalQueueEntry();
        byte* infos = stackalloc byte[SiginfoBytes * PerCall];
        PeekSiginfo request;
        request.flags = shared ? PTRACE_PEEKSIGINFO_SHARED : 0u;
        request.count = PerCall;
        for (request.offset = 0; ; request.offset += PerCall)
        {
            long read = Sys.Ptrace(PTRACE_PEEKSIGINFO, tid, (long)&request, (long)infos).OrThrow("ptrace(PEEKSIGINFO)", $"task {tid}");
            for (int i = 0; i < read; i++)
            {
                queue.Signals.Add(new SiginfoEntry { Siginfo = ByteString.CopyFrom(new ReadOnlySpan<byte>(infos + i * SiginfoBytes, SiginfoBytes)) });
            }

            if (read < PerCall) return queue;
        }
    }

    /// <summary>
    /// Has the overruns of timers whose signal is pending counted: only taking the signal tells them (timer_getoverrun(2)),
    /// so the task takes it and sends it to itself again. Left alone where several of that number are pending.
    /// </summary>
    /// <returns>What to do when the batch has run, or null.</returns>
    public static Action? CountOverruns(SyscallBatch batch, SignalQueueEntry queue, SignalQueueEntry? other, int pid, int tid, bool shared)
    {
        var later = new List<Action>();
        foreach (SiginfoEntry entry in queue.Signals)
        {
            int signal = Number(entry);
            if (BitConverter.ToInt32(entry.Siginfo.Span[8..]) != SI_TIMER) continue;
            if (queue.Signals.Count(each => Number(each) == signal) > 1 || (other?.Signals.Any(each => Number(each) == signal) ?? false)) continue;
            RemoteAddress set = batch.Data(1UL << (signal - 1)), info = batch.Reserve(SiginfoBytes), now = batch.Reserve(16);
            int taken = batch.Gate(SyscallNumber.rt_sigtimedwait, set, info, now, 8);
            if (shared) batch.Must("rt_sigqueueinfo", SyscallNumber.rt_sigqueueinfo, pid, signal, info);
            else batch.Must("rt_tgsigqueueinfo", SyscallNumber.rt_tgsigqueueinfo, pid, tid, signal, info);
            later.Add(() =>
            {
                // The kernel drops the signal of a timer that was set anew or deleted meanwhile: so it would for the program.
                if (batch.Result(taken).Failed) queue.Signals.Remove(entry);
                else entry.Siginfo = ByteString.CopyFrom(batch.Bytes(info, SiginfoBytes));
            });
        }

        return later.Count == 0 ? null : () => later.ForEach(read => read());
    }

    private static int Number(SiginfoEntry entry) => BitConverter.ToInt32(entry.Siginfo.Span);

    /// <summary>Sends a queue again. The kernel lets a task send itself signals with any code (rt_sigqueueinfo(2)).</summary>
    public static void Send(RemoteCalls calls, SignalQueueEntry? queue, int pid, int tid, bool shared)
    {
        if (queue is null) return;
        foreach (SiginfoEntry entry in queue.Signals)
        {
            if (entry.Siginfo.Length != SiginfoBytes) throw new CheckpointException(ErrorCode.ImageDamaged, "a pending signal has a wrong length") { Pid = pid };
            calls.Room(SiginfoBytes);
            RemoteAddress info = calls.Batch.Data(entry.Siginfo.Span);
            int signal = BitConverter.ToInt32(entry.Siginfo.Span);
            if (shared) calls.Must($"queueing signal {signal} again", SyscallNumber.rt_sigqueueinfo, pid, signal, info);
            else calls.Must($"queueing signal {signal} again", SyscallNumber.rt_tgsigqueueinfo, pid, tid, signal, info);
        }
    }

    private struct PeekSiginfo
    {
        public ulong offset;
        public uint flags;
        public int count;
    }
}
