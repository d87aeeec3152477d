using CriuPmem.Engine.Dump;
using CriuPmem.Images.Messages;

namespace CriuPmem.Engine.Resources;

/// <summary>Options that every socket has (socket(7)).</summary>
internal static class SocketOptions
{
    private const int SO_LOCK_FILTER = 44, SO_TXTIME = 61;

    // Options with an int as their value that the format has no field for, and what a new socket has: SO_DEBUG, TIMESTAMPING,
    // RXQ_OVFL, WIFI_STATUS, NOFCS, SELECT_ERR_QUEUE, BUSY_POLL, MAX_PACING_RATE, ZEROCOPY, TIMESTAMP_NEW, TIMESTAMPNS_NEW,
    // PREFER_BUSY_POLL, RESERVE_MEM, RCVMARK, RCVPRIORITY, PASSRIGHTS; LOCK_FILTER last, for it forbids a filter.
    private static readonly (int Name, int New)[] s_more =
    [
        (1, 0), (37, 0), (40, 0), (41, 0), (43, 0), (45, 0), (46, 0), (47, -1), (60, 0), (63, 0), (64, 0), (69, 0), (73, 0), (75, 0), (82, 0), (83, 1),
        (SO_LOCK_FILTER, 0),
    ];

    /// <summary>Reads them, unless that was done ahead.</summary>
    public static SkOptsEntry Dump(OpenFile file) => file.OptionsAhead?.Value ?? Read(file, file.Copy());

    /// <summary>Reads them: some forty calls.</summary>
    /// <param name="file">The socket.</param>
    /// <param name="fd">A copy of its descriptor.</param>
    public static SkOptsEntry Read(OpenFile file, int fd)
    {
        Sys.GetOption(fd, SOL_SOCKET, SO_SNDTIMEO, out (ulong Sec, ulong Usec) send);
        Sys.GetOption(fd, SOL_SOCKET, SO_RCVTIMEO, out (ulong Sec, ulong Usec) receive);
        var options = new SkOptsEntry
        {
            SoSndbuf = (uint)Sys.Option(fd, SOL_SOCKET, SO_SNDBUF),
            SoRcvbuf = (uint)Sys.Option(fd, SOL_SOCKET, SO_RCVBUF),
            SoSndTmoSec = send.Sec,
            SoSndTmoUsec = send.Usec,
            SoRcvTmoSec = receive.Sec,
            SoRcvTmoUsec = receive.Usec,
            Reuseaddr = Flag(SO_REUSEADDR),
            SoPriority = (uint)Sys.Option(fd, SOL_SOCKET, SO_PRIORITY),
            SoRcvlowat = (uint)Sys.Option(fd, SOL_SOCKET, SO_RCVLOWAT),
            SoPasscred = Flag(SO_PASSCRED),
            SoPasssec = Flag(SO_PASSSEC),
            SoDontroute = Flag(SO_DONTROUTE),
            SoNoCheck = Flag(SO_NO_CHECK),
            SoReuseport = Flag(SO_REUSEPORT),
            SoBroadcast = Flag(SO_BROADCAST),
            SoKeepalive = Flag(SO_KEEPALIVE),
            SoOobinline = Flag(SO_OOBINLINE) ? 1u : 0,
            SoBufLock = (uint)Sys.Option(fd, SOL_SOCKET, SO_BUF_LOCK),
        };
        if (Sys.Option(fd, SOL_SOCKET, SO_MARK) is not 0 and int mark) options.SoMark = (uint)mark;
        Sys.GetOption(fd, SOL_SOCKET, SO_LINGER, out (int On, int Seconds) linger);
        if (linger.On != 0) options.SoLinger = (uint)linger.Seconds;
        DumpVariable(file, fd, options);
        if (!Sys.GetOption(fd, SOL_SOCKET, SO_PEEK_OFF, out int peek).Failed && peek >= 0) options.SoPeekOff = peek;
        if (Flag(SO_TIMESTAMPNS)) options.SoTimestampns = true;
        else if (Flag(SO_TIMESTAMP)) options.SoTimestamp = true;
        if (Flag(SO_PASSPIDFD)) options.SoPasspidfd = true;
        foreach ((int name, int ofNew) in s_more)
        {
            if (Sys.GetOption(fd, SOL_SOCKET, name, out int value).Failed || value == ofNew) continue;
            options.MoreOpts.Add(new SocketOptionEntry { Level = SOL_SOCKET, Name = name, Value = value });
        }

        if (!Sys.GetOption(fd, SOL_SOCKET, SO_TXTIME, out (int Clock, int Flags) sending).Failed && sending != default)
        {
            throw file.Fail(ErrorCode.UnsupportedFile, "it sends at times told beforehand (SO_TXTIME), which cannot be saved yet", "Let the program close it");
        }

        return options;

        bool Flag(int option) => Sys.Option(fd, SOL_SOCKET, option) != 0;
    }

