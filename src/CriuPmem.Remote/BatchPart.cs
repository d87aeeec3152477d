namespace CriuPmem.Remote;

/// <summary>What one of several tasks that share an address space executes of a batch.</summary>
/// <param name="Task">The task.</param>
/// <param name="Control">Its control block.</param>
/// <param name="First">The index of its first call.</param>
/// <param name="Count">How many there are.</param>
internal readonly record struct BatchPart(Tracee Task, RemoteAddress Control, int First, int Count);
