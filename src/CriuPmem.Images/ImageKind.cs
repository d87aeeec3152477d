using System.Globalization;

namespace CriuPmem.Images;

/// <summary>How an image file begins, before its entries.</summary>
internal enum ImageFraming
{
    /// <summary>The common magic, then the magic of the kind.</summary>
    Common,

    /// <summary>The service magic, then the magic of the kind (statistics, caches: not part of the snapshot proper).</summary>
    Service,

    /// <summary>The magic of the kind alone: only inventory.img.</summary>
    Inventory,

    /// <summary>No header and no entries: the file is its contents.</summary>
    Raw,
}

/// <summary>A kind of image file: how it is named, how it begins, and what its entries are (docs/images.md).</summary>
internal sealed partial class ImageKind
{
    /// <summary>The first word of every image since format version 1.1.</summary>
    public const uint CommonMagic = 0x54564319;

    /// <summary>The first word of files that the engine keeps for itself.</summary>
    public const uint ServiceMagic = 0x55105940;

    private readonly string _prefix;
    private readonly string _suffix;
    private readonly IdStyle _idStyle;

    private ImageKind(
        string name, string pattern, uint magic, ImageFraming framing, string? entry, string? next = null,
        BlobAfter blob = BlobAfter.Nothing)
    {
        Name = name;
        Magic = magic;
        Framing = framing;
        EntryMessage = entry;
        NextMessage = next ?? entry;
        Blob = blob;
        int open = pattern.IndexOf('<', StringComparison.Ordinal);
        _idStyle = open < 0 ? IdStyle.None : pattern[open + 1] == 'x' ? IdStyle.Hex : IdStyle.Decimal;
        _prefix = open < 0 ? pattern : pattern[..open];
        _suffix = open < 0 ? "" : pattern[(pattern.IndexOf('>', StringComparison.Ordinal) + 1)..];
        Kinds.Add(this);
    }

    private enum IdStyle
    {
        None,
        Decimal,
        Hex,
    }

    /// <summary>Every kind there is, in the order of the table.</summary>
    public static IReadOnlyList<ImageKind> All => Kinds;

    /// <summary>The kind's name as the field's tools print it: PSTREE, CORE …</summary>
    public string Name { get; }

    /// <summary>The word that tells the kind; 0 for raw files.</summary>
    public uint Magic { get; }

    /// <summary>How the file begins.</summary>
    public ImageFraming Framing { get; }

    /// <summary>The message of the first entry, under its name in proto/; null for raw files.</summary>
    public string? EntryMessage { get; }

    /// <summary>The message of all further entries; mostly the same as the first.</summary>
    public string? NextMessage { get; }

    /// <summary>What follows each entry outside the protobuf message.</summary>
    public BlobAfter Blob { get; }

    /// <summary>The length of the header in bytes: 0, 4 or 8.</summary>
    public int HeaderBytes => Framing switch
    {
        ImageFraming.Raw => 0,
        ImageFraming.Inventory => 4,
        _ => 8,
    };

    /// <summary>The file's name.</summary>
    /// <param name="id">What the pattern's number stands for (pid, files id, inode …); unused where it has none.</param>
    public string FileName(long id = 0) => _idStyle switch
    {
        IdStyle.None => _prefix,
        IdStyle.Hex => string.Create(CultureInfo.InvariantCulture, $"{_prefix}{id:x}{_suffix}"),
        _ => string.Create(CultureInfo.InvariantCulture, $"{_prefix}{id}{_suffix}"),
    };

    /// <summary>Tells which kind a file is by its name, and its id.</summary>
    /// <param name="fileName">The name without directories.</param>
    /// <param name="id">The number in the name, or 0.</param>
    /// <returns>Null for a name that no kind has.</returns>
    public static ImageKind? FromFileName(string fileName, out long id)
    {
        id = 0;
        foreach (ImageKind kind in Kinds)
        {
            if (kind.Matches(fileName, out id)) return kind;
        }

        return null;
    }

    /// <inheritdoc />
    public override string ToString() => Name;

    private bool Matches(string fileName, out long id)
    {
        id = 0;
        if (_idStyle == IdStyle.None) return fileName == _prefix;
        if (fileName.Length <= _prefix.Length + _suffix.Length ||
            !fileName.StartsWith(_prefix, StringComparison.Ordinal) ||
            !fileName.EndsWith(_suffix, StringComparison.Ordinal))
        {
            return false;
        }

        NumberStyles style = _idStyle == IdStyle.Hex ? NumberStyles.AllowHexSpecifier : NumberStyles.None;
        return long.TryParse(
            fileName.AsSpan(_prefix.Length, fileName.Length - _prefix.Length - _suffix.Length),
            style, CultureInfo.InvariantCulture, out id) && FileName(id) == fileName;
    }
}
