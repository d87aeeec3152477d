namespace CriuPmem.Images.Wire;

/// <summary>An enumeration of proto/.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Values">Its values, ascending.</param>
/// <param name="ValueNames">Their names, in the same order.</param>
internal sealed record EnumSchema(string Name, int[] Values, string[] ValueNames)
{
    /// <summary>True for a value that the enumeration has.</summary>
    public bool Has(int value) => Array.BinarySearch(Values, value) >= 0;
}
