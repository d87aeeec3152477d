using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace CriuPmem.Kernel;

/// <summary>struct seccomp_data (linux/seccomp.h): a system call as filters see it.</summary>
[StructLayout(LayoutKind.Sequential)]
internal readonly struct SeccompData
{
    /// <summary>Its size in bytes.</summary>
    public const int LengthBytes = 64;

    private const uint AUDIT_ARCH_X86_64 = 0xC000_003E;

    private readonly int _number;
    private readonly uint _architecture;
    private readonly ulong _instructionPointer;
    private readonly Arguments _arguments;

    /// <summary>A call of a 64-bit program.</summary>
    /// <param name="number">Its number.</param>
    /// <param name="instructionPointer">The address after the <c>syscall</c> instruction.</param>
    /// <param name="arguments">Up to six arguments; the others are 0.</param>
    public SeccompData(int number, ulong instructionPointer, params ReadOnlySpan<ulong> arguments)
    {
        _number = number;
        _architecture = AUDIT_ARCH_X86_64;
        _instructionPointer = instructionPointer;
        arguments.CopyTo(_arguments);
    }

    /// <summary>The word of 32 bits at <paramref name="offset"/>, a multiple of 4.</summary>
    public uint Word(int offset) => MemoryMarshal.Cast<SeccompData, uint>(new ReadOnlySpan<SeccompData>(in this))[offset / sizeof(uint)];

    [InlineArray(6)]
    private struct Arguments
    {
        private ulong _first;
    }
}
