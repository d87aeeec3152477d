using CriuPmem.Images.Messages;
using Google.Protobuf.Collections;

namespace CriuPmem.Engine.Resources;

/// <summary>The three segment descriptors of a thread (set_thread_area(2)); 64-bit programs hardly use them.</summary>
internal static unsafe class ThreadLocalSegments
{
    private const int NT_386_TLS = 0x200, Count = 3;
    private const uint FirstEntry = 12;

    /// <summary>Reads them.</summary>
    public static void Dump(int tid, RepeatedField<UserDescT> entries)
    {
        UserDesc* descriptors = stackalloc UserDesc[Count];
        for (uint i = 0; i < Count; i++) descriptors[i] = new UserDesc { EntryNumber = FirstEntry + i, Bits = 0x28 };
        Sys.PtraceGetRegSet(tid, NT_386_TLS, descriptors, (ulong)(Count * sizeof(UserDesc)), out _);
        for (int i = 0; i < Count; i++)
        {
            UserDesc d = descriptors[i];
            entries.Add(new UserDescT
            {
                EntryNumber = d.EntryNumber,
                BaseAddr = d.Base,
                Limit = d.Limit,
                Seg32Bit = Bit(d, 0),
                ContentsL = Bit(d, 1),
                ContentsH = Bit(d, 2),
                ReadExecOnly = Bit(d, 3),
                LimitInPages = Bit(d, 4),
                SegNotPresent = Bit(d, 5),
                Usable = Bit(d, 6),
            });
        }
    }

    /// <summary>Puts them back, if any is in use.</summary>
    public static void Restore(int tid, RepeatedField<UserDescT> entries)
    {
        if (entries.All(entry => entry.SegNotPresent && entry.BaseAddr == 0)) return;
        UserDesc* descriptors = stackalloc UserDesc[Count];
        int count = Math.Min(Count, entries.Count);
        for (int i = 0; i < count; i++)
        {
            UserDescT e = entries[i];
            uint bits = (e.Seg32Bit ? 1u : 0) | (e.ContentsL ? 2u : 0) | (e.ContentsH ? 4u : 0) | (e.ReadExecOnly ? 8u : 0) |
                (e.LimitInPages ? 16u : 0) | (e.SegNotPresent ? 32u : 0) | (e.Usable ? 64u : 0);
            descriptors[i] = new UserDesc { EntryNumber = e.EntryNumber, Base = e.BaseAddr, Limit = e.Limit, Bits = bits };
        }

        Sys.PtraceSetRegSet(tid, NT_386_TLS, descriptors, (ulong)(count * sizeof(UserDesc))).OrThrow("ptrace(SETREGSET, 386_TLS)", $"task {tid}");
    }

    private static bool Bit(in UserDesc descriptor, int bit) => (descriptor.Bits >> bit & 1) != 0;

    /// <summary>struct user_desc (asm/ldt.h).</summary>
    private struct UserDesc
    {
        public uint EntryNumber, Base, Limit, Bits;
    }
}
