namespace CriuPmem.Engine.Resources;

/// <summary>Unread bytes of a pseudoterminal, in both directions.</summary>
/// <remarks>
/// A terminal's queue cannot be looked at: it is read, and put back at once by writing at the other end, with all
/// translation and echo off meanwhile. Only complete lines can be read in canonical mode; an unfinished one is got by
/// leaving that mode for the moment.
/// </remarks>
internal static class TerminalQueue
{
    private const int LimitBytes = 64 << 10;
    private const int DeliveryMicroseconds = 2000;

    /// <summary>What the master has to read; it stays there.</summary>
    public static byte[] PeekOutput(int master, int slave)
    {
        byte[] data = ReadAll(master);
        if (data.Length != 0) PutOutput(slave, data);
        return data;
    }

    /// <summary>What the slave has to read, an unfinished line included; it stays there.</summary>
    public static byte[] PeekInput(int master, int slave)
    {
        Termios modes = default;
        Sys.Ioctl(slave, TCGETS, ref modes).OrThrow("ioctl(TCGETS)", "a terminal");
        Termios raw = modes;
        raw.c_iflag = raw.c_lflag = 0;
        Sys.Ioctl(slave, TCSETS, ref raw).OrThrow("ioctl(TCSETS)", "a terminal");
        byte[] data = ReadAll(slave);
        Sys.Ioctl(slave, TCSETS, ref modes).OrThrow("ioctl(TCSETS)", "a terminal");
        if (data.Length != 0) PutInput(master, slave, data);
        return data;
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
        Sys.SleepMicroseconds(DeliveryMicroseconds); // a work queue of the kernel carries them over
        Sys.Ioctl(slave, TCSETS, ref modes).OrThrow("ioctl(TCSETS)", "a terminal");
    }

    private static byte[] ReadAll(int fd)
    {
        var data = new List<byte>();
        var buffer = new byte[4096];
        while (data.Count < LimitBytes)
        {
            int waiting = 0;
            // The count is asked first: a read of nothing would wait.
            if (Sys.Poll(fd, (short)POLLIN, 0) == 0 || Sys.Ioctl(fd, SIOCINQ, ref waiting).Failed || waiting == 0) break;
            SysResult read = Sys.Read(fd, buffer.AsSpan(0, Math.Min(waiting, buffer.Length)));
            if (read.Failed || read.Raw == 0) break;
            data.AddRange(buffer.AsSpan(0, read.Value));
        }

        return [.. data];
    }
}
