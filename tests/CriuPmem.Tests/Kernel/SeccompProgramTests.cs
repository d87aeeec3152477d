using System.Runtime.InteropServices;
using CriuPmem.Kernel;
using FsCheck;
using FsCheck.Fluent;

namespace CriuPmem.Tests.Kernel;

public sealed class SeccompProgramTests
{
    private const uint Allow = 0x7FFF0000, Log = 0x7FFC0000, Errno = 0x00050000, KillProcess = 0x80000000, Kill = 0;
    private const int Nr = 0, Arch = 4, Ip = 8, Arguments = 16;

    private static readonly SeccompData s_call = new(219, 0x7F00_1234_5678, 0x1111_2222_3333_4444, 2, 3, 4, 5, 0x6666_7777_8888_9999);

    private static (int, int, int, uint)[] Load(int offset) => [(0x20, 0, 0, (uint)offset), (0x16, 0, 0, 0)];

    private static byte[] Code(params (int Operation, int True, int False, uint K)[] instructions) =>
        [.. instructions.SelectMany(each => (byte[])[(byte)each.Operation, (byte)(each.Operation >> 8), (byte)each.True, (byte)each.False, .. BitConverter.GetBytes(each.K)])];

    [Theory]
    [InlineData(Nr, 219)]
    [InlineData(Arch, 0xC000003E)]
    [InlineData(Ip, 0x12345678)]
    [InlineData(Ip + 4, 0x7F00)]
    [InlineData(Arguments, 0x33334444)]
    [InlineData(Arguments + 4, 0x11112222)]
    [InlineData(Arguments + 8, 2)]
    [InlineData(Arguments + 40, 0x88889999)]
    [InlineData(Arguments + 44, 0x66667777)]
    public void Run_LoadOfEveryField_GivesIt(int offset, uint expected) => Assert.Equal(expected, SeccompProgram.Run(Code(Load(offset)), s_call));

    // ld [offset]; ret a: not in words, or beyond the end.
    [Theory]
    [InlineData(64)]
    [InlineData(2)]
    [InlineData(-4)]
    public void Run_LoadElsewhere_Kills(int offset) => Assert.Equal(Kill, SeccompProgram.Run(Code(Load(offset)), s_call));

    // The filter that a deny list makes: architecture, then number.
    [Theory]
    [InlineData(219, Kill)]
    [InlineData(35, Allow)]
    public void Run_DenyList_DeniesItsNumber(int number, uint expected)
    {
        byte[] code = Code((0x20, 0, 0, Arch), (0x15, 1, 0, 0xC000003E), (0x06, 0, 0, KillProcess), (0x20, 0, 0, Nr), (0x15, 0, 1, 219), (0x06, 0, 0, Kill), (0x06, 0, 0, Allow));
        Assert.Equal(expected, SeccompProgram.Run(code, new SeccompData(number, 0)));
    }

    // libseccomp's search trees compare by greater-or-equal; sandboxes test bits of arguments.
    [Theory]
    [InlineData(0x35, 219u, true)]
    [InlineData(0x35, 220u, false)]
    [InlineData(0x25, 219u, false)]
    [InlineData(0x25, 218u, true)]
    [InlineData(0x45, 0x80u, true)]
    [InlineData(0x45, 0x04u, false)]
    public void Run_Jumps_GoByTheComparison(int jump, uint k, bool taken) =>
        Assert.Equal(taken ? Allow : Kill, SeccompProgram.Run(Code((0x20, 0, 0, Nr), (jump, 1, 0, k), (0x06, 0, 0, Kill), (0x06, 0, 0, Allow)), s_call));

    [Fact]
    public void Run_JumpAlways_SkipsK() =>
        Assert.Equal(Errno, SeccompProgram.Run(Code((0x05, 0, 0, 2), (0x06, 0, 0, Kill), (0x06, 0, 0, Kill), (0x06, 0, 0, Errno)), s_call));

    [Fact]
    public void Run_ComparisonWithX_UsesX() => // ldx #219; ld [nr]; jeq x
        Assert.Equal(Allow, SeccompProgram.Run(Code((0x01, 0, 0, 219), (0x20, 0, 0, Nr), (0x1D, 0, 1, 7), (0x06, 0, 0, Allow), (0x06, 0, 0, Kill)), s_call));

