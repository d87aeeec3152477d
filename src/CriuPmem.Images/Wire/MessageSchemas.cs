namespace CriuPmem.Images.Wire;

/// <summary>The tables of all messages in proto/, made from the descriptors by SchemaTests, which also keeps them
/// current.</summary>
internal static partial class MessageSchemas
{
    /// <summary>The table of a generated class.</summary>
    public static MessageSchema Of(Type type) => Index.ByType[type];

    /// <summary>The table of a message by its name in proto/.</summary>
    public static MessageSchema Of(string name) => Index.ByName[name];

    /// <summary>A message by its index in the tables.</summary>
    public static MessageSchema Message(int index) => Messages[index];

    /// <summary>The values of an enumeration by its index in the tables, ascending.</summary>
    public static EnumSchema Enumeration(int index) => Enumerations[index];

    private static FieldSchema F(int number, string name, FieldKind kind, int child = -1) =>
        new(number, name, kind, FieldLabel.Optional, child);

    private static FieldSchema Req(int number, string name, FieldKind kind, int child = -1) =>
        new(number, name, kind, FieldLabel.Required, child);

    private static FieldSchema Rep(int number, string name, FieldKind kind, int child = -1) =>
        new(number, name, kind, FieldLabel.Repeated, child);

    private static Dictionary<Type, MessageSchema> IndexByType()
    {
        var index = new Dictionary<Type, MessageSchema>(Messages.Length);
        foreach (MessageSchema schema in Messages) index.Add(schema.Type, schema);
        return index;
    }

    private static Dictionary<string, MessageSchema> IndexByName()
    {
        var index = new Dictionary<string, MessageSchema>(Messages.Length);
        foreach (MessageSchema schema in Messages) index.Add(schema.Name, schema);
        return index;
    }

    // In a class of its own, since the order in which static fields of two files are set is not defined.
    private static class Index
    {
        public static readonly Dictionary<Type, MessageSchema> ByType = IndexByType();
        public static readonly Dictionary<string, MessageSchema> ByName = IndexByName();
    }

    /// <summary>The table of <typeparamref name="T"/>, looked up once.</summary>
    internal static class Cache<T>
    {
        /// <summary>The table.</summary>
        public static readonly MessageSchema Schema = Of(typeof(T));
    }
}
