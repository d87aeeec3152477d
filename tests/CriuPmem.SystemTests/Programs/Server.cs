namespace CriuPmem.SystemTests.Programs;

/// <summary>A server with clients outside of the tree, which are never connected during a dump.</summary>
internal abstract class Server(string name, params string[] options) : LiveTree(name, options)
{
    private int _socketsAtRest;

    /// <inheritdoc />
    public override void Settle() => WaitFor("the end of all connections", () => CountSockets() <= _socketsAtRest);

    /// <summary>To be called when it is ready and nobody is connected.</summary>
    protected void RememberSockets() => _socketsAtRest = CountSockets();

    /// <inheritdoc />
    protected override void RequestStop() => Command.Run("/bin/kill", ["-TERM", Pid.ToString()], Patience);

    /// <summary>Starts it; its processes are told by their session, since servers write titles over their environment.</summary>
    protected void Launch(params string[] commandLine) => Pid = StartDaemon(commandLine);

    /// <inheritdoc />
    public override List<int> Processes() => ProcessTable.InSession(Pid);

    private int CountSockets()
    {
        int sockets = 0;
        foreach (int pid in Processes())
        {
            foreach (string fd in Directory.EnumerateFileSystemEntries($"/proc/{pid}/fd"))
            {
                if (new FileInfo(fd).LinkTarget?.StartsWith("socket:", StringComparison.Ordinal) == true)
                    sockets++;
            }
        }

        return sockets;
    }
}
