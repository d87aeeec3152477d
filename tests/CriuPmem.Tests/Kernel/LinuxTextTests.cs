using CriuPmem.Kernel;
using FsCheck;
using FsCheck.Fluent;

namespace CriuPmem.Tests.Kernel;

public sealed class LinuxTextTests
{
    [Fact]
    public void EncodeDecode_AnyBytes_ComeBack() =>
        Prop.ForAll<byte[]>(bytes => LinuxText.Encode(LinuxText.Decode(bytes)).AsSpan().SequenceEqual(bytes))
            .QuickCheckThrowOnFailure();

    [Fact]
    public void EncodeDecode_AllPairsOfBytes_ComeBack()
    {
        for (int pair = 0; pair <= 0xFFFF; pair++)
        {
            byte[] bytes = [(byte)pair, (byte)(pair >> 8)];
            Assert.Equal(bytes, LinuxText.Encode(LinuxText.Decode(bytes)));
        }
    }

    [Theory]
    [InlineData(new byte[] { 0xED, 0xA0, 0x80 })] // A surrogate written as if it were a character.
    [InlineData(new byte[] { 0xF4, 0x90, 0x80, 0x80 })] // Beyond the last character.
    [InlineData(new byte[] { 0xC0, 0x80 })] // Longer than needed.
    [InlineData(new byte[] { 0xE2, 0x82 })] // Cut off.
    [InlineData(new byte[] { 0xED, 0xB2, 0x80, 0xFF })]
    public void EncodeDecode_NotUtf8_ComesBack(byte[] bytes) =>
        Assert.Equal(bytes, LinuxText.Encode(LinuxText.Decode(bytes)));

    [Fact]
    public void Decode_Utf8_ReadsAsItself() => Assert.Equal("/tmp/größe ☃ 𝄞", LinuxText.Decode("/tmp/größe ☃ 𝄞"u8));

    [Fact]
    public void EncodeZ_Text_EndsInZero() => Assert.Equal("/tmp\0"u8.ToArray(), LinuxText.EncodeZ("/tmp"));

    [Theory]
    [InlineData("/tmp/größe ☃", "/tmp/größe ☃")]
    [InlineData("a\n(00.1) Error: b", "a\\n(00.1) Error: b")]
    [InlineData("\u001b[31m\u0007\t\u007f\u009b", "\\x1b[31m\\x07\\t\\x7f\\x9b")]
    public void Printable_ControlCharacters_AreWrittenOut(string text, string shown) => Assert.Equal(shown, LinuxText.Printable(text));
}
