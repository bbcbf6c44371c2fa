"""`retinaface-trt evaluate`: its subcommands."""

from __future__ import annotations

import argparse

from engine.cli import evaluate_thresholds, evaluate_widerface

SUMMARY = "measure how good an engine is"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the subcommands."""
    commands = parser.add_subparsers(metavar="WHAT", required=True)
    for name, module in (("widerface", evaluate_widerface), ("thresholds", evaluate_thresholds)):
        summary = str(module.SUMMARY)
        command = commands.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
        module.add_arguments(command)
        command.set_defaults(evaluate=module.run)


def run(arguments: argparse.Namespace) -> int:
    """Run the chosen subcommand."""
    return int(arguments.evaluate(arguments))
