using System.Buffers.Binary;

namespace CriuPmem.Engine.Check.Probes;

/// <summary>A socket of a probe.</summary>
internal static class ProbeSocket
{
    public const int AF_UNIX = 1;
    public const int AF_INET = 2;
    public const int AF_INET6 = 10;
    public const int AF_NETLINK = 16;
    private const int SOCK_CLOEXEC = 0x80000;

    /// <summary>socket(2).</summary>
    public static ProbeFile Open(int family, int type, int protocol = 0) =>
        ProbeFile.Of(Syscall.Invoke(SyscallNumber.socket, family, type | SOCK_CLOEXEC, protocol), "socket");

    /// <summary>setsockopt(2) with a number.</summary>
    public static unsafe SysResult Set(ProbeFile socket, int level, int option, int value) =>
        Syscall.Invoke(SyscallNumber.setsockopt, socket.Value, level, option, (long)&value, 4);

    /// <summary>Asks sock_diag(7) for sockets of a kind; null when it answers.</summary>
    public static unsafe string? Diagnose(ReadOnlySpan<byte> request)
    {
        const int SOCK_RAW = 3, NETLINK_SOCK_DIAG = 4, SOCK_DIAG_BY_FAMILY = 20, NLM_F_REQUEST_DUMP = 0x301, NLMSG_ERROR = 2;
        using ProbeFile netlink = Open(AF_NETLINK, SOCK_RAW, NETLINK_SOCK_DIAG);
        var message = new byte[16 + request.Length];
        BinaryPrimitives.WriteInt32LittleEndian(message, message.Length);
        BinaryPrimitives.WriteUInt16LittleEndian(message.AsSpan(4), SOCK_DIAG_BY_FAMILY);
        BinaryPrimitives.WriteUInt16LittleEndian(message.AsSpan(6), NLM_F_REQUEST_DUMP);
        request.CopyTo(message.AsSpan(16));
        fixed (byte* bytes = message)
        {
            SysResult sent = Syscall.Invoke(SyscallNumber.sendto, netlink.Value, (long)bytes, message.Length);
            if (sent.Failed) return $"sock_diag failed: {sent.Errno.Describe()}";
        }

        var answer = new byte[32768];
        fixed (byte* bytes = answer)
        {
            SysResult got = Syscall.Invoke(SyscallNumber.recvfrom, netlink.Value, (long)bytes, answer.Length);
            if (got.Failed) return $"sock_diag failed: {got.Errno.Describe()}";
        }

        if (BinaryPrimitives.ReadUInt16LittleEndian(answer.AsSpan(4)) != NLMSG_ERROR) return null;
        int error = BinaryPrimitives.ReadInt32LittleEndian(answer.AsSpan(16));
        return error == 0 ? null : $"sock_diag failed: {((Errno)(-error)).Describe()}";
    }
}

/// <summary>What the kernel tells about UNIX sockets.</summary>
internal sealed class SockDiag : FeatureProbe
{
    public override string Name => "sock_diag";
    public override string Purpose => "see which sockets are connected, and to what";
    public override FeatureCategory Category => FeatureCategory.Needed;

    protected override string? Probe(CheckOptions options)
    {
        Span<byte> request = stackalloc byte[24]; // struct unix_diag_req
        request.Clear();
        request[0] = ProbeSocket.AF_UNIX;
        request[4..8].Fill(0xFF);
        return ProbeSocket.Diagnose(request);
    }
}

/// <summary>What the kernel tells about raw sockets.</summary>
internal sealed class NetDiagRaw : FeatureProbe
{
    public override string Name => "net_diag_raw";
    public override string Purpose => "programs with raw IP sockets (ping)";

    protected override string? Probe(CheckOptions options)
    {
        const byte IPPROTO_RAW = 255;
        Span<byte> request = stackalloc byte[56]; // struct inet_diag_req_v2
        request.Clear();
        request[0] = ProbeSocket.AF_INET;
        request[1] = IPPROTO_RAW;
        request[4..8].Fill(0xFF);
        return ProbeSocket.Diagnose(request);
    }
}

/// <summary>The network namespace of a socket.</summary>
internal sealed class SkNs : FeatureProbe
{
    private const int SIOCGSKNS = 0x894C;

    public override string Name => "sk_ns";
    public override string Purpose => "sockets of other network namespaces";

    protected override string? Probe(CheckOptions options)
    {
        using ProbeFile socket = ProbeSocket.Open(ProbeSocket.AF_UNIX, 1);
        using ProbeFile network = ProbeFile.Of(Syscall.Invoke(SyscallNumber.ioctl, socket.Value, SIOCGSKNS), "ioctl(SIOCGSKNS)");
        return null;
    }
}

/// <summary>The file that a UNIX socket is bound to.</summary>
internal sealed class SkUnixFile : FeatureProbe
{
    private const int SIOCUNIXFILE = 0x89E0;

    public override string Name => "sk_unix_file";
    public override string Purpose => "UNIX sockets whose path has been renamed or replaced";

    protected override string? Probe(CheckOptions options)
    {
        using ProbeFile socket = ProbeSocket.Open(ProbeSocket.AF_UNIX, 1);
        // It is bound to nothing: ENOENT says that the call is there.
        SysResult opened = Syscall.Invoke(SyscallNumber.ioctl, socket.Value, SIOCUNIXFILE);
        return opened.Errno == Errno.ENOENT ? null : Missing(opened, "ioctl(SIOCUNIXFILE)");
    }
}

/// <summary>Buffer sizes that stay as they were set (Linux 5.15).</summary>
internal sealed class SockoptBufLock : FeatureProbe
{
    public override string Name => "sockopt_buf_lock";
    public override string Purpose => "sockets whose buffer sizes were set";

    protected override string? Probe(CheckOptions options)
    {
        const int SOCK_STREAM = 1, SOL_SOCKET = 1, SO_BUF_LOCK = 72;
        using ProbeFile socket = ProbeSocket.Open(ProbeSocket.AF_INET, SOCK_STREAM);
        return Missing(ProbeSocket.Set(socket, SOL_SOCKET, SO_BUF_LOCK, 3), "setsockopt(SO_BUF_LOCK)");
    }
}

/// <summary>IPv6 addresses that need not be there yet.</summary>
internal sealed class Ipv6Freebind : FeatureProbe
{
    public override string Name => "ipv6_freebind";
    public override string Purpose => "sockets bound to IPv6 addresses";

    protected override string? Probe(CheckOptions options)
    {
        const int SOCK_STREAM = 1, IPPROTO_IPV6 = 41, IPV6_FREEBIND = 78;
        using ProbeFile socket = ProbeSocket.Open(ProbeSocket.AF_INET6, SOCK_STREAM);
        return Missing(ProbeSocket.Set(socket, IPPROTO_IPV6, IPV6_FREEBIND, 1), "setsockopt(IPV6_FREEBIND)");
    }
}
