namespace CriuPmem.Engine.Dump;

/// <summary>A descriptor of the tree.</summary>
/// <param name="Process">The process whose it is.</param>
/// <param name="Fd">Its number there.</param>
/// <param name="Id">The open file in the images.</param>
/// <param name="Device">The device of its inode, in the kernel's own form.</param>
/// <param name="Inode">Its inode.</param>
internal sealed record KnownDescriptor(DumpProcess Process, int Fd, uint Id, uint Device, ulong Inode);
