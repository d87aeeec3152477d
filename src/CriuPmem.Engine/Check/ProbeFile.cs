namespace CriuPmem.Engine.Check;

/// <summary>An open descriptor of a probe, closed at the end of its scope, and whole small files of /proc.</summary>
/// <param name="Value">The descriptor.</param>
internal readonly unsafe record struct ProbeFile(int Value) : IDisposable
{
    private const int O_CLOEXEC = 0x80000;

    /// <summary>Opens a path.</summary>
    public static ProbeFile Open(string path, int flags = 0)
    {
        fixed (byte* name = LinuxText.EncodeZ(path))
        {
            return new((int)Syscall.Invoke(SyscallNumber.openat, -100, (long)name, flags | O_CLOEXEC).OrThrow("open", path));
        }
    }

    /// <summary>Takes what a call returned.</summary>
    public static ProbeFile Of(SysResult result, string call) => new((int)result.OrThrow(call, "probe"));

    /// <summary>True when the path exists and can be reached.</summary>
    public static bool Exists(string path)
    {
        fixed (byte* name = LinuxText.EncodeZ(path)) return !Syscall.Invoke(SyscallNumber.faccessat, -100, (long)name, 0).Failed;
    }

    /// <summary>Reads a file of /proc.</summary>
    public static string Read(string path)
    {
        using ProbeFile file = Open(path);
        var bytes = new byte[8192];
        for (int length = 0; ;)
        {
            if (length == bytes.Length) Array.Resize(ref bytes, length * 2);
            long got;
            fixed (byte* free = &bytes[length])
            {
                got = Syscall.Invoke(SyscallNumber.read, file.Value, (long)free, bytes.Length - length).OrThrow("read", path);
            }

            if (got == 0) return LinuxText.Decode(bytes.AsSpan(0, length));
            length += (int)got;
        }
    }

    /// <inheritdoc />
    public void Dispose() => Syscall.Invoke(SyscallNumber.close, Value);
}
