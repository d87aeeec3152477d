using CriuPmem.Images.Messages;
using CriuPmem.Kernel;

namespace CriuPmem.Images;

/// <summary>Open files, descriptor tables, and what lies in pipes, queues, terminals and ghosts.</summary>
internal sealed partial class SnapshotValidator
{
    // The kernel's upper limit of fs.nr_open.
    private const uint DescriptorLimit = 1 << 30;

    private void CheckFiles()
    {
        string file = ImageKind.Files.FileName();
        for (int i = 0; i < _contents.Files.Count; i++)
        {
            FileEntry entry = _contents.Files[i];
            if (entry.Id == 0) Add(file, i, "a file with id 0, which means none");
            if (!_files.TryAdd(entry.Id, entry)) Add(file, i, $"file {entry.Id} appears twice");
            int bodies = CountBodies(entry, out uint? bodyId, out bool ofType);
            if (bodies != 1 || !ofType) Add(file, i, $"file {entry.Id} of type {entry.Type} has another type's body");
            else if (bodyId != entry.Id) Add(file, i, $"file {entry.Id} calls itself {bodyId}");
        }

        for (int i = 0; i < _contents.Files.Count; i++) CheckReferences(file, i, _contents.Files[i]);
    }

    // A union written as optional fields: one of them is there, and it is the one that the type says.
    private static int CountBodies(FileEntry entry, out uint? id, out bool ofType)
    {
        int count = 0;
        uint? found = null;
        bool matches = false;
        Body(FdTypes.Reg, entry.Reg?.Id);
        Body(FdTypes.Inetsk, entry.Isk?.Id);
        Body(FdTypes.Ns, entry.Nsf?.Id);
        Body(FdTypes.Packetsk, entry.Psk?.Id);
        Body(FdTypes.Netlinksk, entry.Nlsk?.Id);
        Body(FdTypes.Eventfd, entry.Efd?.Id);
        Body(FdTypes.Eventpoll, entry.Epfd?.Id);
        Body(FdTypes.Signalfd, entry.Sgfd?.Id);
        Body(FdTypes.Tunf, entry.Tunf?.Id);
        Body(FdTypes.Timerfd, entry.Tfd?.Id);
        Body(FdTypes.Inotify, entry.Ify?.Id);
        Body(FdTypes.Fanotify, entry.Ffy?.Id);
        Body(FdTypes.Ext, entry.Ext?.Id);
        Body(FdTypes.Unixsk, entry.Usk?.Id);
        Body(FdTypes.Fifo, entry.Fifo?.Id);
        Body(FdTypes.Pipe, entry.Pipe?.Id);
        Body(FdTypes.Tty, entry.Tty?.Id);
        Body(FdTypes.Memfd, entry.Memfd?.Id);
        Body(FdTypes.Bpfmap, entry.Bpf?.Id);
        Body(FdTypes.Pidfd, entry.Pidfd?.Id);
        id = found;
        ofType = matches;
        return count;

        void Body(FdTypes type, uint? bodyId)
        {
            if (bodyId is null) return;
            count++;
            found = bodyId;
            matches |= type == entry.Type;
        }
    }

    private void CheckReferences(string file, int index, FileEntry entry)
    {
        if (entry.Fifo is { HasRegfId: true } fifo) CheckFileIs(file, index, "the FIFO's path", fifo.RegfId, FdTypes.Reg);
        if (entry.Tty is { } tty)
        {
            if (tty.HasRegfId) CheckFileIs(file, index, "the terminal's path", tty.RegfId, FdTypes.Reg);
            if (!_contents.TtyInfos.Any(info => info.Id == tty.TtyInfoId))
            {
                Add(file, index, $"terminal {tty.TtyInfoId} is not in {ImageKind.TtyInfo.FileName()}");
            }
        }

        if (entry.Memfd is { } memfd && !_contents.Memfds.Any(inode => inode.InodeId == memfd.InodeId))
        {
            Add(file, index, $"memory file {memfd.InodeId} is not in {ImageKind.Memfd.FileName()}");
        }

        if (entry.Tfd is { } timer && (timer.Vnsec >= 1_000_000_000 || timer.Insec >= 1_000_000_000))
        {
            Add(file, index, "a timer with more nanoseconds than a second has");
        }

        // sun_path of unix(7).
        if (entry.Usk is { } socket && socket.Name.Length > 108)
        {
            Add(file, index, $"a socket name of {socket.Name.Length} bytes");
        }

        if (entry.Isk is { } inet) CheckInet(file, index, inet);
        if (entry.Reg is { } regular && (regular.Name.Length is 0 or > 4096 || regular.Name.Contains((byte)0)))
        {
            Add(file, index, $"a path of {regular.Name.Length} bytes, or with a zero in it");
        }
    }

