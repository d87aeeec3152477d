using CriuPmem.Engine.Transfer;
using CriuPmem.Images;
using CriuPmem.Kernel;

namespace CriuPmem.Tests.Transfer;

/// <summary>Whatever is asked for, what is given are pages that are there, or nothing.</summary>
public sealed class PageSupplierTests
{
    [Fact]
    public void Run_Requests_AreAnsweredInOrder()
    {
        byte[] session = [.. Get(7, 0x2000, 1), .. Get(7, 0x1000, 9), .. Message(PageCommand.Close)];
        using var channel = new MemoryChannel(session, new Random(1));
        var supplier = new PageSupplier(channel, new FakeSupply());
        supplier.Run();
        byte[] sent = channel.Output.ToArray();
        Assert.Equal(PageMessage.Size + 4096 + PageMessage.Size + 3 * 4096 + 4, sent.Length);
        Assert.Equal(new PageMessage(PageCommand.Add, PageFlags.Present, 1, 0x2000, 7), PageMessage.Read(sent));
        Assert.All(sent.AsSpan(PageMessage.Size, 4096).ToArray(), value => Assert.Equal(2, value));
        // More than there is was asked for: fewer come.
        Assert.Equal(new PageMessage(PageCommand.Add, PageFlags.Present, 3, 0x1000, 7), PageMessage.Read(sent.AsSpan(PageMessage.Size + 4096)));
        Assert.Equal(4, supplier.Pages);
    }

    [Fact]
    public void Run_AnyRequests_GiveWhatIsThereOrEnd()
    {
        int refused = 0;
        for (int seed = 1; seed <= 3000; seed++)
        {
            var random = new Random(seed);
            var session = new List<byte>();
            for (int i = random.Next(4); i > 0; i--)
            {
                byte[] request = Get(random.Next(8) == 0 ? (ulong)random.NextInt64() : 7, (ulong)random.Next(0, 6) << 12, (ulong)random.Next(1, 5));
                if (random.Next(3) == 0) request[random.Next(32)] ^= (byte)(1 << random.Next(8));
                session.AddRange(request);
            }

            if (random.Next(3) > 0) session.AddRange(Message(PageCommand.Close));
            using var channel = new MemoryChannel([.. session], random);
            try
            {
                new PageSupplier(channel, new FakeSupply()).Run();
            }
            catch (CheckpointException failure)
            {
                Assert.True(failure.Code is ErrorCode.WrongData or ErrorCode.ConnectionLost, $"seed {seed}: {failure.Message}");
                refused++;
            }
        }

        Assert.InRange(refused, 500, 2900);
    }

    private static byte[] Get(ulong pid, ulong address, ulong pages) => Message(PageCommand.Get, pages, address, pid);

    private static byte[] Message(PageCommand command, ulong pages = 0, ulong address = 0, ulong target = 0)
    {
        var bytes = new byte[PageMessage.Size];
        new PageMessage(command, PageFlags.None, pages, address, target).Write(bytes);
        return bytes;
    }

    /// <summary>Process 7 has pages 1 to 3; each is full of its number.</summary>
    private sealed class FakeSupply : IPageSupply
    {
        public ulong Available(ulong pid, ulong address, ulong most) => pid == 7 && address is >= 0x1000 and < 0x4000 ? Math.Min(most, (0x4000 - address) / 4096) : 0;

        public void Read(ulong pid, ulong address, Span<byte> to)
        {
            Assert.True(pid == 7 && address >= 0x1000 && address + (ulong)to.Length <= 0x4000, "pages that are not there were read");
            for (int i = 0; i < to.Length; i++) to[i] = (byte)((address + (ulong)i) >> 12);
        }
    }
}
