using CriuPmem.Engine.Restore;

namespace CriuPmem.Engine.Memory;

/// <summary>What each child keeps of its parent's memory: of a larger tree, a second thread compares the pages ahead of its use.</summary>
internal sealed class InheritancePlans : IDisposable
{
    private const int ManyProcesses = 8; // from here on, a second thread gains more than it costs

    private readonly Dictionary<RestoreProcess, Ahead<Inheritance>> _plans = [];
    private readonly SideThread _side;
    private volatile bool _ended;

    /// <summary>Begins with the processes of a tree.</summary>
    public InheritancePlans(RestoreContext context)
    {
        _side = new SideThread(isActive: context.Processes.Count >= ManyProcesses);
        foreach (RestoreProcess child in context.Processes)
        {
            if (child.Parent is not { Memory: not null } parent || child.Memory is null) continue;
            _plans.Add(child, new Ahead<Inheritance>(() => Inheritance.Plan(context, parent, child)));
        }

        if (_side.IsActive && !context.Options.LazyPages) _side.Post(PrepareAll);
    }

    /// <summary>What a child keeps of the memory of its parent, both having one.</summary>
    /// <exception cref="CheckpointException">Pages cannot be read.</exception>
    public Inheritance Of(RestoreProcess child) => _plans[child].Value;

    /// <inheritdoc />
    public void Dispose()
    {
        _ended = true;
        _side.Dispose();
    }

    private void PrepareAll()
    {
        foreach (Ahead<Inheritance> plan in _plans.Values)
        {
            if (_ended) return;
            plan.Prepare();
        }
    }
}
