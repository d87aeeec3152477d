namespace CriuPmem.SystemTests;

/// <summary>An engine did not do what it was told; the message ends with the tail of its log.</summary>
internal sealed class EngineFailure(string message) : Exception(message);
