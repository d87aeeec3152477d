namespace CriuPmem.SystemTests.Failures;

/// <summary>Sockets in a state that nothing can bring back refuse the dump.</summary>
public sealed class SocketRefusalTests
{
    [Fact]
    public void UnfinishedDatagram()
    {
        using var live = new LiveWorkload(new Workload("sk_udp_queue", "1"));
        EngineRun.DumpRefuses(live, live.NewImages("images"), "CP1203", "MSG_MORE");
        live.Stop();
    }

    [Fact]
    public void FilterOfEBpf()
    {
        using var live = new LiveWorkload(new Workload("sk_options", "1"));
        EngineRun.DumpRefuses(live, live.NewImages("images"), "CP1200", "eBPF");
        live.Stop();
    }
}
