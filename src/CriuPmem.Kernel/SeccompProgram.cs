using System.Buffers.Binary;

namespace CriuPmem.Kernel;

/// <summary>Runs a seccomp filter as the kernel does: what would it say of a system call?</summary>
/// <remarks>
/// seccomp(2), Documentation/networking/filter.rst. A filter is classic BPF over struct seccomp_data, read in words of 32
/// bits; jumps go forward only, so that every run ends. A program that the kernel would not have taken, or that leaves its
/// bounds, counts as a refusal.
/// </remarks>
internal static class SeccompProgram
{
    /// <summary>Bytes of one instruction (struct sock_filter): u16 code, u8 jump if true, u8 jump if false, u32 k.</summary>
    public const int InstructionBytes = 8;

    /// <summary>Verdicts that let a call run.</summary>
    public const uint SECCOMP_RET_ALLOW = 0x7FFF_0000, SECCOMP_RET_LOG = 0x7FFC_0000;

    /// <summary>The verdict of a program that ends in no other way.</summary>
    public const uint SECCOMP_RET_KILL_THREAD = 0;

    private const uint SECCOMP_RET_ACTION_FULL = 0xFFFF_0000;
    private const int Words = 16;

    // Classes, and what is added to them: linux/bpf_common.h.
    private const int BPF_LD = 0, BPF_LDX = 1, BPF_ST = 2, BPF_STX = 3, BPF_ALU = 4, BPF_JMP = 5, BPF_RET = 6, BPF_MISC = 7;
    private const int BPF_IMM = 0x00, BPF_ABS = 0x20, BPF_MEM = 0x60, BPF_LEN = 0x80, BPF_X = 0x08, BPF_A = 0x10;
    private const int BPF_TXA = 0x80;

    /// <summary>True when the verdict lets the call run.</summary>
    public static bool Allows(uint verdict) => (verdict & SECCOMP_RET_ACTION_FULL) is SECCOMP_RET_ALLOW or SECCOMP_RET_LOG;

    /// <summary>The verdict of one filter.</summary>
    /// <param name="code">Its instructions.</param>
    /// <param name="call">The system call.</param>
    public static uint Run(ReadOnlySpan<byte> code, in SeccompData call)
    {
        Span<uint> memory = stackalloc uint[Words];
        memory.Clear();
        uint a = 0, x = 0;
        for (long at = 0; at >= 0 && (at + 1) * InstructionBytes <= code.Length; at++)
        {
            ReadOnlySpan<byte> instruction = code.Slice((int)at * InstructionBytes, InstructionBytes);
            int operation = BinaryPrimitives.ReadUInt16LittleEndian(instruction);
            uint k = BinaryPrimitives.ReadUInt32LittleEndian(instruction[4..]);
            switch (operation & 7)
            {
                case BPF_LD or BPF_LDX:
                    if (!TryLoad(operation, k, call, memory, out uint loaded)) return SECCOMP_RET_KILL_THREAD;
                    if ((operation & 7) == BPF_LD) a = loaded;
                    else x = loaded;
                    break;
                case BPF_ST or BPF_STX:
                    if (k >= Words) return SECCOMP_RET_KILL_THREAD;
                    memory[(int)k] = (operation & 7) == BPF_ST ? a : x;
                    break;
                case BPF_ALU:
                    if (!TryCalculate(operation & 0xF0, ref a, (operation & BPF_X) != 0 ? x : k)) return SECCOMP_RET_KILL_THREAD;
                    break;
                case BPF_JMP:
                    if (Jump(operation & 0xF0, a, (operation & BPF_X) != 0 ? x : k, k, instruction) is not { } offset) return SECCOMP_RET_KILL_THREAD;
                    at += offset;
                    break;
                case BPF_RET:
                    return (operation & 0x18) == BPF_A ? a : k;
                case BPF_MISC:
                    if ((operation & 0xF8) == BPF_TXA) a = x;
                    else x = a;
                    break;
            }
        }

        return SECCOMP_RET_KILL_THREAD;
    }

    private static bool TryLoad(int operation, uint k, in SeccompData call, ReadOnlySpan<uint> memory, out uint value)
    {
        value = 0;
        switch (operation & 0xF8) // width (a word alone) and mode
        {
            case BPF_IMM:
                value = k;
                return true;
            case BPF_LEN:
                value = SeccompData.LengthBytes;
                return true;
            case BPF_MEM when k < Words:
                value = memory[(int)k];
                return true;
            case BPF_ABS when operation == (BPF_LD | BPF_ABS) && k % 4 == 0 && k < SeccompData.LengthBytes:
                value = call.Word((int)k);
                return true;
            default:
                return false;
        }
    }

    private static bool TryCalculate(int operation, ref uint a, uint operand)
    {
        switch (operation)
        {
            case 0x00: a += operand; return true;
            case 0x10: a -= operand; return true;
            case 0x20: a *= operand; return true;
            case 0x30 when operand != 0: a /= operand; return true; // a division by zero ends the program with 0
            case 0x40: a |= operand; return true;
            case 0x50: a &= operand; return true;
            case 0x60: a <<= (int)(operand & 31); return true;
            case 0x70: a >>= (int)(operand & 31); return true;
            case 0x80: a = (uint)-(int)a; return true;
            case 0xA0: a ^= operand; return true;
            default: return false;
        }
    }

    /// <summary>How many instructions are skipped; null for a jump that does not exist.</summary>
    private static long? Jump(int operation, uint a, uint operand, uint k, ReadOnlySpan<byte> instruction)
    {
        bool? taken = operation switch
        {
            0x10 => a == operand,
            0x20 => a > operand,
            0x30 => a >= operand,
            0x40 => (a & operand) != 0,
            _ => null,
        };
        if (operation == 0) return k;
        return taken is null ? null : instruction[taken.Value ? 2 : 3];
    }
}
