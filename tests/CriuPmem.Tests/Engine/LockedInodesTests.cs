using CriuPmem.Engine.Resources;

namespace CriuPmem.Tests.Engine;

public sealed class LockedInodesTests
{
    [Fact]
    public void EveryKindOfLine_TellsItsInode()
    {
        LockedInodes? locked = LockedInodes.TryParse("""
            1: FLOCK  ADVISORY  WRITE 4711 00:1b:39794 0 EOF
            1: -> FLOCK  ADVISORY  WRITE 4712 00:1b:39794 0 EOF
            2: OFDLCK ADVISORY  READ  -1 fe:00:7 3 6
            3: POSIX  MSNFS     READ  12 fe:00:18446744073709551615 0 10
            4: LEASE  ACTIVE    READ  13 fe:00:12 0 EOF

            """u8);
        Assert.NotNull(locked);
        Assert.All([39794UL, 7UL, ulong.MaxValue, 12UL], inode => Assert.True(locked.Contains(inode)));
        Assert.False(locked.Contains(4711));
    }

    [Theory]
    [InlineData("1: FLOCK ADVISORY WRITE 4711 somewhere 0 EOF\n")]
    [InlineData("1 FLOCK\n")]
    public void AnotherShape_IsNotGuessed(string text) => Assert.Null(LockedInodes.TryParse(System.Text.Encoding.ASCII.GetBytes(text)));

    [Fact]
    public void NoLocks_NoInodes() => Assert.False(LockedInodes.TryParse(default)!.Contains(0));
}
