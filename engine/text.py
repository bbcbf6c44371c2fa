"""Text from outside, made safe to print: names of files and tensors, what files say, messages of other libraries.

A terminal obeys escape sequences, a log takes a line break for the next entry, and an override of the direction of
writing shows another name than the real one.
"""

from __future__ import annotations

import re
import reprlib
import unicodedata

MOST_CHARACTERS = 4000  # of a message: the longest path that Linux takes has 4096 bytes
_CUT = " [...] "
# Letters and signs that fonts show as nothing: fillers, a joiner, vowels that are not written, a pattern without dots.
_INVISIBLE = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0\U00016fe4]")


def printable(text: str, at_most: int = MOST_CHARACTERS) -> str:
    r"""Return text as one line that any terminal, log and page shows as it is, and that UTF-8 can encode.

    Control characters, line breaks, invisible characters (direction, joining, fillers), surrogates and characters that
    Unicode does not know are shown as Python and JSON write them: \x1b, \n, \u202e; and \udcff for the
    byte 0xff in a file name that is not UTF-8. Text that is printable stays the same, so a text may be passed again.

    Args:
        text: of any length.
        at_most: characters to return; of a longer text the middle is left out.
    """
    text = _shortened(text, at_most)
    if text.isprintable() and not _INVISIBLE.search(text):
        return text
    return _shortened("".join(map(_shown, text)), at_most)


def represented(value: object) -> str:
    """Return how Python writes a value, shortened, for messages about it."""
    try:
        return reprlib.repr(value)
    except ValueError:  # Python refuses to print integers of thousands of digits
        return f"a {type(value).__name__} that is too long to print"


def _shown(character: str) -> str:
    printable = character.isprintable() or unicodedata.category(character) == "Zs"  # a space of another width
    if printable and not _INVISIBLE.match(character):
        return character
    return character.encode("unicode_escape").decode("ascii")


def _shortened(text: str, at_most: int) -> str:
    if len(text) <= at_most:
        return text
    kept = max(at_most - len(_CUT), 2)
    end = kept // 3  # what to do stands at the end of a message, the name of the file at its beginning
    return text[: kept - end] + _CUT + text[len(text) - end :]
