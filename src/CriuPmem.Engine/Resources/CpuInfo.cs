using System.Buffers.Binary;
using System.Runtime.Intrinsics.X86;
using System.Text;
using CriuPmem.Images.Messages;

namespace CriuPmem.Engine.Resources;

/// <summary>The CPU's features (cpuinfo.img): written with a dump, compared before a restore makes anything (--cpu-cap).</summary>
internal static class CpuInfo
{
    private const uint CapabilityVersion = 2, XsaveLeaf = 0xD;
    private const int FormatWords = CpuFeatures.FormatWords;

    // Components of XSAVE that images have fields for (FpuState). The peer notes the rest neither, nor bit 1 (SSE), which
    // every 64-bit CPU has, and refuses both: with AMX the three numbers are left out, and each thread's own state decides.
    private const ulong InImages = 0x2FF, Baseline = 3, Sse = 2;

    /// <summary>This CPU.</summary>
    public static CpuinfoEntry Read()
    {
        (string vendor, uint family, uint model, uint stepping) = Identity();
        var cpu = new CpuinfoX86Entry
        {
            VendorId = vendor switch
            {
                "GenuineIntel" => CpuinfoX86Entry.Types.Vendor.Intel,
                "AuthenticAMD" => CpuinfoX86Entry.Types.Vendor.Amd,
                _ => CpuinfoX86Entry.Types.Vendor.Unknown,
            },
            CpuFamily = family,
            Model = model,
            Stepping = stepping,
            CapabilityVer = CapabilityVersion,
            ModelId = Brand(),
        };
        uint[] words = CpuFeatures.Read();
        cpu.Capability.AddRange(words.AsSpan(0, FormatWords).ToArray());
        cpu.MoreCapability.AddRange(words.AsSpan(FormatWords).ToArray());
        ulong components = Components();
        if ((components & ~InImages) == 0)
        {
            cpu.XfeaturesMask = components & ~Sse;
            cpu.XsaveSize = CpuFeatures.Register(XsaveLeaf, 0, 1);
            cpu.XsaveSizeMax = CpuFeatures.Register(XsaveLeaf, 0, 2);
        }

        var entry = new CpuinfoEntry();
        entry.X86Entry.Add(cpu);
        return entry;
    }

    /// <summary>Compares this CPU with the saved one in what the user wants to be compared.</summary>
    /// <param name="saved">cpuinfo.img; null if it is not there.</param>
    /// <param name="options">What is compared.</param>
    /// <exception cref="CheckpointException">Something is missing; the message names it.</exception>
    public static void Check(CpuinfoEntry? saved, CommonOptions options)
    {
        CpuCapability wanted = options.CpuCapability;
        if (saved is null || saved.X86Entry.Count == 0)
        {
            // Of the vector registers each thread's own image tells; of the rest nothing does.
            if (!options.CpuCapabilityGiven || (wanted & ~CpuCapability.Fpu) == 0) return;
            throw new CheckpointException(ErrorCode.ImageMissing, saved is null ? "it is not there: the CPU's features were not saved" : "it holds no x86 CPU")
            {
                Object = $"{options.ImagesDirectory}/cpuinfo.img",
                Remedy = "Dump with --cpu-cap too, or restore with --cpu-cap=fpu, which needs no image",
            };
        }

        CpuinfoX86Entry cpu = saved.X86Entry[0];
        uint[] own = CpuFeatures.Read(), words = Words(cpu, own.Length, options);
        if ((wanted & CpuCapability.Instructions) != 0) CheckInstructions(words, own);
        if ((wanted & CpuCapability.Fpu) != 0) CheckState(cpu);
        if ((wanted & CpuCapability.Cpu) != 0) CheckEqual(cpu, words, own);
    }

    /// <summary>Vendor, family, model and stepping (Intel SDM vol. 2A, CPUID).</summary>
    public static (string Vendor, uint Family, uint Model, uint Stepping) Identity()
    {
        (_, int b, int c, int d) = X86Base.CpuId(0, 0);
        Span<byte> vendor = stackalloc byte[12];
        BinaryPrimitives.WriteInt32LittleEndian(vendor, b);
        BinaryPrimitives.WriteInt32LittleEndian(vendor[4..], d);
        BinaryPrimitives.WriteInt32LittleEndian(vendor[8..], c);
        uint signature = (uint)X86Base.CpuId(1, 0).Eax, family = signature >> 8 & 0xF, model = signature >> 4 & 0xF;
        if (family is 6 or 15) model |= signature >> 12 & 0xF0;
        if (family == 15) family += signature >> 20 & 0xFF;
        return (Encoding.ASCII.GetString(vendor), family, model, signature & 0xF);
    }

