using CriuPmem.Engine.Memory;

namespace CriuPmem.Engine.Lazy;

/// <summary>Turns what was filled page by page into huge pages, into which an eager restore reads from the start.</summary>
/// <remarks>
/// UFFDIO_COPY makes pages of 4 KiB only, and where a userfaultfd waits for missing ones the kernel makes a huge page of a
/// full block alone. So it is done behind the last page (MADV_COLLAPSE copies a block in 0.7 ms, and keeps the program from
/// it so long), when nobody waits for this process any more, and its end would harm nobody. Not where pages are missing:
/// they would be filled with zeros, though the program may have given them back. Nor where a process has forked: it
/// would get a copy of what it shares.
/// </remarks>
internal sealed unsafe class PagerHugePages(EngineLog log)
{
    /// <summary>The size of a huge page, in bytes.</summary>
    public const ulong PageBytes = 2 << 20;

    private const ulong MaxBytesPerCall = 32 << 20;

    private readonly List<Candidate> _candidates = [];

    /// <summary>Adds an address space.</summary>
    /// <param name="pid">A process in it.</param>
    /// <param name="family">That process and those it makes.</param>
    /// <param name="ranges">Where huge pages may be, in whole ones.</param>
    public void Add(int pid, PagerFamily family, IReadOnlyList<(ulong Start, ulong End)> ranges)
    {
        if (ranges.Count == 0) return;
        SysResult pidfd = Sys.PidfdOpen(pid), pagemap = Sys.OpenAt(AT_FDCWD, $"/proc/{pid}/pagemap", O_RDONLY | O_CLOEXEC);
        if (!pidfd.Failed && !pagemap.Failed) _candidates.Add(new Candidate(new OwnedFd(pidfd.Value), new OwnedFd(pagemap.Value), family, ranges));
    }

    /// <summary>Makes them.</summary>
    public void Make()
    {
        if (_candidates.Count == 0) return;
        var watch = new StopwatchLap();
        ulong bytes = 0;
        foreach (Candidate candidate in _candidates)
        {
            if (!candidate.Family.HasForked) bytes += Make(candidate);
            candidate.PidFd.Dispose();
            candidate.Pagemap.Dispose();
        }

        log.Debug("lazy", $"{bytes >> 20} MiB are in huge pages after {watch.Total / 1000} ms more");
    }

    private static ulong Make(Candidate candidate)
    {
        using var scanner = new PageScanner { MayEnd = true };
        var full = new List<(ulong Start, ulong End)>();
        ulong bytes = 0;
        foreach ((ulong start, ulong end) in candidate.Ranges)
        {
            for (ulong at = start; at < end; at += MaxBytesPerCall)
            {
                full.Clear();
                scanner.OwnPages(candidate.Pagemap.Fd, at, Math.Min(at + MaxBytesPerCall, end), ofFile: true, (from, to, guard) =>
                {
                    ulong first = (from + PageBytes - 1) & ~(PageBytes - 1), last = to & ~(PageBytes - 1);
                    if (!guard && first < last) full.Add((first, last));
                });
                foreach ((ulong from, ulong to) in full)
                {
                    SysResult made = Collapse(candidate.PidFd, from, to - from);
                    if (!made.Failed) bytes += to - from;
                    else if (made.Errno is not (Errno.EAGAIN or Errno.EBUSY or Errno.EINVAL)) return bytes; // no memory, no right, or nobody there
                }
            }
        }

        return bytes;
    }

    private static SysResult Collapse(OwnedFd process, ulong start, ulong lengthBytes)
    {
        ulong* range = stackalloc ulong[2] { start, lengthBytes };
        return Syscall.Invoke(SyscallNumber.process_madvise, process.Fd, (long)range, 1, MADV_COLLAPSE, 0);
    }

    private sealed record Candidate(OwnedFd PidFd, OwnedFd Pagemap, PagerFamily Family, IReadOnlyList<(ulong Start, ulong End)> Ranges);
}
