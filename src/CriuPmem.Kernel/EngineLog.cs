using System.Runtime.CompilerServices;
using System.Text;

namespace CriuPmem.Kernel;

/// <summary>The log, in the field's shape: <c>(00.001234) Error (where): text</c>. Engines search it for "Error".</summary>
/// <remarks>Text is formatted only when its level is wanted. Thread-safe. Writes are one system call a line.</remarks>
public sealed class EngineLog
{
    /// <summary>Messages that are always printed.</summary>
    public const int LevelMessage = 0;
    /// <summary>Errors (-v1).</summary>
    public const int LevelError = 1;
    /// <summary>Warnings (-v2, the default).</summary>
    public const int LevelWarn = 2;
    /// <summary>Progress in words (-v3, plain -v).</summary>
    public const int LevelInfo = 3;
    /// <summary>Everything (-v4).</summary>
    public const int LevelDebug = 4;

    private readonly Lock _lock = new();
    private readonly int _fd;
    private readonly long _start = System.Diagnostics.Stopwatch.GetTimestamp();

    /// <summary>Opens a log.</summary>
    /// <param name="fd">Where lines are written; -1 for nowhere. The caller owns it.</param>
    /// <param name="level">The highest level that is written, 0 … 4.</param>
    public EngineLog(int fd, int level)
    {
        _fd = fd;
        Level = level;
    }

    /// <summary>A log that keeps nothing.</summary>
    public static EngineLog None { get; } = new(-1, LevelMessage);

    /// <summary>The highest level that is written.</summary>
    public int Level { get; }

    /// <summary>Where lines are written; -1 for nowhere.</summary>
    public int Fd => _fd;

    /// <summary>The first error, which is the one that explains the others; RPC's cr_errmsg.</summary>
    public string? FirstError { get; private set; }

    /// <summary>True when lines of this level are written.</summary>
    public bool IsEnabled(int level) => level <= Level && _fd >= 0;

    /// <summary>Writes an error.</summary>
    /// <param name="where">The part of the engine: "dump", "restore", "images", "files" …</param>
    /// <param name="text">One line.</param>
    public void Error(string where, string text)
    {
        FirstError ??= text;
        Write(LevelError, "Error", where, text);
    }

    /// <summary>Writes a warning.</summary>
    public void Warn(string where, [InterpolatedStringHandlerArgument("")] ref WarnText text) =>
        Write(LevelWarn, "Warn ", where, text.Take());

    /// <summary>Writes a line of progress.</summary>
    public void Info(string where, [InterpolatedStringHandlerArgument("")] ref InfoText text) =>
        Write(LevelInfo, null, where, text.Take());

    /// <summary>Writes a line for whoever hunts a fault.</summary>
    public void Debug(string where, [InterpolatedStringHandlerArgument("")] ref DebugText text) =>
        Write(LevelDebug, null, where, text.Take());

    private void Write(int level, string? kind, string where, string? text)
    {
        if (text is null || !IsEnabled(level)) return;
        text = LinuxText.Printable(text);
        TimeSpan since = System.Diagnostics.Stopwatch.GetElapsedTime(_start);
        string stamp = $"({(int)since.TotalSeconds:D2}.{since.Microseconds + since.Milliseconds * 1000:D6}) ";
        byte[] line = Encoding.UTF8.GetBytes(kind is null ? $"{stamp}{where}: {text}\n" : $"{stamp}{kind} ({where}): {text}\n");
        lock (_lock) Sys.WriteAll(_fd, line);
    }

    /// <summary>An interpolated text that is formatted only if warnings are wanted.</summary>
    [InterpolatedStringHandler]
    public ref struct WarnText
    {
        private Builder _builder;
        /// <summary>Starts the text.</summary>
        public WarnText(int literalLength, int formattedCount, EngineLog log, out bool wanted) =>
            _builder = new Builder(literalLength, formattedCount, wanted = log.IsEnabled(LevelWarn));
        /// <summary>Adds a literal part.</summary>
        public void AppendLiteral(string text) => _builder.Handler.AppendLiteral(text);
        /// <summary>Adds a value.</summary>
        public void AppendFormatted<T>(T value) => _builder.Handler.AppendFormatted(value);
        /// <summary>Adds a value with a format.</summary>
        public void AppendFormatted<T>(T value, string? format) => _builder.Handler.AppendFormatted(value, format);
        internal string? Take() => _builder.Take();
    }

    /// <summary>An interpolated text that is formatted only if progress is wanted.</summary>
    [InterpolatedStringHandler]
    public ref struct InfoText
    {
        private Builder _builder;
        /// <summary>Starts the text.</summary>
        public InfoText(int literalLength, int formattedCount, EngineLog log, out bool wanted) =>
            _builder = new Builder(literalLength, formattedCount, wanted = log.IsEnabled(LevelInfo));
        /// <summary>Adds a literal part.</summary>
        public void AppendLiteral(string text) => _builder.Handler.AppendLiteral(text);
        /// <summary>Adds a value.</summary>
        public void AppendFormatted<T>(T value) => _builder.Handler.AppendFormatted(value);
        /// <summary>Adds a value with a format.</summary>
        public void AppendFormatted<T>(T value, string? format) => _builder.Handler.AppendFormatted(value, format);
        internal string? Take() => _builder.Take();
    }

    /// <summary>An interpolated text that is formatted only if everything is wanted.</summary>
    [InterpolatedStringHandler]
    public ref struct DebugText
    {
        private Builder _builder;
        /// <summary>Starts the text.</summary>
        public DebugText(int literalLength, int formattedCount, EngineLog log, out bool wanted) =>
            _builder = new Builder(literalLength, formattedCount, wanted = log.IsEnabled(LevelDebug));
        /// <summary>Adds a literal part.</summary>
        public void AppendLiteral(string text) => _builder.Handler.AppendLiteral(text);
        /// <summary>Adds a value.</summary>
        public void AppendFormatted<T>(T value) => _builder.Handler.AppendFormatted(value);
        /// <summary>Adds a value with a format.</summary>
        public void AppendFormatted<T>(T value, string? format) => _builder.Handler.AppendFormatted(value, format);
        internal string? Take() => _builder.Take();
    }

    private ref struct Builder
    {
        public DefaultInterpolatedStringHandler Handler;
        private readonly bool _wanted;

        public Builder(int literalLength, int formattedCount, bool wanted)
        {
            _wanted = wanted;
            Handler = wanted ? new DefaultInterpolatedStringHandler(literalLength, formattedCount) : default;
        }

        public string? Take() => _wanted ? Handler.ToStringAndClear() : null;
    }
}
