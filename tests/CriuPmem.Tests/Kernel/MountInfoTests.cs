using CriuPmem.Kernel;

namespace CriuPmem.Tests.Kernel;

public sealed class MountInfoTests
{
    [Fact]
    public void Lines_AreUnderstood_WhateverStandsBetween()
    {
        MountInfo[] mounts = [.. MountInfo.Parse("""
            36 35 98:0 /mnt1 /mnt\040two rw,noatime master:1 propagate_from:2 - ext3 /dev/my\134root rw,errors=continue
            37 35 0:25 / /tmp rw - tmpfs tmpfs rw,size=1024k
            no line
            38 35 0:26 / /short rw - proc
            """)];
        Assert.Equal(
            [
                new MountInfo(36, "/mnt two", "ext3", "/dev/my\\root", "rw,noatime,rw,errors=continue"),
                new MountInfo(37, "/tmp", "tmpfs", "tmpfs", "rw,rw,size=1024k"),
            ],
            mounts);
    }
}
