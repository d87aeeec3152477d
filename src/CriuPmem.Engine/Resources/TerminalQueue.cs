namespace CriuPmem.Engine.Resources;

/// <summary>Unread bytes of a pseudoterminal, in both directions.</summary>
/// <remarks>
/// A terminal's queue cannot be looked at: it is read, and put back at once by writing at the other end, with all
/// translation and echo off meanwhile. Only complete lines can be read in canonical mode; an unfinished one is got by
/// leaving that mode for the moment. All of it is done by a short-lived child, so that nothing is lost if the engine is
/// killed in between.
/// </remarks>
internal static unsafe class TerminalQueue
{
    private const string Name = "a terminal";
    private const int QueueBytes = 4096; // of the kernel's line discipline
    private const int MostReads = 4;
    private const int DeliveryMicroseconds = 50, RestoreDeliveryMicroseconds = 2000;

    /// <summary>What the master has to read; it stays there.</summary>
    /// <param name="master">The master.</param>
    /// <param name="slave">The slave, non-blocking.</param>
    /// <param name="packets">The master is in packet mode, which is left meanwhile.</param>
    public static byte[] PeekOutput(int master, int slave, bool packets)
    {
        int waiting = 0;
        if (Sys.Ioctl(master, SIOCINQ, ref waiting).Failed || waiting == 0) return [];
        Check(waiting);
        Termios modes = default;
        Sys.Ioctl(slave, TCGETS, ref modes).OrThrow("ioctl(TCGETS)", Name);
        Termios raw = modes;
        raw.c_oflag &= ~OPOST;
        return Turn(master, slave, packets, 1, raw, raw, modes, master, slave);
    }

    /// <summary>What the slave has to read, an unfinished line included; it stays there.</summary>
    /// <param name="master">The master.</param>
    /// <param name="slave">The slave, non-blocking.</param>
    /// <param name="packets">The master is in packet mode, which is left meanwhile.</param>
    public static byte[] PeekInput(int master, int slave, bool packets)
    {
        Termios modes = default;
        Sys.Ioctl(slave, TCGETS, ref modes).OrThrow("ioctl(TCGETS)", Name);
        Termios raw = modes, canonical = modes;
        raw.c_iflag = raw.c_lflag = 0;
        canonical.c_iflag = 0;
        canonical.c_lflag &= ICANON;
        byte[] data = Turn(master, slave, packets, MostReads, raw, canonical, modes, slave, master);
        Check(data.Length / MostReads);
        return data;
    }

    private static void Check(int waiting)
    {
        if (waiting < QueueBytes - 1) return;
        throw new CheckpointException(ErrorCode.InFlight, $"it has {waiting} unread bytes, more than can be looked at")
        {
            Object = Name,
            Remedy = "Try again when the program has read them",
        };
    }

    /// <summary>Reads bytes at one end and writes them at the other, which may read them again.</summary>
    /// <remarks>
    /// One child does it all, also when there is nothing: leaving canonical mode forgets where lines end, which only the
    /// writing brings back. How much it writes it has from its own reads: their results are the lengths of the vectors.
    /// </remarks>
    private static byte[] Turn(
        int master, int slave, bool packets, int reads, Termios reading, Termios writing, Termios modes, int from, int to)
    {
        int off = 0, on = packets ? 1 : 0;
        long* delivery = stackalloc long[2];
        delivery[0] = 0;
        delivery[1] = DeliveryMicroseconds * 1000;
        var wait = new PollFd { Fd = to == master ? slave : master, Events = POLLIN };
        var bytes = new byte[reads * QueueBytes];
        ChildCalls.Call* calls = stackalloc ChildCalls.Call[8 + 2 * MostReads];
        int count = 0;
        fixed (byte* buffer = bytes)
        {
            calls[count++] = new(SyscallNumber.ioctl, master, TIOCPKT, (long)&off);
            calls[count++] = new(SyscallNumber.ioctl, slave, TCSETS, (long)&reading);
            ChildCalls.Call* firstRead = calls + count;
            for (int i = 0; i < reads; i++)
            {
                long part = (long)(buffer + i * QueueBytes);
                // The last argument, unused by read, and the result behind it are a struct iovec for the write.
                calls[count++] = new(SyscallNumber.read, from, part, QueueBytes, f: part);
            }

            calls[count++] = new(SyscallNumber.ioctl, slave, TCSETS, (long)&writing);
            for (int i = 0; i < reads; i++) calls[count++] = new(SyscallNumber.writev, to, (long)&firstRead[i].Arguments[5], 1);
            // A work queue of the kernel carries them over, in these modes; poll waits for it.
            calls[count++] = new(SyscallNumber.poll, (long)&wait, 1, 0);
            calls[count++] = new(SyscallNumber.nanosleep, (long)delivery);
            calls[count++] = new(SyscallNumber.poll, (long)&wait, 1, 0);
            calls[count++] = new(SyscallNumber.ioctl, slave, TCSETS, (long)&modes);
            calls[count++] = new(SyscallNumber.ioctl, master, TIOCPKT, (long)&on);
            InChild(new Span<ChildCalls.Call>(calls, count));
            var data = new List<byte>();
            for (int i = 0; i < reads && firstRead[i].Result > 0; i++)
            {
                data.AddRange(bytes.AsSpan(i * QueueBytes, (int)firstRead[i].Result));
                new SysResult(firstRead[reads + 1 + i].Result).OrThrow("writev", Name);
            }

            return [.. data];
        }
    }

    /// <summary>In a process of its own, which an engine that is killed leaves behind to finish.</summary>
    private static void InChild(Span<ChildCalls.Call> calls)
    {
        int child = (int)ChildCalls.Start(calls, ChildCalls.UntilExec).OrThrow("clone3", Name);
        Sys.Wait4(child, out _, __WALL);
    }

    /// <summary>Makes bytes readable at the master.</summary>
    public static void PutOutput(int slave, ReadOnlySpan<byte> data)
    {
        Termios modes = default;
        Sys.Ioctl(slave, TCGETS, ref modes).OrThrow("ioctl(TCGETS)", "a terminal");
        Termios raw = modes;
        raw.c_oflag &= ~OPOST;
        Sys.Ioctl(slave, TCSETS, ref raw).OrThrow("ioctl(TCSETS)", "a terminal");
        Sys.WriteAll(slave, data);
        Sys.Ioctl(slave, TCSETS, ref modes).OrThrow("ioctl(TCSETS)", "a terminal");
    }

    /// <summary>Makes bytes readable at the slave.</summary>
    public static void PutInput(int master, int slave, ReadOnlySpan<byte> data)
    {
        Termios modes = default;
        Sys.Ioctl(slave, TCGETS, ref modes).OrThrow("ioctl(TCGETS)", "a terminal");
        Termios raw = modes;
        raw.c_iflag = 0;
        raw.c_lflag &= ICANON;
        Sys.Ioctl(slave, TCSETS, ref raw).OrThrow("ioctl(TCSETS)", "a terminal");
        Sys.WriteAll(master, data);
        Sys.Poll(slave, (short)POLLIN, 0); // a work queue of the kernel carries them over; poll waits for it
        Sys.SleepMicroseconds(RestoreDeliveryMicroseconds);
        Sys.Ioctl(slave, TCSETS, ref modes).OrThrow("ioctl(TCSETS)", "a terminal");
    }

    /// <summary>struct pollfd.</summary>
    private struct PollFd
    {
        public int Fd;
        public short Events, Revents;
    }
}
