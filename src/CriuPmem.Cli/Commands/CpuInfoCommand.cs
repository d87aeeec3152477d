using CriuPmem.Cli.Options;
using CriuPmem.Engine;

namespace CriuPmem.Cli.Commands;

/// <summary>criu-pmem cpuinfo dump, criu-pmem cpuinfo check.</summary>
internal static class CpuInfoCommand
{
    /// <summary>Writes or compares the features of this CPU; returns the exit code: 0 when they suffice.</summary>
    public static int Run(Invocation given, Reporter reporter)
    {
        CpuInfoOptions options = OptionsMapper.ToCpuInfo(given);
        using Session session = Session.Open(given, reporter);
        session.Fill(options);
        try
        {
            bool writes = given.Command == CommandSpec.CpuInfoDump;
            if (writes) CpuInfoJob.Dump(options);
            else CpuInfoJob.Check(options);
            reporter.Say(writes ? $"wrote {session.ImagesDirectory}/cpuinfo.img" : "this CPU has what the saved one had");
            return 0;
        }
        catch (Exception ended) when (ended is not OutOfMemoryException)
        {
            reporter.Fail(session.Complete(ended));
            return 1;
        }
    }
}
