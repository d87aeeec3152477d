using CriuPmem.Images.Wire;
using Google.Protobuf.Reflection;

namespace CriuPmem.Tests.Images;

public sealed class SchemaTests
{
    [Fact]
    public void Tables_ComparedWithDescriptors_AreCurrent()
    {
        string path = Path.Combine(Repository.Root, "src/CriuPmem.Images/Wire/MessageSchemas.g.cs");
        string expected = SchemaGenerator.Generate();
        if (Environment.GetEnvironmentVariable("CRIU_PMEM_REGENERATE") == "1") File.WriteAllText(path, expected);
        Assert.Equal(expected, File.ReadAllText(path));
    }

    [Fact]
    public void Messages_AllRequiredFields_FitTheMask()
    {
        foreach (MessageDescriptor message in SchemaGenerator.AllMessages())
        {
            Assert.True(message.Fields.InFieldNumberOrder().Count(field => field.IsRequired) <= 64, message.FullName);
            Assert.True(message.Fields.InFieldNumberOrder().Count < 127, message.FullName);
        }
    }

    [Fact]
    public void Of_EveryMessage_IsFoundByNameAndType()
    {
        foreach (MessageDescriptor message in SchemaGenerator.AllMessages())
        {
            Assert.Same(MessageSchemas.Of(message.FullName), MessageSchemas.Of(message.ClrType));
        }
    }
}
