"""Changes of values of JSON."""

from __future__ import annotations

import json
import math
from random import Random
from typing import Any

from tests.fuzz.mutate.content import edge, few

NUMBERS: tuple[Any, ...] = (
    0, -1, 1, 2, 3, 32, 33, 320, 2**31, -(2**31), 2**32, 2**53, 2**63, 2**64, 10**30, 10**400, 0.0, -0.0, 0.5, 1.5,
    1e-320, 1e30, 1e39, 1e308, float("nan"), float("inf"), float("-inf")
)  # fmt: skip
TEXTS = (
    "", " ", "0", "1", "images", "float32", "fp32", "int8", "random", "..", "/", "../../x", "a" * 5000, "\0",
    "\x1b[31mred\x1b[0m", "\x1b]0;title\x07", "\r\n", "\u202e", "\ud800", "\N{PILE OF POO}", "%s%n", "{0}",
    "[bold]", "$(id)", "'; --", "NaN", "é", "sm_86", "sm86", "0" * 64
)  # fmt: skip
_DEPTHS = (3, 50, 900, 5000)


def mutated_values(values: Any, random: Random) -> Any:
    """Return values of JSON with a few changes; what is not changed is shared."""
    for _ in range(few(random, 4)):
        values = _changed(values, random)
    return values


def to_text(values: Any) -> str:
    """Return JSON; numbers and texts that JSON does not allow go into it too, nested as deep as they are."""
    try:
        return json.dumps(values)
    except RecursionError:
        return "[" * 100_000


def _changed(values: Any, random: Random) -> Any:
    """Change one value, somewhere inside."""
    if isinstance(values, dict) and values and random.random() < 0.85:
        key = random.choice(list(values))
        return {**values, key: _changed(values[key], random)}
    if isinstance(values, list) and values and random.random() < 0.8:
        at = random.randrange(len(values))
        return [*values[:at], _changed(values[at], random), *values[at + 1 :]]
    return random.choice(_CHANGES)(values, random)


def anything(random: Random) -> Any:
    """Return a value of any kind."""
    kind = random.randrange(9)
    if kind < 2:
        return random.choice(NUMBERS)
    if kind == 2:
        return random.choice((1, -1)) * edge(random, random.choice((8, 16, 32, 64)))
    if kind == 3:
        return random.choice(TEXTS)
    if kind == 4:
        return random.choice((None, True, False))
    if kind == 5:
        return random.gauss(0, 10 ** random.randint(-3, 12))
    if kind == 6:
        return [anything(random) for _ in range(random.randrange(5))]
    if kind == 7:
        return {random.choice(TEXTS): anything(random) for _ in range(random.randrange(3))}
    return _deep(random)


def _deep(random: Random) -> Any:
    value: Any = random.choice(NUMBERS)
    for _ in range(random.choice(_DEPTHS[: random.randint(1, len(_DEPTHS))])):
        value = [value]
    return value


def _replace(value: Any, random: Random) -> Any:
    return anything(random)


def _near(value: Any, random: Random) -> Any:
    """Change a value to one of its own kind."""
    if isinstance(value, bool) or value is None:
        return not value
    if isinstance(value, float) and not math.isfinite(value):
        return random.choice(NUMBERS)
    if isinstance(value, int | float):
        return random.choice(
            (value + 1, value - 1, -value, value * 2, value // 2, random.choice(NUMBERS), str(value), [value])
        )
    if isinstance(value, str):
        at = random.randrange(len(value) + 1)
        return random.choice((value[:at], value[:at] + random.choice(TEXTS) + value[at:], value.upper(), [value]))
    return _container(value, random)


def _container(value: Any, random: Random) -> Any:
    """Change the members of an object or a list."""
    if isinstance(value, dict):
        keys = list(value)
        gone = random.choice(keys) if keys else None
        added = {random.choice([*TEXTS, *keys, "extra"]): anything(random)}
        return random.choice(
            ({k: v for k, v in value.items() if k != gone}, {**value, **added}, list(value.values()), added)
        )
    if isinstance(value, list):
        at = random.randrange(len(value) + 1)
        return random.choice(
            (
                value[:at], value[at:], [*value[:at], anything(random), *value[at:]], value[::-1], value * 2,
                dict.fromkeys(map(str, range(len(value))), 1), [value],
            )
        )  # fmt: skip
    return anything(random)


_CHANGES = (_replace, _near, _near, _container)
