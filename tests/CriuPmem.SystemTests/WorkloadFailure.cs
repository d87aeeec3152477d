namespace CriuPmem.SystemTests;

/// <summary>A workload found itself changed, or did not live on.</summary>
internal sealed class WorkloadFailure(string message) : Exception(message);
