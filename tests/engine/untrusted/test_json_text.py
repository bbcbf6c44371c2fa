"""JSON from outside: what a sidecar may hold is read, what would break its readers is refused in words."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import InvalidArgumentError
from engine.untrusted.json_text import parse_json
from engine.untrusted.limits import MAX_JSON_DEPTH, MAX_JSON_INTEGER, MAX_JSON_STRING

_LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-MAX_JSON_INTEGER, MAX_JSON_INTEGER)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
_VALUES = st.recursive(_LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))


@given(_VALUES)
def test_everything_else_is_read_as_json_reads_it(values: Any) -> None:
    text = json.dumps(values)
    assert parse_json(text) == parse_json(text.encode()) == json.loads(text)


def _nested(depth: int, inner: str = "1") -> str:
    return "[" * depth + inner + "]" * depth


def test_values_at_the_limits_are_read() -> None:
    assert json.dumps(parse_json(_nested(MAX_JSON_DEPTH)), separators=(",", ":")) == _nested(MAX_JSON_DEPTH)
    for value in (MAX_JSON_INTEGER, -MAX_JSON_INTEGER, "x" * MAX_JSON_STRING, 1.7e308):
        assert parse_json(json.dumps(value)) == value


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is not JSON"),
        ("{", "is not JSON"),
        (b"\xff{}", "is not JSON"),
        ("1" * 10_000, "is not JSON|does not fit 64 bits"),  # Python refuses to convert so many digits
        (_nested(MAX_JSON_DEPTH + 1), "nests deeper than 32 levels"),
        ('{"a":' * 40 + "1" + "}" * 40, "nests deeper than 32 levels"),
        (_nested(100_000), "nests deeper than 32 levels"),
        (str(MAX_JSON_INTEGER + 1), "does not fit 64 bits"),
        (f"[-{1 << 64}]", "does not fit 64 bits"),
        ("NaN", "holds NaN, expected finite"),
        ('{"a": [-Infinity]}', "holds -Infinity, expected finite"),
        ("[1e400]", "too large, expected finite"),
        (json.dumps("x" * (MAX_JSON_STRING + 1)), "a text of 8,193 characters, expected at most 8,192"),
        (json.dumps({"x" * (MAX_JSON_STRING + 1): 1}), "a text of 8,193 characters"),
        ('{"a": {"b": 1, "c": 2, "b": 1}}', "two values called 'b'"),
    ],
)
def test_what_would_break_a_reader_is_refused(text: str | bytes, said: str) -> None:
    with pytest.raises(InvalidArgumentError, match=said) as refusal:
        parse_json(text)
    assert len(str(refusal.value)) < 300
