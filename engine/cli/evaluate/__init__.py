"""`retinaface-trt evaluate`: each measurement is a subcommand."""

from __future__ import annotations

import argparse

from engine.cli.evaluate import agreement, compose, thresholds, widerface

SUMMARY = "measure how good an engine is"
_COMMANDS = (
    ("agreement", agreement),
    ("compose", compose),
    ("thresholds", thresholds),
    ("widerface", widerface),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the measurements as subcommands."""
    commands = parser.add_subparsers(metavar="MEASUREMENT", required=True)
    for name, module in _COMMANDS:
        summary = str(module.SUMMARY)
        command = commands.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
        module.add_arguments(command)
        command.set_defaults(measure=module.run)


def run(arguments: argparse.Namespace) -> int:
    """Run the measurement that the user named."""
    return int(arguments.measure(arguments))
