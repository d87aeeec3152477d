using CriuPmem.Images.Messages;
using CriuPmem.Kernel;

namespace CriuPmem.Images;

/// <summary>Address spaces, page maps and pages files.</summary>
internal sealed partial class SnapshotValidator
{
    private const PageFlags AllPageFlags = PageFlags.Parent | PageFlags.Lazy | PageFlags.Present;
    private const VmaStatus FileBacked = VmaStatus.FilePrivate | VmaStatus.FileShared | VmaStatus.Memfd;

    private readonly Dictionary<uint, string> _pagesFileUsers = [];

    private void CheckMemory()
    {
        var spaces = new HashSet<uint>();
        foreach (PstreeEntry process in _contents.Pstree)
        {
            uint pid = process.Pid;
            if (!_contents.Ids.TryGetValue(pid, out TaskKobjIdsEntry? ids)) continue;
            if (_contents.Mms.TryGetValue(pid, out MmEntry? mm))
            {
                string file = ImageKind.Mm.FileName(pid);
                CheckBounds(file, mm);
                CheckMappings(file, mm);
                CheckProcessPages(pid, mm);
            }
            else if (!spaces.Contains(ids.VmId))
            {
                Add(ErrorCode.ImageMissing, ImageKind.Mm.FileName(pid), -1, "the image is missing");
            }

            spaces.Add(ids.VmId);
        }

        var sizes = new Dictionary<ulong, ulong>();
        foreach (MemfdInodeEntry memfd in _contents.Memfds) sizes[memfd.Shmid] = memfd.Size;
        foreach ((ulong segment, Pagemap map) in _contents.SharedPagemaps)
        {
            string file = ImageKind.PagemapShmem.FileName((long)segment);
            ulong lengthBytes = sizes.TryGetValue(segment, out ulong size) ? size : UserSpaceEnd;
            ulong end = Math.Min(lengthBytes, UserSpaceEnd - PageBytes) + PageBytes - 1 & ~(PageBytes - 1);
            CheckPagemap(file, map, (start, stop) => stop <= end);
        }
    }

    private void CheckBounds(string file, MmEntry mm)
    {
        ReadOnlySpan<ulong> bounds =
        [
            mm.MmStartCode, mm.MmEndCode, mm.MmStartData, mm.MmEndData, mm.MmStartStack, mm.MmStartBrk, mm.MmBrk,
            mm.MmArgStart, mm.MmArgEnd, mm.MmEnvStart, mm.MmEnvEnd,
        ];
        foreach (ulong bound in bounds)
        {
            if (bound > UserSpaceEnd) Add(file, 0, $"the bound 0x{bound:x} lies outside user space");
        }

        if (mm.MmStartBrk > mm.MmBrk) Add(file, 0, "the heap ends before it begins");
        if (mm.MmArgStart > mm.MmArgEnd) Add(file, 0, "the arguments end before they begin");
        if (mm.MmEnvStart > mm.MmEnvEnd) Add(file, 0, "the environment ends before it begins");
        if (mm.MmSavedAuxv.Count % 2 != 0 || mm.MmSavedAuxv.Count > 1024)
        {
            Add(file, 0, $"an auxiliary vector of {mm.MmSavedAuxv.Count} words");
        }

        if (mm.HasDumpable && mm.Dumpable is < 0 or > 2) Add(file, 0, $"{mm.Dumpable} is no dumpable value");
        CheckFileIs(file, 0, "the executable", mm.ExeFileId, FdTypes.Reg);
    }

    private void CheckMappings(string file, MmEntry mm)
    {
        ulong lastEnd = 0;
        int vdsos = 0;
        for (int i = 0; i < mm.Vmas.Count; i++)
        {
            VmaEntry vma = mm.Vmas[i];
            var status = (VmaStatus)vma.Status;
            if (((vma.Start | vma.End) & (PageBytes - 1)) != 0 || vma.Start >= vma.End)
            {
                AddMapping(file, i, vma, "is no range of pages");
            }

            // The vsyscall page is the only one above user space, and the same in every program.
            bool inside = vma.End <= UserSpaceEnd || (status & VmaStatus.Vsyscall) != 0;
            if (!inside) AddMapping(file, i, vma, "lies outside user space");
            if (status == VmaStatus.Guard) continue; // guard regions follow the mappings that they lie in
            if (vma.Start < lastEnd) AddMapping(file, i, vma, $"begins before the last one ends (0x{lastEnd:x})");
            lastEnd = vma.End;
            CheckMappingKind(file, i, vma, status);
            if ((status & VmaStatus.Vdso) != 0 && ++vdsos > 1) AddMapping(file, i, vma, "is a second vDSO");
        }
    }

