#!/bin/bash
# Assembles src/CriuPmem.Remote/Code/remote.S and writes its bytes as RemoteCode.g.cs.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
as --64 -o "$work/remote.o" src/CriuPmem.Remote/Code/remote.S
objcopy -O binary -j .text "$work/remote.o" "$work/remote.bin"
at() { nm "$work/remote.o" | awk -v name="$1" '$3 == name { print $1 }'; }
bytes() { # name of the block: its bytes as C# hex, 16 a line
  local from=$((16#$(at "$1"))) to=$((16#$(at "$1_end")))
  od -An -v -tx1 -w16 -j "$from" -N $((to - from)) "$work/remote.bin" |
    sed -E 's/ ([0-9a-f]{2})/ 0x\U\1,/g; s/^ /        /'
}
{
  cat <<'HEAD'
// Generated from Code/remote.S by scripts/generate-remote-code.sh.
namespace CriuPmem.Remote;

/// <summary>Machine code that runs outside the engine.</summary>
internal static class RemoteCode
{
HEAD
  printf '    /// <summary>Runs a batch of system calls in a tracee.</summary>\n'
  printf '    public static ReadOnlySpan<byte> Batch =>\n    [\n%s\n    ];\n\n' "$(bytes batch)"
  printf '    /// <summary>Where, in <see cref="Batch"/>, a tracee goes on whose tracer has died; in bytes.</summary>\n'
  printf '    public const int HealOffset = 0x%x;\n\n' $((16#$(at heal) - 16#$(at batch)))
  printf '    /// <summary>One system call from outside of any scratch, and its data.</summary>\n'
  printf '    public static ReadOnlySpan<byte> Call =>\n    [\n%s\n    ];\n\n' "$(bytes call)"
  printf '    /// <summary>Where, in <see cref="Call"/>, its data begins; in bytes.</summary>\n'
  printf '    public const int CallDataOffset = 0x%x;\n\n' $((16#$(at call_mask) - 16#$(at call)))
  printf '    /// <summary>Makes the engine'"'"'s first child.</summary>\n'
  printf '    public static ReadOnlySpan<byte> Spawn =>\n    [\n%s\n    ];\n\n' "$(bytes spawn)"
  printf '    /// <summary>A program that waits for its tracer.</summary>\n'
  printf '    public static ReadOnlySpan<byte> Seed =>\n    [\n%s\n    ];\n\n' "$(bytes seed)"
  printf '    /// <summary>How a parent waits for its vfork child, and how that is made so.</summary>\n'
  printf '    public static ReadOnlySpan<byte> Vfork =>\n    [\n%s\n    ];\n\n' "$(bytes vfork)"
  printf '    /// <summary>Where, in <see cref="Vfork"/>, the child makes its second thread; in bytes.</summary>\n'
  printf '    public const int VforkBearOffset = 0x%x;\n\n' $((16#$(at vfork_bear) - 16#$(at vfork)))
  printf '    /// <summary>Where, in <see cref="Vfork"/>, one of the two threads ends; in bytes.</summary>\n'
  printf '    public const int VforkHandoverOffset = 0x%x;\n\n' $((16#$(at vfork_handover) - 16#$(at vfork)))
  printf '    /// <summary>Where, in <see cref="Vfork"/>, the parent stands in futex(2); in bytes.</summary>\n'
  printf '    public const int VforkFutexOffset = 0x%x;\n\n' $((16#$(at vfork_after_futex) - 16#$(at vfork)))
  printf '    /// <summary>Where, in <see cref="Vfork"/>, the parent gets its mask back; in bytes.</summary>\n'
  printf '    public const int VforkMaskOffset = 0x%x;\n' $((16#$(at vfork_after_mask) - 16#$(at vfork)))
  printf '\n    /// <summary>Makes a twin of a process; its data is at its end.</summary>\n'
  printf '    public static ReadOnlySpan<byte> Twin =>\n    [\n%s\n    ];\n\n' "$(bytes twin)"
  printf '    /// <summary>Where, in <see cref="Twin"/>, the arguments of its two clone calls, and then their results begin; in bytes.</summary>\n'
  printf '    public const int TwinClonesOffset = 0x%x;\n' $((16#$(at twin_helper_clone) - 16#$(at twin)))
  printf '}\n'
} >src/CriuPmem.Remote/RemoteCode.g.cs
