using System.Buffers;
using System.Text;

namespace CriuPmem.Kernel;

/// <summary>Names and paths as the kernel has them (bytes), carried in strings without loss.</summary>
/// <remarks>
/// Valid UTF-8 reads as itself. A byte that is not valid UTF-8 becomes the lone surrogate U+DC00 + byte, and back: the
/// way of PEP 383. So a file whose name is not UTF-8 is still found, and its name still prints.
/// </remarks>
internal static class LinuxText
{
    // C0, DEL and C1 (which terminals take for the two characters ESC and a letter).
    private static readonly SearchValues<char> s_controls = SearchValues.Create(
        [.. Enumerable.Range(0, 0x20).Concat(Enumerable.Range(0x7F, 0x21)).Select(static c => (char)c)]);

    /// <summary>Bytes to text; never fails.</summary>
    public static string Decode(ReadOnlySpan<byte> bytes)
    {
        if (System.Text.Unicode.Utf8.IsValid(bytes)) return Encoding.UTF8.GetString(bytes);
        var text = new StringBuilder(bytes.Length);
        Span<char> chars = stackalloc char[2];
        while (!bytes.IsEmpty)
        {
            if (Rune.DecodeFromUtf8(bytes, out Rune rune, out int used) == OperationStatus.Done)
            {
                text.Append(chars[..rune.EncodeToUtf16(chars)]);
                bytes = bytes[used..];
            }
            else
            {
                text.Append((char)(0xDC00 + bytes[0]));
                bytes = bytes[1..];
            }
        }

        return text.ToString();
    }

    /// <summary>Text to bytes, without a terminating zero.</summary>
    public static byte[] Encode(ReadOnlySpan<char> text)
    {
        var bytes = new byte[Encoding.UTF8.GetMaxByteCount(text.Length)];
        return bytes[..Encode(text, bytes)];
    }

    /// <summary>Text to a zero-terminated byte string, for system calls.</summary>
    public static byte[] EncodeZ(ReadOnlySpan<char> text)
    {
        var bytes = new byte[Encoding.UTF8.GetMaxByteCount(text.Length) + 1];
        int used = Encode(text, bytes);
        return bytes[..(used + 1)];
    }

    /// <summary>Text to bytes in <paramref name="bytes"/>; returns their count.</summary>
    public static int Encode(ReadOnlySpan<char> text, Span<byte> bytes)
    {
        int used = 0;
        while (!text.IsEmpty)
        {
            if (Rune.DecodeFromUtf16(text, out Rune rune, out int chars) == OperationStatus.Done)
            {
                used += rune.EncodeToUtf8(bytes[used..]);
            }
            else
            {
                bytes[used++] = (byte)(text[0] - 0xDC00);
                chars = 1;
            }

            text = text[chars..];
        }

        return used;
    }

    /// <summary>Text as it may be shown: control characters, which could move a terminal's cursor or fake a line of a log, become \n, \x1b ….</summary>
    public static string Printable(string text)
    {
        if (!text.AsSpan().ContainsAny(s_controls)) return text;
        var shown = new StringBuilder(text.Length + 16);
        foreach (char c in text)
        {
            if (c == '\n') shown.Append("\\n");
            else if (c == '\t') shown.Append("\\t");
            else if (s_controls.Contains(c)) shown.Append("\\x").Append(((int)c).ToString("x2", System.Globalization.CultureInfo.InvariantCulture));
            else shown.Append(c);
        }

        return shown.ToString();
    }
}
