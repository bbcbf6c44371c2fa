"""The subcommands, their exit codes, and how errors are shown."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from types import ModuleType

from engine.cli import bench, build, cache, config, detect, doctor, evaluate, export, serve, train
from engine.cli.terminal import Parser, note, set_up_output
from engine.errors import InvalidArgumentError, RetinaFaceError
from engine.version import project_version
from engine.writing.output import flush_or_discard

_USAGE_ERROR = 2
_COMMANDS = {
    "build": build,
    "config": config,
    "export": export,
    "detect": detect,
    "serve": serve,
    "bench": bench,
    "train": train,
    "evaluate": evaluate,
    "cache": cache,
    "doctor": doctor,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the subcommand that `argv` names; see run_command for the exit code."""
    prog = "retinaface-trt"
    parser = Parser(prog=prog, description="RetinaFace checkpoints as TensorRT engines.")
    parser.add_argument("--version", action="version", version=project_version())
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, module in _COMMANDS.items():
        command = commands.add_parser(name, help=module.SUMMARY, description=_description(module))
        _add_arguments(command, module)
    return run_command(parser.parse_args(argv), prog)


def build_main(argv: Sequence[str] | None = None) -> int:
    """Run build_engine.py."""
    return _run_script("build_engine.py", build, argv)


def bench_main(argv: Sequence[str] | None = None) -> int:
    """Run serve_bench.py."""
    return _run_script("serve_bench.py", bench, argv)


def _run_script(prog: str, module: ModuleType, argv: Sequence[str] | None) -> int:
    parser = Parser(prog=prog, description=_description(module))
    _add_arguments(parser, module)
    return run_command(parser.parse_args(argv), prog)


def _description(module: ModuleType) -> str:
    return f"{module.SUMMARY[0].upper()}{module.SUMMARY[1:]}."


def run_command(arguments: argparse.Namespace, prog: str) -> int:
    """Run a parsed command.

    Returns:
        0 on success, 1 if the work failed, 2 for wrong arguments; the reason is one line on stderr.
    """
    set_up_output(arguments.verbose)
    try:
        status = int(arguments.run(arguments))
        sys.stdout.flush()
    except BrokenPipeError:
        flush_or_discard(sys.stdout)  # its reader is gone: what is left would fail again as the interpreter ends
        return 1
    except (RetinaFaceError, OSError) as error:
        note(f"error: {_text(error)}", prog)
        flush_or_discard(sys.stdout)
        return _USAGE_ERROR if isinstance(error, InvalidArgumentError) else 1
    return status


def _text(error: RetinaFaceError | OSError) -> str:
    if isinstance(error, RetinaFaceError):
        return str(error)
    # Errors of opened files name none. Those of the project's own files get their name where they are raised.
    return f"{error.filename or 'the output cannot be written'}: {error.strerror}"


def _add_arguments(parser: argparse.ArgumentParser, module: ModuleType) -> None:
    module.add_arguments(parser)
    parser.add_argument("--verbose", action="store_true", help="show the libraries' own messages")
    parser.set_defaults(run=module.run)
