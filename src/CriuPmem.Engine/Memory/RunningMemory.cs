using CriuPmem.Engine.Dump;

namespace CriuPmem.Engine.Memory;

/// <summary>Saves memory while the tree runs, in whichever way stands it still for less.</summary>
/// <remarks>
/// Twins at once where memory lies in huge pages: a fork copies one entry for each 2 MiB then. Else copying in rounds; when
/// the last of them took longer than a fork would (the program writes too fast), twins after all. No twins where memory is
/// short: what the tree writes while they live takes memory twice, and the kernel might end the tree.
/// </remarks>
internal sealed class RunningMemory(DumpOptions options, PagesOutput output) : IMemorySaver
{
    private const double CheapForkMicroseconds = 5000;

    // Measured with 1 and 4 GiB (Linux 6.18, Zen 4): what a fork copies for each page of 4 KiB, and for each of 2 MiB.
    private const double ForkMicrosecondsAPage = 0.06, ForkMicrosecondsAHugePage = 1.5, ForkMicrosecondsAProcess = 500;
    private const ulong HugePageBytes = 2 << 20;

    private IMemorySaver? _way;
    private LiveMemory? _copied;

    /// <inheritdoc />
    public (long Written, long InParent, long Scanned) Pages => _way!.Pages;

    /// <inheritdoc />
    public IEnumerable<(int Pid, PageRun Run)> WrittenLately => _copied?.WrittenLately ?? [];

    /// <inheritdoc />
    public void Prepare()
    {
        (ulong bytes, ulong hugeBytes, double fork) = Estimate();
        bool hasRoom = HasRoom(bytes);
        if (hasRoom && hugeBytes > bytes / 2 && fork <= CheapForkMicroseconds)
        {
            UseTwins(fork, $"{hugeBytes >> 20} of {bytes >> 20} MiB lie in huge pages");
            return;
        }

        var live = new LiveMemory(options, output);
        _copied = live;
        _way = live;
        live.Prepare();
        // While the tree stands still pages go into memory, and not into a file: that takes about half the time.
        if (!hasRoom || live.RestTime is not { } rest || rest.TotalMicroseconds / 2 <= fork) return;
        live.Dispose();
        UseTwins(fork, $"the last round took {rest.TotalMilliseconds:0.0} ms");
    }

    /// <inheritdoc />
    public void Save(FrozenTree tree, DumpContext context) => _way!.Save(tree, context);

    /// <inheritdoc />
    public void Finish() => _way!.Finish();

    /// <inheritdoc />
    public void Dispose() => _way?.Dispose();

    private bool HasRoom(ulong bytes)
    {
        using ProcDirectory? root = ProcDirectory.TryOpen(options.Pid);
        return root is not null && MemoryRoom.Bytes(root) >= bytes;
    }

    private void UseTwins(double fork, string why)
    {
        options.Log.Info("live", $"{why}: saved from twins, whose fork takes about {fork / 1000:0.0} ms");
        _way = new TwinMemory(options, output);
        _way.Prepare();
    }

    /// <summary>How much anonymous memory the tree has, what of it lies in huge pages, and how long a fork of it all would take.</summary>
    private (ulong Bytes, ulong HugeBytes, double ForkMicroseconds) Estimate()
    {
        ulong bytes = 0, hugeBytes = 0;
        double fork = 0;
        using var scanner = new PageScanner();
        foreach (int pid in Tree(options.Pid))
        {
            using ProcDirectory? proc = ProcDirectory.TryOpen(pid);
            SysResult opened = proc is null ? new SysResult(-1) : Sys.OpenAt(proc.Fd, "pagemap", O_RDONLY);
            if (opened.Failed) continue;
            using var pagemap = new OwnedFd(opened.Value);
            ulong own = (proc!.Status()?.AnonymousKib ?? 0) << 10, huge = Math.Min(own, scanner.HugeBytes(pagemap.Fd));
            bytes += own;
            hugeBytes += huge;
            fork += (own - huge) / PageSize * ForkMicrosecondsAPage + huge / HugePageBytes * ForkMicrosecondsAHugePage + ForkMicrosecondsAProcess;
        }

        return (bytes, hugeBytes, fork);
    }

    /// <summary>The processes of a tree that runs: as many as can be seen.</summary>
    private static List<int> Tree(int root)
    {
        var pids = new List<int> { root };
        for (int i = 0; i < pids.Count; i++)
        {
            using ProcDirectory? proc = ProcDirectory.TryOpen(pids[i]);
            foreach (int tid in proc?.Numbers("task") ?? []) pids.AddRange(proc!.Children(tid));
        }

        return pids;
    }
}
