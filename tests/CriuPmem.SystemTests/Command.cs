using System.Diagnostics;
using System.Text;

namespace CriuPmem.SystemTests;

/// <summary>One run of a program that ends by itself, with a time limit.</summary>
internal sealed record Command(int ExitCode, string Output, bool TimedOut)
{
    public static Command Run(string program, IEnumerable<string> arguments, TimeSpan limit,
        IReadOnlyDictionary<string, string>? environment = null, string? directory = null)
    {
        var start = new ProcessStartInfo(program)
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            WorkingDirectory = directory ?? "/",
        };
        foreach (string argument in arguments)
            start.ArgumentList.Add(argument);
        foreach ((string name, string value) in environment ?? new Dictionary<string, string>())
            start.Environment[name] = value;
        var output = new StringBuilder();
        int ends = 0;
        void Collect(object _, DataReceivedEventArgs line)
        {
            if (line.Data is null)
                Interlocked.Increment(ref ends);
            lock (output)
                output.AppendLine(line.Data);
        }

        using var process = new Process { StartInfo = start };
        process.OutputDataReceived += Collect;
        process.ErrorDataReceived += Collect;
        process.Start();
        process.StandardInput.Close();
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
        bool ended = process.WaitForExit(limit);
        if (!ended)
            process.Kill(entireProcessTree: true);
        // Not for long: what it left running may hold the pipes open.
        for (int i = 0; i < 200 && Volatile.Read(ref ends) < 2; i++)
            Thread.Sleep(1);
        lock (output)
            return new Command(ended ? process.ExitCode : -1, output.ToString(), !ended);
    }
}
