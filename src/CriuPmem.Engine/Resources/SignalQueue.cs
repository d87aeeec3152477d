using CriuPmem.Images.Messages;
using CriuPmem.Remote;
using Google.Protobuf;

namespace CriuPmem.Engine.Resources;

/// <summary>Pending signals with their siginfo, read by PTRACE_PEEKSIGINFO and sent again by the task itself.</summary>
internal static unsafe class SignalQueue
{
    private const int SiginfoBytes = 128;
    private const int PerCall = 32;

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
