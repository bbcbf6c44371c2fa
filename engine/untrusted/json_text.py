"""JSON from outside: bounded in number, depth, text and numbers, so that what reads it can rely on them."""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

from engine.errors import InvalidArgumentError
from engine.untrusted.limits import MAX_JSON_DEPTH, MAX_JSON_INTEGER, MAX_JSON_STRING, MAX_JSON_VALUES


def parse_json(text: str | bytes) -> Any:
    """Read JSON whose numbers are finite and of at most 64 bits.

    Raises:
        InvalidArgumentError: it is no JSON, has too many values, nests too deep, has a number or a string beyond the
            limits, or an object with two values of one name; the message does not contain the name of the file.
    """
    check_number_of_values(count_values(text))
    try:
        values = json.loads(text, object_pairs_hook=_object, parse_constant=_refuse_constant)
    except InvalidArgumentError:
        raise
    except RecursionError as error:
        raise InvalidArgumentError(f"nests deeper than {MAX_JSON_DEPTH} levels") from error
    except ValueError as error:
        raise InvalidArgumentError(f"is not JSON ({error})") from error
    _check(values)
    return values


def count_values(text: str | bytes) -> int:
    """Return how many values and names JSON has at most, before it takes memory; more if texts hold commas."""
    if isinstance(text, str):
        return 1 + sum(map(text.count, ",:[{"))
    return 1 + sum(map(text.count, b",:[{"))


def check_number_of_values(count: int) -> None:
    """Raise InvalidArgumentError if that many values of JSON are too many."""
    if count > MAX_JSON_VALUES:
        raise InvalidArgumentError(f"has {count:,} values, expected at most {MAX_JSON_VALUES:,}")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):  # readers differ in which one they take
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise InvalidArgumentError(f"has two values called {twice!r:.100}")
    return values


def _refuse_constant(name: str) -> NoReturn:
    raise InvalidArgumentError(f"holds {name}, expected finite numbers")


def _check(values: Any) -> None:
    level, depth = [values], 0
    while level:
        if depth > MAX_JSON_DEPTH:
            raise InvalidArgumentError(f"nests deeper than {MAX_JSON_DEPTH} levels")
        inner: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                inner += value.keys()
                inner += value.values()
            elif isinstance(value, list):
                inner += value
            elif isinstance(value, str) and len(value) > MAX_JSON_STRING:
                raise InvalidArgumentError(
                    f"holds a text of {len(value):,} characters, expected at most {MAX_JSON_STRING:,}"
                )
            elif isinstance(value, int) and abs(value) > MAX_JSON_INTEGER:
                raise InvalidArgumentError("holds an integer that does not fit 64 bits")
            elif isinstance(value, float) and not math.isfinite(value):
                raise InvalidArgumentError("holds a number that is too large, expected finite numbers")
        level, depth = inner, depth + 1