    private void CheckInet(string file, int index, InetSkEntry socket)
    {
        foreach (MulticastEntry group in socket.Groups)
        {
            if (group.Group.Length is not (4 or 16) || group.Sources.Any(source => source.Length != group.Group.Length))
            {
                Add(file, index, $"a multicast group of {group.Group.Length} bytes, or sources of another length");
            }
        }

        // struct sockaddr_in, struct sockaddr_in6; the largest datagram there is.
        foreach (DatagramEntry datagram in socket.Datagrams)
        {
            if (datagram.Sender.Length is not (16 or 28) || datagram.Data.Length > ushort.MaxValue || datagram.Destination.Length is not (0 or 4 or 16))
            {
                Add(file, index, $"a datagram of {datagram.Data.Length} bytes with addresses of {datagram.Sender.Length} and {datagram.Destination.Length}");
            }
        }
    }

    private void CheckFileIs(string file, int entry, string what, uint id, FdTypes type)
    {
        if (!_files.TryGetValue(id, out FileEntry? found)) Add(file, entry, $"{what} is file {id}, which files.img lacks");
        else if (found.Type != type) Add(file, entry, $"{what} is file {id}, which is of type {found.Type}");
    }

    private void CheckDescriptorTables()
    {
        foreach ((uint table, IReadOnlyList<FdinfoEntry> descriptors) in _contents.Fdinfos)
        {
            string file = ImageKind.Fdinfo.FileName(table);
            var numbers = new HashSet<uint>();
            for (int i = 0; i < descriptors.Count; i++)
            {
                FdinfoEntry descriptor = descriptors[i];
                if (descriptor.Fd >= DescriptorLimit) Add(file, i, $"{descriptor.Fd} is no descriptor");
                if (!numbers.Add(descriptor.Fd)) Add(file, i, $"descriptor {descriptor.Fd} appears twice");
                if (descriptor.Flags > 1) Add(file, i, $"unknown descriptor flags 0x{descriptor.Flags:x}");
                CheckFileIs(file, i, $"descriptor {descriptor.Fd}", descriptor.Id, descriptor.Type);
            }
        }

        foreach ((uint pid, TaskKobjIdsEntry ids) in _contents.Ids)
        {
            if (_contents.Fdinfos.ContainsKey(ids.FilesId)) continue;
            Add(ErrorCode.ImageMissing, ImageKind.Fdinfo.FileName(ids.FilesId), -1, $"the image is missing; {pid} has it");
        }

        foreach ((uint pid, FsEntry fs) in _contents.Fs)
        {
            string file = ImageKind.Fs.FileName(pid);
            CheckFileIs(file, 0, "the working directory", fs.CwdId, FdTypes.Reg);
            CheckFileIs(file, 0, "the root directory", fs.RootId, FdTypes.Reg);
            if (fs.HasUmask && fs.Umask > 0x1FF) Add(file, 0, $"umask 0x{fs.Umask:x}");
        }
    }

