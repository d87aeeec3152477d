namespace CriuPmem.Images.Wire;

/// <summary>What a message may look like on the wire: its fields by number.</summary>
/// <remarks>
/// A table of our own instead of the descriptors that protobuf carries: these need reflection to come alive, which
/// costs a start of the engine more than all the images of a small process.
/// </remarks>
internal sealed class MessageSchema
{
    private readonly FieldSchema[] _fields;
    private readonly sbyte[] _indexByNumber;

    /// <summary>Makes the table of one message.</summary>
    /// <param name="name">Its name in proto/.</param>
    /// <param name="type">Its generated class.</param>
    /// <param name="fields">Its fields; the required ones first, which then fit into the 64 bits of a mask.</param>
    public MessageSchema(string name, Type type, FieldSchema[] fields)
    {
        Name = name;
        Type = type;
        _fields = fields;
        int highest = 0;
        foreach (FieldSchema field in fields) highest = Math.Max(highest, field.Number);
        _indexByNumber = new sbyte[highest + 1];
        Array.Fill(_indexByNumber, (sbyte)-1);
        for (int i = 0; i < fields.Length; i++)
        {
            _indexByNumber[fields[i].Number] = (sbyte)i;
            if (fields[i].Label == FieldLabel.Required) Required |= 1UL << i;
        }
    }

    /// <summary>The message's name in proto/.</summary>
    public string Name { get; }

    /// <summary>The generated class.</summary>
    public Type Type { get; }

    /// <summary>The fields that must be there, as a mask over their indices.</summary>
    public ulong Required { get; }

    /// <summary>The fields, required ones first.</summary>
    public ReadOnlySpan<FieldSchema> Fields => _fields;

    /// <summary>Finds a field.</summary>
    /// <returns>Its index in <see cref="Fields"/>, or -1 for a number that this version does not know.</returns>
    public int IndexOf(int number) => (uint)number < (uint)_indexByNumber.Length ? _indexByNumber[number] : -1;
}
