using CriuPmem.Engine.Dump;
using CriuPmem.Engine.Memory;
using CriuPmem.Images;

namespace CriuPmem.Engine.Transfer;

/// <summary>Where the pages of a dump go: files of the images directory, or a page server.</summary>
internal interface IPageStore : IDisposable
{
    /// <summary>True when what an earlier snapshot has of a process is where this store's pages will look for it.</summary>
    /// <param name="pid">The process.</param>
    /// <param name="earlier">What that snapshot has; it names no files where only a page server has the contents.</param>
    bool Continues(int pid, SavedPages earlier);

    /// <summary>Saves one process's pages as planned; returns how many were written.</summary>
    /// <param name="process">The process.</param>
    /// <param name="plan">What is saved.</param>
    /// <param name="running">It runs meanwhile: pages that are gone become zeros, since nobody will ask for them.</param>
    long Save(DumpProcess process, PagePlan plan, bool running);

    /// <summary>Saves the contents of a shared object; returns how many pages there were.</summary>
    /// <param name="process">A process that has it.</param>
    /// <param name="id">The object's number (shmid).</param>
    /// <param name="runs">What of it is saved.</param>
    /// <param name="file">The object, open for reading.</param>
    long SaveShared(DumpProcess process, uint id, List<PageRun> runs, int file);

    /// <summary>Returns when everything is in its place; durable, where that is another machine.</summary>
    void Finish();
}
