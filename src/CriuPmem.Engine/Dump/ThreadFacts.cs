namespace CriuPmem.Engine.Dump;

/// <summary>What /proc tells of one frozen thread.</summary>
/// <param name="Status">/proc/PID/task/TID/status.</param>
/// <param name="Stat">/proc/PID/task/TID/stat.</param>
internal sealed record ThreadFacts(ProcStatus Status, ProcStat Stat)
{
    /// <summary>Reads them.</summary>
    /// <exception cref="CheckpointException">The thread is gone.</exception>
    public static ThreadFacts Read(DumpProcess process, int tid)
    {
        if (!ProcStatus.TryParse(process.Proc.Read($"task/{tid}/status"), out ProcStatus? status) ||
            !ProcStat.TryParse(process.Proc.Read($"task/{tid}/stat"), out ProcStat? stat))
        {
            throw process.Fail(ErrorCode.Vanished, $"thread {tid} vanished while it was saved", "Try again");
        }

        return new ThreadFacts(status!, stat!);
    }
}
