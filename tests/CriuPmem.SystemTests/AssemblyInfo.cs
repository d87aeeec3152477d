using System.Runtime.Versioning;
using Xunit.v3;

// Dumps and restores measure themselves against a machine at rest and reuse process ids: one test at a time.
[assembly: Parallelization(Mode = Xunit.Sdk.ParallelMode.None)]
[assembly: SupportedOSPlatform("linux")]
