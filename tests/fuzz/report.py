"""What a run found, for the terminal and for docs/security.md."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.kernels.document import ROOT, table, write
from tests.fuzz.outcome import Finding
from tests.fuzz.targets import TARGETS
from tests.fuzz.watch import Tally

DOCUMENT = ROOT / "docs" / "security.md"
SECTION = "fuzzing table"
_SHOWN = 300  # characters of a line
_HEADER = ("target", "inputs", "accepted", "refused", "findings", "per second", "slowest", "memory")


def summary(tallies: Sequence[Tally], seed: int) -> str:
    """Return the table of a run, and each of its findings with the command that repeats it."""
    findings = [text(finding, seed) for tally in tallies for finding in tally.findings]
    return "\n".join([table(_HEADER, rows(tallies)), "", *(findings or ["No findings."])])


def rows(tallies: Sequence[Tally]) -> list[list[str]]:
    """Return a row of cells for each target that has tried something, and one for all."""
    total = Tally("all")
    for tally in tallies:
        total.add(tally)
    return [
        [
            tally.target,
            f"{tally.tried:,}",
            f"{tally.accepted:,}",
            f"{tally.refused:,}",
            f"{tally.faulty:,}",
            f"{tally.tried / max(tally.seconds, 1e-9):,.0f}",
            f"{tally.longest:.2f} s",
            f"{tally.peak_bytes / 1e9:.2f} GB",
        ]
        for tally in [*tallies, total]
    ]


def text(finding: Finding, seed: int) -> str:
    """Return a finding in words."""
    report = "".join(f"    {line[:_SHOWN]}\n" for line in finding.report.splitlines()[-12:])
    return (
        f"{finding.kind}: {finding.detail}\n    python -m tests.fuzz --target {finding.target} --seed {seed} "
        f"--index {finding.index}\n{report}"
    )


def document(tallies: Sequence[Tally], command: str) -> None:
    """Write the table of a run to docs/security.md, with the command that made it."""
    described = [[tally.target, TARGETS[tally.target].about] for tally in tallies]
    write(
        SECTION,
        f"`{command}`:\n\n{table(_HEADER, rows(tallies))}\n\n{table(('target', 'what is changed'), described)}",
        DOCUMENT,
    )
