using System.CommandLine;
using System.CommandLine.Parsing;

namespace CriuPmem.Cli.Options;

/// <summary>An option whose values are of type <typeparamref name="T"/>.</summary>
internal sealed class OptionSpec<T> : OptionSpec
{
    private Option<T>? _option;

    /// <summary>Makes the value from the words; throws <see cref="FormatException"/> with what is wrong about them.</summary>
    public required Func<IReadOnlyList<string>, T> Convert { get; init; }

    /// <summary>The value when the option is absent.</summary>
    public T? Default { get; init; }

    /// <inheritdoc />
    public override Option Option => Typed;

    /// <summary>The same option for System.CommandLine, typed.</summary>
    public Option<T> Typed => _option ??= Build();

    private Option<T> Build() => new("--" + Name)
    {
        Description = Help,
        HelpName = ValueName,
        Recursive = true,
        Arity = Shape switch
        {
            ValueShape.Flag => ArgumentArity.ZeroOrOne,
            _ => Repeatable ? ArgumentArity.OneOrMore : ArgumentArity.ExactlyOne,
        },
        DefaultValueFactory = _ => Default!,
        CustomParser = Parse,
    };

    private T? Parse(ArgumentResult result)
    {
        try
        {
            return Convert(result.Tokens.Select(static token => token.Value).ToList());
        }
        catch (FormatException wrong)
        {
            result.AddError($"{this}: {wrong.Message}");
            return default;
        }
    }
}
