using System.Runtime.InteropServices;

namespace CriuPmem.Cli.Hooks;

/// <summary>Zero-terminated strings outside the managed heap, freed together.</summary>
internal sealed unsafe class NativeStrings : IDisposable
{
    private readonly List<nint> _blocks = [];

    /// <summary>Copies a text that ends in a zero.</summary>
    public nint String(byte[] text)
    {
        nint block = (nint)NativeMemory.Alloc((nuint)text.Length);
        _blocks.Add(block);
        text.CopyTo(new Span<byte>((void*)block, text.Length));
        return block;
    }

    /// <summary>Copies texts, and makes the array of pointers to them that ends in a null.</summary>
    public nint* Array(byte[][] texts)
    {
        var pointers = (nint*)NativeMemory.Alloc((nuint)((texts.Length + 1) * sizeof(nint)));
        _blocks.Add((nint)pointers);
        for (int i = 0; i < texts.Length; i++) pointers[i] = String(texts[i]);
        pointers[texts.Length] = 0;
        return pointers;
    }

    /// <inheritdoc />
    public void Dispose()
    {
        foreach (nint block in _blocks) NativeMemory.Free((void*)block);
    }
}
