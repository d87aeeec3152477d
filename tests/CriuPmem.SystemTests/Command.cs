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
        using var ends = new SemaphoreSlim(0);
        void Collect(object _, DataReceivedEventArgs line)
        {
            if (line.Data is null)
                ends.Release();
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
        for (int pipe = 0; pipe < 2; pipe++)
            ends.Wait(200);
        process.OutputDataReceived -= Collect;
        process.ErrorDataReceived -= Collect;
        lock (output)
            return new Command(ended ? process.ExitCode : -1, output.ToString(), !ended);
    }
}