    /// <summary>Sets them: after queues are filled, since they bound and mark what is sent.</summary>
    public static void Restore(int fd, SkOptsEntry options, string what)
    {
        Set(fd, SO_SNDBUFFORCE, (int)(options.SoSndbuf / 2), what);
        Set(fd, SO_RCVBUFFORCE, (int)(options.SoRcvbuf / 2), what);
        if (options.HasSoBufLock) Set(fd, SO_BUF_LOCK, (int)options.SoBufLock, what);
        if (options.SoSndTmoSec != 0 || options.SoSndTmoUsec != 0) Sys.SetOption(fd, SOL_SOCKET, SO_SNDTIMEO, (options.SoSndTmoSec, options.SoSndTmoUsec)).OrThrow("setsockopt(SO_SNDTIMEO)", what);
        if (options.SoRcvTmoSec != 0 || options.SoRcvTmoUsec != 0) Sys.SetOption(fd, SOL_SOCKET, SO_RCVTIMEO, (options.SoRcvTmoSec, options.SoRcvTmoUsec)).OrThrow("setsockopt(SO_RCVTIMEO)", what);
        if (options.HasSoPriority && options.SoPriority != 0) Set(fd, SO_PRIORITY, (int)options.SoPriority, what);
        if (options.HasSoRcvlowat && options.SoRcvlowat > 1) Set(fd, SO_RCVLOWAT, (int)options.SoRcvlowat, what);
        if (options.HasSoMark && options.SoMark != 0) Set(fd, SO_MARK, (int)options.SoMark, what);
        if (options.HasSoLinger) Sys.SetOption(fd, SOL_SOCKET, SO_LINGER, (1, (int)options.SoLinger)).OrThrow("setsockopt(SO_LINGER)", what);
        Flag(options.Reuseaddr, SO_REUSEADDR);
        Flag(options.SoPasscred, SO_PASSCRED);
        Flag(options.SoPasssec, SO_PASSSEC);
        Flag(options.SoDontroute, SO_DONTROUTE);
        Flag(options.SoNoCheck, SO_NO_CHECK);
        Flag(options.SoReuseport, SO_REUSEPORT);
        Flag(options.SoBroadcast, SO_BROADCAST);
        Flag(options.SoKeepalive, SO_KEEPALIVE);
        Flag(options.SoOobinline != 0, SO_OOBINLINE);
        Flag(options.SoTimestamp, SO_TIMESTAMP);
        Flag(options.SoTimestampns, SO_TIMESTAMPNS);
        Flag(options.SoPasspidfd, SO_PASSPIDFD);
        if (options.SoBoundDev.Length != 0)
        {
            byte[] device = LinuxText.Encode(options.SoBoundDev);
            Sys.SetOption(fd, SOL_SOCKET, SO_BINDTODEVICE, device).OrThrow("setsockopt(SO_BINDTODEVICE)", $"{what}, {options.SoBoundDev}");
        }

        if (options.SoFilter.Count != 0) AttachFilter(fd, options, what);
        if (options.HasSoPeekOff) Set(fd, SO_PEEK_OFF, options.SoPeekOff, what);
        RestoreMore(fd, options.MoreOpts, what);

        void Flag(bool on, int option)
        {
            if (on) Set(fd, option, 1, what);
        }
    }

    /// <summary>Sets options by their numbers.</summary>
    public static void RestoreMore(int fd, IEnumerable<SocketOptionEntry> options, string what)
    {
        foreach (SocketOptionEntry option in options)
        {
            SysResult set = option.HasContent
                ? Sys.SetOption(fd, option.Level, option.Name, option.Content.Span)
                : Sys.SetOption(fd, option.Level, option.Name, option.Value);
            set.OrThrow($"setsockopt({option.Level}, {option.Name})", what);
        }
    }

    private static void Set(int fd, int option, int value, string what) =>
        Sys.SetOption(fd, SOL_SOCKET, option, value).OrThrow($"setsockopt({option})", what);

    private static void DumpVariable(OpenFile file, int fd, SkOptsEntry options)
    {
        Span<byte> device = stackalloc byte[16];
        if (!Sys.GetOption(fd, SOL_SOCKET, SO_BINDTODEVICE, device, out int length).Failed && length > 1)
        {
            options.SoBoundDev = LinuxText.Decode(device[..(length - 1)]);
        }

        // The length of a filter is counted in instructions, not bytes; one of eBPF cannot be read at all.
        SysResult attached = Sys.GetOption(fd, SOL_SOCKET, SO_GET_FILTER, default, out int instructions);
        if (attached.Errno == Errno.EACCES)
        {
            throw file.Fail(ErrorCode.UnsupportedFile, "an eBPF program filters what it receives (SO_ATTACH_BPF), which cannot be saved yet", "Let the program close it");
        }

        if (attached.Failed || instructions == 0) return;
        var filter = new byte[instructions * 8];
        unsafe
        {
            int count = instructions;
            fixed (byte* start = filter)
            {
                Syscall.Invoke(SyscallNumber.getsockopt, fd, SOL_SOCKET, SO_GET_FILTER, (long)start, (long)(&count)).OrThrow("getsockopt(SO_GET_FILTER)", "socket");
            }
        }

        for (int i = 0; i < instructions; i++) options.SoFilter.Add(Swap(BitConverter.ToUInt64(filter, i * 8)));
    }

    /// <summary>
    /// Between struct sock_filter as it lies in memory (code 16 bits, jt 8, jf 8, k 32, from the lowest) and the number in the
    /// images, which has the code on top, then jt, jf and k.
    /// </summary>
    private static ulong Swap(ulong filter) =>
        (filter & 0xFFFF) << 48 | (filter >> 16 & 0xFF) << 40 | (filter >> 24 & 0xFF) << 32 | filter >> 32;

    private static ulong SwapBack(ulong number) =>
        number >> 48 | (number >> 40 & 0xFF) << 16 | (number >> 32 & 0xFF) << 24 | number << 32;

    private static unsafe void AttachFilter(int fd, SkOptsEntry options, string what)
    {
        ulong[] filter = [.. options.SoFilter.Select(SwapBack)];
        fixed (ulong* start = filter)
        {
            var program = (Count: (ulong)filter.Length, Start: (ulong)start); // struct sock_fprog
            Sys.SetOption(fd, SOL_SOCKET, SO_ATTACH_FILTER, program).OrThrow("setsockopt(SO_ATTACH_FILTER)", what);
        }
    }
}