    [Fact]
    public void Run_MemoryAndTransfers_KeepValues() => // ld [nr]; st 3; ld #0; ldx M[3]; txa; tax; stx 4; ld #1; ld M[4]; ret a
        Assert.Equal(219u, SeccompProgram.Run(
            Code((0x20, 0, 0, Nr), (0x02, 0, 0, 3), (0x00, 0, 0, 0), (0x61, 0, 0, 3), (0x87, 0, 0, 0), (0x07, 0, 0, 0), (0x03, 0, 0, 4), (0x00, 0, 0, 1), (0x60, 0, 0, 4), (0x16, 0, 0, 0)),
            s_call));

    [Theory]
    [InlineData(0x80)]
    [InlineData(0x81)]
    public void Run_LoadOfLength_Gives64(int operation) =>
        Assert.Equal(64u, SeccompProgram.Run(Code((operation, 0, 0, 0), operation == 0x81 ? (0x87, 0, 0, 0u) : (0x05, 0, 0, 0u), (0x16, 0, 0, 0)), s_call));

    [Theory]
    [InlineData(0x34)] // by k
    [InlineData(0x3C)] // by x
    public void Run_DivisionByZero_Kills(int operation) =>
        Assert.Equal(Kill, SeccompProgram.Run(Code((0x00, 0, 0, 9), (operation, 0, 0, 0), (0x06, 0, 0, Allow)), s_call));

    [Fact]
    public void Run_Endless_Kills() => Assert.Equal(Kill, SeccompProgram.Run(Code((0x00, 0, 0, 9)), s_call));

    [Theory]
    [InlineData(Allow, true)]
    [InlineData(Allow | 7, true)]
    [InlineData(Log, true)]
    [InlineData(Errno, false)]
    [InlineData(0x7FF00000u, false)] // trace
    [InlineData(0x7FC00000u, false)] // user notification
    [InlineData(0x00030000u, false)] // trap
    [InlineData(KillProcess, false)]
    [InlineData(Kill, false)]
    [InlineData(0x7FFE0000u, false)] // unknown: the kernel kills
    public void Allows_Verdict_OnlyAllowAndLog(uint verdict, bool expected) => Assert.Equal(expected, SeccompProgram.Allows(verdict));

    /// <summary>Any row of operations on A with constants gives what C# itself gives.</summary>
    [Fact]
    public void Run_AnyArithmetic_IsThatOf32Bits()
    {
        (int Operation, Func<uint, uint, uint> Value)[] operations =
        [
            (0x04, (a, k) => a + k), (0x14, (a, k) => a - k), (0x24, (a, k) => a * k), (0x34, (a, k) => a / k), (0x44, (a, k) => a | k),
            (0x54, (a, k) => a & k), (0x64, (a, k) => a << (int)k), (0x74, (a, k) => a >> (int)k), (0x84, (a, _) => 0 - a), (0xA4, (a, k) => a ^ k),
        ];
        Prop.ForAll<uint, (byte Choice, uint K)[]>((start, steps) =>
        {
            var code = new List<(int, int, int, uint)> { (0x00, 0, 0, start) };
            uint expected = start;
            foreach ((byte choice, uint k) in steps)
            {
                (int operation, Func<uint, uint, uint> value) = operations[choice % operations.Length];
                uint constant = operation is 0x64 or 0x74 ? k % 32 : operation == 0x34 ? Math.Max(1, k) : k;
                code.Add((operation, 0, 0, constant));
                expected = value(expected, constant);
            }

            code.Add((0x16, 0, 0, 0));
            return SeccompProgram.Run(Code([.. code]), s_call) == expected;
        }).QuickCheckThrowOnFailure();
    }

    /// <summary>Whatever the bytes are, a run ends, and throws nothing.</summary>
    [Fact]
    public void Run_AnyBytes_Ends() =>
        Prop.ForAll<ulong[]>(code =>
        {
            SeccompProgram.Run(MemoryMarshal.AsBytes<ulong>(code), s_call);
            return true;
        }).QuickCheckThrowOnFailure();
}
