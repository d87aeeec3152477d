namespace CriuPmem.Images.Wire;

/// <summary>What is wrong with the bytes of a message.</summary>
/// <param name="OffsetBytes">Where, from the start of the message.</param>
/// <param name="Cause">What, in plain words, without a full stop.</param>
internal readonly record struct WireFault(int OffsetBytes, string Cause);