    private static string Brand()
    {
        Span<byte> name = stackalloc byte[48];
        for (uint i = 0; i < 12; i++) BinaryPrimitives.WriteUInt32LittleEndian(name[(int)(i * 4)..], CpuFeatures.Register(0x80000002 + i / 4, 0, (int)(i % 4)));
        return Encoding.ASCII.GetString(name).TrimEnd('\0').Trim();
    }

    private static ulong Components() =>
        CpuFeatures.Register(XsaveLeaf, 0, 0) | (ulong)CpuFeatures.Register(XsaveLeaf, 0, 3) << 32;

    /// <summary>The saved words; those that the image does not have are as here.</summary>
    private static uint[] Words(CpuinfoX86Entry cpu, int count, CommonOptions options)
    {
        int known = cpu.CapabilityVer == CapabilityVersion ? FormatWords : CpuFeatures.OldWords;
        if (known != FormatWords) options.Log.Warn("cpu", $"cpuinfo.img has features of version {cpu.CapabilityVer}: only the first {known} words are compared");
        uint[] words = CpuFeatures.Read();
        for (int word = 0; word < Math.Min(known, cpu.Capability.Count); word++) words[word] = cpu.Capability[word];
        for (int word = 0; word < cpu.MoreCapability.Count && FormatWords + word < count; word++) words[FormatWords + word] = cpu.MoreCapability[word];
        return words;
    }

    private static void CheckInstructions(uint[] saved, uint[] own)
    {
        string[] missing = [.. Enumerable.Range(0, own.Length).SelectMany(word => CpuFeatures.Names(word, saved[word] & ~own[word] & CpuFeatures.Instructions(word)))];
        if (missing.Length == 0) return;
        throw new CheckpointException(ErrorCode.CpuMismatch, $"this CPU lacks instructions that the saved program may use: {string.Join(' ', missing)}")
        {
            Object = "cpuinfo.img",
            Remedy = "Restore on a CPU that has them (flags in /proc/cpuinfo), or, if the program uses none of them, with --cpu-cap=^ins",
        };
    }

    private static void CheckState(CpuinfoX86Entry cpu)
    {
        const string remedy = "Restore on a CPU with the features of the first one, or with --cpu-cap=^fpu: then a thread that uses them is refused";
        ulong lacking = cpu.XfeaturesMask & ~(Components() | Baseline);
        if (lacking != 0)
        {
            throw new CheckpointException(ErrorCode.CpuMismatch, $"this CPU lacks register state that the saved one has (XSAVE components 0x{lacking:x})")
            {
                Object = "cpuinfo.img",
                Remedy = remedy,
            };
        }

        uint room = CpuFeatures.Register(XsaveLeaf, 0, 2), needed = Math.Max(cpu.XsaveSize, cpu.XsaveSizeMax);
        if (needed <= room) return;
        throw new CheckpointException(ErrorCode.CpuMismatch, $"the saved register state takes {needed} bytes, this CPU's {room}") { Object = "cpuinfo.img", Remedy = remedy };
    }

    private static void CheckEqual(CpuinfoX86Entry cpu, uint[] saved, uint[] own)
    {
        string[] Names(uint[] these, uint[] others) => [.. Enumerable.Range(0, own.Length).SelectMany(word => CpuFeatures.Names(word, these[word] & ~others[word]))];
        string[] missing = Names(saved, own), more = Names(own, saved);
        if (missing.Length + more.Length == 0) return;
        string lacks = missing.Length == 0 ? "" : $", it lacks {string.Join(' ', missing)}", has = more.Length == 0 ? "" : $", it has besides {string.Join(' ', more)}";
        throw new CheckpointException(ErrorCode.CpuMismatch, $"this CPU is not like the saved one ({(cpu.HasModelId ? cpu.ModelId : $"family {cpu.CpuFamily}, model {cpu.Model}")}){lacks}{has}")
        {
            Object = "cpuinfo.img",
            Remedy = "Restore on a CPU of the same kind, or with --cpu-cap=ins, which asks for no more than the program may use",
        };
    }
}
