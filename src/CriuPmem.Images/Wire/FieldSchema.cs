namespace CriuPmem.Images.Wire;

/// <summary>A field's type in proto/; it decides the wire type and the range of values.</summary>
internal enum FieldKind : byte
{
    UInt32,
    Int32,
    SInt32,
    UInt64,
    Int64,
    SInt64,
    Bool,
    Enum,
    Fixed64,
    String,
    Bytes,
    Message,
}

/// <summary>How often a field may appear (proto2).</summary>
internal enum FieldLabel : byte
{
    Optional,
    Required,
    Repeated,
}

/// <summary>One field of a message.</summary>
/// <param name="Number">Its number on the wire.</param>
/// <param name="Name">Its name in proto/.</param>
/// <param name="Kind">Its type.</param>
/// <param name="Label">How often it may appear.</param>
/// <param name="Child">Index of its message, or of its enumeration; -1 for other types.</param>
internal readonly record struct FieldSchema(int Number, string Name, FieldKind Kind, FieldLabel Label, int Child);
