using System.Globalization;
using CriuPmem.Engine.Resources;

namespace CriuPmem.Engine.Restore;

/// <summary>What every new task has from the engine, by whose thread the first one is born: what shall be so needs no call.</summary>
internal sealed class InheritedState
{
    /// <summary>Reads it, on the thread that makes the first process.</summary>
    public InheritedState()
    {
        Limits = ResourceLimits.Own();
        Scheduling = Resources.Scheduling.Own();
        using ProcDirectory? self = ProcDirectory.TryOpen(Sys.GetPid());
        OomScoreAdjustment = int.TryParse(self?.ReadText("oom_score_adj"), CultureInfo.InvariantCulture, out int score) ? score : null;
    }

    /// <summary>The resource limits, by number.</summary>
    public IReadOnlyList<(ulong Current, ulong Maximum)> Limits { get; }

    /// <summary>How it is scheduled.</summary>
    public Scheduling.Ordinary? Scheduling { get; }

    /// <summary>oom_score_adj; null when it cannot be read.</summary>
    public int? OomScoreAdjustment { get; }
}
