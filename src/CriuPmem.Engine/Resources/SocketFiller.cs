using System.Runtime.InteropServices;
using CriuPmem.Engine.Restore;
using CriuPmem.Images.Messages;

namespace CriuPmem.Engine.Resources;

/// <summary>Puts saved messages back into the queues of UNIX sockets.</summary>
internal static class SocketFiller
{
    private const int LargeBufferBytes = 128 << 20;

    /// <summary>Sends one message.</summary>
    /// <param name="context">The restore.</param>
    /// <param name="fd">The sending socket.</param>
    /// <param name="packet">The message's entry.</param>
    /// <param name="data">Its bytes.</param>
    /// <param name="address">To whom, or empty for the socket's peer.</param>
    public static void Send(RestoreContext context, int fd, SkPacketEntry packet, byte[] data, byte[] address)
    {
        Sys.SetOption(fd, SOL_SOCKET, SO_SNDBUFFORCE, LargeBufferBytes);
        int[] rights = [.. packet.Scm.Where(message => message.Type == SCM_RIGHTS).SelectMany(message => message.Rights).Select(id => context.Files.Open(id))];
        ScmEntry? sender = packet.Scm.FirstOrDefault(message => message.Type == SCM_CREDENTIALS);
        var control = new List<byte>();
        if (rights.Length != 0) Add(control, SCM_RIGHTS, MemoryMarshal.AsBytes<int>(rights));
        int plain = control.Count;
        if (sender is not null) Add(control, SCM_CREDENTIALS, MemoryMarshal.AsBytes<uint>([sender.Pid, sender.Uid, sender.Gid]));
        byte[] all = [.. control];
        SysResult sent = Sys.SendMessage(fd, data, address, all, MSG_DONTWAIT);
        // Who sent it may be gone.
        if (sent.Errno == Errno.ESRCH) sent = Sys.SendMessage(fd, data, address, all.AsSpan(0, plain), MSG_DONTWAIT);
        sent.OrThrow("filling a socket's queue", $"file {packet.IdFor}");
    }

    /// <summary>Adds one control message (cmsg(3)).</summary>
    private static void Add(List<byte> control, int type, ReadOnlySpan<byte> body)
    {
        control.AddRange(BitConverter.GetBytes((long)(16 + body.Length)));
        control.AddRange(BitConverter.GetBytes(SOL_SOCKET));
        control.AddRange(BitConverter.GetBytes(type));
        control.AddRange(body);
        while (control.Count % 8 != 0) control.Add(0);
    }
}
