using System.Runtime.Intrinsics.X86;

namespace CriuPmem.Engine.Resources;

/// <summary>The feature words of the image format: where CPUID has them, and how /proc/cpuinfo calls their bits.</summary>
/// <remarks>
/// A name for each bit from 0 on; "-" is one without a name. A + before it marks what ends a program that has seen it and
/// does not find it any more: instructions, as against what only the kernel uses or what is only faster.
/// </remarks>
internal static class CpuFeatures
{
    /// <summary>How many words the format has; those after them are ours.</summary>
    public const int FormatWords = 19;

    /// <summary>The words that are in the same place in older versions of the format.</summary>
    public const int OldWords = 10;

    // Words of the kernel's own have no leaf. Where the format differs from the kernel: 11 is CPUID 7.0 ECX, and 16 …
    private static readonly (uint Leaf, uint Subleaf, int Register, string Names)[] s_words =
    [
        (1, 0, Edx, "+fpu vme de pse +tsc msr pae mce +cx8 apic - sep mtrr pge mca +cmov pat pse36 pn +clflush - dts acpi +mmx +fxsr +sse +sse2 ss ht tm ia64 pbe"),
        (0x80000001, 0, Edx, "- - - - - - - - - - - +syscall - - - - - - - mp nx - +mmxext - - fxsr_opt pdpe1gb +rdtscp - +lm +3dnowext +3dnow"),
        (0x80860001, 0, Edx, "recovery longrun - lrti"),
        (0, 0, 0, "- - - - - - - - - - - - - - - - rep_good - - - nopl - - - - cpuid"),
        (1, 0, Ecx, "+pni +pclmulqdq dtes64 monitor ds_cpl vmx smx est tm2 +ssse3 cid sdbg +fma +cx16 xtpr pdcm - pcid dca +sse4_1 +sse4_2 x2apic +movbe +popcnt tsc_deadline_timer +aes +xsave osxsave +avx +f16c +rdrand hypervisor"),
        (0xC0000001, 0, Edx, "- - rng rng_en - - ace ace_en ace2 ace2_en phe phe_en pmm pmm_en"),
        (0x80000001, 0, Ecx, "+lahf_lm cmp_legacy svm extapic cr8_legacy +abm +sse4a +misalignsse 3dnowprefetch osvw ibs +xop skinit wdt - +lwp +fma4 tce - nodeid_msr - +tbm topoext perfctr_core perfctr_nb - bpext ptsc perfctr_llc +mwaitx"),
        (0, 0, 0, ""),
        (0, 0, 0, ""),
        (7, 0, Ebx, "+fsgsbase tsc_adjust - +bmi1 hle +avx2 - smep +bmi2 erms invpcid +rtm cqm - mpx rdt_a +avx512f +avx512dq +rdseed +adx smap +avx512ifma - +clflushopt +clwb intel_pt +avx512pf +avx512er +avx512cd +sha_ni +avx512bw +avx512vl"),
        (0xD, 1, Eax, "+xsaveopt +xsavec +xgetbv1 xsaves xfd"),
        (7, 0, Ecx, "- +avx512vbmi umip +pku +ospke +waitpkg +avx512_vbmi2 - +gfni +vaes +vpclmulqdq +avx512_vnni +avx512_bitalg tme +avx512_vpopcntdq - la57 - - - - - +rdpid - bus_lock_detect cldemote - +movdiri +movdir64b +enqcmd"),
        (0xF, 1, Edx, "cqm_occup_llc cqm_mbm_total cqm_mbm_local"),
        (0x80000008, 0, Ebx, "+clzero irperf xsaveerptr - +rdpru - - - - wbnoinvd"),
        (6, 0, Eax, "dtherm ida arat - pln - pts hwp hwp_notify hwp_act_window hwp_epp hwp_pkg_req - - - - - - - hfi"),
        (0x8000000A, 0, Edx, "npt lbrv svm_lock nrip_save tsc_scale vmcb_clean flushbyasid decodeassists"),
        (0xF, 0, Edx, "- cqm_llc"),
        (0x80000007, 0, Ebx, "overflow_recov succor - smca"),
        (7, 0, Edx, "- - +avx512_4vnniw +avx512_4fmaps fsrm - - - +avx512_vp2intersect - md_clear - - - +serialize - +tsxldtrk - pconfig arch_lbr ibt - +amx_bf16 +avx512_fp16 +amx_tile +amx_int8 - - flush_l1d arch_capabilities"),
        (7, 1, Eax, "+sha512 +sm3 +sm4 - +avx_vnni +avx512_bf16 - +cmpccxadd - - - - - - - - - - - - - +amx_fp16 - +avx_ifma - - lam - - - - +movrs"),
        (7, 1, Edx, "- - - - +avx_vnni_int8 +avx_ne_convert - - +amx_complex - +avx_vnni_int16 - - - prefetchi - - - - +avx10 - +apx"),
        (0x80000021, 0, Eax, "no_nested_data_bp - lfence_rdtsc"),
    ];

