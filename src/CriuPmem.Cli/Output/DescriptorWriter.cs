using System.Text;

namespace CriuPmem.Cli.Output;

/// <summary>A writer that collects text and writes it to a descriptor when flushed.</summary>
/// <param name="fd">The descriptor; the caller owns it.</param>
internal sealed class DescriptorWriter(int fd) : TextWriter
{
    private readonly StringBuilder _text = new();

    /// <inheritdoc />
    public override Encoding Encoding => Encoding.UTF8;

    /// <inheritdoc />
    public override void Write(char value) => _text.Append(value);

    /// <inheritdoc />
    public override void Write(string? value) => _text.Append(value);

    /// <inheritdoc />
    public override void Flush()
    {
        if (_text.Length == 0) return;
        Terminal.Write(fd, _text.ToString());
        _text.Clear();
    }
}
