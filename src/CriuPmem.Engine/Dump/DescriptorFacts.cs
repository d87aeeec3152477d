namespace CriuPmem.Engine.Dump;

/// <summary>What fstat(2), fcntl(2) and lseek(2) tell of one descriptor.</summary>
/// <param name="Process">The process that has it.</param>
/// <param name="Fd">Its number there.</param>
/// <param name="Stat">The inode.</param>
/// <param name="Flags">Access mode and status flags (F_GETFL).</param>
/// <param name="CloseOnExec">The descriptor's own flag (F_GETFD).</param>
/// <param name="Owner">Who is told of events (F_GETOWN_EX): F_OWNER_TID, PID or PGRP, and whose number; 0 for nobody.</param>
/// <param name="Signal">By which signal (F_GETSIG); 0 for SIGIO.</param>
internal readonly record struct DescriptorFacts(DumpProcess Process, int Fd, FileStat Stat, uint Flags, bool CloseOnExec, (int Type, int Pid) Owner, uint Signal)
{
    /// <summary>The offset (lseek(2)); 0 for what has none.</summary>
    public ulong Position { get; init; }

    /// <summary>True for files whose offset means something, and can be asked for without changing anything.</summary>
    public bool HasPosition => Stat.Type is S_IFREG or S_IFDIR or S_IFBLK && (Flags & O_PATH) == 0;
}
