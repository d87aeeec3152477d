using System.Buffers.Binary;
using System.Globalization;
using System.Runtime.InteropServices;
using CriuPmem.Engine.Dump;
using CriuPmem.Images.Messages;
using Google.Protobuf;

namespace CriuPmem.Engine.Resources;

/// <summary>The multicast groups that sockets have joined (ip(7), RFC 3678), with the senders they let in or keep out.</summary>
/// <remarks>
/// /proc/net/igmp and igmp6 tell which groups an interface is in, not who wants them; but MCAST_MSFILTER answers only for a
/// group that the socket itself has joined there.
/// </remarks>
internal sealed class MulticastGroups
{
    private const int MCAST_JOIN_GROUP = 42, MCAST_MSFILTER = 48, MCAST_INCLUDE = 1;
    private const int RequestBytes = 136, AddressOffset = 8, ModeOffset = 136, CountOffset = 140, SourcesOffset = 144, AddressBytes = 128;
    private const int FirstSources = 64;
    private const uint SIOCGIFINDEX = 0x8933;

    private List<(uint Index, string Interface, byte[] Group)>? _candidates;

    /// <summary>Notes the groups that a socket has joined.</summary>
    public void Dump(OpenFile file, int fd, InetSkEntry socket)
    {
        foreach ((uint index, string name, byte[] group) in _candidates ??= Candidates(file.Process.Proc))
        {
            // A socket of IPv6 can join groups of IPv4 too, but not the other way round.
            if (group.Length == 16 && socket.Family != AF_INET6) continue;
            if (Filter(fd, index, group) is not { } filter) continue;
            var entry = new MulticastEntry
            {
                Index = index,
                Interface = ByteString.CopyFrom(LinuxText.Encode(name)),
                Group = ByteString.CopyFrom(group),
                Include = BinaryPrimitives.ReadUInt32LittleEndian(filter.AsSpan(ModeOffset)) == MCAST_INCLUDE,
            };
            uint sources = BinaryPrimitives.ReadUInt32LittleEndian(filter.AsSpan(CountOffset));
            for (int i = 0; i < sources; i++)
            {
                entry.Sources.Add(ByteString.CopyFrom(filter.AsSpan(SourcesOffset + i * AddressBytes + (group.Length == 4 ? 4 : 8), group.Length)));
            }

            socket.Groups.Add(entry);
        }
    }

    /// <summary>Joins them again.</summary>
    public static void Restore(int fd, InetSkEntry socket, string what)
    {
        foreach (MulticastEntry entry in socket.Groups)
        {
            byte[] filter = new byte[SourcesOffset + entry.Sources.Count * AddressBytes];
            Put(filter, FindInterface(fd, entry, what), entry.Group.Span);
            int level = Level(entry.Group.Length);
            Sys.SetOption(fd, level, MCAST_JOIN_GROUP, filter.AsSpan(0, RequestBytes)).OrThrow("setsockopt(MCAST_JOIN_GROUP)", what);
            if (!entry.Include && entry.Sources.Count == 0) continue;
            BinaryPrimitives.WriteUInt32LittleEndian(filter.AsSpan(ModeOffset), entry.Include ? MCAST_INCLUDE : 0u);
            BinaryPrimitives.WriteInt32LittleEndian(filter.AsSpan(CountOffset), entry.Sources.Count);
            for (int i = 0; i < entry.Sources.Count; i++) PutAddress(filter.AsSpan(SourcesOffset + i * AddressBytes), entry.Sources[i].Span);
            Sys.SetOption(fd, level, MCAST_MSFILTER, filter).OrThrow("setsockopt(MCAST_MSFILTER)", what);
        }
    }

    /// <summary>struct group_filter of a group that the socket has joined; null of any other.</summary>
    private static byte[]? Filter(int fd, uint index, byte[] group)
    {
        for (int room = FirstSources; ;)
        {
            byte[] filter = new byte[SourcesOffset + room * AddressBytes];
            Put(filter, index, group);
            BinaryPrimitives.WriteInt32LittleEndian(filter.AsSpan(CountOffset), room);
            if (Sys.GetOption(fd, Level(group.Length), MCAST_MSFILTER, filter, out _).Failed) return null;
            int sources = BinaryPrimitives.ReadInt32LittleEndian(filter.AsSpan(CountOffset));
            if (sources <= room) return filter;
            room = sources;
        }
    }

    private static int Level(int addressBytes) => addressBytes == 4 ? IPPROTO_IP : IPPROTO_IPV6;

    private static void Put(Span<byte> request, uint index, ReadOnlySpan<byte> group)
    {
        BinaryPrimitives.WriteUInt32LittleEndian(request, index);
        PutAddress(request[AddressOffset..], group);
    }

    private static void PutAddress(Span<byte> storage, ReadOnlySpan<byte> address)
    {
        BinaryPrimitives.WriteUInt16LittleEndian(storage, (ushort)(address.Length == 4 ? AF_INET : AF_INET6));
        address.CopyTo(storage[(address.Length == 4 ? 4 : 8)..]);
    }

    /// <summary>The interface's number now: it goes by its name.</summary>
    private static uint FindInterface(int fd, MulticastEntry entry, string what)
    {
        var request = default(InterfaceRequest);
        entry.Interface.Span[..Math.Min(entry.Interface.Length, 15)].CopyTo(request.Name);
        SysResult found = Sys.Ioctl(fd, SIOCGIFINDEX, ref request);
        if (!found.Failed) return request.Index;
        throw new CheckpointException(ErrorCode.SystemCall, $"the network interface {LinuxText.Decode(entry.Interface.Span)}, on which it had joined a multicast group, is not there")
        {
            Object = what,
            Errno = found.Errno,
            Remedy = "Bring the interface up under that name first",
        };
    }

    private static List<(uint, string, byte[])> Candidates(ProcDirectory proc)
    {
        var groups = new List<(uint, string, byte[])>();
        uint index = 0;
        string name = "";
        foreach (string line in (proc.ReadText("net/igmp") ?? "").Split('\n').Skip(1))
        {
            string[] words = line.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries);
            if (words.Length < 2) continue;
            if (line[0] is not (' ' or '\t')) (index, name) = (uint.Parse(words[0], CultureInfo.InvariantCulture), words[1].TrimEnd(':'));
            else groups.Add((index, name, BitConverter.GetBytes(uint.Parse(words[0], NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture))));
        }

        foreach (string line in (proc.ReadText("net/igmp6") ?? "").Split('\n'))
        {
            string[] words = line.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries);
            if (words.Length >= 3) groups.Add((uint.Parse(words[0], CultureInfo.InvariantCulture), words[1], Convert.FromHexString(words[2])));
        }

        return groups;
    }

    /// <summary>struct ifreq as far as SIOCGIFINDEX uses it.</summary>
    [StructLayout(LayoutKind.Sequential)]
    private struct InterfaceRequest
    {
        private InterfaceName _name;
        public uint Index;
        private readonly uint _rest0;
        private readonly ulong _rest1, _rest2;

        [System.Diagnostics.CodeAnalysis.UnscopedRef]
        public Span<byte> Name => _name;
    }

    [System.Runtime.CompilerServices.InlineArray(16)]
    private struct InterfaceName
    {
        private byte _first;
    }
}
