using CriuPmem.Images.Messages;
using CriuPmem.Kernel;

namespace CriuPmem.Images;

/// <summary>Checks what the images of a snapshot say about each other, before anything is created.</summary>
/// <remarks>
/// Without system calls. It knows what can be, not what is likely: whatever a sound engine may write passes, and a
/// flipped byte is found where it contradicts something.
/// </remarks>
internal sealed partial class SnapshotValidator
{
    /// <summary>The first address that no program can have on x86-64 with four levels of page tables.</summary>
    public const ulong UserSpaceEnd = 1UL << 47;

    private const ulong PageBytes = 4096;
    private const int MostViolations = 50;

    private readonly SnapshotContents _contents;
    private readonly List<ImageViolation> _violations = [];
    private readonly Dictionary<uint, FileEntry> _files = [];

    private SnapshotValidator(SnapshotContents contents) => _contents = contents;

    /// <summary>Finds what cannot be.</summary>
    /// <param name="contents">The loaded images.</param>
    /// <returns>The violations, the most basic first; at most 50. Empty for a sound snapshot.</returns>
    public static IReadOnlyList<ImageViolation> Find(SnapshotContents contents)
    {
        var validator = new SnapshotValidator(contents);
        validator.CheckInventory();
        validator.CheckTree();
        validator.CheckFiles();
        validator.CheckDescriptorTables();
        validator.CheckContents();
        validator.CheckMemory();
        return validator._violations;
    }

    /// <summary>Throws the first violation, if there is one.</summary>
    /// <param name="contents">The loaded images.</param>
    /// <param name="directoryName">The images directory for the message.</param>
    public static void Check(SnapshotContents contents, string directoryName)
    {
        IReadOnlyList<ImageViolation> violations = Find(contents);
        if (violations.Count > 0) throw violations[0].ToException(directoryName);
    }

    private void CheckInventory()
    {
        string file = ImageKind.Inventory.FileName();
        if (_contents.Inventory.ImgVersion is not (2 or CompressedPagesFormat.InventoryVersion))
        {
            Add(ErrorCode.ImageUnsupported, file, 0, $"images of version {_contents.Inventory.ImgVersion}, not 2");
        }

        if (_contents.Inventory.HasFdinfoPerId && !_contents.Inventory.FdinfoPerId)
        {
            Add(ErrorCode.ImageUnsupported, file, 0, "one fdinfo image for each process, as old engines wrote them");
        }
    }

    private void Add(string file, int entry, string cause) => Add(ErrorCode.ImageDamaged, file, entry, cause);

    private void Add(ErrorCode code, string file, int entry, string cause)
    {
        if (_violations.Count < MostViolations) _violations.Add(new ImageViolation(code, file, entry, cause));
    }
}
