"""Text from outside, made safe to print."""

from __future__ import annotations

import os
import sys
import unicodedata

import numpy as np
import pytest

from engine.text import MOST_CHARACTERS, printable

EVERY_CHARACTER = [chr(code) for code in range(sys.maxunicode + 1)]


# Parts of the names of letters and signs that show nothing, of categories that others have too.
INVISIBLE = (
    "GUL FILLER",
    "SEONG FILLER",
    "KHITAN SMALL SCRIPT FILLER",
    "BRAILLE PATTERN BLANK",
    "GRAPHEME JOINER",
    "KHMER VOWEL INHERENT",
)


def is_safe(text: str) -> bool:
    """Whether text is one line without control characters, surrogates, invisible letters and the like."""
    return all(
        unicodedata.category(character) not in {"Cc", "Cf", "Cs", "Cn", "Co", "Zl", "Zp"}
        and not any(part in unicodedata.name(character, "") for part in INVISIBLE)
        for character in text
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("two words", "two words"),
        ("Füße 顔　1.jpg", "Füße 顔　1.jpg"),  # with an ideographic space
        ("\x1b[31mred", r"\x1b[31mred"),
        ("one\nERROR: two\r", r"one\nERROR: two\r"),
        ("gpj.\u202egnp", r"gpj.\u202egnp"),
        ("\ufeffa\u200bb\u2028c", r"\ufeffa\u200bb\u2028c"),
        (os.fsdecode(b"\xff\x9b31m.jpg"), r"\udcff\udc9b31m.jpg"),
        ("\ud800", r"\ud800"),
        ("\U000e0041", r"\U000e0041"),
        ("a\u115f\u1160\u3164\uffa0\u2800b", r"a\u115f\u1160\u3164\uffa0\u2800b"),
    ],
)
def test_what_is_not_printable_is_escaped(text: str, expected: str) -> None:
    assert printable(text) == expected


@pytest.mark.slow
def test_every_character_becomes_safe_and_printable_ones_stay() -> None:
    for character in EVERY_CHARACTER:
        result = printable(character)
        assert is_safe(result), ascii(character)
        assert result == character or not is_safe(character), ascii(character)


@pytest.mark.parametrize("length", [0, 1, 59, 60, 61, 1000, 10 * MOST_CHARACTERS])
def test_long_text_keeps_its_ends(length: int) -> None:
    rng = np.random.default_rng(length)
    for alphabet in ("abc", "a\x1b\n\udcff"):
        text = "".join(rng.choice(list(alphabet), length))
        result = printable(text, 60)
        assert is_safe(result)
        assert len(result) <= 60
        assert printable(result, 60) == result
        if length > 60 and alphabet == "abc":
            begin, end = result.split(" [...] ")
            assert text.startswith(begin)
            assert text.endswith(end)


def test_random_text_is_safe_and_passes_again_unchanged() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        text = "".join(map(chr, rng.integers(0, 0x3000, rng.integers(1, 3 * MOST_CHARACTERS))))
        result = printable(text)
        assert is_safe(result)
        assert len(result) <= MOST_CHARACTERS
        assert printable(result) == result
