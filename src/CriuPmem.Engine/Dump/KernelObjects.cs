namespace CriuPmem.Engine.Dump;

/// <summary>Gives one id to every kernel object of a kind, by comparing tasks with kcmp(2).</summary>
/// <remarks>kcmp orders objects (by address, disguised), so a sorted list finds an equal one in few calls.</remarks>
internal sealed class KernelObjects(int kind)
{
    private readonly List<(int Pid, long Argument, uint Id)> _known = [];

    /// <summary>The id of the object of task <paramref name="pid"/>, and whether it is seen for the first time.</summary>
    /// <param name="pid">The task.</param>
    /// <param name="argument">For KCMP_FILE, the descriptor.</param>
    /// <param name="newId">Gives the id of an object that is new.</param>
    /// <param name="isNew">True when no earlier object was the same.</param>
    public uint IdOf(int pid, long argument, Func<uint> newId, out bool isNew)
    {
        int low = 0, high = _known.Count;
        while (low < high)
        {
            int middle = (low + high) / 2;
            SysResult order = Sys.Kcmp(pid, _known[middle].Pid, kind, argument, _known[middle].Argument);
            if (order.Errno == Errno.ESRCH) throw new CheckpointException(ErrorCode.Vanished, "it was killed while it was saved") { Pid = ProcDirectory.Exists(pid) ? _known[middle].Pid : pid, Remedy = "Try again" };
            order.OrThrow("kcmp", $"tasks {pid} and {_known[middle].Pid}");
            if (order.Raw == 0)
            {
                isNew = false;
                return _known[middle].Id;
            }

            if (order.Raw == 1) high = middle;
            else low = middle + 1;
        }

        isNew = true;
        uint id = newId();
        _known.Insert(low, (pid, argument, id));
        return id;
    }
}
