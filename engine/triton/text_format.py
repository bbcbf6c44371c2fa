"""Protocol Buffers as text, the form of Triton's config.pbtxt."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any


class Name(str):
    """A value of an enumeration, which has no quotes."""


def to_text(message: Mapping[str, Any]) -> str:
    """Return a message as text: fields by name, a list for one that is repeated, a mapping for a message."""
    return "".join(f"{line}\n" for line in _lines(message))


def _lines(message: Mapping[str, Any]) -> Iterator[str]:
    for name, value in message.items():
        messages = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
        if messages and isinstance(messages[0], Mapping):
            for each in messages:
                yield f"{name} {{"
                yield from (f"  {line}" for line in _lines(each))
                yield "}"
        elif messages is value:
            yield f"{name}: [{', '.join(map(_scalar, value))}]"
        else:
            yield f"{name}: {_scalar(value)}"


def _scalar(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value) if isinstance(value, str) and not isinstance(value, Name) else str(value)
