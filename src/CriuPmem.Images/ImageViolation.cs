using CriuPmem.Kernel;

namespace CriuPmem.Images;

/// <summary>Something that the images say and that cannot be.</summary>
/// <param name="Code"><see cref="ErrorCode.ImageDamaged"/>, Missing or Unsupported.</param>
/// <param name="File">The file's name.</param>
/// <param name="Entry">The entry's number, or -1 for the file as a whole.</param>
/// <param name="Cause">What, in plain words, without a full stop.</param>
internal readonly record struct ImageViolation(ErrorCode Code, string File, int Entry, string Cause)
{
    /// <summary>The violation as a failure.</summary>
    /// <param name="directoryName">The images directory for the message.</param>
    public CheckpointException ToException(string directoryName) =>
        new(Code, Entry < 0 ? Cause : $"entry {Entry}: {Cause}")
        {
            Object = $"{directoryName}/{File}",
            Remedy = Code switch
            {
                ErrorCode.ImageMissing => "The snapshot is not complete: restore from another one, or dump again.",
                ErrorCode.ImageUnsupported => "Restore with the engine that dumped it, or with a newer criu-pmem.",
                _ => "The images no longer hold what was written: restore from another snapshot, or dump again.",
            },
        };
}
