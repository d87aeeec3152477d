using System.Runtime.InteropServices;

namespace CriuPmem.Remote;

/// <summary>Memory for the mirrors of batches: a large tree has many batches, and few that are in use at a time.</summary>
internal static unsafe class MirrorPool
{
    private const int Most = 32;

    private static readonly Stack<nint> s_free = [];

    /// <summary>Memory with the code of a batch in it; its other contents are anything.</summary>
    public static byte* Take()
    {
        lock (s_free)
        {
            if (s_free.TryPop(out nint free)) return (byte*)free;
        }

        byte* mirror = (byte*)NativeMemory.AllocZeroed(SyscallBatch.ScratchBytes);
        RemoteCode.Batch.CopyTo(new Span<byte>(mirror + SyscallBatch.CodeOffset, SyscallBatch.RequestsOffset - SyscallBatch.CodeOffset));
        return mirror;
    }

    /// <summary>Takes it back.</summary>
    public static void Return(byte* mirror)
    {
        lock (s_free)
        {
            if (s_free.Count < Most)
            {
                s_free.Push((nint)mirror);
                return;
            }
        }

        NativeMemory.Free(mirror);
    }
}
