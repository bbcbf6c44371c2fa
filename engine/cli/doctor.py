"""`retinaface-trt doctor`: what is installed, what works, and what to do about the rest."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from rich.console import Console
from rich.text import Text

from engine.cli.installation import Finding, examine, examine_engine

SUMMARY = "show what is installed and what works"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of doctor."""
    parser.add_argument("--engine", type=Path, metavar="FILE", help="also show what this engine is")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def run(arguments: argparse.Namespace) -> int:
    """Print the findings; the exit code is 1 where neither a GPU nor the CPU can run an engine."""
    findings = examine() + (examine_engine(arguments.engine) if arguments.engine else [])
    if arguments.json:
        print(json.dumps([finding.to_dict() for finding in findings], indent=2))
    else:
        _print(findings)
    return 0 if all(finding.ok for finding in findings if finding.required) else 1


def _print(findings: list[Finding]) -> None:
    # Lines are not cut to the terminal's width: paths and commands stay whole, to be copied.
    console = Console(soft_wrap=True, highlight=False)
    width = max(len(finding.name) for finding in findings)
    for finding in findings:
        mark = Text("ok     ", "green") if finding.ok else Text("missing", "yellow")
        console.print(mark, Text(f"{finding.name:{width}}  {finding.state}"))
        if finding.remedy:
            console.print(Text(f"{'':{width + 8}}  -> {finding.remedy}"))
