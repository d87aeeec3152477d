namespace CriuPmem.Engine.Lazy;

/// <summary>The pages files, mapped into the pager: on persistent memory pages are copied straight from it.</summary>
internal sealed class PagerFiles
{
    private readonly ulong[] _maps;

    /// <summary>Maps them.</summary>
    public PagerFiles(IReadOnlyList<(int Fd, ulong LengthBytes)> files)
    {
        _maps = new ulong[files.Count];
        for (int i = 0; i < _maps.Length; i++)
        {
            _maps[i] = (ulong)Sys.Mmap(0, files[i].LengthBytes, PROT_READ, MAP_SHARED, files[i].Fd, 0).OrThrow("mmap", "a pages file");
        }
    }

    /// <summary>Fills pages.</summary>
    /// <param name="space">The address space.</param>
    /// <param name="pages">Which pages.</param>
    /// <param name="stopAtFilled">End at a page that is there already, instead of passing it over.</param>
    /// <param name="done">The bytes that need no more work.</param>
    /// <returns>False when the address space is changing, and an event has to be read first.</returns>
    public bool Fill(PagerSpace space, PagerRun pages, bool stopAtFilled, out ulong done)
    {
        ulong from = _maps[pages.File] + pages.Offset;
        Sys.Madvise(from, pages.LengthBytes, MADV_POPULATE_READ); // else the copying fails once for each page of the file
        bool single = false;
        for (done = 0; done < pages.LengthBytes;)
        {
            ulong step = single ? PageSize : pages.LengthBytes - done;
            SysResult result = Sys.UserfaultfdCopy(space.Fd, pages.Start + done, from + done, step, out ulong copied);
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
                    result.OrThrow("ioctl(UFFDIO_COPY)", $"memory at {pages.Start + done:x}");
                    break;
            }
        }

        return true;
    }
}
