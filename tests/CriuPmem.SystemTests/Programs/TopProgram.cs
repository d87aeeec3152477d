namespace CriuPmem.SystemTests.Programs;

/// <summary>top: a full-screen program that reads single keys in raw mode.</summary>
internal sealed class TopProgram : TerminalProgram
{
    public TopProgram(string[] options) : base("prog_top", options)
    {
        Launch("top -d 0.2");
        Terminal.Expect("load average", 0);
    }

    /// <inheritdoc />
    public override void Check(string when)
    {
        int now = Terminal.Mark;
        Terminal.Expect("top - ", now); // it draws again by itself
        now = Terminal.Mark;
        Terminal.Type("h"); // raw mode: no return key
        Terminal.Expect("Help for Interactive Commands", now);
        now = Terminal.Mark;
        Terminal.Type("\e");
        Terminal.Expect("top - ", now);
    }

    /// <inheritdoc />
    protected override void RequestStop() => Terminal.Type("q");
}
