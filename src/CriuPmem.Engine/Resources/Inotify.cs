using System.Globalization;
using CriuPmem.Engine.Dump;
using CriuPmem.Engine.Restore;
using CriuPmem.Images.Messages;
using Google.Protobuf;

namespace CriuPmem.Engine.Resources;

/// <summary>inotify instances (inotify(7)): what they watch, under which watch descriptors, for which events.</summary>
/// <remarks>
/// The kernel tells a watched inode by its file handle; the path that leads to it goes into the image beside it. Watches
/// are set when every process has its descriptors, so that opening files again makes no events.
/// </remarks>
internal sealed class Inotify : FileKind
{
    private const uint INOTIFY_IOC_SETNEXTWD = 0x40044900;
    private const uint IN_DONT_FOLLOW = 0x02000000, SettableEvents = 0x84000FFF; // IN_ALL_EVENTS, IN_EXCL_UNLINK, IN_ONESHOT
    private const int HandleWords = 16;

    /// <inheritdoc />
    public override FdTypes Type => FdTypes.Inotify;

    /// <inheritdoc />
    public override bool Matches(OpenFile file) => file.Link == "anon_inode:inotify";

    /// <inheritdoc />
    public override void Dump(DumpContext context, OpenFile file, FileEntry entry)
    {
        int unread = 0;
        Sys.Ioctl(file.Copy(), FIONREAD, ref unread).OrThrow("ioctl(FIONREAD)", file.ToString());
        if (unread != 0)
        {
            throw file.Fail(
                ErrorCode.InFlight, $"{unread} bytes of events wait in it to be read, and no program can put events back",
                "Try again when the program has read them, or when the watched files are quiet");
        }

        entry.Ify = new InotifyFileEntry { Id = file.Id, Flags = file.Flags, Fown = file.Owner() };
        foreach (ReadOnlySpan<char> line in file.Info.AsSpan().EnumerateLines())
        {
            if (line.StartsWith("inotify wd:")) entry.Ify.Wd.Add(Parse(line));
        }

        if (entry.Ify.Wd.Count > 0) context.WhenFilesAreKnown.Add(() => Locate(context, file, entry.Ify));
    }

    /// <inheritdoc />
    public override int Restore(RestoreContext context, FileEntry entry)
    {
        InotifyFileEntry notify = entry.Ify;
        int fd = (int)Syscall.Invoke(SyscallNumber.inotify_init1, O_CLOEXEC | notify.Flags & O_NONBLOCK).OrThrow("inotify_init1", $"inotify instance {notify.Id}");
        context.RestoreOwner(fd, notify.Fown, notify.Flags);
        context.WhenTasksAreEquipped.Add(() => Watch(context, fd, notify));
        return fd;
    }

    /// <summary>"inotify wd:3 ino:89fa sdev:1b mask:22 ignored_mask:0 fhandle-bytes:c fhandle-type:1 f_handle:cb23…", all hexadecimal.</summary>
    private static InotifyWdEntry Parse(ReadOnlySpan<char> line)
    {
        var entry = new InotifyWdEntry { Id = 0, FHandle = new FhEntry() };
        foreach (Range part in line.Split(' '))
        {
            ReadOnlySpan<char> field = line[part];
            int colon = field.IndexOf(':');
            if (colon < 0) continue;
            ReadOnlySpan<char> value = field[(colon + 1)..];
            if (field.StartsWith("f_handle:"))
            {
                byte[] handle = new byte[HandleWords * 8];
                Convert.FromHexString(value[..Math.Min(value.Length & ~1, handle.Length * 2)], handle, out _, out _);
                for (int i = 0; i < HandleWords; i++) entry.FHandle.Handle.Add(BitConverter.ToUInt64(handle, i * 8));
                continue;
            }

            ulong number = ulong.Parse(value, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture);
            switch (field[..colon])
            {
                case "wd": entry.Wd = (uint)number; break;
                case "ino": entry.IIno = number; break;
                case "sdev": entry.SDev = (uint)number; break;
                case "mask": entry.Mask = (uint)number; break;
                case "ignored_mask": entry.IgnoredMask = (uint)number; break;
                case "fhandle-bytes": entry.FHandle.Bytes = (uint)number; break;
                case "fhandle-type": entry.FHandle.Type = (uint)number; break;
            }
        }

        if (entry.FHandle.Handle.Count == 0) entry.FHandle = new FhEntry { Bytes = 0, Type = 0 };
        return entry;
    }