    private const int Eax = 0, Ebx = 1, Ecx = 2, Edx = 3;
    private const int KernelWord = 3;

    /// <summary>The words of this CPU: those of the format, then ours.</summary>
    public static uint[] Read() => [.. s_words.Select((word, index) => index == KernelWord ? OfTheKernel() : Register(word.Leaf, word.Subleaf, word.Register))];

    /// <summary>The bits of a word that stand for instructions.</summary>
    public static uint Instructions(int word)
    {
        string[] names = s_words[word].Names.Split(' ');
        uint bits = 0;
        for (int bit = 0; bit < names.Length; bit++) bits |= names[bit].StartsWith('+') ? 1u << bit : 0;
        return bits;
    }

    /// <summary>What /proc/cpuinfo calls the set bits of a word.</summary>
    public static IEnumerable<string> Names(int word, uint bits)
    {
        string[] names = s_words[word].Names.Split(' ');
        for (int bit = 0; bit < 32; bit++)
        {
            if ((bits >> bit & 1) == 0) continue;
            string name = bit < names.Length ? names[bit].TrimStart('+') : "";
            yield return name is "" or "-" ? Unnamed(word, bit) : name;
        }
    }

    /// <summary>A register of a leaf; 0 where the CPU does not have the leaf.</summary>
    public static uint Register(uint leaf, uint subleaf, int register)
    {
        // Intel's answer to a leaf beyond the last is the last one's.
        uint first = leaf & 0xFFFF0000;
        if (leaf == first || (uint)X86Base.CpuId((int)first, 0).Eax is uint last && (last < leaf || last - first > 0xFFFF)) return 0;
        if (leaf == 7 && subleaf > (uint)X86Base.CpuId(7, 0).Eax) return 0;
        (int a, int b, int c, int d) = X86Base.CpuId((int)leaf, (int)subleaf);
        return (uint)(register switch { Eax => a, Ebx => b, Ecx => c, _ => d });
    }

    /// <summary>What the peer notes of the kernel's own word: nopl and cpuid, which every 64-bit CPU has, and rep_good.</summary>
    private static uint OfTheKernel()
    {
        (string vendor, uint family, _, _) = CpuInfo.Identity();
        bool repGood = vendor == "GenuineIntel" ? family == 6 : family >= 16;
        return 1 << 20 | 1 << 25 | (repGood ? 1u << 16 : 0);
    }

    private static string Unnamed(int word, int bit)
    {
        (uint leaf, uint subleaf, int register, _) = s_words[word];
        return leaf == 0 ? $"feature {word}*32+{bit}" : $"CPUID {leaf:X}.{subleaf} {"EAXEBXECXEDX".AsSpan(register * 3, 3)} bit {bit}";
    }
}
