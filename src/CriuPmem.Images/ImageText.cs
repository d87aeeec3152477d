using System.Buffers.Binary;
using System.Text.Json;
using CriuPmem.Images.Wire;

namespace CriuPmem.Images;

/// <summary>Renders any image as JSON, in the shape of the field's tools: a kind, then its entries.</summary>
/// <remarks>
/// Straight from the checked bytes along the tables of proto/: no reflection, no messages. Bytes that are text (paths)
/// print as text, others as base64; fields that this version does not know print under their numbers.
/// </remarks>
internal static class ImageText
{
    /// <summary>Writes one image as a JSON object.</summary>
    /// <param name="reader">The image, from its first entry.</param>
    /// <param name="json">Where to.</param>
    public static void Write(ImageReader reader, Utf8JsonWriter json)
    {
        json.WriteStartObject();
        json.WriteString("magic", reader.Kind.Name);
        json.WriteStartArray("entries");
        string? name = reader.Kind.EntryMessage;
        while (name is not null)
        {
            MessageSchema schema = MessageSchemas.Of(name);
            if (!reader.TryReadBytes(schema, out ReadOnlySpan<byte> bytes)) break;
            json.WriteStartObject();
            Fields(schema, bytes, json);
            long blobBytes = ImageBlobs.LengthAfter(reader, name, bytes);
            if (blobBytes > 0) json.WriteBase64String("extra", reader.ReadRaw(blobBytes));
            json.WriteEndObject();
            name = reader.Kind.NextMessage;
        }

        json.WriteEndArray();
        json.WriteEndObject();
    }

    private static void Fields(MessageSchema schema, ReadOnlySpan<byte> bytes, Utf8JsonWriter json)
    {
        int openList = 0;
        while (!bytes.IsEmpty)
        {
            ulong tag = Varint(ref bytes);
            int number = (int)(tag >> 3);
            int index = schema.IndexOf(number);
            FieldSchema field = index < 0
                ? new FieldSchema(number, $"field {number}", FieldKind.Bytes, FieldLabel.Optional, -1)
                : schema.Fields[index];
            if (openList != 0 && openList != number) json.WriteEndArray();
            if (field.Label != FieldLabel.Repeated)
            {
                openList = 0;
                json.WritePropertyName(field.Name);
            }
            else if (openList != number)
            {
                json.WriteStartArray(field.Name);
                openList = number;
            }

            Value(field, (int)(tag & 7), index >= 0, ref bytes, json);
        }

        if (openList != 0) json.WriteEndArray();
    }

    private static void Value(
        FieldSchema field, int wireType, bool known, ref ReadOnlySpan<byte> bytes, Utf8JsonWriter json)
    {
        switch (wireType)
        {
            case 0:
                Number(field, known, Varint(ref bytes), json);
                return;
            case 1:
                json.WriteNumberValue(BinaryPrimitives.ReadUInt64LittleEndian(bytes));
                bytes = bytes[8..];
                return;
            case 5:
                json.WriteNumberValue(BinaryPrimitives.ReadUInt32LittleEndian(bytes));
                bytes = bytes[4..];
                return;
        }

        int length = (int)Varint(ref bytes);
        ReadOnlySpan<byte> content = bytes[..length];
        bytes = bytes[length..];
        switch (field.Kind)
        {
            case FieldKind.Message:
                json.WriteStartObject();
                Fields(MessageSchemas.Message(field.Child), content, json);
                json.WriteEndObject();
                return;
            case FieldKind.String or FieldKind.Bytes:
                if (IsText(content)) json.WriteStringValue(content);
                else json.WriteBase64StringValue(content);
                return;
        }

        while (!content.IsEmpty)
        {
            if (field.Kind == FieldKind.Fixed64) Value(field, 1, known, ref content, json);
            else Number(field, known, Varint(ref content), json);
        }
    }

    private static void Number(FieldSchema field, bool known, ulong value, Utf8JsonWriter json)
    {
        switch (field.Kind)
        {
            case FieldKind.Bool:
                json.WriteBooleanValue(value != 0);
                break;
            case FieldKind.Enum when known:
                EnumSchema schema = MessageSchemas.Enumeration(field.Child);
                json.WriteStringValue(schema.ValueNames[Array.BinarySearch(schema.Values, (int)value)]);
                break;
            case FieldKind.Int32 or FieldKind.Int64:
                json.WriteNumberValue((long)value);
                break;
            case FieldKind.SInt32 or FieldKind.SInt64:
                json.WriteNumberValue((long)(value >> 1) ^ -(long)(value & 1));
                break;
            default:
                json.WriteNumberValue(value);
                break;
        }
    }

    private static bool IsText(ReadOnlySpan<byte> content) =>
        System.Text.Unicode.Utf8.IsValid(content) && content.IndexOfAnyInRange((byte)0, (byte)0x1F) < 0;

    private static ulong Varint(ref ReadOnlySpan<byte> bytes)
    {
        ulong value = 0;
        for (int i = 0; ; i++)
        {
            value |= (ulong)(bytes[i] & 0x7F) << (7 * i);
            if (bytes[i] >= 0x80) continue;
            bytes = bytes[(i + 1)..];
            return value;
        }
    }
}
