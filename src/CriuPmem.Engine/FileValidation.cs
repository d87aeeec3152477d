namespace CriuPmem.Engine;

/// <summary>What is compared before a file is opened again (--file-validation).</summary>
public enum FileValidation
{
    /// <summary>Size, and the build-id of ELF files.</summary>
    BuildId,

    /// <summary>Size only.</summary>
    FileSize,
}
