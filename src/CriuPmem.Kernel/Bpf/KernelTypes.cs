namespace CriuPmem.Kernel;

/// <summary>The kernel's own types, as it describes them (BTF, Documentation/bpf/btf.rst): where a member lies in a structure.</summary>
internal sealed unsafe class KernelTypes : IDisposable
{
    private const string File = "/sys/kernel/btf/vmlinux";
    private const uint Magic = 0xEB9F;
    private const int HeaderBytes = 24, TypeBytes = 12, MemberBytes = 12;
    private const int MaxNesting = 8;

    private readonly byte* _data;
    private readonly ulong _lengthBytes;
    private readonly int _strings;
    private readonly int[] _types; // where each begins; number 0 is void

    private KernelTypes(byte* data, ulong lengthBytes, int types, int typesEnd, int strings)
    {
        _data = data;
        _lengthBytes = lengthBytes;
        _strings = strings;
        _types = Index(types, typesEnd);
    }

    private enum Kind
    {
        Void, Int, Pointer, Array, Struct, Union, Enum, Forward, Typedef, Volatile, Const, Restrict,
        Function, FunctionPrototype, Variable, DataSection, Float, DeclarationTag, TypeTag, Enum64,
    }

    private ReadOnlySpan<byte> Strings => new(_data + _strings, (int)_lengthBytes - _strings);

    /// <summary>Opens the description; null when this kernel has none, or one that cannot be understood.</summary>
    public static KernelTypes? TryOpen()
    {
        SysResult opened = Sys.OpenAt(AT_FDCWD, File, O_RDONLY);
        if (opened.Failed) return null;
        using var file = new OwnedFd(opened.Value);
        if (Sys.Stat(file.Fd, "", out FileStat stat).Failed || stat.st_size < HeaderBytes) return null;
        ulong lengthBytes = (ulong)stat.st_size;
        SysResult memory = Sys.Mmap(0, lengthBytes, PROT_READ, MAP_PRIVATE | MAP_POPULATE, file.Fd, 0);
        bool mapped = !memory.Failed; // kernels before 6.16 do not map it
        if (!mapped) memory = Sys.Mmap(0, lengthBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory.Failed) return null;
        byte* data = (byte*)memory.Raw;
        if ((mapped || ReadAll(file.Fd, data, lengthBytes)) && TryLocate(data, lengthBytes, out int types, out int typesEnd, out int strings))
        {
            return new KernelTypes(data, lengthBytes, types, typesEnd, strings);
        }

        Sys.Munmap((ulong)memory.Raw, lengthBytes);
        return null;
    }

    /// <summary>The number of a function's type, or null.</summary>
    public uint? Function(string name) => Find(name, Kind.Function);

    /// <summary>The offset of a member in a structure, in bytes; null when either is unknown.</summary>
    public int? Offset(string structure, string member) =>
        Find(structure, Kind.Struct) is { } type ? MemberOffset((int)type, LinuxText.Encode(member), 0) : null;

    /// <inheritdoc />
    public void Dispose() => Sys.Munmap((ulong)_data, _lengthBytes);

    private static bool ReadAll(int fd, byte* data, ulong lengthBytes)
    {
        for (ulong done = 0; done < lengthBytes;)
        {
            SysResult read = Sys.Read(fd, new Span<byte>(data + done, (int)Math.Min(lengthBytes - done, int.MaxValue)));
            if (read.Failed || read.Value == 0) return false;
            done += (ulong)read.Value;
        }

        return true;
    }

    private static bool TryLocate(byte* data, ulong lengthBytes, out int types, out int typesEnd, out int strings)
    {
        uint* header = (uint*)data;
        ulong headerBytes = header[1];
        types = (int)(headerBytes + header[2]);
        typesEnd = (int)(headerBytes + header[2] + header[3]);
        strings = (int)(headerBytes + header[4]);
        return (ushort)header[0] == Magic && headerBytes + header[2] + header[3] <= lengthBytes && headerBytes + header[4] + header[5] <= lengthBytes;
    }

    private int[] Index(int at, int end)
    {
        var starts = new List<int>(200_000) { 0 };
        while (at + TypeBytes <= end)
        {
            starts.Add(at);
            at += TypeBytes + ExtraBytes(at);
        }

        return [.. starts];
    }

    private int ExtraBytes(int at)
    {
        int count = Count(at);
        return KindOf(at) switch
        {
            Kind.Int or Kind.Variable or Kind.DeclarationTag => 4,
            Kind.Array => 12,
            Kind.Struct or Kind.Union => MemberBytes * count,
            Kind.Enum or Kind.FunctionPrototype => 8 * count,
            Kind.DataSection or Kind.Enum64 => 12 * count,
            _ => 0,
        };
    }

    private uint? Find(string name, Kind kind)
    {
        // Names are kept once: their place is looked for first, and then numbers are compared.
        byte[] wanted = [0, .. LinuxText.Encode(name), 0];
        int place = Strings.IndexOf(wanted) + 1;
        if (place == 0) return null;
        for (int i = 1; i < _types.Length; i++)
        {
            if (Word(_types[i]) == place && KindOf(_types[i]) == kind) return (uint)i;
        }

        return null;
    }

    // Members of unnamed structures and unions inside count as the structure's own, as in C.
    private int? MemberOffset(int type, ReadOnlySpan<byte> name, int nesting)
    {
        if (type >= _types.Length || nesting > MaxNesting) return null;
        int at = _types[type];
        if (KindOf(at) is not (Kind.Struct or Kind.Union)) return null;
        bool bitfields = Word(at + 4) >> 31 != 0;
        for (int i = 0, member = at + TypeBytes; i < Count(at); i++, member += MemberBytes)
        {
            uint offset = Word(member + 8);
            int offsetBytes = (int)((bitfields ? offset & 0xFF_FFFF : offset) / 8);
            ReadOnlySpan<byte> own = NameAt(Word(member));
            if (own.SequenceEqual(name)) return offsetBytes;
            if (own.IsEmpty && MemberOffset((int)Word(member + 4), name, nesting + 1) is { } inner) return offsetBytes + inner;
        }

        return null;
    }

    private ReadOnlySpan<byte> NameAt(uint offset)
    {
        ReadOnlySpan<byte> text = offset < Strings.Length ? Strings[(int)offset..] : default;
        int end = text.IndexOf((byte)0);
        return end < 0 ? default : text[..end];
    }

    private uint Word(int at) => (ulong)at + 4 <= _lengthBytes ? *(uint*)(_data + at) : 0;

    private Kind KindOf(int at) => (Kind)(Word(at + 4) >> 24 & 0x1F);

    private int Count(int at) => (int)(Word(at + 4) & 0xFFFF);
}