    private void CheckMappingKind(string file, int index, VmaEntry vma, VmaStatus status)
    {
        // PROT_READ, PROT_WRITE and PROT_EXEC are all that a mapping can have on x86.
        if (vma.Prot > 7) AddMapping(file, index, vma, $"has protection 0x{vma.Prot:x}");
        uint sharing = vma.Flags & 0xF;
        if (sharing is < 1 or > 3) AddMapping(file, index, vma, $"is neither shared nor private (0x{vma.Flags:x})");
        if (vma.Status >> 18 != 0) AddMapping(file, index, vma, $"is of an unknown kind (0x{vma.Status:x})");
        bool isKernels = (status & (VmaStatus.Vdso | VmaStatus.Vvar | VmaStatus.Vsyscall)) != 0;
        if (isKernels && (status & FileBacked) != 0) AddMapping(file, index, vma, $"is the kernel's and a file's (0x{vma.Status:x})");
        bool special = (status & (VmaStatus.SysvIpc | VmaStatus.AioRing | VmaStatus.Socket)) != 0;
        if (special || (status & FileBacked) == 0) return;
        if ((vma.Pgoff & (PageBytes - 1)) != 0) AddMapping(file, index, vma, $"has file offset 0x{vma.Pgoff:x}");
        if (vma.Shmid > uint.MaxValue)
        {
            AddMapping(file, index, vma, $"has file id {vma.Shmid}");
            return;
        }

        if (!_files.TryGetValue((uint)vma.Shmid, out FileEntry? mapped))
        {
            AddMapping(file, index, vma, $"is of file {vma.Shmid}, which files.img does not have");
            return;
        }

        if (((status & VmaStatus.Memfd) != 0) != (mapped.Type == FdTypes.Memfd))
        {
            AddMapping(file, index, vma, $"is of file {vma.Shmid}, which is of type {mapped.Type}");
        }
    }

    private void AddMapping(string file, int index, VmaEntry vma, string cause) =>
        Add(file, 0, $"mapping {index} (0x{vma.Start:x}-0x{vma.End:x}) {cause}");

    private void CheckProcessPages(uint pid, MmEntry mm)
    {
        string file = ImageKind.Pagemap.FileName(pid);
        if (!_contents.Pagemaps.TryGetValue(pid, out Pagemap? map))
        {
            Add(ErrorCode.ImageMissing, file, -1, "the image is missing");
            return;
        }

        // Runs and mappings are both in order, so one walk along both is enough.
        int at = 0;
        CheckPagemap(file, map, (start, end) =>
        {
            while (at < mm.Vmas.Count && mm.Vmas[at].End <= start) at++;
            for (int i = at; i < mm.Vmas.Count && mm.Vmas[i].Start <= start; i++)
            {
                if (end <= mm.Vmas[i].End) return true;
                start = mm.Vmas[i].End;
            }

            return false;
        });
    }

    private void CheckPagemap(string file, Pagemap map, Func<ulong, ulong, bool> isMapped)
    {
        ulong lastEnd = 0;
        ulong present = 0;
        for (int i = 0; i < map.Entries.Count; i++)
        {
            PagemapEntry run = map.Entries[i];
            int entry = i + 1; // The head is entry 0.
            ulong pages = Pagemap.PagesOf(run);
            PageFlags flags = Pagemap.FlagsOf(run);
            if ((run.Vaddr & (PageBytes - 1)) != 0 || pages == 0 || pages > UserSpaceEnd / PageBytes ||
                run.Vaddr > UserSpaceEnd - pages * PageBytes)
            {
                Add(file, entry, $"0x{run.Vaddr:x} with {pages} pages is no range of pages in user space");
                return;
            }

            ulong end = run.Vaddr + pages * PageBytes;
            if (run.Vaddr < lastEnd) Add(file, entry, $"0x{run.Vaddr:x} lies before the end of the last run");
            lastEnd = end;
            if ((flags & ~AllPageFlags) != 0) Add(file, entry, $"unknown flags 0x{(uint)flags:x}");
            if ((flags & PageFlags.Present) != 0) present += pages;
            if ((flags & PageFlags.Parent) != 0 && !_contents.HasParent)
            {
                Add(ErrorCode.ImageMissing, file, entry, "pages in a parent snapshot, to which no \"parent\" leads");
            }

            if (!isMapped(run.Vaddr, end)) Add(file, entry, $"0x{run.Vaddr:x}-0x{end:x} is not all in mappings");
        }

        CheckPagesFile(file, map.Head, present);
    }

    private void CheckPagesFile(string file, PagemapHead head, ulong present)
    {
        uint pagesId = head.PagesId;
        if (!_pagesFileUsers.TryAdd(pagesId, file))
        {
            Add(file, 0, $"pages file {pagesId} is already the one of {_pagesFileUsers[pagesId]}");
        }

        if (present == 0) return;
        string pages = (head.Compressed ? ImageKind.CompressedPages : ImageKind.Pages).FileName(pagesId);
        if (!_contents.PagesFileBytes.TryGetValue(pagesId, out long lengthBytes))
        {
            Add(ErrorCode.ImageMissing, pages, -1, $"the image is missing; {file} names it");
        }
        else if (present > (ulong)lengthBytes / PageBytes)
        {
            Add(pages, -1, $"{lengthBytes} bytes, where {file} counts {present} pages of {PageBytes}");
        }
    }
}
