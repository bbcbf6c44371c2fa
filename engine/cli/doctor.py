"""`retinaface-trt doctor`: what works on this machine, what is installed, and what to do about the rest."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from engine.backend.tensorrt import RUNTIMES
from engine.cli.installation import BUILD_PACKAGES, Finding, examine, examine_engine
from engine.cli.terminal import shown

_OK, _MISSING, _NOT_NEEDED = ("ok", "green"), ("missing", "yellow"), ("not needed", "dim")
SUMMARY = "show what works on this machine and what is installed"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of doctor."""
    parser.add_argument("--engine", type=Path, metavar="FILE", help="also show what this engine is")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def run(arguments: argparse.Namespace) -> int:
    """Print the findings; the exit code is 1 where neither a GPU nor the CPU can run an engine."""
    findings = examine()
    about_engine = examine_engine(arguments.engine) if arguments.engine else []
    everything = findings + about_engine
    if arguments.json:
        print(json.dumps([asdict(finding) for finding in everything], indent=2))
    else:
        # Lines are not cut to the terminal's width: paths and commands stay whole, to be copied.
        console = Console(soft_wrap=True, highlight=False)
        for line in summary(findings):
            console.print(shown(line, "bold"))
        _print(console, everything)
    return 0 if all(finding.ok for finding in everything if finding.required) else 1


def summary(findings: list[Finding]) -> list[str]:
    """Say what works on this machine: running on the CPU, running on a GPU, building."""
    found = {finding.name: finding for finding in findings}
    missing = {name for name, finding in found.items() if not finding.ok}
    has_gpu = "GPU" not in missing
    possible = RUNTIMES if has_gpu else ("tensorrt-rtx",)  # TensorRT itself builds only beside a GPU
    builders = [name for name in possible if name not in missing]
    no_builder = [] if builders else [" or ".join(possible)]
    for_running = [finding.name for finding in findings if finding.required and not finding.ok]
    for_gpu = [*for_running, *(missing & {"cupy"}), *no_builder]
    for_building = [*sorted(missing & {*BUILD_PACKAGES, "plugin library"}), *no_builder]
    on_gpu = _answer(for_gpu, found["GPU"].state) if has_gpu else "no NVIDIA GPU found; the CPU needs none"
    return [
        f"Runs engines on the CPU: {_answer(for_running, found['CPU'].state)}",
        f"Runs engines on a GPU: {on_gpu}",
        f"Builds engines: {_answer(for_building, 'with ' + ' and '.join(builders))}",
    ]


def _answer(missing: list[str], how: str) -> str:
    return f"no, {', '.join(missing)} missing" if missing else f"yes, {how}"


def _print(console: Console, findings: list[Finding]) -> None:
    width = max(len(finding.name) for finding in findings)
    for finding in findings:
        word, style = _OK if finding.ok else _MISSING if finding.needed else _NOT_NEEDED
        console.print(shown(f"{word:10}", style), shown(f"{finding.name:{width}}  {finding.state}"))
        if finding.remedy and finding.needed:
            console.print(shown(f"{'':{width + 11}}  -> {finding.remedy}"))
