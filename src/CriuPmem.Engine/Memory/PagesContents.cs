using System.Runtime.InteropServices;
using CriuPmem.Images;

namespace CriuPmem.Engine.Memory;

/// <summary>The bytes of a pages file, mapped; or, of compressed ones, the blocks that were asked for last.</summary>
internal sealed unsafe class PagesContents : IDisposable
{
    private const int CachedBlocks = 4;

    private readonly ulong _map, _mapBytes;
    private readonly CompressedPagesReader? _compressed;
    private readonly OwnedFd? _file;
    private readonly byte* _blocks;
    private readonly int[] _cached = [-1, -1, -1, -1];
    private int _next;

    private PagesContents(ulong map, ulong mapBytes) => (_map, _mapBytes) = (map, mapBytes);

    private PagesContents(OwnedFd file, CompressedPagesReader compressed)
    {
        _file = file;
        _compressed = compressed;
        _blocks = (byte*)NativeMemory.AlignedAlloc((nuint)compressed.BlockBytes * CachedBlocks, (nuint)PageSize);
    }

    /// <summary>Opens a pages file of a snapshot.</summary>
    public static PagesContents Open(PagesSource source)
    {
        var file = new OwnedFd(source.Open(out long lengthBytes));
        return Open(file, (ulong)lengthBytes, source.Compressed, source.Name);
    }

    /// <summary>Opens a pages file; <paramref name="file"/> is taken over.</summary>
    public static PagesContents Open(OwnedFd file, ulong lengthBytes, bool compressed, string name)
    {
        try
        {
            if (compressed) return new PagesContents(file, CompressedPagesReader.Open(file.Fd, name));
            SysResult mapped = lengthBytes == 0 ? default : Sys.Mmap(0, lengthBytes, PROT_READ, MAP_SHARED, file.Fd, 0);
            var contents = new PagesContents((ulong)mapped.OrThrow("mmap", name), lengthBytes);
            file.Dispose();
            return contents;
        }
        catch (CheckpointException)
        {
            file.Dispose();
            throw;
        }
    }

    /// <summary>Bytes from <paramref name="offset"/> on, as many of those that are wanted as lie together.</summary>
    /// <returns>Where they are, for as long as no others are asked for.</returns>
    /// <exception cref="CheckpointException">They are damaged.</exception>
    public byte* At(ulong offset, ulong wantedBytes, out ulong lengthBytes)
    {
        lengthBytes = wantedBytes;
        if (_compressed is null) return (byte*)_map + offset;
        int block = (int)(offset / (ulong)_compressed.BlockBytes);
        ulong within = offset % (ulong)_compressed.BlockBytes;
        lengthBytes = Math.Min(wantedBytes, (ulong)_compressed.LengthOf(block) - within);
        int slot = Array.IndexOf(_cached, block);
        if (slot < 0)
        {
            slot = _next;
            _next = (_next + 1) % CachedBlocks;
            _cached[slot] = -1; // in case it cannot be read
            _compressed.ReadBlock(block, new Span<byte>(_blocks + (long)slot * _compressed.BlockBytes, _compressed.BlockBytes));
            _cached[slot] = block;
        }

        return _blocks + (long)slot * _compressed.BlockBytes + within;
    }

    /// <inheritdoc />
    public void Dispose()
    {
        if (_mapBytes != 0) Sys.Munmap(_map, _mapBytes);
        if (_compressed is null) return;
        _compressed.Dispose();
        _file!.Dispose();
        NativeMemory.AlignedFree(_blocks);
    }
}
