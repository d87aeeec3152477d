namespace CriuPmem.Remote;

/// <summary>An address in a tracee's memory: never to be dereferenced here.</summary>
/// <param name="Value">The address.</param>
internal readonly record struct RemoteAddress(ulong Value)
{
    /// <summary>The address <paramref name="bytes"/> further on.</summary>
    public static RemoteAddress operator +(RemoteAddress address, ulong bytes) => new(address.Value + bytes);

    /// <summary>For system call arguments.</summary>
    public static implicit operator long(RemoteAddress address) => (long)address.Value;

    /// <inheritdoc />
    public override string ToString() => $"0x{Value:x}";
}
