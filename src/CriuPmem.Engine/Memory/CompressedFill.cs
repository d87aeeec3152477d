using System.Runtime.InteropServices;
using CriuPmem.Engine.Restore;
using CriuPmem.Images;

namespace CriuPmem.Engine.Memory;

/// <summary>Brings compressed pages back into a process, whose mappings can be written to, with all CPUs: block by block, straight into it.</summary>
internal sealed unsafe class CompressedFill
{
    private const ulong ParallelFromBytes = 4 << 20;

    private readonly RestoreProcess _process;
    private readonly List<Block> _blocks = [];
    private readonly CompressedPagesReader?[] _readers;
    private readonly List<OwnedFd> _files = [];
    private int _next;
    private CheckpointException? _failure;

    private CompressedFill(RestoreProcess process, int files)
    {
        _process = process;
        _readers = new CompressedPagesReader?[files];
    }

    /// <summary>Fills runs, all of them of compressed files.</summary>
    /// <exception cref="CheckpointException">They are damaged, or the process cannot be written to.</exception>
    public static void Run(RestoreProcess process, SavedPages pages, IReadOnlyList<SavedRun> runs)
    {
        if (runs.Count == 0) return;
        var fill = new CompressedFill(process, pages.Files.Count);
        try
        {
            fill.Cut(pages, runs);
            int helpers = pages.TotalBytes < ParallelFromBytes ? 0 : Math.Min(Environment.ProcessorCount, 4) - 1;
            var threads = new List<Thread>(helpers);
            for (int i = 0; i < helpers; i++)
            {
                CompressedPagesReader?[] readers = [.. fill._readers.Select(static reader => reader?.Again())];
                var thread = new Thread(() => fill.Work(readers), 256 * 1024) { IsBackground = true, Name = "page filler" };
                if (thread.TryBegin()) threads.Add(thread);
                else Dispose(readers);
            }

            fill.Work(fill._readers);
            foreach (Thread thread in threads) thread.Join();
            if (fill._failure is not null) throw fill._failure;
        }
        finally
        {
            foreach (OwnedFd file in fill._files) file.Dispose();
        }
    }

    /// <summary>Lists the blocks that are needed, and what of each.</summary>
    private void Cut(SavedPages pages, IReadOnlyList<SavedRun> runs)
    {
        foreach (SavedRun run in runs)
        {
            if (_readers[run.File] is not { } reader)
            {
                PagesSource source = pages.Files[run.File];
                var file = new OwnedFd(source.Open(out _));
                _files.Add(file);
                _readers[run.File] = reader = CompressedPagesReader.Open(file.Fd, source.Name);
            }

            for (ulong done = 0; done < run.LengthBytes;)
            {
                ulong offset = run.Offset + done;
                int block = (int)(offset / (ulong)reader.BlockBytes);
                ulong within = offset % (ulong)reader.BlockBytes;
                ulong part = Math.Min(run.LengthBytes - done, (ulong)reader.LengthOf(block) - within);
                if (_blocks.Count == 0 || _blocks[^1].File != run.File || _blocks[^1].Number != block) _blocks.Add(new Block(run.File, block, []));
                _blocks[^1].Parts.Add((run.Start + done, within, part));
                done += part;
            }
        }
    }

    private void Work(CompressedPagesReader?[] readers)
    {
        byte* buffer = (byte*)NativeMemory.AlignedAlloc((nuint)readers.Max(static reader => reader?.BlockBytes ?? 0), (nuint)PageSize);
        try
        {
            while (_failure is null && Interlocked.Increment(ref _next) - 1 is var at && at < _blocks.Count)
            {
                Interruption.Check();
                Block block = _blocks[at];
                CompressedPagesReader reader = readers[block.File]!;
                reader.ReadBlock(block.Number, new Span<byte>(buffer, reader.BlockBytes));
                Write(block, buffer);
            }
        }
        catch (CheckpointException failure)
        {
            Interlocked.CompareExchange(ref _failure, failure, null);
        }
        finally
        {
            NativeMemory.AlignedFree(buffer);
            Dispose(readers);
        }
    }

    private static void Dispose(CompressedPagesReader?[] readers)
    {
        foreach (CompressedPagesReader? reader in readers) reader?.Dispose();
    }

    private void Write(Block block, byte* buffer)
    {
        const int most = 512;
        ulong* local = stackalloc ulong[2 * most];
        ulong* remote = stackalloc ulong[2 * most];
        for (int first = 0; first < block.Parts.Count; first += most)
        {
            int count = Math.Min(most, block.Parts.Count - first);
            ulong bytes = 0;
            for (int i = 0; i < count; i++)
            {
                (ulong address, ulong within, ulong lengthBytes) = block.Parts[first + i];
                (local[2 * i], local[2 * i + 1]) = ((ulong)(buffer + within), lengthBytes);
                (remote[2 * i], remote[2 * i + 1]) = (address, lengthBytes);
                bytes += lengthBytes;
            }

            SysResult written = Syscall.Invoke(SyscallNumber.process_vm_writev, _process.Pid, (long)local, count, (long)remote, count);
            if ((ulong)written.Raw == bytes) continue;
            throw _process.Fail(ErrorCode.SystemCall, "its memory cannot be filled with the pages of the images", null, $"memory at {block.Parts[first].Address:x}", written.Failed ? written.Errno : Errno.EFAULT);
        }
    }

    /// <summary>A block, and which of its pages go where.</summary>
    private readonly record struct Block(int File, int Number, List<(ulong Address, ulong Within, ulong LengthBytes)> Parts);
}
