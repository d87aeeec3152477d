using CriuPmem.Cli.Output;
using CriuPmem.Kernel;

namespace CriuPmem.Cli.Commands;

/// <summary>What is said on standard error: plain sentences to people on a terminal, log lines to programs.</summary>
internal sealed class Reporter
{
    private const int StandardError = 2;
    private readonly bool _isTerminal = Terminal.Is(StandardError);
    private People? _people;

    /// <summary>The log; set once it is open.</summary>
    public EngineLog? Log { get; set; }

    /// <summary>The log goes to a file of its own, not to standard error.</summary>
    public bool LogIsFile { get; set; }

    /// <summary>-v0: nothing is said.</summary>
    public bool Silent { get; set; }

    /// <summary>Progress or an outcome: for people only.</summary>
    public void Say(string text)
    {
        if (_isTerminal && !Silent) Person.Line("", "default", char.ToUpperInvariant(text[0]) + text[1..]);
    }

    /// <summary>A warning: for people, and in the log.</summary>
    public void Warn(string where, string text)
    {
        bool onTerminal = _isTerminal && !LogIsFile;
        if (_isTerminal && !Silent) Person.Line("Warning: ", "yellow", text);
        if (!onTerminal) Log?.Warn(where, $"{text}");
    }

    /// <summary>The failure that ends the command: the last line that is printed, and once only on each channel.</summary>
    public void Fail(CheckpointException failure)
    {
        string where = failure.Operation ?? "criu-pmem";
        string text = failure.Message;
        // The log names the operation in its "where" already.
        string body = failure.Operation is not null && text.StartsWith(failure.Operation + ": ", StringComparison.Ordinal)
            ? text[(failure.Operation.Length + 2)..]
            : text;
        bool logged = Log is not null && (LogIsFile || !_isTerminal);
        if (logged) Log!.Error(where, body);
        if (Silent) return;
        if (_isTerminal) Person.Line("Error: ", "red", text);
        else if (!logged || LogIsFile) Terminal.Write(StandardError, $"Error ({where}): {LinuxText.Printable(body)}\n");
    }

    private People Person => _people ??= new People(StandardError);
}
