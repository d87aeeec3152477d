using System.Numerics;
using CriuPmem.Engine.Transfer;
using CriuPmem.Images;

namespace CriuPmem.Tests.Transfer;

public sealed class PageMessageTests
{
    private const int Cases = 20_000;

    [Fact]
    public void Read_CapturedFromThePeer_IsUnderstood()
    {
        // A dump by CRIU 4.2 of one shared page, and of three private ones; bytes 4 to 7 are what was in memory there.
        Assert.Equal(
            new PageMessage(PageCommand.Add, PageFlags.Present, 1, 0x1000, 0x8bf302),
            PageMessage.Read(Convert.FromHexString("06000400fc7f00000100000000000000001000000000000002f38b0000000000")));
        Assert.Equal(
            new PageMessage(PageCommand.OpenAndTell, PageFlags.None, 0, 0, 0xc729901),
            PageMessage.Read(Convert.FromHexString("0400000000000000000000000000000000000000000000000199720c00000000")));
        Assert.Equal(PageCommand.Close, PageMessage.Read(Convert.FromHexString("2310000000000000000000000000000000000000000000000000000000000000")).Command);
    }

    [Fact]
    public void Read_OfWhatWasWritten_IsTheSame()
    {
        var random = new Random(1);
        Span<byte> bytes = stackalloc byte[PageMessage.Size];
        Span<byte> again = stackalloc byte[PageMessage.Size];
        for (int i = 0; i < Cases; i++)
        {
            random.NextBytes(bytes);
            bytes.Slice(4, 4).Clear();
            PageMessage message = PageMessage.Read(bytes);
            message.Write(again);
            Assert.True(bytes.SequenceEqual(again), message.ToString());
        }
    }

    [Fact]
    public void IsSane_AnyNumbers_MeansThatSumsDoNotWrap()
    {
        var random = new Random(2);
        for (int i = 0; i < Cases; i++)
        {
            ulong pages = (ulong)random.NextInt64() >> random.Next(64), address = (ulong)random.NextInt64() >> random.Next(64) & ~0xFFFUL | (random.Next(4) == 0 ? 1UL : 0);
            var message = new PageMessage(PageCommand.Add, PageFlags.Present, pages, address, 0x101);
            BigInteger end = new BigInteger(address) + new BigInteger(pages) * 4096;
            Assert.Equal(pages > 0 && address % 4096 == 0 && end <= BigInteger.Pow(2, 47), message.IsSane);
            if (message.IsSane) Assert.Equal(end, message.End);
        }
    }

    [Theory]
    [InlineData(0xc729901UL, true, "pagemap-815769.img")]
    [InlineData(0x8bf302UL, true, "pagemap-shmem-35827.img")]
    [InlineData(0xFFFFFFFF02UL, true, "pagemap-shmem-4294967295.img")]
    [InlineData(0xFFFFFFFF01UL, false, "")]
    [InlineData(0x10000000002UL, false, "")]
    [InlineData(0x01UL, false, "")]
    [InlineData(0x8bf303UL, false, "")]
    [InlineData(0x8bf300UL, false, "")]
    [InlineData(ulong.MaxValue, false, "")]
    public void TryDecode_Target_NamesAFileOrIsRefused(ulong encoded, bool isKnown, string file)
    {
        Assert.Equal(isKnown, PageTarget.TryDecode(encoded, out PageTarget target));
        if (!isKnown) return;
        Assert.Equal(file, target.Kind.FileName(target.Id));
        Assert.Equal(encoded, target.Encoded);
    }
}