    /// <summary>Finds a path for each watched inode; or, for a deleted one, the open file that keeps it.</summary>
    private static void Locate(DumpContext context, OpenFile file, InotifyFileEntry notify)
    {
        foreach (InotifyWdEntry watch in notify.Wd)
        {
            string? path = context.Handles.PathOf(watch.SDev, watch.IIno, watch.FHandle);
            if (path is not null)
            {
                watch.FHandle.Path = ByteString.CopyFrom(LinuxText.Encode(path));
                continue;
            }

            KnownDescriptor? open = context.Files.WithInode(watch.SDev, watch.IIno).FirstOrDefault(known => context.Files.Entries[(int)known.Id - 1].Type == FdTypes.Reg);
            watch.FileId = open?.Id ?? throw file.Fail(
                ErrorCode.UnsupportedFile,
                $"its watch {watch.Wd} is of an inode ({watch.IIno} on device {watch.SDev >> 20}:{watch.SDev & 0xFFFFF}) to which no path leads",
                "Let the program remove the watch, or mount the file system where criu-pmem can see it");
        }
    }

    private static void Watch(RestoreContext context, int fd, InotifyFileEntry notify)
    {
        foreach (InotifyWdEntry watch in notify.Wd.OrderBy(watch => watch.Wd))
        {
            uint mask = watch.Mask & SettableEvents;
            string path = watch.HasFileId
                ? string.Create(CultureInfo.InvariantCulture, $"/proc/thread-self/fd/{context.Files.Open(watch.FileId)}")
                : PathOf(watch);
            // The inode itself was watched: what its name leads to, if it is a link, was not.
            if (!watch.HasFileId) mask |= IN_DONT_FOLLOW;
            Sys.Ioctl(fd, INOTIFY_IOC_SETNEXTWD, watch.Wd).OrThrow("ioctl(INOTIFY_IOC_SETNEXTWD)", path);
            SysResult added = Sys.InotifyAddWatch(fd, path, mask);
            if (added.Failed)
            {
                throw new CheckpointException(ErrorCode.FileMissing, "what the program watched (inotify) cannot be watched again")
                {
                    Object = path,
                    Errno = added.Errno,
                    Remedy = added.Errno == Errno.ENOSPC ? "Raise fs.inotify.max_user_watches" : "Put it back as it was when the program was saved",
                };
            }

            if (added.Raw == watch.Wd) continue;
            throw new CheckpointException(ErrorCode.FileChanged, $"the watch descriptor {watch.Wd} cannot be had: two watched paths lead to one file now") { Object = path };
        }
    }

    private static string PathOf(InotifyWdEntry watch)
    {
        if (watch.FHandle.HasPath) return LinuxText.Decode(watch.FHandle.Path.Span);
        using OwnedFd? handle = FileHandles.TryOpen(watch.SDev, watch.FHandle);
        string? path = handle is null ? null : Sys.ReadLink(AT_FDCWD, $"/proc/thread-self/fd/{handle.Fd}", out _);
        return path ?? throw new CheckpointException(ErrorCode.FileMissing, $"the watched inode {watch.IIno} cannot be found again, and the image has no path for it")
        {
            Object = $"device {watch.SDev >> 20}:{watch.SDev & 0xFFFFF}",
            Remedy = "Mount that file system as it was when the program was saved",
        };
    }
}
