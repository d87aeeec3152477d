namespace CriuPmem.Engine.Lazy;

/// <summary>Copies pages into an address space that waits for them (UFFDIO_COPY, ioctl_userfaultfd(2)).</summary>
internal static class PagerCopy
{
    /// <summary>Copies; see <see cref="IPagerSource.Fill"/>.</summary>
    /// <param name="space">The address space.</param>
    /// <param name="start">Where to.</param>
    /// <param name="from">The contents, in this process.</param>
    /// <param name="lengthBytes">How much.</param>
    /// <param name="stopAtFilled">End at a page that is there already.</param>
    /// <param name="done">The bytes that need no more work.</param>
    public static bool Copy(PagerSpace space, ulong start, ulong from, ulong lengthBytes, bool stopAtFilled, out ulong done)
    {
        bool single = false;
        for (done = 0; done < lengthBytes;)
        {
            ulong step = single ? PageSize : lengthBytes - done;
            SysResult result = Sys.UserfaultfdCopy(space.Fd, start + done, from + done, step, out ulong copied);
            done += copied;
            switch (result.Errno)
            {
                case Errno.None:
                    break;
                case Errno.EAGAIN when copied > 0:
                    break; // the next try says why
                case Errno.EAGAIN:
                    return false;
                case Errno.EEXIST when stopAtFilled:
                    return true;
                case Errno.EEXIST:
                    done += PageSize;
                    break;
                case Errno.ENOENT when step > PageSize: // it crosses the end of a mapping
                    single = true;
                    break;
                case Errno.ENOENT: // no longer registered: unmapped, and the event of that is still to come, or was
                    done += PageSize;
                    break;
                case Errno.ESRCH or Errno.ENOSPC:
                    space.IsGone = true;
                    return true;
                default:
                    result.OrThrow("ioctl(UFFDIO_COPY)", $"memory at {start + done:x}");
                    break;
            }
        }

        return true;
    }
}
