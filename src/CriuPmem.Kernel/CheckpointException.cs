using System.Text;

namespace CriuPmem.Kernel;

/// <summary>A failure with all that a user needs: what was done, to which process and object, why, and what to do.</summary>
/// <remarks>
/// Thrown where the facts are known, wrapped nowhere, caught at the edges (command line, RPC, C API) and in scopes
/// that undo. Outer scopes that know more fill the empty properties in passing.
/// </remarks>
public sealed class CheckpointException : Exception
{
    /// <summary>Creates a failure.</summary>
    /// <param name="code">Its stable code, listed in docs/errors.md.</param>
    /// <param name="cause">Why, in plain words, without a full stop.</param>
    public CheckpointException(ErrorCode code, string cause) : base(cause) => Code = code;

    /// <summary>The stable code, listed in docs/errors.md.</summary>
    public ErrorCode Code { get; }

    /// <summary>The operation: dump, restore, check …</summary>
    public string? Operation { get; set; }

    /// <summary>The process it is about, or 0.</summary>
    public int Pid { get; set; }

    /// <summary>The process's name (comm), if known.</summary>
    public string? ProcessName { get; set; }

    /// <summary>The object: "fd 9 → anon_inode:[io_uring]", a path, a mapping.</summary>
    public string? Object { get; set; }

    /// <summary>The kernel's error number, or <see cref="Errno.None"/>.</summary>
    internal Errno Errno { get; init; }

    /// <summary>Why, in plain words, and nothing else.</summary>
    internal string Cause => base.Message;

    /// <summary>The kernel's error number, or 0; RPC's cr_errno.</summary>
    public int ErrorNumber => (int)Errno;

    /// <summary>What the user can do about it: whole sentences.</summary>
    public string? Remedy { get; set; }

    /// <summary>The whole sentence: <c>dump: redis-server (4711), fd 9 → …: cause [CP1203]. Remedy</c>.</summary>
    public override string Message
    {
        get
        {
            var text = new StringBuilder();
            if (Operation is not null) text.Append(Operation).Append(": ");
            if (Pid != 0) text.Append(ProcessName ?? "process").Append(" (").Append(Pid).Append(Object is null ? "): " : "), ");
            if (Object is not null) text.Append(Object).Append(": ");
            text.Append(base.Message);
            if (Errno != Errno.None) text.Append(": ").Append(Errno.Describe());
            text.Append(" [CP").Append((int)Code).Append(']');
            if (string.IsNullOrEmpty(Remedy)) return text.ToString();
            text.Append(". ").Append(Remedy);
            if (text[^1] is not ('.' or '?' or '!' or ':')) text.Append('.');
            return text.ToString();
        }
    }
}
