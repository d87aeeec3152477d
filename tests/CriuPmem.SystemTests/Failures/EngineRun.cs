using System.Diagnostics;

namespace CriuPmem.SystemTests.Failures;

/// <summary>Runs of our engine that are meant to go wrong.</summary>
internal static class EngineRun
{
    /// <summary>Runs our engine with arguments as they are; nothing is expected of it but that it ends.</summary>
    public static Command Run(params string[] arguments)
    {
        Command command = Command.Run(Engine.Ours.Program, arguments, Engine.Limit);
        Assert.False(command.TimedOut, $"criu-pmem {string.Join(' ', arguments)} hangs");
        return command;
    }

    /// <summary>Expects a refusal: exit code 1, and one last line with the code and all the words.</summary>
    public static string Refuses(IEnumerable<string> arguments, string code, params string[] words)
    {
        string[] all = [.. arguments];
        Command command = Run(all);
        string line = command.Output.Trim().Split('\n')[^1];
        Assert.True(command.ExitCode == 1, $"criu-pmem {string.Join(' ', all)} exits with {command.ExitCode}: {line}");
        foreach (string word in (string[])[$"[{code}]", .. words])
            Assert.Contains(word, line, StringComparison.Ordinal);
        return line;
    }

    /// <summary>A dump that must be refused and leave the tree as it was, with no images.</summary>
    public static void DumpRefuses(LiveTree live, string images, string code, params string[] words)
    {
        Refuses(["dump", "-t", live.Pid.ToString(), "-D", images], code, words);
        Assert.False(File.Exists(Path.Combine(images, "inventory.img")), "a dump that failed left an inventory behind");
        live.Check($"after a dump that failed with {code}");
    }

    /// <summary>Writes an action script that does something at one stage.</summary>
    /// <returns>Its path.</returns>
    public static string Script(LiveTree live, string stage, string command)
    {
        string script = Path.Combine(live.Home, $"script.{stage}");
        File.WriteAllText(script, $"#!/bin/sh\n[ \"$CRTOOLS_SCRIPT_ACTION\" = {stage} ] || exit 0\n{command}\n");
        File.SetUnixFileMode(script, (UnixFileMode)0x1ED);
        return script;
    }

    /// <summary>Starts our engine, kills it after a while, and tells whether it had ended by itself.</summary>
    /// <returns>The exit code when it was faster; null when it was killed.</returns>
    public static int? Kill(TimeSpan after, params string[] arguments) => Signal("KILL", after, arguments);

    /// <summary>As <see cref="Kill"/>, with a signal by name; null when the engine was ended by it at once.</summary>
    public static int? Signal(string signal, TimeSpan after, params string[] arguments)
    {
        var start = new ProcessStartInfo(Engine.Ours.Program)
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            WorkingDirectory = "/",
        };
        foreach (string argument in arguments)
            start.ArgumentList.Add(argument);
        using Process process = Process.Start(start)!;
        var clock = Stopwatch.StartNew();
        while (clock.Elapsed < after && !process.HasExited)
            Thread.SpinWait(100);
        if (signal == "KILL") process.Kill();
        else if (!process.HasExited) Command.Run("/bin/kill", [$"-{signal}", $"{process.Id}"], Engine.Limit);
        if (!process.WaitForExit(Engine.Limit))
        {
            process.Kill();
            throw new TimeoutException($"criu-pmem does not end after SIG{signal}");
        }

        return process.ExitCode == 137 ? null : process.ExitCode;
    }

    /// <summary>The median time of an undisturbed run.</summary>
    public static TimeSpan Time(Action run)
    {
        var clock = Stopwatch.StartNew();
        run();
        return clock.Elapsed;
    }
}
