using System.Runtime.InteropServices;
using CriuPmem.Engine.Dump;
using CriuPmem.Images;

namespace CriuPmem.Engine.Memory;

/// <summary>Finds pages that fork relatives have in common, by the frames they lie in (/proc/PID/pagemap), to store them once (--dedup-pages).</summary>
/// <remarks>
/// The image format has a place for them in a snapshot before: page maps there may lead to one pages file, as long as they say the
/// same, and page maps here leave pages to them. So a group has a source, whose pages are stored, and members that have some
/// of them at the same addresses.
/// </remarks>
internal sealed unsafe class CommonPages
{
    private const ulong Present = 1UL << 63, FrameMask = (1UL << 55) - 1;
    private const int PagesAtOnce = 1 << 16;

    private readonly List<Member> _members = [];

    /// <summary>Looks at what would be saved of processes that stand still.</summary>
    public CommonPages(IReadOnlyList<(DumpProcess Process, PagePlan Plan)> plans)
    {
        foreach ((DumpProcess process, PagePlan plan) in plans) _members.Add(new Member(process, plan, Frames(process, plan)));
    }

    /// <summary>Forms the groups.</summary>
    /// <returns>Of each the pages that its source stores, and what is left to store of every member.</returns>
    public List<Group> Groups()
    {
        var groups = new List<Group>();
        var left = new List<Member>(_members);
        while (left.Count > 1)
        {
            Member source = Source(left);
            List<Member> relatives = left.FindAll(member => member != source && source.Common(member).Count > 0);
            if (relatives.Count == 0) break;
            // Frames can have been moved while they were read: what is not where it was is not in common.
            source.Keep(Frames(source.Process, source.Plan));
            groups.Add(Form(source, relatives));
            left.RemoveAll(member => member == source || relatives.Contains(member));
        }

        return groups;
    }

    private static Group Form(Member source, List<Member> relatives)
    {
        var stored = new SortedDictionary<ulong, PageFlags>();
        foreach (Member member in relatives)
        {
            foreach (ulong address in source.Common(member))
            {
                PageFlags flags = source.FlagsAt(address) & member.FlagsAt(address);
                stored[address] = stored.TryGetValue(address, out PageFlags before) ? before & flags : flags;
            }
        }

        var group = new Group(source.Process, Runs(stored));
        group.Members.Add((source.Process, Without(source.Plan, stored.Keys)));
        foreach (Member member in relatives) group.Members.Add((member.Process, Without(member.Plan, source.Common(member).Order())));
        return group;
    }

    /// <summary>The one with most pages that others have, too: after a fork mostly the parent.</summary>
    private static Member Source(List<Member> members)
    {
        var users = new Dictionary<(ulong Address, ulong Frame), int>();
        foreach (Member member in members)
        {
            foreach ((ulong address, ulong frame) in member.Frames) CollectionsMarshal.GetValueRefOrAddDefault(users, (address, frame), out _)++;
        }

        return members.MaxBy(member => member.Frames.Count(page => users[(page.Key, page.Value)] > 1))!;
    }

    private static List<PageRun> Runs(SortedDictionary<ulong, PageFlags> pages)
    {
        var runs = new List<PageRun>();
        foreach ((ulong address, PageFlags flags) in pages)
        {
            if (runs.Count > 0 && runs[^1].End == address && runs[^1].Flags == (uint)flags) runs[^1] = runs[^1] with { End = address + PageSize };
            else runs.Add(new PageRun(address, address + PageSize, (uint)flags, true)); // read without unsharing them
        }

        return runs;
    }

    /// <summary>The plan, with pages left to the snapshot before.</summary>
    private static PagePlan Without(PagePlan plan, IEnumerable<ulong> pages)
    {
        var runs = new List<SavedRun>();
        foreach (ulong address in pages)
        {
            if (runs.Count > 0 && runs[^1].End == address) runs[^1] = runs[^1] with { LengthBytes = runs[^1].LengthBytes + PageSize };
            else runs.Add(new SavedRun(address, PageSize, PageFlags.Present, 0, 0));
        }

        var earlier = new SavedPages([], runs);
        var less = new PagePlan(plan.Guards);
        foreach (PageRun run in plan.Runs) less.Add(run, earlier);
        return less;
    }

    /// <summary>The frames of what is saved of a process, where relatives may have the same.</summary>
    private static Dictionary<ulong, ulong> Frames(DumpProcess process, PagePlan plan)
    {
        var frames = new Dictionary<ulong, ulong>();
        using OwnedFd pagemap = Sys.OpenOrThrow(process.Proc.Fd, "pagemap", O_RDONLY);
        var words = new ulong[PagesAtOnce];
        foreach (PageRun run in plan.Runs)
        {
            if (!run.Carefully || run.InParent) continue; // in no mapping that shares pages
            for (ulong at = run.Start; at < run.End;)
            {
                int count = (int)Math.Min((run.End - at) / PageSize, PagesAtOnce);
                Span<byte> bytes = MemoryMarshal.AsBytes(words.AsSpan(0, count));
                SysResult read = Sys.PRead(pagemap.Fd, bytes, (long)(at / PageSize * sizeof(ulong)));
                if (read.Failed || read.Value != bytes.Length) break;
                for (int i = 0; i < count; i++)
                {
                    ulong frame = words[i] & FrameMask;
                    if ((words[i] & Present) != 0 && frame != 0) frames[at + (ulong)i * PageSize] = frame; // 0 for who may not know
                }

                at += (ulong)count * PageSize;
            }
        }

        return frames;
    }

    /// <summary>Processes of which one stores pages for all.</summary>
    /// <param name="Source">It stores them.</param>
    /// <param name="Stored">Which.</param>
    internal sealed record Group(DumpProcess Source, List<PageRun> Stored)
    {
        /// <summary>The processes, and what is left of their plans.</summary>
        public List<(DumpProcess Process, PagePlan Plan)> Members { get; } = [];
    }

    private sealed record Member(DumpProcess Process, PagePlan Plan, Dictionary<ulong, ulong> Frames)
    {
        private readonly Dictionary<Member, List<ulong>> _common = [];

        /// <summary>The addresses at which both have the same frame.</summary>
        public List<ulong> Common(Member other)
        {
            if (_common.TryGetValue(other, out List<ulong>? known)) return known;
            var common = new List<ulong>();
            foreach ((ulong address, ulong frame) in other.Frames)
            {
                if (Frames.TryGetValue(address, out ulong own) && own == frame) common.Add(address);
            }

            _common.Add(other, common);
            return common;
        }

        /// <summary>Forgets what is not in the same frame now.</summary>
        public void Keep(Dictionary<ulong, ulong> now)
        {
            foreach ((ulong address, ulong frame) in Frames)
            {
                if (!now.TryGetValue(address, out ulong current) || current != frame) Frames.Remove(address);
            }

            _common.Clear();
        }

        /// <summary>How a page is saved.</summary>
        public PageFlags FlagsAt(ulong address)
        {
            int low = 0, high = Plan.Runs.Count;
            while (low < high)
            {
                int middle = (low + high) / 2;
                if (Plan.Runs[middle].End <= address) low = middle + 1;
                else high = middle;
            }

            return (PageFlags)Plan.Runs[low].Flags;
        }

        /// <inheritdoc />
        public bool Equals(Member? other) => ReferenceEquals(this, other);

        /// <inheritdoc />
        public override int GetHashCode() => Process.Pid;
    }
}
