namespace CriuPmem.Kernel;

internal static unsafe partial class Sys
{
    /// <summary>
    /// A tmpfs that is mounted nowhere: only the descriptor leads to it, and it vanishes with its last user, also when this process is
    /// killed (fsopen(2), fsmount(2), Linux 5.2; needs CAP_SYS_ADMIN).
    /// </summary>
    /// <returns>A descriptor of its root directory, that the caller owns, or the error.</returns>
    public static SysResult PrivateTmpfs()
    {
        const int FSOPEN_CLOEXEC = 1, FSMOUNT_CLOEXEC = 1, FSCONFIG_SET_STRING = 1, FSCONFIG_CMD_CREATE = 6;
        const int MOUNT_ATTR_NOSUID = 2, MOUNT_ATTR_NODEV = 4, MOUNT_ATTR_NOEXEC = 8;
        fixed (byte* type = "tmpfs\0"u8, mode = "mode\0"u8, owner = "0700\0"u8, size = "size\0"u8, most = "90%\0"u8)
        {
            SysResult made = Syscall.Invoke(SyscallNumber.fsopen, (long)type, FSOPEN_CLOEXEC);
            if (made.Failed) return made;
            using var context = new OwnedFd(made.Value);
            Syscall.Invoke(SyscallNumber.fsconfig, context.Fd, FSCONFIG_SET_STRING, (long)mode, (long)owner, 0);
            Syscall.Invoke(SyscallNumber.fsconfig, context.Fd, FSCONFIG_SET_STRING, (long)size, (long)most, 0);
            SysResult created = Syscall.Invoke(SyscallNumber.fsconfig, context.Fd, FSCONFIG_CMD_CREATE, 0, 0, 0);
            if (created.Failed) return created;
            SysResult mounted = Syscall.Invoke(SyscallNumber.fsmount, context.Fd, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
            if (mounted.Failed) return mounted;
            using var mount = new OwnedFd(mounted.Value); // an O_PATH one; the directory that is opened by it keeps the file system
            return OpenAt(mount.Fd, ".", Constants.O_RDONLY | Constants.O_DIRECTORY);
        }
    }
}
