using CriuPmem.Kernel;
using Spectre.Console;

namespace CriuPmem.Cli.Output;

/// <summary>A terminal with somebody in front of it, written to by Spectre.Console.</summary>
internal sealed class People
{
    /// <summary>Opens a terminal.</summary>
    /// <param name="fd">Its descriptor; the caller owns it.</param>
    public People(int fd)
    {
        bool colour = Terminal.WantsColour(fd);
        Console = AnsiConsole.Create(new AnsiConsoleSettings
        {
            // Everything is told, nothing is to be found out: detection would open System.Console.
            Ansi = colour ? AnsiSupport.Yes : AnsiSupport.No,
            ColorSystem = colour ? ColorSystemSupport.Standard : ColorSystemSupport.NoColors,
            Interactive = InteractionSupport.No,
            Enrichment = new ProfileEnrichment { UseDefaultEnrichers = false },
            Out = new Sink(new DescriptorWriter(fd), Terminal.Width(fd)),
        });
    }

    /// <summary>Where tables and coloured lines go; written out by <see cref="Flush"/>.</summary>
    public IAnsiConsole Console { get; }

    /// <summary>Writes one line; the first word coloured.</summary>
    /// <param name="head">Its first word, or empty.</param>
    /// <param name="colour">The first word's colour, as Spectre.Console names it.</param>
    /// <param name="text">The rest.</param>
    public void Line(string head, string colour, string text)
    {
        // Not wrapped by us: the terminal wraps, and what is copied from it stays one line.
        if (head.Length > 0) Console.Write(new Markup($"[{colour}]{Markup.Escape(head)}[/]"));
        Flush();
        Writer.Write(LinuxText.Printable(text));
        Writer.Write('\n');
        Flush();
    }

    /// <summary>Writes out what was collected.</summary>
    public void Flush() => Writer.Flush();

    private TextWriter Writer => Console.Profile.Out.Writer;

    private sealed class Sink(TextWriter writer, int width) : IAnsiConsoleOutput
    {
        public TextWriter Writer => writer;
        public bool IsTerminal => true;
        public int Width => width;
        public int Height => 24;

        public void SetEncoding(System.Text.Encoding encoding)
        {
        }
    }
}
