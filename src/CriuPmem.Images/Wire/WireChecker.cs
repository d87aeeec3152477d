using System.Text.Unicode;

namespace CriuPmem.Images.Wire;

/// <summary>Walks the bytes of a message before they are parsed, and finds whatever the parser would let pass.</summary>
/// <remarks>
/// protobuf for C# does not check that required fields (proto2) are there, cuts values that are too wide, replaces
/// bytes that are not UTF-8, takes a field of the wrong wire type for an unknown one, and lets the last of two equal
/// fields win. In an image all of these mean damage. Fields that this version does not know are let pass (and kept by
/// the messages), so that images of a newer engine can be read. Nothing is allocated unless there is a fault.
/// The walk fails by <see cref="_cause"/>, not by exceptions: they would cost a landing pad in the hottest loop.
/// </remarks>
internal ref struct WireChecker
{
    // Deep enough for any tree of control groups met in practice; protobuf's own limit is 100.
    private const int MaxDepth = 64;

    private readonly ReadOnlySpan<byte> _bytes;
    private int _position;
    private int _faultAt;
    private string? _cause;

    private WireChecker(ReadOnlySpan<byte> bytes) => _bytes = bytes;

    /// <summary>Checks a message.</summary>
    /// <param name="schema">What it should be.</param>
    /// <param name="bytes">All its bytes and no others.</param>
    /// <param name="fault">Where and what, if the result is false.</param>
    public static bool TryCheck(MessageSchema schema, ReadOnlySpan<byte> bytes, out WireFault fault)
    {
        var checker = new WireChecker(bytes);
        bool sound = checker.Message(schema, bytes.Length, 0);
        fault = sound ? default : new WireFault(checker._faultAt, checker._cause!);
        return sound;
    }

    private bool Message(MessageSchema schema, int end, int depth)
    {
        if (depth == MaxDepth) return Fail(_position, $"messages are nested more than {MaxDepth} deep");
        int start = _position;
        ulong seen = 0;
        ReadOnlySpan<FieldSchema> fields = schema.Fields;
        while (_position < end)
        {
            int at = _position;
            if (!Varint(end, out ulong tag)) return false;
            int wireType = (int)(tag & 7);
            ulong number = tag >> 3;
            if (number is 0 or > 0x1FFF_FFFF) return Fail(at, $"{schema.Name} holds a field with number {number}");
            int index = schema.IndexOf((int)number);
            if (index < 0)
            {
                if (!Skip(wireType, end, at)) return false;
                continue;
            }

            ref readonly FieldSchema field = ref fields[index];
            if (field.Label != FieldLabel.Repeated && index < 64)
            {
                if ((seen & (1UL << index)) != 0) return Fail(at, $"{schema.Name} holds field '{field.Name}' twice");
                seen |= 1UL << index;
            }

            if (!Field(schema, in field, wireType, end, at, depth)) return false;
        }

        ulong missing = schema.Required & ~seen;
        if (missing == 0) return true;
        string name = fields[System.Numerics.BitOperations.TrailingZeroCount(missing)].Name;
        return Fail(start, $"{schema.Name} lacks its required field '{name}'");
    }

    private bool Field(MessageSchema schema, in FieldSchema field, int wireType, int end, int at, int depth)
    {
        switch (field.Kind)
        {
            case FieldKind.Message when wireType == 2:
                if (!Length(end, at, out int childEnd)) return false;
                return Message(MessageSchemas.Message(field.Child), childEnd, depth + 1);
            case FieldKind.Bytes when wireType == 2:
                if (!Length(end, at, out int bytesEnd)) return false;
                _position = bytesEnd;
                return true;
            case FieldKind.String when wireType == 2:
                if (!Length(end, at, out int textEnd)) return false;
                bool valid = Utf8.IsValid(_bytes[_position..textEnd]);
                _position = textEnd;
                return valid || Fail(at, $"field '{field.Name}' of {schema.Name} is not UTF-8 text");
            case < FieldKind.Fixed64 when wireType == 0:
                return Scalar(schema, in field, end);
            case FieldKind.Fixed64 when wireType == 1:
                return Advance(8, end, at);
            case <= FieldKind.Fixed64 when wireType == 2 && field.Label == FieldLabel.Repeated:
                // The packed form, which a reader must accept for every repeated number.
                if (!Length(end, at, out int packedEnd)) return false;
                if (packedEnd == _position) return Fail(at, $"field '{field.Name}' of {schema.Name} is an empty list");
                while (_position < packedEnd)
                {
                    bool sound = field.Kind == FieldKind.Fixed64
                        ? Advance(8, packedEnd, _position)
                        : Scalar(schema, in field, packedEnd);
                    if (!sound) return false;
                }

                return true;
            default:
                return Fail(at, $"field '{field.Name}' of {schema.Name} has wire type {wireType}");
        }
    }

    private bool Scalar(MessageSchema schema, in FieldSchema field, int end)
    {
        int at = _position;
        if (!Varint(end, out ulong value)) return false;
        bool fits = field.Kind switch
        {
            FieldKind.UInt64 or FieldKind.Int64 or FieldKind.SInt64 => true,
            FieldKind.UInt32 or FieldKind.SInt32 => value <= uint.MaxValue,
            FieldKind.Bool => value <= 1,
            _ => (long)value is >= int.MinValue and <= int.MaxValue,
        };
        if (!fits) return Fail(at, $"field '{field.Name}' of {schema.Name} holds {value}, which is out of its range");
        if (field.Kind == FieldKind.Enum && !MessageSchemas.Enumeration(field.Child).Has((int)value))
        {
            return Fail(at, $"field '{field.Name}' of {schema.Name} holds the unknown value {(int)value}");
        }

        return true;
    }

    private bool Skip(int wireType, int end, int at)
    {
        switch (wireType)
        {
            case 0:
                return Varint(end, out _);
            case 1:
                return Advance(8, end, at);
            case 2:
                if (!Length(end, at, out int skipped)) return false;
                _position = skipped;
                return true;
            case 5:
                return Advance(4, end, at);
            default:
                return Fail(at, $"a field has wire type {wireType}, which images do not use");
        }
    }

    private bool Advance(int count, int end, int at)
    {
        if (end - _position < count) return Fail(at, "a field reaches beyond the end of its message");
        _position += count;
        return true;
    }

    private bool Length(int end, int at, out int fieldEnd)
    {
        fieldEnd = 0;
        if (!Varint(end, out ulong length)) return false;
        if (length > (ulong)(end - _position)) return Fail(at, "a field reaches beyond the end of its message");
        fieldEnd = _position + (int)length;
        return true;
    }

    private bool Varint(int end, out ulong value)
    {
        int at = _position;
        if (at < end && _bytes[at] < 0x80)
        {
            value = _bytes[at];
            _position = at + 1;
            return true;
        }

        return LongVarint(at, end, out value);
    }

    private bool LongVarint(int at, int end, out ulong value)
    {
        value = 0;
        for (int shift = 0; shift < 70; shift += 7)
        {
            if (_position >= end) return Fail(at, "a number reaches beyond the end of its message");
            byte part = _bytes[_position++];
            if (shift == 63 && part > 1) break;
            value |= (ulong)(part & 0x7F) << shift;
            if (part >= 0x80) continue;

            // No encoder writes zeros in front, so they are damage that would otherwise go unseen.
            return part != 0 || shift == 0 || Fail(at, "a number is not in its shortest form");
        }

        return Fail(at, "a number is longer than 64 bits");
    }

    private bool Fail(int at, string cause)
    {
        _faultAt = at;
        _cause = cause;
        return false;
    }
}
