"""The outcome of an input: accepted, refused as the product promises, or a finding."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.errors import RetinaFaceError
from tests.fuzz.target import Input, Target

LONGEST_MESSAGE = 10_000
_FEWEST_WORDS = 3
_PRODUCT = str(Path(__file__).parents[2] / "engine")


@dataclass(frozen=True)
class Finding:
    """What should not have happened.

    Attributes:
        target: name of the target.
        index: number of the input.
        kind: "exception", "message", "crash", "hang" or "memory".
        detail: one line: what happened, and where. Findings of one kind and detail count as one.
        report: all that is known: a traceback, or what the process wrote before it died.
    """

    target: str
    index: int
    kind: str
    detail: str
    report: str


@dataclass(frozen=True)
class Refusal:
    """A refusal as it should be."""

    message: str


def judge(target: Target[Input], made: Input) -> Refusal | tuple[str, str, str] | None:
    """Try an input.

    Returns:
        None if it is accepted, or the refusal, or kind, detail and report of a finding.
    """
    try:
        target.run(made)
    except RetinaFaceError as error:
        message = str(error)
        flaw = flaw_of(message, target.named)
        if flaw is None:
            return Refusal(message)
        return "message", f"{type(error).__name__} {flaw}, from {_place(error)}", f"{message!a:.{LONGEST_MESSAGE}}"
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        report = "".join(traceback.format_exception(error))
        return "exception", f"{type(error).__name__} from {_place(error)}", report
    return None


def flaw_of(message: str, named: Sequence[str]) -> str | None:
    """Return what is wrong with the message of a refusal; None if nothing is.

    Args:
        message: of the error.
        named: paths of which it must have one.
    """
    if named and not any(name in message for name in named):
        return "does not name the file"
    cause = message
    for name in named:
        cause = cause.replace(name, "")
    if len(cause.split()) < _FEWEST_WORDS:
        return "does not say what is wrong"
    if not message.isprintable():
        return "has characters that do not print"
    if len(message) > LONGEST_MESSAGE:
        return f"is longer than {LONGEST_MESSAGE} characters"
    return None


def _place(error: BaseException) -> str:
    """Return the innermost line of the product that an error came through."""
    frames = traceback.extract_tb(error.__traceback__)
    product = [frame for frame in frames if frame.filename.startswith(_PRODUCT)] or frames[-1:]
    return f"{Path(product[-1].filename).name}:{product[-1].lineno} in {product[-1].name}"