    private void CheckContents()
    {
        HashSet<uint> pipes = [.. _contents.Files.Where(file => file.Pipe is not null).Select(file => file.Pipe.PipeId)];
        HashSet<uint> fifos = [.. _contents.Files.Where(file => file.Fifo is not null).Select(file => file.Fifo.PipeId)];
        CheckPipes(ImageKind.PipesData.FileName(), _contents.PipesData, pipes);
        CheckPipes(ImageKind.FifoData.FileName(), _contents.FifoData, fifos);
        for (int i = 0; i < _contents.SocketQueues.Count; i++)
        {
            SkPacketEntry packet = _contents.SocketQueues[i];
            string file = ImageKind.SkQueues.FileName();
            if (!_files.ContainsKey(packet.IdFor)) Add(file, i, $"a packet for file {packet.IdFor}, which files.img lacks");
            foreach (uint passed in packet.Scm.SelectMany(message => message.Rights))
            {
                if (!_files.ContainsKey(passed)) Add(file, i, $"a passed file {passed}, which files.img lacks");
            }
        }

        CheckGhosts();
        CheckTerminals();
        CheckMemfds();
        for (int i = 0; i < (_contents.Seccomp?.SeccompFilters.Count ?? 0); i++)
        {
            SeccompFilter filter = _contents.Seccomp!.SeccompFilters[i];
            // struct sock_filter has 8 bytes, and BPF_MAXINSNS is 4096.
            if (filter.Filter.Length % 8 != 0 || filter.Filter.Length is 0 or > 4096 * 8)
            {
                Add(ImageKind.Seccomp.FileName(), 0, $"filter {i} of {filter.Filter.Length} bytes");
            }

            if (filter.HasPrev && filter.Prev >= i)
            {
                Add(ImageKind.Seccomp.FileName(), 0, $"filter {i} follows filter {filter.Prev}, which is not before it");
            }
        }
    }

    private void CheckPipes(string file, List<PipeDataEntry> data, HashSet<uint> pipes)
    {
        var seen = new HashSet<uint>();
        for (int i = 0; i < data.Count; i++)
        {
            if (!pipes.Contains(data[i].PipeId)) Add(file, i, $"pipe {data[i].PipeId} is open in no process");
            if (!seen.Add(data[i].PipeId)) Add(file, i, $"pipe {data[i].PipeId} appears twice");
            if (data[i].HasSize && data[i].Bytes > data[i].Size)
            {
                Add(file, i, $"{data[i].Bytes} bytes in a pipe of {data[i].Size}");
            }
        }
    }

    private void CheckGhosts()
    {
        string file = ImageKind.RemapFpath.FileName();
        for (int i = 0; i < _contents.Remaps.Count; i++)
        {
            RemapFilePathEntry remap = _contents.Remaps[i];
            if (!_files.ContainsKey(remap.OrigId)) Add(file, i, $"file {remap.OrigId} is not in files.img");
            uint ghost = remap.RemapId & 0x7FFF_FFFF;
            if (SnapshotContents.IsGhost(remap) && !_contents.GhostFiles.Contains(ghost))
            {
                Add(ErrorCode.ImageMissing, ImageKind.GhostFile.FileName(ghost), -1, $"the image is missing; {file} names it");
            }
        }
    }

    private void CheckTerminals()
    {
        string file = ImageKind.TtyInfo.FileName();
        var ids = new HashSet<uint>();
        for (int i = 0; i < _contents.TtyInfos.Count; i++)
        {
            if (!ids.Add(_contents.TtyInfos[i].Id)) Add(file, i, $"terminal {_contents.TtyInfos[i].Id} appears twice");
            if (_contents.TtyInfos[i].Termios?.CCc.Count > 32) Add(file, i, "more control characters than there are");
        }

        for (int i = 0; i < _contents.TtyData.Count; i++)
        {
            if (ids.Contains(_contents.TtyData[i].TtyId)) continue;
            Add(ImageKind.TtyData.FileName(), i, $"terminal {_contents.TtyData[i].TtyId} is not in {file}");
        }
    }

    private void CheckMemfds()
    {
        string file = ImageKind.Memfd.FileName();
        var inodes = new HashSet<ulong>();
        for (int i = 0; i < _contents.Memfds.Count; i++)
        {
            MemfdInodeEntry memfd = _contents.Memfds[i];
            if (!inodes.Add(memfd.InodeId)) Add(file, i, $"memory file {memfd.InodeId} appears twice");
            if (memfd.Size > 0 && !_contents.SharedPagemaps.ContainsKey(memfd.Shmid))
            {
                string pagemap = ImageKind.PagemapShmem.FileName(memfd.Shmid);
                Add(ErrorCode.ImageMissing, pagemap, -1, $"the image is missing; {file} names it");
            }
        }
    }
}
