using System.Globalization;
using CriuPmem.Engine.Memory;

namespace CriuPmem.Engine.Lazy;

/// <summary>The pages files, mapped into the pager: on persistent memory pages are copied straight from it.</summary>
internal sealed unsafe class PagerFiles
{
    private readonly PagesContents[] _contents;
    private readonly bool[] _compressed;

    /// <summary>Maps them.</summary>
    public PagerFiles(IReadOnlyList<(int Fd, ulong LengthBytes, bool Compressed)> files)
    {
        _compressed = [.. files.Select(static file => file.Compressed)];
        _contents = [.. files.Select(static file => PagesContents.Open(
            new OwnedFd(file.Fd), file.LengthBytes, file.Compressed, string.Create(CultureInfo.InvariantCulture, $"the pages file of descriptor {file.Fd}")))];
    }

    /// <summary>Fills pages.</summary>
    /// <param name="space">The address space.</param>
    /// <param name="pages">Which pages.</param>
    /// <param name="stopAtFilled">End at a page that is there already, instead of passing it over.</param>
    /// <param name="done">The bytes that need no more work.</param>
    /// <returns>False when the address space is changing, and an event has to be read first.</returns>
    /// <exception cref="CheckpointException">The pages are damaged.</exception>
    public bool Fill(PagerSpace space, PagerRun pages, bool stopAtFilled, out ulong done)
    {
        for (done = 0; done < pages.LengthBytes;)
        {
            ulong from = (ulong)_contents[pages.File].At(pages.Offset + done, pages.LengthBytes - done, out ulong part);
            if (!_compressed[pages.File]) Sys.Madvise(from, part, MADV_POPULATE_READ); // else the copying fails once for each page of the file
            bool settled = Copy(space, pages.Start + done, from, part, stopAtFilled, out ulong copied, out bool ended);
            done += copied;
            if (!settled || ended) return settled;
        }

        return true;
    }

    private static bool Copy(PagerSpace space, ulong start, ulong from, ulong lengthBytes, bool stopAtFilled, out ulong done, out bool ended)
    {
        bool single = false;
        ended = true;
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

        ended = false;
        return true;
    }
}
