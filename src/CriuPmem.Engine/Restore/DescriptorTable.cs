using CriuPmem.Engine.Resources;
using CriuPmem.Images.Messages;
using CriuPmem.Remote;

namespace CriuPmem.Engine.Restore;

/// <summary>Fills a process's descriptor table.</summary>
internal static class DescriptorTable
{
    /// <summary>Passes every open file in and moves it to its number, and closes the transport sockets.</summary>
    /// <remarks>
    /// In ascending order of the targets: what lands lies at the lowest free numbers, never above its target. Moving a
    /// message's descriptors from the last to the first therefore never hits one that has not moved yet.
    /// </remarks>
    public static void Fill(RestoreContext context, RestoreProcess process, RemoteCalls calls, IReadOnlyList<FdinfoEntry> table)
    {
        FdinfoEntry[] sorted = [.. table.OrderBy(entry => entry.Fd)];
        var taken = new HashSet<int>();
        Span<int> fds = stackalloc int[Transport.MaxPerMessage];
        Span<int> landed = stackalloc int[Transport.MaxPerMessage];
        int lowest = 0;
        for (int first = 0; first < sorted.Length; first += Transport.MaxPerMessage)
        {
            int count = Math.Min(Transport.MaxPerMessage, sorted.Length - first);
            for (int i = 0; i < count; i++)
            {
                fds[i] = context.Files.Open(sorted[first + i].Id);
                while (taken.Contains(lowest) || lowest == context.Transport.TaskEnd) lowest = lowest == context.Transport.TaskEnd ? context.Transport.LastTaskEnd + 1 : lowest + 1;
                landed[i] = lowest++;
            }

            context.Transport.Pass(calls, fds[..count]);
            for (int i = count - 1; i >= 0; i--)
            {
                FdinfoEntry entry = sorted[first + i];
                int target = (int)entry.Fd;
                bool closeOnExec = (entry.Flags & FD_CLOEXEC) != 0;
                if (landed[i] == target)
                {
                    if (!closeOnExec) calls.Must("fcntl(F_SETFD)", SyscallNumber.fcntl, target, F_SETFD, 0);
                }
                else
                {
                    calls.Must("dup3", SyscallNumber.dup3, landed[i], target, closeOnExec ? O_CLOEXEC : 0);
                    calls.Must("close", SyscallNumber.close, landed[i]);
                }

                taken.Add(target);
            }

            if (first + count < sorted.Length) calls.Flush();
            lowest = 0;
        }

        context.Transport.Close(calls);
        context.Launch(process, calls);
        foreach (FdinfoEntry entry in sorted)
        {
            FileEntry file = context.Files.Entry(entry.Id);
            FileKinds.Of(file.Type)!.Bind(context, process, entry, file);
        }
    }
}
