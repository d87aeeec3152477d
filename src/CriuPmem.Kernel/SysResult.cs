namespace CriuPmem.Kernel;

/// <summary>What a system call returned: a value, or an errno.</summary>
/// <param name="Raw">rax as the kernel left it: -4095 … -1 is a negated errno.</param>
internal readonly record struct SysResult(long Raw)
{
    /// <summary>True when the call failed.</summary>
    public bool Failed => Raw is < 0 and >= -4095;

    /// <summary>The error, or <see cref="Errno.None"/>.</summary>
    public Errno Errno => Failed ? (Errno)(-Raw) : Errno.None;

    /// <summary>The value as a 32-bit number (descriptors, pids, counts).</summary>
    public int Value => (int)Raw;

    /// <summary>Gives the value, or throws a <see cref="CheckpointException"/> that names the call and its object.</summary>
    /// <param name="call">The call's name as in its man page.</param>
    /// <param name="what">What it was done to, for a person: a path, a descriptor, a process.</param>
    public long OrThrow(string call, string what)
    {
        if (Failed) throw new CheckpointException(ErrorCode.SystemCall, $"{call} failed") { Object = what, Errno = Errno };
        return Raw;
    }

    /// <inheritdoc />
    public override string ToString() => Failed ? Errno.ToString() : Raw.ToString();
}
