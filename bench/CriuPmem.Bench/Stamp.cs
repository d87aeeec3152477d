using System.IO.MemoryMappedFiles;

namespace CriuPmem.Bench;

/// <summary>bench/stamp.c: a program that tells all the time that it runs, so that its pauses are measured from inside.</summary>
internal sealed class Stamp : IDisposable
{
    private const int Now = 0, Pause = 8, PauseEnd = 16, ResetWord = 24, Written = 32;

    private readonly MemoryMappedFile _file;
    private readonly MemoryMappedViewAccessor _view;

    /// <summary>Starts it.</summary>
    /// <param name="program">artifacts/stamp.</param>
    /// <param name="home">Its folder.</param>
    /// <param name="mib">Its memory.</param>
    /// <param name="pages">"small" or "huge".</param>
    /// <param name="written">Pages that it writes in a second, or "all".</param>
    public Stamp(string program, string home, long mib, string pages, string written)
    {
        Pid = Machine.Start([program, $"{mib}", pages, written], home);
        _file = MemoryMappedFile.CreateFromFile(Path.Combine(home, "stamp"), FileMode.Open);
        _view = _file.CreateViewAccessor();
    }

    /// <summary>The process.</summary>
    public int Pid { get; }

    /// <summary>The longest pause since the last <see cref="Reset"/>, in milliseconds, and when it ended (nanoseconds, CLOCK_REALTIME).</summary>
    public (double Milliseconds, ulong EndNs) LongestPause => (_view.ReadUInt64(Pause) / 1e6, _view.ReadUInt64(PauseEnd));

    /// <summary>The time at which it last ran, in nanoseconds of CLOCK_REALTIME.</summary>
    public ulong LastRan => _view.ReadUInt64(Now);

    /// <summary>Pages written so far.</summary>
    public ulong PagesWritten => _view.ReadUInt64(Written);

    /// <summary>Forgets the pauses so far.</summary>
    public void Reset()
    {
        _view.Write(ResetWord, 1UL);
        Machine.Until(() => _view.ReadUInt64(ResetWord) == 0);
    }

    public void Dispose()
    {
        Machine.KillSession(Pid);
        _view.Dispose();
        _file.Dispose();
    }
}
